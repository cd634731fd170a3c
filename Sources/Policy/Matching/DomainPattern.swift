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

  /// How well the pattern matches; nil: it does not. Exact beats every suffix, the longer suffix the
  /// shorter, every suffix beats every prefix, `*` comes last. An asterisk stands for one character
  /// or more.
  func rank(of authority: ByteString) -> Rank? {
    let host = authority.bytes
    switch self {
    case .exact(let name):
      guard host.count == name.count, matches(host, at: 0, name.bytes) else { return nil }
      return Rank(kind: 3, length: host.count)
    case .suffix(let name):
      guard host.count > name.count, matches(host, at: host.count - name.count, name.bytes)
      else { return nil }
      return Rank(kind: 2, length: name.count)
    case .prefix(let name):
      guard host.count > name.count, matches(host, at: 0, name.bytes) else { return nil }
      return Rank(kind: 1, length: name.count)
    case .any:
      return Rank(kind: 0, length: 0)
    }
  }

  struct Rank: Comparable {
    var kind: UInt8
    var length: Int

    static func < (left: Rank, right: Rank) -> Bool {
      left.kind == right.kind ? left.length < right.length : left.kind < right.kind
    }
  }
}

/// Whether `host`, in lower case, has `name` at `offset`; `name` is in lower case and fits.
private func matches(_ host: [UInt8], at offset: Int, _ name: [UInt8]) -> Bool {
  for index in name.indices where lowercased(host[offset + index]) != name[index] { return false }
  return true
}

/// ASCII alone, as host names and schemes are compared.
func lowercased(_ byte: UInt8) -> UInt8 {
  (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
}
