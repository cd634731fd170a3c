import Primitives

/// `UpstreamTlsContext` with everything it refers to: what a connection presents and what it demands.
/// A server that shows no certificate of these roots is never talked to.
public struct TLSPolicy: Equatable, Sendable {
  /// The SNI; empty: none is sent.
  public var serverName = ByteString()
  /// `auto_host_sni`: the endpoint's host name is the SNI, if it has one.
  public var usesHostAsServerName = false
  /// `auto_sni_san_validation`: the certificate must be for the SNI; `subjectNames` count only when none
  /// is sent.
  public var validatesServerName = false
  public var roots = TLSRoots.system
  /// Nil: no client certificate.
  public var identity: TLSIdentity?
  /// One of them must match one of the certificate's names; empty: any name will do.
  public var subjectNames: [SubjectNameMatcher] = []
  /// `verify_certificate_hash`: SHA-256 of the certificate, 32 octets each. Together with
  /// `publicKeyHashes`: one must match; both empty: none is needed.
  public var certificateHashes: [ByteString] = []
  /// `verify_certificate_spki`: SHA-256 of the public key's SubjectPublicKeyInfo.
  public var publicKeyHashes: [ByteString] = []
  public var minimum = TLSVersion.tls12
  public var maximum = TLSVersion.tls13
  /// `allow_expired_certificate`.
  public var allowsExpired = false
  /// `max_verify_depth`; nil: the library's.
  public var depthMax: UInt32?
  /// `max_session_keys` is above 0.
  public var resumes = true
  /// A number for what the cluster itself says of TLS, without the secrets that it names: policies of the
  /// same origin differ in a secret's contents.
  public var origin: UInt64 = 0

  public init() {}
}

/// Which authorities a server's certificate may come from.
public enum TLSRoots: Hashable, Sendable {
  /// The board's own.
  case system
  case source(TLSSource)
}

/// A certificate of our own, with its key.
public struct TLSIdentity: Hashable, Sendable {
  /// The certificate and its intermediates, PEM.
  public var chain: TLSSource
  public var key: TLSSource
  /// Of an encrypted key.
  public var password: TLSSource?

  public init(chain: TLSSource, key: TLSSource, password: TLSSource? = nil) {
    self.chain = chain
    self.key = key
    self.password = password
  }
}

/// What was pushed and can be wrong in itself: a key that is another certificate's, roots without a
/// certificate. Whoever has a TLS library can tell.
public enum TLSPart: Equatable, Sendable {
  case identity(TLSIdentity)
  case roots(TLSSource)
}

/// `envoy.config.core.v3.DataSource`.
public enum TLSSource: Hashable, Sendable {
  case inline(ByteString)
  case file(ByteString)
}

/// The versions that there are; older ones are never spoken.
public enum TLSVersion: UInt8, Sendable {
  case tls12
  case tls13
}
