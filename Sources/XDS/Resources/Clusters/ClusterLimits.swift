import Primitives

/// Bounds of clusters, endpoints and secrets. What is above one of them is refused.
enum ClusterLimits {
  /// Of one cluster, in all its localities.
  static let endpointsMax = 256
  static let localitiesMax = 64
  /// `validate.rules` of `LocalityLbEndpoints.priority`.
  static let priorityMax: UInt32 = 128
  /// Of one endpoint.
  static let additionalAddressesMax = 8
  static let dropsMax = 32
  /// Nesting of `LoadBalancingPolicy` (gRPC A52).
  static let policyDepthMax = 16
  /// RFC 1035 §2.3.4.
  static let hostBytesMax = 255
  /// PEM of certificates and keys, of each source.
  static let pemBytesMax = 64 * 1024
  static let subjectNamesMax = 64
  static let hashesMax = 32
  /// Notes for a person, of one cluster.
  static let notesMax = 32
}

/// What the device can bear. A control plane may ask for less; what is above is lowered to these, and
/// said so.
public struct DeviceLimits: Equatable, Sendable {
  public var connectionsMax: UInt32 = 8
  /// Waiting and under way, each.
  public var requestsMax: UInt32 = 64
  public var streamWindowBytes: UInt32 = 64 * 1024
  public var headerTableBytes: UInt32 = 4096
  public var responseHeadersBytes: UInt32 = 16_384
  public var outputBytesMax: UInt32 = 64 * 1024
  /// A name is not looked up more often.
  public var refreshMin = Interval.seconds(5)

  public init() {}
}
