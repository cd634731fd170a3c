import COpenSSL
import Primitives

/// Why TLS did not come about: the step, and the reason in words. Never key material.
public struct TLSError: Error, Sendable {
  /// What failed.
  public enum Kind: Sendable {
    /// The server's certificate does not hold.
    case certificate
    /// The server's certificate is for another name.
    case serverName
    case other
  }

  /// Which of the files of a context is at fault.
  public enum Part: Sendable { case authorities, chain, key }

  public let description: String
  public let kind: Kind
  /// Nil: none of them, or it is not known.
  public internal(set) var part: Part?

  init(_ description: String, kind: Kind = .other, part: Part? = nil) {
    self.description = description
    self.kind = kind
    self.part = part
  }

  /// There is nothing that could be done.
  public init(_ reason: ByteString) { self.init(reason.description) }

  /// The step with OpenSSL's own reason, which it takes off the error queue.
  init(step: String, part: Part? = nil) {
    self.init("\(step): \(TLSError.queuedReason() ?? "no reason given")", part: part)
  }

  /// The oldest queued reason, which is the nearest to the cause. Empties the queue, so that no
  /// later call finds it.
  static func queuedReason() -> String? {
    let code = ERR_get_error()
    ERR_clear_error()
    return code == 0 ? nil : reason(of: code)
  }

  static func reason(of code: UInt) -> String {
    if ERR_GET_LIB(code) == ERR_LIB_SYS {
      return SystemError("file", ERR_GET_REASON(code)).reason
    }
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
  /// To resume at the next connection. They go with the context: whoever reads certificates and keys
  /// anew begins anew.
  let sessions = TLSSessionStore()
  /// Of the verification that has failed last.
  var refusal: CertificateRefusal?
  /// What a control plane demands beyond an authority's signature.
  let demands: TLSDemands
  /// For a library that makes its sessions itself: the name to send instead of what it would send;
  /// empty for none at all.
  var serverNameToSend: ByteString?

  /// What all others begin with: it trusts nobody and has no identity.
  private init(bare demands: TLSDemands) throws(TLSError) {
    ERR_clear_error()
    guard let context = SSL_CTX_new(TLS_client_method()) else {
      throw TLSError(step: "TLS context")
    }
    self.context = context
    self.demands = demands
    spoke_SSL_CTX_refuse_passphrases(context, nil)
    SSL_CTX_set_ex_data(context, appData, Unmanaged.passUnretained(self).toOpaque())
  }

  /// `authorities` empty: the system's roots. `certificate` empty: no client certificate, else a
  /// file with the whole chain, leaf first. `key` is a file or an OSSL_STORE URI.
  public convenience init(
    authorities: ByteString, certificate: ByteString, key: ByteString, minimum: Version
  ) throws(TLSError) {
    let refusals = TLSMemory.refusals
    try self.init(bare: TLSDemands())
    try restrict(to: minimum)
    try trust(authorities)
    if !certificate.isEmpty || !key.isEmpty { try identify(certificate: certificate, key: key) }
    try TLSMemory.requireAll(since: refusals)
  }

  /// Of an identity alone, to see whether it fits together. It trusts nobody: the system's roots would take
  /// memory for nothing.
  public convenience init(of identity: TLSOwnIdentity) throws(TLSError) {
    let refusals = TLSMemory.refusals
    try self.init(bare: TLSDemands())
    try identify(identity)
    try TLSMemory.requireAll(since: refusals)
  }

  /// As a control plane wants it, its certificates and keys from memory or from files.
  public convenience init(_ material: TLSMaterial, _ demands: TLSDemands) throws(TLSError) {
    let refusals = TLSMemory.refusals
    try self.init(bare: demands)
    try restrict(to: demands.minimum)
    if demands.maximum == .tls12 {
      // A macro of OpenSSL (`SSL_CTX_set_max_proto_version`).
      let latest = Int(TLS1_2_VERSION)
      guard SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, latest, nil) == 1 else {
        throw TLSError(step: "TLS versions")
      }
    }
    if let depth = demands.depthMax { SSL_CTX_set_verify_depth(context, depth) }
    switch material.roots {
    case nil: try trust("")
    case .file(let path): try trust(path)
    case .memory(let text): try trust(text: text)
    }
    if let identity = material.identity { try identify(identity) }
    try TLSMemory.requireAll(since: refusals)
  }

  deinit {
    SSL_CTX_set_ex_data(context, appData, nil)
    SSL_CTX_free(context)
  }

  private func restrict(to minimum: Version) throws(TLSError) {
    let version = minimum == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION
    guard spoke_SSL_CTX_set_min_proto_version(context, version) == 1,
      // RFC 9113 §9.2.2 forbids what is not ephemeral and AEAD. TLS 1.3 has nothing else.
      SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
    else { throw TLSError(step: "TLS versions and ciphers") }
    spoke_SSL_CTX_set_modes(context)
    spoke_SSL_CTX_set_strict_options(context)
    spoke_SSL_CTX_set_small_buffers(context, sentFragmentBytes)
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { accepted, store in
      guard let store else { return 0 }
      return TLSContext.judge(accepted, store)
    }
    SSL_CTX_sess_set_new_cb(context) { session, resumable in
      if let session, let resumable { TLSSession.of(session)?.keep(resumable) }
      return 0
    }
  }

  private func trust(_ authorities: ByteString) throws(TLSError) {
    if authorities.isEmpty {
      guard SSL_CTX_set_default_verify_paths(context) == 1 else {
        throw TLSError(step: "the system's certificate authorities")
      }
      return
    }
    guard authorities.withCString({ SSL_CTX_load_verify_file(context, $0) }) == 1 else {
      throw TLSError(
        step: "certificate authorities \(authorities.withoutSecrets)", part: .authorities)
    }
  }

  /// Within a verification: OpenSSL's own verdict on one certificate, to which demands add.
  private static func judge(_ accepted: Int32, _ store: OpaquePointer) -> Int32 {
    let index = SSL_get_ex_data_X509_STORE_CTX_idx()
    guard let session = X509_STORE_CTX_get_ex_data(store, index),
      let context = of(session: OpaquePointer(session))
    else { return accepted }
    if accepted != 1 {
      if context.demands.forgives(X509_STORE_CTX_get_error(store)) {
        X509_STORE_CTX_set_error(store, X509_V_OK)
        return 1
      }
      context.refusal = CertificateRefusal(store)
      return accepted
    }
    // The server's own comes last, when its chain holds.
    guard X509_STORE_CTX_get_error_depth(store) == 0,
      let certificate = X509_STORE_CTX_get_current_cert(store),
      let owner = TLSSession.of(OpaquePointer(session))
    else { return 1 }
    guard let refusal = owner.judge(certificate) else { return 1 }
    X509_STORE_CTX_set_error(store, refusal.code)
    context.refusal = refusal
    return 0
  }

  /// The context that a session belongs to; nil when it is gone already.
  static func of(session: OpaquePointer) -> TLSContext? {
    guard let context = SSL_get_SSL_CTX(session), let owner = SSL_CTX_get_ex_data(context, appData)
    else { return nil }
    return Unmanaged<TLSContext>.fromOpaque(owner).takeUnretainedValue()
  }

  /// The context's own certificates, leaf first; none without a client certificate.
  public func chain() -> [CertificateDetails] {
    details { spoke_chain_certificate(context, $0) }
  }

  /// The authorities that it trusts, as far as they were read: the system's are read when they are
  /// needed.
  public func authorities() -> [CertificateDetails] {
    details { spoke_authority_certificate(context, $0) }
  }

  private func details(_ certificate: (Int32) -> OpaquePointer?) -> [CertificateDetails] {
    var found: [CertificateDetails] = []
    while found.count < certificatesListedMax, let next = certificate(Int32(found.count)) {
      found.append(CertificateDetails(next))
    }
    return found
  }
}

/// The place in OpenSSL's objects that is the application's (`SSL_get_app_data`).
let appData: Int32 = 0
/// Certificates of a file that are listed. A distribution's whole bundle has 150.
private let certificatesListedMax = 256
/// What one record of ours holds at most: the buffer of a connection that waits to write is as large.
private let sentFragmentBytes: Int32 = 8 * 1024
