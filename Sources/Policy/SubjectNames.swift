import Primitives

/// A name that a certificate is for (`subjectAltName`, RFC 5280 §4.2.1.6).
public struct SubjectName: Equatable, Sendable {
  /// `SanType`.
  public enum Kind: UInt8, Sendable {
    case email
    case dns
    case uri
    /// Written as an address, IPv6 as RFC 5952 has it.
    case address
  }
  public var kind: Kind
  public var value: ByteString

  public init(kind: Kind, value: ByteString) {
    self.kind = kind
    self.value = value
  }
}

/// `SubjectAltNameMatcher`: matched against each of the certificate's names of its kind.
public struct SubjectNameMatcher: Equatable, Sendable {
  /// Nil: of every kind (`match_subject_alt_names`, which is deprecated).
  public var kind: SubjectName.Kind?
  public var text: StringMatcher

  public init(kind: SubjectName.Kind?, text: StringMatcher) {
    self.kind = kind
    self.text = text
  }

  /// Whether the certificate's name is one that is expected. An exact DNS name is compared as RFC 6125
  /// §6.4 says: without regard to case, and the certificate's first label may be `*`.
  public func matches(_ name: SubjectName) -> Bool {
    guard kind == nil || kind == name.kind else { return false }
    if name.kind == .dns, case .exact(let expected) = text.pattern {
      return Self.covers(name.value.bytes, expected.bytes)
    }
    return text.matches(name.value)
  }

  private static func covers(_ pattern: [UInt8], _ host: [UInt8]) -> Bool {
    if same(pattern[...], host[...]) { return true }
    let dot = UInt8(ascii: ".")
    guard pattern.count > 2, pattern[0] == UInt8(ascii: "*"), pattern[1] == dot,
      let end = host.firstIndex(of: dot), end > 0
    else { return false }
    return same(pattern[1...], host[end...])
  }

  private static func same(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    for (left, right) in zip(left, right) where lowercased(left) != lowercased(right) {
      return false
    }
    return true
  }
}

extension TLSPolicy {
  /// Whether a certificate with these names may answer. A server that cannot be told from another one of
  /// the same authority is only accepted when the policy asks for no name at all.
  public func accepts(_ names: [SubjectName]) -> Bool {
    let matchers = expectedNames
    if matchers.isEmpty { return !validatesServerName }
    for matcher in matchers where names.contains(where: { matcher.matches($0) }) { return true }
    return false
  }

  private var expectedNames: [SubjectNameMatcher] {
    guard validatesServerName, !serverName.isEmpty else { return subjectNames }
    let isAddress = SocketAddress(literal: serverName, port: 0) != nil
    return [
      SubjectNameMatcher(
        kind: isAddress ? .address : .dns, text: StringMatcher(.exact(serverName)))
    ]
  }
}
