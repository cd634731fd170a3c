import Primitives

/// RFC 3339 text of a wall-clock time in UTC with milliseconds, `2026-11-23T18:10:39.123Z`.
package enum TimestampText {
  static func append(_ time: WallTime, to text: inout [UInt8]) {
    let second: Int64 = 1_000_000_000
    let seconds = time.nanoseconds.floorDivided(by: second)
    let milliseconds = (time.nanoseconds - seconds * second) / 1_000_000
    let days = seconds.floorDivided(by: 86_400)
    let clock = seconds - days * 86_400
    let date = civil(fromDays: days)
    digits(date.year, 4, &text)
    text.append(UInt8(ascii: "-"))
    digits(date.month, 2, &text)
    text.append(UInt8(ascii: "-"))
    digits(date.day, 2, &text)
    text.append(UInt8(ascii: "T"))
    digits(clock / 3_600, 2, &text)
    text.append(UInt8(ascii: ":"))
    digits(clock / 60 % 60, 2, &text)
    text.append(UInt8(ascii: ":"))
    digits(clock % 60, 2, &text)
    text.append(UInt8(ascii: "."))
    digits(milliseconds, 3, &text)
    text.append(UInt8(ascii: "Z"))
  }

  package static func of(_ time: WallTime) -> ByteString {
    var text: [UInt8] = []
    append(time, to: &text)
    return ByteString(text)
  }

  private static func digits(_ value: Int64, _ count: Int, _ text: inout [UInt8]) {
    var divisor: Int64 = 1
    for _ in 1..<count { divisor *= 10 }
    while divisor > 0 {
      text.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
      divisor /= 10
    }
  }

  /// The proleptic Gregorian date of a day number (day 0 is 1970-01-01), in eras of 400 years that
  /// start on 1 March, so that the leap day is the last day of its year.
  private static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = shifted.floorDivided(by: 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthIndex = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
    let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }
}

extension Int64 {
  /// Division that rounds towards minus infinity, for times before 1970.
  fileprivate func floorDivided(by divisor: Int64) -> Int64 {
    let quotient = self / divisor
    return self % divisor < 0 ? quotient - 1 : quotient
  }
}
