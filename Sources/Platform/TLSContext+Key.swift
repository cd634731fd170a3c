import COpenSSL
import Primitives

/// The private key: a file, or an object of a token that an OpenSSL provider reaches.
extension TLSContext {
  func identify(certificate: ByteString, key: ByteString) throws(TLSError) {
    guard certificate.withCString({ SSL_CTX_use_certificate_chain_file(context, $0) }) == 1 else {
      throw TLSError(step: "certificate \(certificate.withoutSecrets)", part: .chain)
    }
    var asked: Int32 = 0
    let isLoaded = withUnsafeMutablePointer(to: &asked) { asked in
      spoke_SSL_CTX_refuse_passphrases(context, asked)
      defer { spoke_SSL_CTX_refuse_passphrases(context, nil) }
      return load(key, asked)
    }
    guard isLoaded else {
      var error = keyError(key, wasAsked: asked != 0)
      error.part = .key
      throw error
    }
    // `SSL_CTX_use_PrivateKey` has compared it with the certificate already; a key that cannot be
    // compared there is caught here.
    guard SSL_CTX_check_private_key(context) == 1 else {
      throw TLSError(
        step: "key \(key.withoutSecrets) with certificate \(certificate.description)", part: .key)
    }
  }

  private func load(_ key: ByteString, _ asked: UnsafeMutablePointer<Int32>) -> Bool {
    if !key.isStoreURI {
      return key.withCString { SSL_CTX_use_PrivateKey_file(context, $0, SSL_FILETYPE_PEM) } == 1
    }
    guard let loaded = key.withCString({ spoke_load_key_from_store($0, asked) }) else {
      return false
    }
    defer { EVP_PKEY_free(loaded) }
    return SSL_CTX_use_PrivateKey(context, loaded) == 1
  }

  private func keyError(_ key: ByteString, wasAsked: Bool) -> TLSError {
    let step = "key \(key.withoutSecrets)"
    if wasAsked {
      ERR_clear_error()
      if !key.isStoreURI { return TLSError("\(step): it has a passphrase, which is not supported") }
      return TLSError(
        "\(step): it needs a passphrase or a PIN, and nobody can be asked; "
          + "a pkcs11: URI names its PIN with pin-source")
    }
    guard key.isStoreURI else { return TLSError(step: step) }
    // The queue begins with loaders that did not feel responsible, the one for files being asked
    // first; its end tells of the right one.
    var isMissing = false
    var reason: String?
    while true {
      let code = ERR_peek_error()
      if code == 0 { break }
      isMissing = Self.isMissingLoader(code)
      if isMissing { _ = ERR_get_error() } else { reason = TLSError.reason(of: ERR_get_error()) }
    }
    if isMissing, key.scheme != "file" {
      return TLSError("\(step): \(Self.missingProvider(for: key.scheme))")
    }
    return TLSError("\(step): \(reason ?? "no private key is there")")
  }

  private static func isMissingLoader(_ code: UInt) -> Bool {
    ERR_GET_LIB(code) == ERR_LIB_OSSL_STORE
      && (ERR_GET_REASON(code) == OSSL_STORE_R_UNREGISTERED_SCHEME
        || ERR_GET_REASON(code) == storeUnsupported)
  }

  private static func missingProvider(for scheme: ByteString) -> String {
    let text = "no OpenSSL provider for \(scheme.description): URIs is active"
    if scheme == "pkcs11" { return "\(text): openssl.cnf must activate pkcs11-provider" }
    if scheme == "handle" { return "\(text): openssl.cnf must activate tpm2-openssl" }
    return "\(text) in openssl.cnf"
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

  /// Of a URI.
  var scheme: ByteString { ByteString(Array(bytes.prefix { $0 != UInt8(ascii: ":") })) }

  /// For a message: RFC 7512's `pin-value`, with which a URI may carry a PIN, is left out.
  var withoutSecrets: String {
    guard isStoreURI else { return description }
    let name = ByteString("pin-value=").bytes
    var shown: [UInt8] = []
    var index = 0
    while index < bytes.count {
      guard bytes[index...].starts(with: name) else {
        shown.append(bytes[index])
        index += 1
        continue
      }
      shown.append("pin-value=…")
      while index < bytes.count, bytes[index] != UInt8(ascii: "&"),
        bytes[index] != UInt8(ascii: ";")
      {
        index += 1
      }
    }
    return String(decoding: shown, as: UTF8.self)
  }
}

/// `ERR_R_UNSUPPORTED`, whose macro Swift does not import: no active provider has a loader.
private let storeUnsupported: Int32 = 268 | 0x80000
