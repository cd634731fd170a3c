/// An Internet address with a port, as a resolver gives it and a connection takes it.
public struct SocketAddress: Hashable, Sendable {
  /// The version of the Internet Protocol.
  public enum Family: UInt8, Sendable {
    case v4 = 4
    case v6 = 6
  }

  /// The octets in network order, IPv4 in the last four, as in RFC 4291 §2.5.5. They stand in the value:
  /// a cluster has hundreds of addresses, and an array of its own would triple each.
  private let high: UInt64
  private let low: UInt64
  /// The interface of a link-local IPv6 address (RFC 4007), otherwise 0.
  public var scope: UInt32
  public var port: UInt16
  public let family: Family

  /// Nil unless there are exactly 4 or 16 bytes, in network order.
  public init?(bytes: [UInt8], port: UInt16, scope: UInt32 = 0) {
    switch bytes.count {
    case 4: family = .v4
    case 16: family = .v6
    default: return nil
    }
    var halves: (UInt64, UInt64) = (0, 0)
    for byte in bytes { halves = (halves.0 << 8 | halves.1 >> 56, halves.1 << 8 | UInt64(byte)) }
    (high, low) = halves
    self.port = port
    self.scope = scope
  }

  /// An IPv4 address from its four numbers.
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, port: UInt16) {
    family = .v4
    high = 0
    low = UInt64(a) << 24 | UInt64(b) << 16 | UInt64(c) << 8 | UInt64(d)
    self.port = port
    scope = 0
  }

  /// Network order: 4 bytes for IPv4, 16 for IPv6.
  public var bytes: [UInt8] {
    var bytes: [UInt8] = []
    for index in 0..<(family == .v4 ? 4 : 16) { bytes.append(byte(index)) }
    return bytes
  }

  private func byte(_ index: Int) -> UInt8 {
    if family == .v4 { return UInt8(truncatingIfNeeded: low >> UInt64(24 - 8 * index)) }
    let half = index < 8 ? high : low
    return UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * (index % 8)))
  }

  /// `192.0.2.1:80` or `[2001:db8::1]:80`.
  public var description: String {
    switch family {
    case .v4: return "\(host):\(port)"
    case .v6: return "[\(host)]:\(port)"
    }
  }

  /// The address without its port, in the text form of RFC 5952.
  public var host: String {
    switch family {
    case .v4:
      return "\(byte(0)).\(byte(1)).\(byte(2)).\(byte(3))"
    case .v6:
      return scope == 0 ? groupsText() : "\(groupsText())%\(scope)"
    }
  }

  /// RFC 5952 §4.2: the longest run of two or more zero groups, the first of equals, becomes `::`.
  private func groupsText() -> String {
    let zeros = longestZeroRun()
    var text = ""
    var index = 0
    while index < 8 {
      if index == zeros.lowerBound, !zeros.isEmpty {
        text += "::"
        index = zeros.upperBound
        continue
      }
      if index > 0, index != zeros.upperBound || zeros.isEmpty { text += ":" }
      text += String(group(index), radix: 16)
      index += 1
    }
    return text
  }

  private func longestZeroRun() -> Range<Int> {
    var best = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, group(end) == 0 { end += 1 }
      if end - start > best.count, end - start >= 2 { best = start..<end }
      start = max(end, start + 1)
    }
    return best
  }

  private func group(_ index: Int) -> UInt16 {
    UInt16(byte(2 * index)) << 8 | UInt16(byte(2 * index + 1))
  }
}
