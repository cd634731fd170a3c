/// Base64 with the ordinary alphabet and padding (RFC 4648 §4).
public enum Base64 {
  /// The characters that `count` bytes become.
  public static func length(of count: Int) -> Int { (count + 2) / 3 * 4 }

  /// Appends the characters of `bytes`.
  public static func append(_ bytes: Span<UInt8>, to text: inout [UInt8]) {
    text.append(addingCapacity: length(of: bytes.count)) { free in
      var index = 0
      while index < bytes.count {
        let left = bytes.count - index
        var group = UInt32(bytes[index]) << 16
        if left > 1 { group |= UInt32(bytes[index + 1]) << 8 }
        if left > 2 { group |= UInt32(bytes[index + 2]) }
        free.append(character(group >> 18))
        free.append(character(group >> 12))
        free.append(left > 1 ? character(group >> 6) : UInt8(ascii: "="))
        free.append(left > 2 ? character(group) : UInt8(ascii: "="))
        index += 3
      }
    }
  }

  private static func character(_ bits: UInt32) -> UInt8 {
    let value = UInt8(truncatingIfNeeded: bits & 63)
    switch value {
    case 0..<26: return UInt8(ascii: "A") + value
    case 26..<52: return UInt8(ascii: "a") + value - 26
    case 52..<62: return UInt8(ascii: "0") + value - 52
    case 62: return UInt8(ascii: "+")
    default: return UInt8(ascii: "/")
    }
  }
}
