import NetworkingCore
import Platform
import Primitives

/// One connection to an upstream, and what the loop knows of it.
final class UpstreamLink {
  let id: ConnectionID
  /// Names it among the loop's tokens.
  let number: UInt32
  let transport: Transport
  var registration: Registration?
  /// The last write left something behind.
  var hasOutput = false
  /// Our side has ended, the peer's may still talk: how long, and how much of it was dropped.
  var lingerEnd: Instant?
  var bytesDiscarded = 0

  init(id: ConnectionID, number: UInt32, transport: Transport) {
    self.id = id
    self.number = number
    self.transport = transport
  }
}
