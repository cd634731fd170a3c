import COpenSSL
import Primitives

/// Certificates and keys that were pushed: they stand in memory and are never written anywhere.
extension TLSContext {
  /// Trusts the certificates of PEM text.
  func trust(text: ByteString) throws(TLSError) {
    let certificates = try PEM.certificates(text, "certificate authorities")
    defer { for certificate in certificates { X509_free(certificate) } }
    for certificate in certificates {
      guard X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1 else {
        throw TLSError(step: "certificate authorities")
      }
    }
  }

  func identify(_ identity: TLSOwnIdentity) throws(TLSError) {
    if case .file(let chain) = identity.chain, case .file(let key) = identity.key,
      identity.password == nil
    {
      return try identify(certificate: chain, key: key)
    }
    try show(try PEM.text(identity.chain))
    var password: ByteString?
    if let source = identity.password { password = try PEM.text(source) }
    let key = try PEM.key(try PEM.text(identity.key), password: password)
    defer { EVP_PKEY_free(key) }
    guard SSL_CTX_use_PrivateKey(context, key) == 1, SSL_CTX_check_private_key(context) == 1 else {
      throw TLSError(step: "private key with its certificate")
    }
  }

  /// The leaf and its intermediates.
  private func show(_ text: ByteString) throws(TLSError) {
    let certificates = try PEM.certificates(text, "certificate")
    defer { for certificate in certificates { X509_free(certificate) } }
    guard SSL_CTX_use_certificate(context, certificates[0]) == 1 else {
      throw TLSError(step: "certificate")
    }
    for certificate in certificates.dropFirst() {
      // A macro of OpenSSL (`SSL_CTX_add1_chain_cert`).
      let pointer = UnsafeMutableRawPointer(certificate)
      guard SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, pointer) == 1 else {
        throw TLSError(step: "certificate chain")
      }
    }
  }
}

/// PEM text (RFC 7468).
private enum PEM {
  static func text(_ source: TLSText) throws(TLSError) -> ByteString {
    switch source {
    case .memory(let text): return text
    case .file(let path):
      do throws(FileError) {
        return ByteString(try FileReader.contents(of: path, limit: fileBytesMax))
      } catch {
        throw TLSError(error.description)
      }
    }
  }

  /// At least one; the caller frees them.
  static func certificates(
    _ text: ByteString, _ step: StaticString
  ) throws(TLSError) -> [OpaquePointer] {
    ERR_clear_error()
    let found = reading(text, or: []) { memory -> [OpaquePointer] in
      var found: [OpaquePointer] = []
      while found.count < certificatesMax,
        let next = PEM_read_bio_X509(memory, nil, refusePassphrase, nil)
      {
        found.append(next)
      }
      return found
    }
    // The end of the text is an error to OpenSSL; any other is a certificate that cannot be read.
    let last = ERR_peek_last_error()
    guard found.isEmpty || last == 0 || ERR_GET_REASON(last) == PEM_R_NO_START_LINE else {
      for certificate in found { X509_free(certificate) }
      throw TLSError(step: step.text)
    }
    ERR_clear_error()
    guard !found.isEmpty else { throw TLSError("\(step.text): no certificate in PEM is there") }
    return found
  }

  static func key(
    _ text: ByteString, password: ByteString?
  ) throws(TLSError) -> OpaquePointer {
    var asked: Int32 = 0
    let key = reading(text, or: nil) { memory -> OpaquePointer? in
      guard let password else {
        return PEM_read_bio_PrivateKey(memory, nil, refusePassphrase, &asked)
      }
      return password.withCString { words in
        PEM_read_bio_PrivateKey(memory, nil, nil, UnsafeMutableRawPointer(mutating: words))
      }
    }
    guard let key else {
      // OpenSSL's reason is about formats; it says nothing of the key itself.
      ERR_clear_error()
      throw TLSError(
        asked == 0
          ? "private key: no private key in PEM is there, or its password is another"
          : "private key: it has a passphrase, and none was sent")
    }
    ERR_clear_error()
    return key
  }

  private static func reading<Found>(
    _ text: ByteString, or nothing: Found, _ body: (OpaquePointer) -> Found
  ) -> Found {
    text.bytes.withUnsafeBytes { bytes in
      guard let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else {
        return nothing
      }
      defer { BIO_free(memory) }
      return body(memory)
    }
  }
}

/// Answers a question for a passphrase with "no", and remembers that it was asked. Without it OpenSSL
/// would ask on the terminal.
private func refusePassphrase(
  _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ isWriting: Int32,
  _ asked: UnsafeMutableRawPointer?
) -> Int32 {
  asked?.storeBytes(of: 1, as: Int32.self)
  return -1
}

/// Certificates of one PEM text that are read.
private let certificatesMax = 256
/// Of a file with a certificate, a key or a password.
private let fileBytesMax = 256 * 1024
