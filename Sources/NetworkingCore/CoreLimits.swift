import Primitives

/// The bounds of one core. Each table has its full size; none grows past it.
public struct CoreLimits: Equatable, Sendable {
  /// Connections of all clusters together, those included that are being opened or closed.
  public var connectionsMax = 8
  /// Requests from `submit` until their result was taken.
  public var requestsMax = 64
  /// Hedges and mirrors of requests at once. Those beyond it are left out.
  public var spareAttemptsMax = 16
  /// 64 of a control plane, and those of static targets and of the control plane's own servers.
  public var clustersMax = 80
  /// Endpoints of one cluster that its names are resolved to; further addresses are left out.
  public var endpointsMax = 256
  /// Addresses of one endpoint, tried one after the other; further ones of its name are left out.
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
