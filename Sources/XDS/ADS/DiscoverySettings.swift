import Primitives

/// How resources are asked for.
public enum DiscoveryTransport: Sendable {
  /// `StreamAggregatedResources`: each request lists all names, each response whole resources.
  case stateOfTheWorld
  /// `DeltaAggregatedResources`: requests and responses carry differences.
  case incremental

  /// The `:path` of the stream.
  public var path: StaticString {
    switch self {
    case .stateOfTheWorld:
      "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
    case .incremental:
      "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    }
  }
}

/// What the configuration decides of discovery.
public struct DiscoverySettings: Sendable {
  public var transport = DiscoveryTransport.stateOfTheWorld
  /// The primary one and its fallbacks, 1 to `DiscoveryLimits.serversMax`.
  public var servers = 1
  /// How long a resource that was asked for may stay away before it counts as not existing.
  /// Zero: for ever.
  public var fetchTimeout = Interval.seconds(15)
  /// A resource that the server deletes, or does not find, stays in force.
  public var keepDeleted = false
  /// A resource that is refused, or whose server answers with an error of its data, goes out of force
  /// (gRFC A88, `fail_on_data_errors`).
  public var failsOnDataErrors = false
  /// The fetch timeout is the server's trouble, not the resource's absence (gRFC A88,
  /// `resource_timer_is_transient_error`); it then takes twice as long.
  public var fetchTimeoutIsTransient = false
  /// Falls back although all resources are known (gRFC A95, `fallback_on_reachability_only`).
  public var fallsBackOnReachabilityOnly = false

  public init() {}
}

/// What became of a resource that the owner looked into.
public enum DiscoveryVerdict: Equatable, Sendable {
  /// It is in force from now on. `staleAfter`: without an update it goes out of force after this
  /// time (`endpoint_stale_after`); zero: never.
  case accepted(staleAfter: Interval)
  /// It is refused: which of its fields, and why. The resource's name is added here.
  case rejected(ByteString)
}

/// A resource that awaits its verdict.
public struct DiscoveryCandidate: Sendable {
  public let type: ResourceType
  public let name: ByteString
  /// The whole response; `value` is the place of the resource in it.
  public let message: [UInt8]
  public let value: Range<Int>
}

/// What the client wants of its owner. After each call into the client the owner takes actions until
/// there are none.
public enum DiscoveryAction: Equatable, Sendable {
  /// Open a stream of the transport's path to a server; answer with `streamOpened` once its request
  /// can be written, or with `streamClosed`.
  case open(stream: UInt32, server: Int)
  /// Write a message.
  case send(stream: UInt32, message: [UInt8])
  /// Reset the stream. It is forgotten, no answer is expected.
  case close(stream: UInt32)
  /// Look into `candidate`, and answer with `submitVerdict`. What is accepted is in force; the owner
  /// keeps its decoded form.
  case validate(ResourceType, ByteString)
  /// All resources of a response have their verdict: put what was accepted in force, subscribe to
  /// what it names, then `resume`. Until then no other message is taken.
  case applied(ResourceType)
  /// A value that came before it was subscribed to, from the cache, a file or a wildcard, is in
  /// `store`; `discard` it when it is of no use.
  case available(ResourceType, ByteString)
  /// The resource has no value in force any more, or never will; `store` has the state that says why.
  case removed(ResourceType, ByteString)
  /// Something went wrong with the resource; a value that was in force stays so.
  case failed(ResourceType, ByteString)
  /// A server could not be reached, or answered nothing. What has no value has to wait: its
  /// requests are answered as if the service were unavailable, whatever the server's status was.
  case unreachable(server: Int)
}

/// What happened, counted.
public struct DiscoveryCounters: Equatable, Sendable {
  /// Streams that were opened, and that ended.
  public internal(set) var streamsOpened: UInt64 = 0
  public internal(set) var streamsLost: UInt64 = 0
  /// Responses that were accepted in full, and those in which something was refused.
  public internal(set) var accepted: UInt64 = 0
  public internal(set) var rejected: UInt64 = 0
  /// Messages that are not responses at all; each ends its stream.
  public internal(set) var malformed: UInt64 = 0
  /// Responses of a type that is unknown or was not asked for.
  public internal(set) var ignoredResponses: UInt64 = 0
  /// Resources that were not asked for.
  public internal(set) var ignoredResources: UInt64 = 0
  /// Resources of a response that were the same as before.
  public internal(set) var unchanged: UInt64 = 0
  /// Resources that did not come within the fetch timeout.
  public internal(set) var timeouts: UInt64 = 0
  /// Resources whose time to live was over.
  public internal(set) var expired: UInt64 = 0
  /// Resources that the server deleted.
  public internal(set) var deleted: UInt64 = 0
  /// Names that were not subscribed to, because there was no room for them.
  public internal(set) var refusedNames: UInt64 = 0
}

/// What happened to the resources of one type, counted.
public struct TypeCounters: Equatable, Sendable {
  /// Responses that were accepted in full, and those in which something was refused.
  public internal(set) var accepted: UInt64 = 0
  public internal(set) var rejected: UInt64 = 0
  /// Resources that did not come within the fetch timeout.
  public internal(set) var timeouts: UInt64 = 0
}
