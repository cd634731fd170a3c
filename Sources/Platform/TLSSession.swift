import CLinux
import COpenSSL
import Primitives

/// TLS over one connected socket, as a client that speaks HTTP/2. It reads and writes the socket's
/// descriptor itself and never waits.
public final class TLSSession {
  /// How far the handshake is.
  public enum Handshake: Equatable, Sendable {
    case done
    case blocked(Interest)
  }

  private let session: OpaquePointer
  private let context: TLSContext
  private let serverName: ByteString
  private let port: UInt16
  /// Sessions are neither kept nor offered while certificates are judged by another time than now.
  private let mayResume: Bool
  /// Whether a server with these names is the right one; nil: the name that is sent must be one.
  private let accepts: (([CertificateDetails.Name]) -> Bool)?
  /// The server's certificate was looked at.
  private var isJudged = false
  /// A session of an earlier connection was offered.
  private var hasOffered = false

  /// `serverName` is a DNS name or an address in numbers; the certificate must be for it.
  /// `verificationTime` (seconds since 1970) judges the certificates' dates instead of the wall
  /// clock, for a board whose clock is not set. `port` tells the servers of one name apart, whose
  /// sessions are kept; 0: no session is resumed or kept. With `accepts` the name is only sent, if it
  /// is not empty; all sessions of the context must then accept the same for the same name.
  public init(
    _ context: TLSContext, descriptor: Int32, serverName: ByteString, port: UInt16 = 0,
    verificationTime: Int64? = nil,
    accepts: (([CertificateDetails.Name]) -> Bool)? = nil
  ) throws(TLSError) {
    ERR_clear_error()
    guard let session = SSL_new(context.context) else { throw TLSError(step: "TLS session") }
    self.session = session
    self.context = context
    self.serverName = serverName
    self.port = port
    mayResume = port != 0 && verificationTime == nil && context.demands.resumes
    self.accepts = accepts
    SSL_set_ex_data(session, appData, Unmanaged.passUnretained(self).toOpaque())
    guard SSL_set_fd(session, descriptor) == 1 else { throw TLSError(step: "TLS session") }
    if accepts == nil { try expectName() } else { try sendName() }
    if let verificationTime {
      X509_VERIFY_PARAM_set_time(SSL_get0_param(session), time_t(clamping: verificationTime))
    }
    // RFC 7301 §3.1: each protocol with its length before it.
    let protocols: [UInt8] = [2, UInt8(ascii: "h"), UInt8(ascii: "2")]
    guard SSL_set_alpn_protos(session, protocols, UInt32(protocols.count)) == 0 else {
      throw TLSError(step: "ALPN")
    }
    SSL_set_connect_state(session)
    // One system call for all records that have come, into the buffer that is there for one.
    SSL_set_read_ahead(session, 1)
    if mayResume { offerSession() }
  }

  deinit {
    SSL_set_ex_data(session, appData, nil)
    SSL_free(session)
  }

  static func of(_ session: OpaquePointer) -> TLSSession? {
    guard let owner = SSL_get_ex_data(session, appData) else { return nil }
    return Unmanaged<TLSSession>.fromOpaque(owner).takeUnretainedValue()
  }

  /// The server gave a session for later.
  func keep(_ resumable: OpaquePointer) {
    if mayResume { context.sessions.keep(resumable, name: serverName, port: port) }
  }

  private func offerSession() {
    let now = SystemClocks.wall().nanoseconds / 1_000_000_000
    guard let kept = context.sessions.take(name: serverName, port: port, now: now) else { return }
    defer { context.sessions.release(kept) }
    // A session that does not fit is not offered: the handshake is a full one.
    hasOffered = SSL_set_session(session, kept) == 1
    ERR_clear_error()
  }

  /// Whether the handshake went on with an earlier connection's session.
  public var isResumed: Bool { SSL_session_reused(session) == 1 }

  /// SNI carries names only (RFC 6066 §3); an address is compared with the certificate's addresses.
  private func expectName() throws(TLSError) {
    let isAddress = SocketAddress(numeric: serverName, port: 0) != nil
    let accepted: Bool
    if isAddress {
      accepted =
        serverName.withCString { X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), $0) } == 1
    } else {
      SSL_set_hostflags(session, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
      accepted =
        !serverName.isEmpty
        && serverName.withCString { SSL_set1_host(session, $0) } == 1
        && serverName.withCString { spoke_SSL_set_server_name(session, $0) } == 1
    }
    if !accepted { throw TLSError(step: "server name \(serverName.description)") }
  }

  /// Who is meant, for a server that has several names. What is demanded stands elsewhere.
  private func sendName() throws(TLSError) {
    guard !serverName.isEmpty, SocketAddress(numeric: serverName, port: 0) == nil else { return }
    guard serverName.withCString({ spoke_SSL_set_server_name(session, $0) }) == 1 else {
      throw TLSError(step: "server name \(serverName.description)")
    }
  }

  /// The server's own certificate, whose chain holds. Nil: it is the right one.
  func judge(_ certificate: OpaquePointer) -> CertificateRefusal? {
    isJudged = true
    guard context.demands.isPinned(certificate) else {
      return CertificateRefusal(
        X509_V_ERR_APPLICATION_VERIFICATION, "the certificate is none of those that are pinned")
    }
    guard let accepts, !accepts(CertificateDetails.exactNames(of: certificate)) else { return nil }
    return CertificateRefusal(misnamed: certificate)
  }

  /// One step. Call again when the socket is ready for what it is blocked on. An error is final.
  public func handshake() throws(TLSError) -> Handshake {
    ERR_clear_error()
    context.refusal = nil
    let result = SSL_do_handshake(session)
    if result == 1 {
      // Sessions that are resumed were judged when they began.
      guard isJudged || isResumed else {
        throw TLSError("\(step): the server's certificate was not verified", kind: .certificate)
      }
      try requireHTTP2()
      return .done
    }
    switch SSL_get_error(session, result) {
    case SSL_ERROR_WANT_READ: return .blocked(.readable)
    case SSL_ERROR_WANT_WRITE: return .blocked(.writable)
    case let failure: throw handshakeError(failure)
    }
  }

  private var step: String {
    "TLS handshake with \(serverName.isEmpty ? "the server" : serverName.description)"
  }

  private func handshakeError(_ failure: Int32) -> TLSError {
    // The next attempt is a full handshake, lest a server that cannot resume is never reached.
    if hasOffered { context.sessions.forget(name: serverName, port: port) }
    guard let refusal = context.refusal else { return error(step, failure) }
    ERR_clear_error()
    return TLSError(
      "\(step): certificate verify failed: \(refusal.description)",
      kind: refusal.isName ? .serverName : .certificate)
  }

  private func requireHTTP2() throws(TLSError) {
    var selected: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    SSL_get0_alpn_selected(session, &selected, &count)
    guard let selected, count == 2, selected[0] == UInt8(ascii: "h"),
      selected[1] == UInt8(ascii: "2")
    else {
      throw TLSError(
        "\(step): the server did not select HTTP/2 (ALPN h2)")
    }
  }

  /// Fills `buffer`, all of which is scratch, from its start. Read until it is blocked: bytes that
  /// OpenSSL has already decrypted do not make the socket readable again.
  public func read(into buffer: inout [UInt8]) throws(TLSError) -> Transfer {
    ERR_clear_error()
    let limit = Int32(clamping: buffer.count)
    let result = buffer.withUnsafeMutableBytes { SSL_read(session, $0.baseAddress, limit) }
    if result > 0 { return .bytes(Int(result)) }
    return try outcome(of: "TLS read from", result)
  }

  /// Writes part or all of `bytes`. After `blocked`, the next call must begin with the same bytes
  /// and have no fewer: OpenSSL has a record of them half sent. An output queue that only grows at
  /// its end does that by itself.
  public func write(_ bytes: Span<UInt8>) throws(TLSError) -> Transfer {
    if bytes.isEmpty { return .bytes(0) }
    ERR_clear_error()
    let result = bytes.withUnsafeBytes {
      SSL_write(session, $0.baseAddress, Int32(clamping: $0.count))
    }
    if result > 0 { return .bytes(Int(result)) }
    return try outcome(of: "TLS write to", result)
  }

  /// Whether `read` may have bytes without the socket being readable.
  public var hasPendingBytes: Bool { SSL_has_pending(session) == 1 }

  /// Sends close_notify, as far as the socket takes it. The peer's is not waited for: HTTP/2 says
  /// its own end (GOAWAY).
  public func shutDown() {
    ERR_clear_error()
    _ = SSL_shutdown(session)
    ERR_clear_error()
  }

  /// `TLSv1.3`.
  public var version: String { String(cString: SSL_get_version(session)) }

  private func outcome(of step: StaticString, _ result: Int32) throws(TLSError) -> Transfer {
    switch SSL_get_error(session, result) {
    case SSL_ERROR_WANT_READ: return .blocked(.readable)
    case SSL_ERROR_WANT_WRITE: return .blocked(.writable)
    case SSL_ERROR_ZERO_RETURN: return .ended
    case let failure: throw error("\(step.text) \(serverName.description)", failure)
    }
  }

  private func error(_ step: String, _ failure: Int32) -> TLSError {
    let code = spoke_errno()
    if failure == SSL_ERROR_SYSCALL, ERR_peek_error() == 0 {
      let reason =
        code == 0 ? "the connection was closed" : SystemError("socket", code).reason
      return TLSError("\(step): \(reason)")
    }
    return TLSError(step: step)
  }
}
