import Primitives

/// One entry of a virtual host's `domains`. Host names are compared without regard to case; a port is
/// part of the name.
public enum DomainPattern: Equatable, Sendable {
  case exact(ByteString)
  /// `*.example.com`, `*-bar.example.com`: the part behind the asterisk.
  case suffix(ByteString)
  /// `example.*`: the part before the asterisk.
  case prefix(ByteString)
  case any

  /// Nil: empty, or an asterisk in the middle, or more than one.
  public init?(_ text: ByteString) {
    let bytes = text.bytes.map(lowercased)
    guard !bytes.isEmpty else { return nil }
    let asterisks = bytes.count { $0 == UInt8(ascii: "*") }
    switch (asterisks, bytes.first, bytes.last) {
    case (0, _, _): self = .exact(ByteString(bytes))
    case (1, _, _) where bytes.count == 1: self = .any
    case (1, UInt8(ascii: "*"), _): self = .suffix(ByteString([UInt8](bytes.dropFirst())))
    case (1, _, UInt8(ascii: "*")): self = .prefix(ByteString([UInt8](bytes.dropLast())))
    default: return nil
    }
  }
}

/// ASCII alone, as host names and schemes are compared.
func lowercased(_ byte: UInt8) -> UInt8 {
  (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
}
