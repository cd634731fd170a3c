extension Array where Element == UInt8 {
  /// Appends a number in decimal digits, without a `String` in between.
  @inline(never)
  public mutating func append(decimal number: UInt64) {
    var divisor: UInt64 = 1
    while number / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      append(0x30 + UInt8(number / divisor % 10))
      divisor /= 10
    }
  }

  /// Appends a constant's bytes.
  @inline(never)
  public mutating func append(text: StaticString) {
    let buffer = unsafe UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    unsafe append(contentsOf: buffer.span)
  }
}

/// A hexadecimal digit in lower case.
public func hexadecimalDigit(_ value: UInt8) -> UInt8 {
  value < 10 ? 0x30 + value : 0x57 + value
}

/// The value of a hexadecimal digit in either case; nil for any other character.
public func hexadecimalValue(_ digit: UInt8) -> UInt8? {
  switch digit {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
  case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
  case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
  default: nil
  }
}

/// Well-formed UTF-8 byte sequences (Unicode, table 3-7; RFC 3629 §4).
public enum UTF8Sequence {
  /// The length of the sequence that starts at `index` with a byte of 0x80 or above; 0 when it is
  /// not well-formed.
  public static func length(at index: Int, of bytes: Span<UInt8>) -> Int {
    let (length, isValid) = scan(bytes, at: index)
    return isValid ? length : 0
  }

  /// The same, and for what is not well-formed the length that one U+FFFD stands for ("maximal
  /// subpart", Unicode §3.9): at least 1.
  public static func scan(
    _ bytes: Span<UInt8>, at index: Int
  ) -> (length: Int, isValid: Bool) {
    let count: Int
    // The second byte's range keeps out overlong forms, surrogates and what is above U+10FFFF.
    var low: UInt8 = 0x80
    var high: UInt8 = 0xBF
    switch bytes[index] {
    case 0xC2...0xDF: count = 2
    case 0xE0: (count, low) = (3, 0xA0)
    case 0xED: (count, high) = (3, 0x9F)
    case 0xE1...0xEF: count = 3
    case 0xF0: (count, low) = (4, 0x90)
    case 0xF1...0xF3: count = 4
    case 0xF4: (count, high) = (4, 0x8F)
    default: return (1, false)
    }
    var length = 1
    while length < count, index + length < bytes.count {
      let byte = bytes[index + length]
      guard byte >= low, byte <= high else { return (length, false) }
      (low, high) = (0x80, 0xBF)
      length += 1
    }
    return (length, length == count)
  }

  /// Appends the sequence at `index`, or U+FFFD for what is not well-formed; answers how many bytes
  /// of `bytes` that was.
  public static func append(
    _ bytes: Span<UInt8>, at index: Int, to text: inout [UInt8]
  ) -> Int {
    let (length, isValid) = bytes[index] < 0x80 ? (1, true) : scan(bytes, at: index)
    if isValid {
      text.append(contentsOf: bytes.extracting(index..<index + length))
    } else {
      text.append(0xEF)
      text.append(0xBF)
      text.append(0xBD)
    }
    return length
  }

  /// Appends text; each part of it that is not well-formed becomes U+FFFD.
  public static func append(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    if isWellFormed(bytes) { return text.append(contentsOf: bytes) }
    var index = 0
    while index < bytes.count { index += append(bytes, at: index, to: &text) }
  }

  /// Whether all of it is UTF-8.
  public static func isWellFormed(_ bytes: Span<UInt8>) -> Bool {
    var index = 0
    while index < bytes.count {
      guard bytes[index] >= 0x80 else {
        index += 1
        continue
      }
      let length = length(at: index, of: bytes)
      guard length > 0 else { return false }
      index += length
    }
    return true
  }
}
