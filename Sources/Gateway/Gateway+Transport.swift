import NetworkingCore
import Primitives
import Spool

/// What the driver reports of the network goes straight to the networking core.
extension Gateway where Storage: ~Copyable {
  /// Answers `.resolve`; an empty list is a failure, a nil `ttl` that the answer had none.
  public mutating func resolved(
    _ id: ResolutionID, _ addresses: [SocketAddress], ttl: Interval?, now: Instant
  ) {
    core.resolved(id, addresses, ttl: ttl, now: now)
  }

  /// Answers `.resolve`: the lookup failed; addresses known from before stay.
  public mutating func resolutionFailed(_ id: ResolutionID, now: Instant) {
    core.resolutionFailed(id, now: now)
  }

  /// TCP is established, TLS not yet.
  public mutating func tcpConnected(_ id: ConnectionID, now: Instant) {
    core.tcpConnected(id, now: now)
  }

  /// TCP and TLS are established, the peer speaks `h2`. `isResumed`: TLS went on with the session of
  /// an earlier connection.
  public mutating func connected(_ id: ConnectionID, isResumed: Bool = false, now: Instant) {
    core.connected(id, isResumed: isResumed, now: now)
  }

  /// Answers `.connect`; the driver has closed the socket. `reason` is for a person.
  public mutating func connectionFailed(
    _ id: ConnectionID, _ reason: String, kind: ConnectFailureKind = .transport, now: Instant
  ) {
    core.connectionFailed(id, ByteString(reason), kind: kind, now: now)
  }

  /// Bytes the peer sent on a connection, after TLS.
  public mutating func received(_ id: ConnectionID, _ bytes: Span<UInt8>, now: Instant) {
    core.received(id, bytes, now: now)
  }

  /// The connection is gone; the driver has closed the socket.
  public mutating func disconnected(_ id: ConnectionID, _ reason: String, now: Instant) {
    core.disconnected(id, ByteString(reason), now: now)
  }

  /// What waits to be written to a connection, oldest byte first.
  public mutating func withOutput<R>(_ id: ConnectionID, _ body: (Span<UInt8>) -> R) -> R {
    core.withOutput(id, body)
  }

  /// `count` bytes of the output were written at `now`.
  public mutating func consumeOutput(_ id: ConnectionID, _ count: Int, now: Instant) {
    core.consumeOutput(id, count, now: now)
  }

  /// Writes down now what waits for its commit.
  public mutating func commit(clocks: Clocks) {
    spool.commit(clocks: clocks)
    settleSources()
  }
}
