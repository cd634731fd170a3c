import COpenSSL
import Primitives

/// Why TLS did not come about: the step, and the reason in words. Never key material.
public struct TLSError: Error, Sendable {
  public let description: String

  init(_ description: String) { self.description = description }

  /// The step with OpenSSL's own reason, which it takes off the error queue.
  init(step: String) {
    self.init("\(step): \(TLSError.queuedReason() ?? "no reason given")")
  }

  /// The oldest queued reason, which is the nearest to the cause. Empties the queue, so that no
  /// later call finds it.
  static func queuedReason() -> String? {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0 else { return nil }
    if let reason = ERR_reason_error_string(code) { return String(cString: reason) }
    return "error \(String(code, radix: 16))"
  }
}

/// What a group of connections shares: whom they trust, who they are, and which TLS they accept.
/// Verification cannot be turned off.
public final class TLSContext {
  /// The oldest version that is spoken.
  public enum Version: Sendable {
    case tls12
    case tls13
  }

  /// Owned; sessions keep their own reference.
  let context: OpaquePointer
  /// Becomes 1 when OpenSSL asks for a passphrase.
  private let asked: UnsafeMutablePointer<Int32>

  /// `authorities` empty: the system's roots. `certificate` empty: no client certificate, else a
  /// file with the whole chain, leaf first. `key` is a file or an OSSL_STORE URI.
  public init(
    authorities: ByteString, certificate: ByteString, key: ByteString, minimum: Version
  ) throws(TLSError) {
    ERR_clear_error()
    guard let context = SSL_CTX_new(TLS_client_method()) else {
      throw TLSError(step: "TLS context")
    }
    self.context = context
    asked = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
    asked.initialize(to: 0)
    spoke_SSL_CTX_refuse_passphrases(context, asked)
    try restrict(to: minimum)
    try trust(authorities)
    if !certificate.isEmpty || !key.isEmpty { try identify(certificate: certificate, key: key) }
  }

  deinit {
    SSL_CTX_free(context)
    asked.deallocate()
  }

  private func restrict(to minimum: Version) throws(TLSError) {
    let version = minimum == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION
    guard spoke_SSL_CTX_set_min_proto_version(context, version) == 1,
      // RFC 9113 §9.2.2 forbids what is not ephemeral and AEAD. TLS 1.3 has nothing else.
      SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
    else { throw TLSError(step: "TLS versions and ciphers") }
    spoke_SSL_CTX_set_modes(context)
    spoke_SSL_CTX_set_strict_options(context)
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
  }

  private func trust(_ authorities: ByteString) throws(TLSError) {
    if authorities.isEmpty {
      guard SSL_CTX_set_default_verify_paths(context) == 1 else {
        throw TLSError(step: "the system's certificate authorities")
      }
      return
    }
    guard authorities.withCString({ SSL_CTX_load_verify_file(context, $0) }) == 1 else {
      throw TLSError(step: "certificate authorities \(authorities.description)")
    }
  }

  private func identify(certificate: ByteString, key: ByteString) throws(TLSError) {
    guard certificate.withCString({ SSL_CTX_use_certificate_chain_file(context, $0) }) == 1 else {
      throw TLSError(step: "certificate \(certificate.description)")
    }
    guard loadKey(key) else {
      if asked.pointee != 0 {
        ERR_clear_error()
        throw TLSError("key \(key.description): it has a passphrase, which is not supported")
      }
      throw TLSError(step: "key \(key.description)")
    }
    guard SSL_CTX_check_private_key(context) == 1 else {
      throw TLSError(step: "key \(key.description) with certificate \(certificate.description)")
    }
  }

  private func loadKey(_ key: ByteString) -> Bool {
    if !key.isStoreURI {
      return key.withCString { SSL_CTX_use_PrivateKey_file(context, $0, SSL_FILETYPE_PEM) } == 1
    }
    guard let loaded = key.withCString({ spoke_load_key_from_store($0) }) else { return false }
    defer { EVP_PKEY_free(loaded) }
    return SSL_CTX_use_PrivateKey(context, loaded) == 1
  }
}

extension ByteString {
  /// `scheme:…` without a slash before the colon (RFC 3986 §3.1); everything else is a file.
  var isStoreURI: Bool {
    for (index, byte) in bytes.enumerated() {
      switch byte {
      case UInt8(ascii: ":"): return index > 1
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): continue
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"):
        if index == 0 { return false }
      case UInt8(ascii: "."):
        if index == 0 { return false }
      default: return false
      }
    }
    return false
  }
}
