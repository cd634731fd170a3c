import Primitives

/// The bounds of one core. Each table has its full size; none grows past it.
public struct CoreLimits: Equatable, Sendable {
  /// Connections of all clusters together, those included that are being opened or closed.
  public var connectionsMax = 8
  /// Requests from `submit` until their result was taken.
  public var requestsMax = 64
  public var clustersMax = 16
  /// Addresses kept of one cluster; further ones of a resolution are left out.
  public var addressesMax = 16
  /// Header fields and bodies of all requests together.
  public var requestBytesMax = 512 * 1024
  /// One response's body. It is counted and discarded, so this bounds traffic, not memory.
  public var responseBytesMax: UInt64 = 1 << 20
  /// Long-lived streams, which are requests too.
  public var streamsMax = 4
  /// Received bytes that the peer may have under way per stream; credit is given back at once, for a
  /// long-lived stream when they are taken.
  public var streamWindowBytes: UInt32 = 64 * 1024
  /// Unsent bytes that a connection holds before bodies wait in their requests.
  public var outputBytesMax = 64 * 1024

  public init() {}

  /// What a peer may send on one stream: until it has acknowledged our SETTINGS the default window
  /// holds (RFC 9113 §6.9.2).
  var streamBufferBytes: Int { max(Int(streamWindowBytes), 65_535) }
}
