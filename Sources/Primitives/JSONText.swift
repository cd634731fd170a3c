/// What stands between the quotes of a JSON string (RFC 8259 §7): quotes, backslashes and control
/// characters are escaped, all else is itself; what is not UTF-8 becomes U+FFFD.
public enum JSONText {
  /// The most bytes that one byte becomes: `\u001f`.
  public static let growthMax = 6

  /// Appends text without its quotes.
  public static func append(_ value: Span<UInt8>, to text: inout [UInt8]) {
    var index = 0
    while index < value.count {
      guard value[index] >= 0x80 else {
        escape(value[index], &text)
        index += 1
        continue
      }
      index += UTF8Sequence.append(value, at: index, to: &text)
    }
  }

  private static func escape(_ byte: UInt8, _ text: inout [UInt8]) {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"):
      text.append(UInt8(ascii: "\\"))
      text.append(byte)
    case UInt8(ascii: "\n"): text.append(text: "\\n")
    case UInt8(ascii: "\r"): text.append(text: "\\r")
    case UInt8(ascii: "\t"): text.append(text: "\\t")
    case 0..<0x20:
      text.append(text: "\\u00")
      text.append(UInt8(ascii: "0") + byte >> 4)
      text.append(hexadecimalDigit(byte & 15))
    default: text.append(byte)
    }
  }
}
