import Primitives

/// An integer or a float, the whole of `text` (TOML 1.0, "Integer" and "Float").
///
///     integer = [sign] ("0" / 1-9 *DIGIT) / "0x" hex / "0o" octal / "0b" binary
///     float   = [sign] integer-part [ "." digits ] [ ("e" / "E") [sign] digits ]
///
/// An underscore stands only between two digits.
struct TOMLNumberParser {
  private let text: [UInt8]
  private var index = 0
  /// Why there is no value, to stand behind the text.
  private(set) var problem = "is not a number"

  init(_ text: [UInt8]) { self.text = text }

  mutating func parse() -> TOMLValue? {
    if text.count > 1 && text[0] == UInt8(ascii: "0") {
      switch text[1] {
      case UInt8(ascii: "x"): return parseInteger(base: 16)
      case UInt8(ascii: "o"): return parseInteger(base: 8)
      case UInt8(ascii: "b"): return parseInteger(base: 2)
      default: break
      }
    }
    let isNegative = skip(UInt8(ascii: "-"))
    if !isNegative { _ = skip(UInt8(ascii: "+")) }
    guard let whole = digits(base: 10) else { return nil }
    guard whole.count == 1 || whole[0] != 0 else {
      problem = "has a leading zero"
      return nil
    }
    if index == text.count { return integer(whole, base: 10, isNegative: isNegative) }
    return parseFloat(whole, isNegative: isNegative)
  }

  private mutating func parseInteger(base: UInt8) -> TOMLValue? {
    index = 2
    guard let digits = digits(base: base), index == text.count else { return nil }
    return integer(digits, base: base, isNegative: false)
  }

  private mutating func integer(_ digits: [UInt8], base: UInt8, isNegative: Bool) -> TOMLValue? {
    // Counts downwards: the negative range is the larger one.
    var value: Int64 = 0
    for digit in digits {
      let (product, tooLarge) = value.multipliedReportingOverflow(by: Int64(base))
      let (sum, overflow) = product.subtractingReportingOverflow(Int64(digit))
      guard !tooLarge && !overflow else { return outOfRange() }
      value = sum
    }
    if isNegative { return .integer(value) }
    guard value != .min else { return outOfRange() }
    return .integer(-value)
  }

  private mutating func outOfRange() -> TOMLValue? {
    problem = "does not fit in 64 bits"
    return nil
  }

  private mutating func parseFloat(_ whole: [UInt8], isNegative: Bool) -> TOMLValue? {
    var decimal = Decimal(digits: whole, exponent: 0)
    if skip(UInt8(ascii: ".")) {
      guard let fraction = digits(base: 10) else { return nil }
      decimal.digits += fraction
      decimal.exponent = -fraction.count
    }
    if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
      let isSmall = skip(UInt8(ascii: "-"))
      if !isSmall { _ = skip(UInt8(ascii: "+")) }
      guard let digits = digits(base: 10) else { return nil }
      var exponent = 0
      // Far beyond any double, and far from overflow: the file bounds the count of digits.
      for digit in digits { exponent = min(exponent * 10 + Int(digit), 1_000_000) }
      decimal.exponent += isSmall ? -exponent : exponent
    }
    guard index == text.count else { return nil }
    let magnitude = decimal.nearestDouble()
    return .float(isNegative ? -magnitude : magnitude)
  }

  /// One or more digits with single underscores between them.
  private mutating func digits(base: UInt8) -> [UInt8]? {
    var found: [UInt8] = []
    while index < text.count {
      if text[index] == UInt8(ascii: "_") {
        guard !found.isEmpty, index + 1 < text.count, hexadecimalValue(text[index + 1]) != nil,
          text[index - 1] != UInt8(ascii: "_")
        else {
          problem = "has an underscore that is not between two digits"
          return nil
        }
        index += 1
        continue
      }
      guard let digit = hexadecimalValue(text[index]), digit < base else { break }
      found.append(digit)
      index += 1
    }
    return found.isEmpty || text[index - 1] == UInt8(ascii: "_") ? nil : found
  }

  private mutating func skip(_ byte: UInt8) -> Bool {
    guard index < text.count && text[index] == byte else { return false }
    index += 1
    return true
  }
}
