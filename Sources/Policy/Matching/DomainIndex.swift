import Primitives

/// Where the domains of a route configuration lead, so that a request finds its virtual host in a time
/// that depends on the length of its authority alone. A hash table of all patterns, with linear probing:
/// a slot holds the pattern's hash and its place.
struct DomainIndex: Equatable, Sendable {
  /// A domain of a virtual host.
  struct Place: Equatable, Sendable {
    var host: Int
    var domain: Int
  }
  /// `hash << 32 | (host << 16 | domain) + 1`; 0: free. Twice as many as patterns, a power of two.
  private var slots: [UInt64] = []
  private var hasSuffixes = false
  private var hasPrefixes = false
  /// The virtual host with `*`.
  private(set) var anyHost: Place?
  /// The first pattern that was there before.
  private(set) var duplicate: Place?

  init() {}

  init(_ hosts: [VirtualHost]) {
    precondition(hosts.count <= 65_536, "DomainIndex: too many virtual hosts")
    var count = 0
    for host in hosts { count += host.domains.count }
    var size = 4
    while size < 2 * count { size *= 2 }
    slots = [UInt64](repeating: 0, count: size)
    for host in hosts.indices {
      for domain in hosts[host].domains.indices {
        insert(Place(host: host, domain: domain), hosts)
      }
    }
  }

  private mutating func insert(_ place: Place, _ hosts: [VirtualHost]) {
    let pattern = hosts[place.host].domains[place.domain]
    var hash = pattern.hashSeed
    switch pattern {
    case .any:
      if anyHost != nil { noteDuplicate(place) } else { anyHost = place }
      return
    case .exact(let text): for byte in text.bytes { mix(byte, into: &hash) }
    case .prefix(let text):
      hasPrefixes = true
      for byte in text.bytes { mix(byte, into: &hash) }
    case .suffix(let text):
      hasSuffixes = true
      for byte in text.bytes.reversed() { mix(byte, into: &hash) }
    }
    var slot = start(hash)
    while slots[slot] != 0 {
      let other = self.place(slots[slot])
      if hosts[other.host].domains[other.domain] == pattern { return noteDuplicate(place) }
      slot = (slot + 1) & (slots.count - 1)
    }
    slots[slot] = UInt64(hash) << 32 | UInt64(place.host) << 16 | UInt64(place.domain) + 1
  }

  private mutating func noteDuplicate(_ place: Place) {
    if duplicate == nil { duplicate = place }
  }

  private func place(_ slot: UInt64) -> Place {
    let number = UInt32(truncatingIfNeeded: slot) - 1
    return Place(host: Int(number >> 16), domain: Int(number & 0xFFFF))
  }

  /// Where the probing begins. A hash is not a number of every `Int`: that has 32 bits on some boards.
  private func start(_ hash: UInt32) -> Int { Int(hash & UInt32(slots.count - 1)) }

  /// The domain that an authority belongs to, over all virtual hosts: exactly, else by the longest
  /// suffix, else by the longest prefix, else `*`. `end`: the authority's end without its port.
  func find(_ authority: [UInt8], end: Int, _ hosts: [VirtualHost]) -> Place? {
    guard !slots.isEmpty else { return nil }
    var hash = DomainPattern.exactSeed
    for index in 0..<end { mix(lowercased(authority[index]), into: &hash) }
    if let place = probe(hash, authority, 0..<end, hosts, kind: 3) { return place }
    var best: Place?
    if hasSuffixes, end > 1 {
      hash = DomainPattern.suffixSeed
      // The first byte is the asterisk's, which stands for one at least.
      for index in (1..<end).reversed() {
        mix(lowercased(authority[index]), into: &hash)
        best = probe(hash, authority, index..<end, hosts, kind: 2) ?? best
      }
    }
    if best == nil, hasPrefixes, end > 1 {
      hash = DomainPattern.prefixSeed
      for index in 0..<end - 1 {
        mix(lowercased(authority[index]), into: &hash)
        best = probe(hash, authority, 0..<index + 1, hosts, kind: 1) ?? best
      }
    }
    return best ?? anyHost
  }

  private func probe(
    _ hash: UInt32, _ authority: [UInt8], _ range: Range<Int>, _ hosts: [VirtualHost], kind: UInt8
  ) -> Place? {
    var slot = start(hash)
    while slots[slot] != 0 {
      if slots[slot] >> 32 == UInt64(hash) {
        let place = place(slots[slot])
        if hosts[place.host].domains[place.domain].equals(authority, range, kind: kind) {
          return place
        }
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }
}

/// One step of FNV-1a.
@inline(__always)
private func mix(_ byte: UInt8, into hash: inout UInt32) {
  hash = (hash ^ UInt32(byte)) &* 16_777_619
}

extension DomainPattern {
  static let exactSeed: UInt32 = 2_166_136_261
  static let suffixSeed: UInt32 = 0x9E37_79B9
  static let prefixSeed: UInt32 = 0x7F4A_7C15

  fileprivate var hashSeed: UInt32 {
    switch self {
    case .exact, .any: Self.exactSeed
    case .suffix: Self.suffixSeed
    case .prefix: Self.prefixSeed
    }
  }

  /// Whether the pattern is of that kind and its text is that part of the authority.
  fileprivate func equals(_ authority: [UInt8], _ range: Range<Int>, kind: UInt8) -> Bool {
    let text: ByteString
    switch (self, kind) {
    case (.exact(let name), 3), (.suffix(let name), 2), (.prefix(let name), 1): text = name
    default: return false
    }
    guard text.count == range.count else { return false }
    for index in range
    where lowercased(authority[index]) != text.bytes[index - range.lowerBound] {
      return false
    }
    return true
  }

  /// As it is written in a configuration, in lower case.
  public var text: ByteString {
    switch self {
    case .exact(let name): name
    case .suffix(let name): ByteString([UInt8(ascii: "*")] + name.bytes)
    case .prefix(let name): ByteString(name.bytes + [UInt8(ascii: "*")])
    case .any: "*"
    }
  }
}

/// Where an authority's port begins, with its colon; its end without one. The colons of an IPv6 address
/// stand in brackets (RFC 3986 §3.2.2).
func portStart(_ authority: [UInt8]) -> Int {
  for index in authority.indices.reversed() {
    switch authority[index] {
    case UInt8(ascii: ":"): return index
    case UInt8(ascii: "]"): return authority.count
    default: break
    }
  }
  return authority.count
}
