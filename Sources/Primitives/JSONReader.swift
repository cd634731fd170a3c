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

  private var cursor = JSONCursor()
  private var depth = 0

  mutating func parse(_ text: Span<UInt8>) -> JSONValue? {
    guard let value = value(text) else { return nil }
    cursor.skipSpace(text)
    return cursor.offset == text.count ? value : nil
  }

  private mutating func value(_ text: Span<UInt8>) -> JSONValue? {
    cursor.skipSpace(text)
    guard cursor.offset < text.count, depth < Self.depthMax else { return nil }
    depth += 1
    defer { depth -= 1 }
    switch text[cursor.offset] {
    case UInt8(ascii: "{"): return object(text)
    case UInt8(ascii: "["): return array(text)
    case UInt8(ascii: "\""): return string(text).map { .string($0) }
    case UInt8(ascii: "t"): return cursor.word(text, "true") ? .bool(true) : nil
    case UInt8(ascii: "f"): return cursor.word(text, "false") ? .bool(false) : nil
    case UInt8(ascii: "n"): return cursor.word(text, "null") ? .null : nil
    default: return number(text)
    }
  }

  private mutating func object(_ text: Span<UInt8>) -> JSONValue? {
    var members: [JSONValue.Member] = []
    guard enter(text, UInt8(ascii: "}")) else { return .object([]) }
    repeat {
      cursor.skipSpace(text)
      guard let name = string(text) else { return nil }
      cursor.skipSpace(text)
      guard cursor.take(text, UInt8(ascii: ":")), let value = value(text) else { return nil }
      members.append(JSONValue.Member(name: name, value: value))
      cursor.skipSpace(text)
    } while cursor.take(text, UInt8(ascii: ","))
    return cursor.take(text, UInt8(ascii: "}")) ? .object(members) : nil
  }

  private mutating func array(_ text: Span<UInt8>) -> JSONValue? {
    var elements: [JSONValue] = []
    guard enter(text, UInt8(ascii: "]")) else { return .array([]) }
    repeat {
      guard let value = value(text) else { return nil }
      elements.append(value)
      cursor.skipSpace(text)
    } while cursor.take(text, UInt8(ascii: ","))
    return cursor.take(text, UInt8(ascii: "]")) ? .array(elements) : nil
  }

  /// Steps behind the opening bracket; false when the closing one follows at once, which is taken.
  private mutating func enter(_ text: Span<UInt8>, _ end: UInt8) -> Bool {
    cursor.offset += 1
    cursor.skipSpace(text)
    return !cursor.take(text, end)
  }

  private mutating func string(_ text: Span<UInt8>) -> ByteString? {
    guard cursor.take(text, UInt8(ascii: "\"")) else { return nil }
    var bytes: [UInt8] = []
    while cursor.offset < text.count {
      let byte = text[cursor.offset]
      cursor.offset += 1
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
    guard cursor.offset < text.count else { return false }
    let byte = text[cursor.offset]
    cursor.offset += 1
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
    guard var scalar = cursor.fourDigits(text) else { return false }
    if scalar >= 0xD800, scalar < 0xDC00, cursor.offset + 1 < text.count,
      text[cursor.offset] == UInt8(ascii: "\\"), text[cursor.offset + 1] == UInt8(ascii: "u")
    {
      let before = cursor.offset
      cursor.offset += 2
      guard let low = cursor.fourDigits(text) else { return false }
      if low >= 0xDC00, low < 0xE000 {
        scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
      } else {
        cursor.offset = before
      }
    }
    let known = Unicode.Scalar(scalar) ?? "\u{FFFD}"
    for unit in UTF8.encode(known)! { bytes.append(unit) }
    return true
  }

  private mutating func number(_ text: Span<UInt8>) -> JSONValue? {
    let start = cursor.offset
    guard cursor.number(text) else { return nil }
    return .number(ByteString(copying: text.extracting(start..<cursor.offset)))
  }
}
