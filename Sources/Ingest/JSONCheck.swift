import Primitives

/// Says whether bytes are one JSON text (RFC 8259), in the state of a few words: which of the open
/// containers are objects is a bit each, so that `FramingLimits.jsonDepthMax` may be 64 at most.
struct JSONCheck: ~Copyable {
  private var index = 0
  private var depth = 0
  private var objects: UInt64 = 0

  /// Whether `text` is one JSON text, in UTF-8, at most `FramingLimits.jsonDepthMax` levels deep.
  static func accepts(_ text: Span<UInt8>) -> Bool {
    var check = JSONCheck()
    return check.run(text)
  }

  private mutating func run(_ text: Span<UInt8>) -> Bool {
    while true {
      // A value is due: containers open until there is a scalar or an empty container.
      skipSpace(text)
      guard let isClosed = value(text) else { return false }
      guard isClosed else { continue }
      // A value ended: so may the containers around it.
      while true {
        skipSpace(text)
        if depth == 0 { return index == text.count }
        if take(text, UInt8(ascii: ",")) {
          if isInObject {
            guard name(text) else { return false }
          }
          break
        }
        guard take(text, isInObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else { return false }
        close()
      }
    }
  }

  private var isInObject: Bool { objects & 1 == 1 }

  private mutating func open(isObject: Bool) {
    depth += 1
    objects = objects << 1 | (isObject ? 1 : 0)
  }

  private mutating func close() {
    depth -= 1
    objects >>= 1
  }

  /// Whether the value is complete: a container that is not empty is only open. Nil: it is none.
  private mutating func value(_ text: Span<UInt8>) -> Bool? {
    guard index < text.count else { return nil }
    switch text[index] {
    case UInt8(ascii: "{"):
      guard depth < FramingLimits.jsonDepthMax else { return nil }
      index += 1
      skipSpace(text)
      if take(text, UInt8(ascii: "}")) { return true }
      open(isObject: true)
      return name(text) ? false : nil
    case UInt8(ascii: "["):
      guard depth < FramingLimits.jsonDepthMax else { return nil }
      index += 1
      skipSpace(text)
      if take(text, UInt8(ascii: "]")) { return true }
      open(isObject: false)
      return false
    case UInt8(ascii: "\""): return string(text) ? true : nil
    case UInt8(ascii: "t"): return word(text, "true") ? true : nil
    case UInt8(ascii: "f"): return word(text, "false") ? true : nil
    case UInt8(ascii: "n"): return word(text, "null") ? true : nil
    default: return number(text) ? true : nil
    }
  }

  /// A member's name and its colon.
  private mutating func name(_ text: Span<UInt8>) -> Bool {
    skipSpace(text)
    guard string(text) else { return false }
    skipSpace(text)
    return take(text, UInt8(ascii: ":"))
  }

  private mutating func string(_ text: Span<UInt8>) -> Bool {
    guard take(text, UInt8(ascii: "\"")) else { return false }
    while index < text.count {
      let byte = text[index]
      index += 1
      if byte == UInt8(ascii: "\"") { return true }
      if byte < 0x20 { return false }
      if byte >= 0x80 {
        let length = UTF8Sequence.length(at: index - 1, of: text)
        guard length > 0 else { return false }
        index += length - 1
      }
      guard byte == UInt8(ascii: "\\") else { continue }
      guard index < text.count else { return false }
      let escaped = text[index]
      index += 1
      switch escaped {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
        UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
        continue
      case UInt8(ascii: "u"):
        for _ in 0..<4 {
          guard index < text.count, hexadecimalValue(text[index]) != nil else { return false }
          index += 1
        }
      default: return false
      }
    }
    return false
  }

  private mutating func number(_ text: Span<UInt8>) -> Bool {
    _ = take(text, UInt8(ascii: "-"))
    let isZero = take(text, UInt8(ascii: "0"))
    if !isZero && !digits(text) { return false }
    if take(text, UInt8(ascii: ".")) && !digits(text) { return false }
    if take(text, UInt8(ascii: "e")) || take(text, UInt8(ascii: "E")) {
      if !take(text, UInt8(ascii: "+")) { _ = take(text, UInt8(ascii: "-")) }
      return digits(text)
    }
    return true
  }

  private mutating func digits(_ text: Span<UInt8>) -> Bool {
    let start = index
    while index < text.count && text[index] >= 0x30 && text[index] <= 0x39 { index += 1 }
    return index > start
  }

  private mutating func word(_ text: Span<UInt8>, _ word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard text.count - index >= count else { return false }
    for letter in 0..<count where unsafe text[index + letter] != word.utf8Start[letter] {
      return false
    }
    index += count
    return true
  }

  private mutating func take(_ text: Span<UInt8>, _ byte: UInt8) -> Bool {
    guard index < text.count && text[index] == byte else { return false }
    index += 1
    return true
  }

  private mutating func skipSpace(_ text: Span<UInt8>) {
    while index < text.count {
      switch text[index] {
      case 0x20, 0x09, 0x0A, 0x0D: index += 1
      default: return
      }
    }
  }
}
