import COpenSSL
import Primitives

/// PEM text, or the file that has it.
public enum TLSText: Equatable, Sendable {
  case memory(ByteString)
  case file(ByteString)
}

/// A certificate of our own with its key.
public struct TLSOwnIdentity: Equatable, Sendable {
  /// Leaf first.
  public var chain: TLSText
  public var key: TLSText
  /// Of a key that is encrypted.
  public var password: TLSText?

  public init(chain: TLSText, key: TLSText, password: TLSText? = nil) {
    self.chain = chain
    self.key = key
    self.password = password
  }
}

/// Whom a context trusts and who it is.
public struct TLSMaterial: Equatable, Sendable {
  /// Nil: the system's.
  public var roots: TLSText?
  public var identity: TLSOwnIdentity?

  public init(roots: TLSText?, identity: TLSOwnIdentity? = nil) {
    self.roots = roots
    self.identity = identity
  }
}

/// What is demanded of a server beyond an authority's signature, and what is forgiven.
public struct TLSDemands: Equatable, Sendable {
  public var minimum = TLSContext.Version.tls12
  public var maximum = TLSContext.Version.tls13
  /// SHA-256 of its certificate, or of its public key: one of them must match, if there are any.
  public var certificateHashes: [ByteString] = []
  public var publicKeyHashes: [ByteString] = []
  /// Dates do not count.
  public var allowsExpired = false
  /// Certificates between the server's own and a root; nil: OpenSSL's limit.
  public var depthMax: Int32?
  /// Sessions are kept and resumed.
  public var resumes = true

  public init() {}

  /// Whether a verification goes on in spite of this error.
  func forgives(_ code: Int32) -> Bool {
    allowsExpired
      && (code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID)
  }

  /// Whether the certificate is one of those that are pinned.
  func isPinned(_ certificate: OpaquePointer) -> Bool {
    if certificateHashes.isEmpty, publicKeyHashes.isEmpty { return true }
    var digest = [UInt8](repeating: 0, count: sha256Bytes)
    var count: UInt32 = 0
    if !certificateHashes.isEmpty, X509_digest(certificate, EVP_sha256(), &digest, &count) == 1,
      certificateHashes.contains(ByteString(digest))
    {
      return true
    }
    guard !publicKeyHashes.isEmpty else { return false }
    // RFC 5280 §4.1.2.7: SubjectPublicKeyInfo, as DER.
    var bytes: UnsafeMutablePointer<UInt8>?
    let length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &bytes)
    defer { CRYPTO_free(bytes, nil, 0) }
    return length > 0
      && EVP_Digest(bytes, Int(length), &digest, &count, EVP_sha256(), nil) == 1
      && publicKeyHashes.contains(ByteString(digest))
  }
}

private let sha256Bytes = 32
