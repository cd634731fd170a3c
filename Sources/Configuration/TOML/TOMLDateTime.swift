import Primitives

extension TOMLDateTime {
  /// `1979-…` or `07:…`: decides between a date or time and a number.
  static func looksLike(_ text: [UInt8]) -> Bool {
    if text.count > 2 && text[2] == UInt8(ascii: ":") { return true }
    return text.count > 4 && text[4] == UInt8(ascii: "-")
      && text[0..<4].allSatisfy { ASCII.isDigit($0) }
  }
}

/// RFC 3339 as TOML 1.0 uses it: offset date-time, local date-time, local date, local time.
///
///     full    = date ("T" / "t" / " ") time [ "Z" / "z" / ("+" / "-") hh ":" mm ]
///     date    = yyyy "-" mm "-" dd
///     time    = hh ":" mm ":" ss [ "." 1*DIGIT ]
///
/// The second 60 is refused: RFC 3339 §5.7 allows it only for a leap second, which cannot be
/// checked without a table of them.
struct TOMLDateTimeParser {
  private let text: [UInt8]
  private var index = 0
  /// Why there is no value, to stand behind the text.
  private(set) var problem = "is not a date or time"

  init(_ text: [UInt8]) { self.text = text }

  mutating func parse() -> TOMLDateTime? {
    var value = TOMLDateTime()
    if text[2] == UInt8(ascii: ":") {
      value.time = parseTime()
      return value.time != nil && index == text.count ? value : nil
    }
    value.date = parseDate()
    guard value.date != nil else { return nil }
    if index == text.count { return value }
    guard skip(UInt8(ascii: "T")) || skip(UInt8(ascii: "t")) || skip(UInt8(ascii: " ")) else {
      return nil
    }
    value.time = parseTime()
    guard value.time != nil else { return nil }
    if index == text.count { return value }
    value.offset = parseOffset()
    return value.offset != nil && index == text.count ? value : nil
  }

  private mutating func parseDate() -> TOMLDateTime.Date? {
    guard let century = pair(0...99), let years = pair(0...99), skip(UInt8(ascii: "-")),
      let month = pair(1...12), skip(UInt8(ascii: "-")), let day = pair(1...31)
    else { return nil }
    let year = UInt16(century) * 100 + UInt16(years)
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let lengths: [UInt8] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    guard day <= lengths[Int(month) - 1] else {
      problem = "is not a date: the month has \(lengths[Int(month) - 1]) days"
      return nil
    }
    return TOMLDateTime.Date(year: year, month: month, day: day)
  }

  private mutating func parseTime() -> TOMLDateTime.Time? {
    guard let hour = pair(0...23), skip(UInt8(ascii: ":")), let minute = pair(0...59),
      skip(UInt8(ascii: ":")), let second = pair(0...59)
    else { return nil }
    var time = TOMLDateTime.Time(hour: hour, minute: minute, second: second, nanosecond: 0)
    guard skip(UInt8(ascii: ".")) else { return time }
    var place: UInt32 = 100_000_000
    let start = index
    while index < text.count && ASCII.isDigit(text[index]) {
      time.nanosecond += UInt32(text[index] - UInt8(ascii: "0")) * place
      place /= 10
      index += 1
    }
    return index > start ? time : nil
  }

  private mutating func parseOffset() -> Int16? {
    if skip(UInt8(ascii: "Z")) || skip(UInt8(ascii: "z")) { return 0 }
    let isWest = skip(UInt8(ascii: "-"))
    guard isWest || skip(UInt8(ascii: "+")), let hours = pair(0...23), skip(UInt8(ascii: ":")),
      let minutes = pair(0...59)
    else { return nil }
    let total = Int16(hours) * 60 + Int16(minutes)
    return isWest ? -total : total
  }

  /// Two digits in a range.
  private mutating func pair(_ range: ClosedRange<UInt8>) -> UInt8? {
    guard index + 1 < text.count, ASCII.isDigit(text[index]), ASCII.isDigit(text[index + 1]) else {
      return nil
    }
    let value = (text[index] - UInt8(ascii: "0")) * 10 + text[index + 1] - UInt8(ascii: "0")
    index += 2
    return range.contains(value) ? value : nil
  }

  private mutating func skip(_ byte: UInt8) -> Bool {
    guard index < text.count && text[index] == byte else { return false }
    index += 1
    return true
  }
}
