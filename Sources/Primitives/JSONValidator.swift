/// Whether bytes are one JSON text (RFC 8259) that every strict reader takes: UTF-8 without a byte
/// order mark, no lone surrogate (RFC 7493 §2.1), nothing but white space around the value, and no
/// deeper than `depthMax`. It keeps nothing of the text and takes no stack for its depth.
public struct JSONValidator {
  /// Objects and arrays within each other: one bit for each. Deeper ones exist, and are refused here.
  public static let depthMax = 64

  private let takesLoneSurrogates: Bool
  private var cursor = JSONCursor()
  private var depth = 0
  /// By depth one bit, set in an object.
  private var objects: UInt64 = 0

  /// Reads the text once, from its beginning to the first error. RFC 8259 itself takes lone surrogates.
  public static func accepts(_ text: Span<UInt8>, takesLoneSurrogates: Bool = false) -> Bool {
    var validator = JSONValidator(takesLoneSurrogates: takesLoneSurrogates)
    return validator.run(text)
  }

  private mutating func run(_ text: Span<UInt8>) -> Bool {
    while true {
      guard let isWhole = beginValue(text) else { return false }
      guard isWhole else { continue }
      switch endValue(text) {
      case .another: continue
      case .end: return cursor.offset == text.count
      case .wrong: return false
      }
    }
  }

  /// Nil: no value. True: a whole one. False: the beginning of one with something in it, up to its
  /// first inner value.
  private mutating func beginValue(_ text: Span<UInt8>) -> Bool? {
    cursor.skipSpace(text)
    guard cursor.offset < text.count else { return nil }
    switch text[cursor.offset] {
    case UInt8(ascii: "{"):
      guard open(isObject: true) else { return nil }
      cursor.skipSpace(text)
      if cursor.take(text, UInt8(ascii: "}")) {
        depth -= 1
        return true
      }
      return key(text) ? false : nil
    case UInt8(ascii: "["):
      guard open(isObject: false) else { return nil }
      cursor.skipSpace(text)
      guard cursor.take(text, UInt8(ascii: "]")) else { return false }
      depth -= 1
      return true
    case UInt8(ascii: "\""): return string(text) ? true : nil
    case UInt8(ascii: "t"): return cursor.word(text, "true") ? true : nil
    case UInt8(ascii: "f"): return cursor.word(text, "false") ? true : nil
    case UInt8(ascii: "n"): return cursor.word(text, "null") ? true : nil
    default: return cursor.number(text) ? true : nil
    }
  }

  private enum Continuation { case another, end, wrong }

  /// Behind a value: closes what ends there.
  private mutating func endValue(_ text: Span<UInt8>) -> Continuation {
    while true {
      cursor.skipSpace(text)
      guard depth > 0 else { return .end }
      let isObject = objects >> UInt64(depth - 1) & 1 == 1
      if cursor.take(text, UInt8(ascii: ",")) {
        guard isObject else { return .another }
        cursor.skipSpace(text)
        return key(text) ? .another : .wrong
      }
      guard cursor.take(text, isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
        return .wrong
      }
      depth -= 1
    }
  }

  private mutating func open(isObject: Bool) -> Bool {
    guard depth < Self.depthMax else { return false }
    let bit: UInt64 = 1 << UInt64(depth)
    objects = isObject ? objects | bit : objects & ~bit
    depth += 1
    cursor.offset += 1
    return true
  }

  private mutating func key(_ text: Span<UInt8>) -> Bool {
    guard string(text) else { return false }
    cursor.skipSpace(text)
    return cursor.take(text, UInt8(ascii: ":"))
  }

  private mutating func string(_ text: Span<UInt8>) -> Bool {
    guard cursor.take(text, UInt8(ascii: "\"")) else { return false }
    while cursor.offset < text.count {
      switch text[cursor.offset] {
      case UInt8(ascii: "\""):
        cursor.offset += 1
        return true
      case UInt8(ascii: "\\"):
        cursor.offset += 1
        guard escape(text) else { return false }
      case 0..<0x20:
        return false
      case 0x80...:
        let length = UTF8Sequence.length(at: cursor.offset, of: text)
        guard length > 0 else { return false }
        cursor.offset += length
      default:
        cursor.offset += 1
      }
    }
    return false
  }

  private mutating func escape(_ text: Span<UInt8>) -> Bool {
    guard cursor.offset < text.count else { return false }
    let byte = text[cursor.offset]
    cursor.offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
      UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      return true
    case UInt8(ascii: "u"):
      guard let unit = cursor.fourDigits(text) else { return false }
      guard unit >= 0xD800, unit <= 0xDFFF, !takesLoneSurrogates else { return true }
      guard unit <= 0xDBFF, cursor.take(text, UInt8(ascii: "\\")),
        cursor.take(text, UInt8(ascii: "u")),
        let low = cursor.fourDigits(text)
      else { return false }
      return low >= 0xDC00 && low <= 0xDFFF
    default:
      return false
    }
  }
}
