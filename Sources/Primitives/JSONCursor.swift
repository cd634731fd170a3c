/// A place in a JSON text (RFC 8259) and the pieces that all who read one share. A step that fails
/// leaves the place where it got to: there is nothing to go on with.
struct JSONCursor {
  var offset = 0

  /// Steps over one byte if it is this one.
  mutating func take(_ text: Span<UInt8>, _ byte: UInt8) -> Bool {
    guard offset < text.count, text[offset] == byte else { return false }
    offset += 1
    return true
  }

  /// `true`, `false`, `null`.
  mutating func word(_ text: Span<UInt8>, _ word: StaticString) -> Bool {
    for index in 0..<word.utf8CodeUnitCount {
      guard unsafe take(text, word.utf8Start[index]) else { return false }
    }
    return true
  }

  mutating func skipSpace(_ text: Span<UInt8>) {
    while offset < text.count {
      switch text[offset] {
      case 0x20, 0x09, 0x0A, 0x0D: offset += 1
      default: return
      }
    }
  }

  /// RFC 8259 §6: no sign but a minus, no leading zero, digits on both sides of the point.
  mutating func number(_ text: Span<UInt8>) -> Bool {
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

  /// The code unit of `\u`.
  mutating func fourDigits(_ text: Span<UInt8>) -> UInt32? {
    guard text.count - offset >= 4 else { return nil }
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = hexadecimalValue(text[offset]) else { return nil }
      value = value << 4 | UInt32(digit)
      offset += 1
    }
    return value
  }
}
