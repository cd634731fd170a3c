import Policy
import Primitives

/// Names a connection until it was closed; never used twice. A call with an id that is no longer known
/// is ignored: the driver and the core can cross.
public struct ConnectionID: Hashable, Sendable {
  public let rawValue: UInt64
  init(slot: Int, generation: UInt32) { rawValue = UInt64(generation) << 32 | UInt64(slot) }
  var slot: Int { Int(rawValue & 0xFFFF_FFFF) }
  var generation: UInt32 { UInt32(rawValue >> 32) }
}

/// Names one lookup until it was answered; never used twice.
public struct ResolutionID: Hashable, Sendable {
  public let rawValue: UInt64
  init(slot: Int, generation: UInt32) { rawValue = UInt64(generation) << 32 | UInt64(slot) }
  var slot: Int { Int(rawValue & 0xFFFF_FFFF) }
  var generation: UInt32 { UInt32(rawValue >> 32) }
}

/// What the core wants of the network. After each call into the core the driver takes actions until
/// there are none.
public enum TransportAction: Equatable, Sendable {
  /// Look `host` up; answer with `resolved` or `resolutionFailed`.
  case resolve(ResolutionID, host: ByteString, port: UInt16)
  /// Establish TCP, and TLS with ALPN `h2` unless plain; answer with `connected` or `connectionFailed`.
  /// The core watches the time itself: a `close` can come before the answer.
  case connect(ConnectionID, address: SocketAddress, security: Security)
  /// There is output: write `withOutput`, then `consumeOutput`, until it is empty or the socket is full;
  /// go on by itself when the socket is writable again.
  case flush(ConnectionID)
  /// Close the socket. The id is forgotten, no answer is expected.
  case close(ConnectionID)
}

/// What kept a connection from being established, for the statistics.
public enum ConnectFailureKind: Sendable {
  /// TCP: refused, unreachable, reset.
  case transport
  /// TLS, but not the server's certificate: no common version, no `h2`, an alert.
  case tls
  /// The server's certificate: its issuer, its dates, its use.
  case certificate
  /// The server's certificate is for another name.
  case serverName
}
