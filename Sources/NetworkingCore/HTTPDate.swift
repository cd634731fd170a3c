import Primitives

/// RFC 9110 §5.6.7: the three formats that a recipient must take, in seconds since 1970.
///
///     Sun, 06 Nov 1994 08:49:37 GMT      IMF-fixdate
///     Sunday, 06-Nov-94 08:49:37 GMT     RFC 850
///     Sun Nov  6 08:49:37 1994           asctime
enum HTTPDate {
  static func parse(_ text: [UInt8]) -> Int64? {
    // Cut into words: the names of days say nothing that the numbers do not.
    let words = text.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "-") }
    guard words.count == 5 || words.count == 6 else { return nil }
    if words[0].last == UInt8(ascii: ",") {
      guard words.count == 6, matches(words[5], "GMT") else { return nil }
      return seconds(day: words[1], month: words[2], year: words[3], time: words[4])
    }
    guard words.count == 5 else { return nil }
    return seconds(day: words[2], month: words[1], year: words[4], time: words[3])
  }

  private static func seconds(
    day: ArraySlice<UInt8>, month: ArraySlice<UInt8>, year: ArraySlice<UInt8>,
    time: ArraySlice<UInt8>
  ) -> Int64? {
    let clock = time.split(separator: UInt8(ascii: ":"))
    guard clock.count == 3, let hour = number(clock[0]), let minute = number(clock[1]),
      let second = number(clock[2]), hour < 24, minute < 60, second <= 60,
      let dayNumber = number(day), (1...31).contains(dayNumber),
      let monthNumber = monthNumber(month), var yearNumber = number(year)
    else { return nil }
    // Two digits: the century is this one. (A date of RFC 850 format from before 2000 is long past.)
    if year.count == 2 { yearNumber += 2000 }
    guard (1970...9999).contains(yearNumber) else { return nil }
    let days = daysSince1970(year: yearNumber, month: monthNumber, day: dayNumber)
    return days * 86_400 + hour * 3_600 + minute * 60 + second
  }

  /// Howard Hinnant's `days_from_civil`: years begin in March, so that leap days come last.
  private static func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }

  private static func number(_ text: ArraySlice<UInt8>) -> Int64? {
    guard text.count <= 4, let value = decimal(text.span) else { return nil }
    return Int64(value)
  }

  private static func monthNumber(_ text: ArraySlice<UInt8>) -> Int64? {
    for (index, name) in months.enumerated() where matches(text, name) { return Int64(index + 1) }
    return nil
  }

  private static func matches(_ text: ArraySlice<UInt8>, _ name: ByteString) -> Bool {
    text.elementsEqual(name.bytes)
  }

  private static let months: [ByteString] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]
}
