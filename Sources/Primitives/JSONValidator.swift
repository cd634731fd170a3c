/// Whether bytes are one JSON text (RFC 8259) that every strict reader takes: UTF-8 without a byte
/// order mark, no lone surrogate (RFC 7493 §2.1), nothing but white space around the value, and no
/// deeper than `depthMax`. It keeps nothing of the text and takes no stack for its depth.
public struct JSONValidator {
  /// Objects and arrays within each other: one bit for each. Deeper ones exist, and are refused here.
  public static let depthMax = 64

  private var offset = 0
  private var depth = 0
  /// By depth one bit, set in an object.
  private var objects: UInt64 = 0

  /// Reads the text once, from its beginning to the first error.
  public static func accepts(_ text: Span<UInt8>) -> Bool {
    var validator = JSONValidator()
    return validator.run(text)
  }

  private mutating func run(_ text: Span<UInt8>) -> Bool {
    while true {
      guard let isWhole = beginValue(text) else { return false }
      guard isWhole else { continue }
      switch endValue(text) {
      case .another: continue
      case .end: return offset == text.count
      case .wrong: return false
      }
    }
  }

  /// Nil: no value. True: a whole one. False: the beginning of one with something in it, up to its
  /// first inner value.
  private mutating func beginValue(_ text: Span<UInt8>) -> Bool? {
    skipSpace(text)
    guard offset < text.count else { return nil }
    switch text[offset] {
    case UInt8(ascii: "{"):
      guard open(isObject: true) else { return nil }
      skipSpace(text)
      if take(text, UInt8(ascii: "}")) {
        depth -= 1
        return true
      }
      return key(text) ? false : nil
    case UInt8(ascii: "["):
      guard open(isObject: false) else { return nil }
      skipSpace(text)
      guard take(text, UInt8(ascii: "]")) else { return false }
      depth -= 1
      return true
    case UInt8(ascii: "\""): return string(text) ? true : nil
    case UInt8(ascii: "t"): return word(text, "true") ? true : nil
    case UInt8(ascii: "f"): return word(text, "false") ? true : nil
    case UInt8(ascii: "n"): return word(text, "null") ? true : nil
    default: return number(text) ? true : nil
    }
  }

  private enum Continuation { case another, end, wrong }

  /// Behind a value: closes what ends there.
  private mutating func endValue(_ text: Span<UInt8>) -> Continuation {
    while true {
      skipSpace(text)
      guard depth > 0 else { return .end }
      let isObject = objects >> UInt64(depth - 1) & 1 == 1
      if take(text, UInt8(ascii: ",")) {
        guard isObject else { return .another }
        skipSpace(text)
        return key(text) ? .another : .wrong
      }
      guard take(text, isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else { return .wrong }
      depth -= 1
    }
  }

  private mutating func open(isObject: Bool) -> Bool {
    guard depth < Self.depthMax else { return false }
    let bit: UInt64 = 1 << UInt64(depth)
    objects = isObject ? objects | bit : objects & ~bit
    depth += 1
    offset += 1
    return true
  }

  private mutating func key(_ text: Span<UInt8>) -> Bool {
    guard string(text) else { return false }
    skipSpace(text)
    return take(text, UInt8(ascii: ":"))
  }

  private mutating func string(_ text: Span<UInt8>) -> Bool {
    guard take(text, UInt8(ascii: "\"")) else { return false }
    while offset < text.count {
      switch text[offset] {
      case UInt8(ascii: "\""):
        offset += 1
        return true
      case UInt8(ascii: "\\"):
        offset += 1
        guard escape(text) else { return false }
      case 0..<0x20:
        return false
      case 0x80...:
        let length = UTF8Sequence.length(at: offset, of: text)
        guard length > 0 else { return false }
        offset += length
      default:
        offset += 1
      }
    }
    return false
  }

  private mutating func escape(_ text: Span<UInt8>) -> Bool {
    guard offset < text.count else { return false }
    let byte = text[offset]
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
      UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      return true
    case UInt8(ascii: "u"):
      guard let unit = fourDigits(text) else { return false }
      guard unit >= 0xD800, unit <= 0xDFFF else { return true }
      guard unit <= 0xDBFF, take(text, UInt8(ascii: "\\")), take(text, UInt8(ascii: "u")),
        let low = fourDigits(text)
      else { return false }
      return low >= 0xDC00 && low <= 0xDFFF
    default:
      return false
    }
  }

  private mutating func fourDigits(_ text: Span<UInt8>) -> UInt32? {
    guard text.count - offset >= 4 else { return nil }
    var value: UInt32 = 0
    for _ in 0..<4 {
      let digit: UInt8
      switch text[offset] {
      case 0x30...0x39: digit = text[offset] - 0x30
      case 0x41...0x46: digit = text[offset] - 0x37
      case 0x61...0x66: digit = text[offset] - 0x57
      default: return nil
      }
      value = value << 4 | UInt32(digit)
      offset += 1
    }
    return value
  }

  /// RFC 8259 §6: no sign but a minus, no leading zero, digits on both sides of the point.
  private mutating func number(_ text: Span<UInt8>) -> Bool {
    _ = take(text, UInt8(ascii: "-"))
    if !take(text, UInt8(ascii: "0")) { guard digits(text) else { return false } }
    if take(text, UInt8(ascii: ".")) { guard digits(text) else { return false } }
    if take(text, UInt8(ascii: "e")) || take(text, UInt8(ascii: "E")) {
      if !take(text, UInt8(ascii: "+")) { _ = take(text, UInt8(ascii: "-")) }
      guard digits(text) else { return false }
    }
    return true
  }

  private mutating func digits(_ text: Span<UInt8>) -> Bool {
    let start = offset
    while offset < text.count, text[offset] >= 0x30, text[offset] <= 0x39 { offset += 1 }
    return offset > start
  }

  private mutating func word(_ text: Span<UInt8>, _ word: StaticString) -> Bool {
    for index in 0..<word.utf8CodeUnitCount {
      guard unsafe take(text, word.utf8Start[index]) else { return false }
    }
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
