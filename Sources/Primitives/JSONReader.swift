/// A JSON value (RFC 8259) as a tree, for small documents: an answer of the admin endpoint.
public enum JSONValue: Sendable, Equatable {
  /// One member of an object.
  public struct Member: Sendable, Equatable {
    public var name: ByteString
    public var value: JSONValue
  }

  case null
  case bool(Bool)
  /// As it was written: what it is to be is the reader's choice.
  case number(ByteString)
  case string(ByteString)
  case array([JSONValue])
  /// In the order of the text; of a name that comes twice, the last one holds.
  case object([Member])

  /// Parses one whole text; nil when it is not JSON, or deeper than `JSONReader.depthMax`.
  public init?(parsing text: Span<UInt8>) {
    var reader = JSONReader()
    guard let value = reader.parse(text) else { return nil }
    self = value
  }

  /// The member of an object; nil for anything else.
  public subscript(name: ByteString) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    for member in members.reversed() where member.name == name { return member.value }
    return nil
  }

  /// The elements of an array; none for anything else.
  public var elements: [JSONValue] {
    if case .array(let elements) = self { return elements }
    return []
  }

  /// For a person: a string or a number as it is, `true`, `false`; empty for the rest.
  public var text: ByteString {
    switch self {
    case .string(let text), .number(let text): text
    case .bool(let flag): flag ? "true" : "false"
    case .null, .array, .object: ByteString()
    }
  }

  /// A whole number that fits; nil for anything else.
  public var unsigned: UInt64? {
    guard case .number(let text) = self else { return nil }
    var value: UInt64 = 0
    for byte in text.bytes {
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(byte - 0x30))
      if overflow || carry { return nil }
      value = sum
    }
    return value
  }
}

/// The parser behind `JSONValue`. It goes down by recursion, so its depth is limited.
struct JSONReader {
  /// Far deeper than any page; a level takes less than 300 bytes of stack.
  static let depthMax = 32

  private var offset = 0
  private var depth = 0

  mutating func parse(_ text: Span<UInt8>) -> JSONValue? {
    guard let value = value(text) else { return nil }
    skipSpace(text)
    return offset == text.count ? value : nil
  }

  private mutating func value(_ text: Span<UInt8>) -> JSONValue? {
    skipSpace(text)
    guard offset < text.count, depth < Self.depthMax else { return nil }
    depth += 1
    defer { depth -= 1 }
    switch text[offset] {
    case UInt8(ascii: "{"): return object(text)
    case UInt8(ascii: "["): return array(text)
    case UInt8(ascii: "\""): return string(text).map { .string($0) }
    case UInt8(ascii: "t"): return word(text, trueWord) ? .bool(true) : nil
    case UInt8(ascii: "f"): return word(text, falseWord) ? .bool(false) : nil
    case UInt8(ascii: "n"): return word(text, nullWord) ? .null : nil
    default: return number(text)
    }
  }

  private mutating func object(_ text: Span<UInt8>) -> JSONValue? {
    var members: [JSONValue.Member] = []
    guard enter(text, UInt8(ascii: "}")) else { return .object([]) }
    repeat {
      skipSpace(text)
      guard let name = string(text) else { return nil }
      skipSpace(text)
      guard take(text, UInt8(ascii: ":")), let value = value(text) else { return nil }
      members.append(JSONValue.Member(name: name, value: value))
      skipSpace(text)
    } while take(text, UInt8(ascii: ","))
    return take(text, UInt8(ascii: "}")) ? .object(members) : nil
  }

  private mutating func array(_ text: Span<UInt8>) -> JSONValue? {
    var elements: [JSONValue] = []
    guard enter(text, UInt8(ascii: "]")) else { return .array([]) }
    repeat {
      guard let value = value(text) else { return nil }
      elements.append(value)
      skipSpace(text)
    } while take(text, UInt8(ascii: ","))
    return take(text, UInt8(ascii: "]")) ? .array(elements) : nil
  }

  /// Steps behind the opening bracket; false when the closing one follows at once, which is taken.
  private mutating func enter(_ text: Span<UInt8>, _ end: UInt8) -> Bool {
    offset += 1
    skipSpace(text)
    return !take(text, end)
  }

  private mutating func string(_ text: Span<UInt8>) -> ByteString? {
    guard take(text, UInt8(ascii: "\"")) else { return nil }
    var bytes: [UInt8] = []
    while offset < text.count {
      let byte = text[offset]
      offset += 1
      switch byte {
      case UInt8(ascii: "\""): return ByteString(bytes)
      case UInt8(ascii: "\\"): guard escape(text, into: &bytes) else { return nil }
      case 0..<0x20: return nil
      default: bytes.append(byte)
      }
    }
    return nil
  }

  private mutating func escape(_ text: Span<UInt8>, into bytes: inout [UInt8]) -> Bool {
    guard offset < text.count else { return false }
    let byte = text[offset]
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0C)
    case UInt8(ascii: "n"): bytes.append(0x0A)
    case UInt8(ascii: "r"): bytes.append(0x0D)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "u"): return unicode(text, into: &bytes)
    default: return false
    }
    return true
  }

  /// RFC 8259 §7: two surrogates are one character; a lone one has no meaning and becomes U+FFFD.
  private mutating func unicode(_ text: Span<UInt8>, into bytes: inout [UInt8]) -> Bool {
    guard var scalar = fourDigits(text) else { return false }
    if scalar >= 0xD800, scalar < 0xDC00, offset + 1 < text.count,
      text[offset] == UInt8(ascii: "\\"), text[offset + 1] == UInt8(ascii: "u")
    {
      let before = offset
      offset += 2
      guard let low = fourDigits(text) else { return false }
      if low >= 0xDC00, low < 0xE000 {
        scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
      } else {
        offset = before
      }
    }
    let known = Unicode.Scalar(scalar) ?? "\u{FFFD}"
    for unit in UTF8.encode(known)! { bytes.append(unit) }
    return true
  }

  private mutating func fourDigits(_ text: Span<UInt8>) -> UInt32? {
    guard offset + 4 <= text.count else { return nil }
    var value: UInt32 = 0
    for place in offset..<offset + 4 {
      let digit: UInt8
      switch text[place] {
      case 0x30...0x39: digit = text[place] - 0x30
      case 0x41...0x46: digit = text[place] - 0x37
      case 0x61...0x66: digit = text[place] - 0x57
      default: return nil
      }
      value = value << 4 | UInt32(digit)
    }
    offset += 4
    return value
  }

  /// RFC 8259 §6: no sign but a minus, no leading zero, digits on both sides of the point.
  private mutating func number(_ text: Span<UInt8>) -> JSONValue? {
    let start = offset
    _ = take(text, UInt8(ascii: "-"))
    if !take(text, UInt8(ascii: "0")) { guard digits(text) else { return nil } }
    if take(text, UInt8(ascii: ".")) { guard digits(text) else { return nil } }
    if take(text, UInt8(ascii: "e")) || take(text, UInt8(ascii: "E")) {
      if !take(text, UInt8(ascii: "+")) { _ = take(text, UInt8(ascii: "-")) }
      guard digits(text) else { return nil }
    }
    return .number(ByteString(copying: text.extracting(start..<offset)))
  }

  private mutating func digits(_ text: Span<UInt8>) -> Bool {
    let start = offset
    while offset < text.count, text[offset] >= 0x30, text[offset] <= 0x39 { offset += 1 }
    return offset > start
  }

  private mutating func word(_ text: Span<UInt8>, _ word: [UInt8]) -> Bool {
    guard text.count - offset >= word.count,
      equal(text.extracting(offset..<offset + word.count), word.span)
    else { return false }
    offset += word.count
    return true
  }

  private mutating func take(_ text: Span<UInt8>, _ byte: UInt8) -> Bool {
    guard offset < text.count, text[offset] == byte else { return false }
    offset += 1
    return true
  }

  private mutating func skipSpace(_ text: Span<UInt8>) {
    while offset < text.count {
      switch text[offset] {
      case 0x20, 0x09, 0x0A, 0x0D: offset += 1
      default: return
      }
    }
  }
}

private let trueWord: [UInt8] = Array("true".utf8)
private let falseWord: [UInt8] = Array("false".utf8)
private let nullWord: [UInt8] = Array("null".utf8)
