import COpenSSL
import Primitives

/// Sessions that servers gave for later: they make the next handshake with the same server shorter
/// by a round trip (TLS 1.2) and by the certificates. Serialised, so that what they hold is known.
final class TLSSessionStore {
  private struct Target {
    var name: ByteString
    var port: UInt16
    /// Newest last.
    var sessions: [Kept] = []
  }

  private struct Kept {
    var bytes: [UInt8]
    /// RFC 8446 §C.4: a ticket that is used twice lets an observer link two connections.
    var isSingleUse: Bool
    /// Seconds since 1970: the end of its lifetime, or of the certificate that it stands for.
    var validUntil: Int64
  }

  /// The one that was used last is last.
  private var targets: [Target] = []

  /// What the sessions hold, in bytes.
  var memory: Int {
    var sum = 0
    for target in targets {
      for session in target.sessions { sum += session.bytes.capacity }
    }
    return sum
  }

  /// Keeps a session, instead of the oldest one when there is no room. One that is too large is not
  /// kept: the next handshake is a full one.
  func keep(_ session: OpaquePointer, name: ByteString, port: UInt16) {
    guard SSL_SESSION_is_resumable(session) == 1, let kept = Self.serialised(session) else {
      return
    }
    var target = Target(name: name, port: port)
    if let place = place(name, port) {
      target = targets.remove(at: place)
    } else if targets.count == sessionTargetsMax {
      targets.removeFirst()
    }
    if !kept.isSingleUse { target.sessions.removeAll() }
    if target.sessions.count == sessionsPerTargetMax { target.sessions.removeFirst() }
    target.sessions.append(kept)
    targets.append(target)
  }

  /// Gives back what `take` gave.
  func release(_ session: OpaquePointer) { SSL_SESSION_free(session) }

  /// The newest session for a server, or nil. The caller releases it. `now`: seconds since 1970.
  func take(name: ByteString, port: UInt16, now: Int64) -> OpaquePointer? {
    guard let place = place(name, port) else { return nil }
    targets[place].sessions.removeEach { $0.validUntil <= now }
    guard let newest = targets[place].sessions.last else { return nil }
    if newest.isSingleUse { targets[place].sessions.removeLast() }
    return newest.bytes.withUnsafeBufferPointer { bytes in
      var start = bytes.baseAddress
      return d2i_SSL_SESSION(nil, &start, bytes.count)
    }
  }

  /// Forgets a server's sessions: a handshake that offered one has failed.
  func forget(name: ByteString, port: UInt16) {
    if let place = place(name, port) { targets.remove(at: place) }
  }

  private func place(_ name: ByteString, _ port: UInt16) -> Int? {
    targets.firstIndex { $0.name == name && $0.port == port }
  }

  private static func serialised(_ session: OpaquePointer) -> Kept? {
    let size = Int(i2d_SSL_SESSION(session, nil))
    guard size > 0, size <= sessionBytesMax else { return nil }
    var bytes = [UInt8](repeating: 0, count: size)
    let written = bytes.withUnsafeMutableBufferPointer { buffer in
      var start = buffer.baseAddress
      return Int(i2d_SSL_SESSION(session, &start))
    }
    precondition(written == size, "TLS: a session changed its size while it was written down")
    let begin = Int64(SSL_SESSION_get_time(session))
    var validUntil = begin + Int64(SSL_SESSION_get_timeout(session))
    if let peer = SSL_SESSION_get0_peer(session) {
      validUntil = min(validUntil, seconds(of: X509_get0_notAfter(peer)))
    }
    return Kept(
      bytes: bytes,
      isSingleUse: SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION,
      validUntil: validUntil)
  }
}

/// Servers of one context whose sessions are kept; a board has a handful of upstreams.
let sessionTargetsMax = 8
/// Servers send two tickets as a rule (RFC 8446 §C.4 suggests one for each connection).
let sessionsPerTargetMax = 2
/// A ticket with a client's certificate in it has 2 to 4 KiB.
let sessionBytesMax = 8 * 1024
