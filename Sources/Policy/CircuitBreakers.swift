import Primitives

/// What a cluster has under way, as its breakers see it.
public struct ClusterLoad: Equatable, Sendable {
  public var connections: UInt32 = 0
  /// Requests that wait for a connection or for a stream.
  public var pending: UInt32 = 0
  /// Requests on a stream.
  public var active: UInt32 = 0
  /// Requests that wait for the end of their back-off.
  public var waiting: UInt32 = 0
  /// Retries that were scheduled and have not ended.
  public var retries: UInt32 = 0

  public init() {}
}

/// What a cluster has under way by routing priority: each priority has breakers of its own.
public struct ClusterLoads: Equatable, Sendable {
  public var normal = ClusterLoad()
  public var high = ClusterLoad()

  public init() {}

  @inline(__always)
  public subscript(priority: RoutingPriority) -> ClusterLoad {
    get { priority == .high ? high : normal }
    _modify { if priority == .high { yield &high } else { yield &normal } }
  }

  /// Of all priorities together.
  public var total: ClusterLoad {
    var sum = normal
    sum.connections += high.connections
    sum.pending += high.pending
    sum.active += high.active
    sum.waiting += high.waiting
    sum.retries += high.retries
    return sum
  }
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds`: a load at its maximum rejects the next one.
public struct CircuitBreakers: Equatable, Sendable {
  public var maxConnections: UInt32
  public var maxPendingRequests: UInt32
  public var maxRequests: UInt32
  public var maxRetries: UInt32
  /// Replaces `maxRetries`.
  public var retryBudget: RetryBudget?

  public init(
    maxConnections: UInt32 = 1024, maxPendingRequests: UInt32 = 1024, maxRequests: UInt32 = 1024,
    maxRetries: UInt32 = 3, retryBudget: RetryBudget? = nil
  ) {
    self.maxConnections = maxConnections
    self.maxPendingRequests = maxPendingRequests
    self.maxRequests = maxRequests
    self.maxRetries = maxRetries
    self.retryBudget = retryBudget
  }

  /// Whether one more connection may be opened.
  public func allowsConnection(_ load: ClusterLoad) -> Bool { load.connections < maxConnections }
  /// Whether one more request may wait for a connection or a stream.
  public func allowsPending(_ load: ClusterLoad) -> Bool { load.pending < maxPendingRequests }
  /// Whether one more request may go on a stream.
  public func allowsRequest(_ load: ClusterLoad) -> Bool { load.active < maxRequests }

  /// Whether one more retry may be scheduled. The request that would be retried is in none of the
  /// load's counts any more.
  public func allowsRetry(_ load: ClusterLoad) -> Bool {
    guard let retryBudget else { return load.retries < maxRetries }
    return load.retries < retryBudget.retries(for: load)
  }
}

/// `CircuitBreakers.Thresholds.RetryBudget`.
public struct RetryBudget: Equatable, Sendable {
  /// Hundredths of a percent of the requests under way that may be retries.
  public var basisPoints: UInt32
  public var minimumConcurrency: UInt32

  public init(basisPoints: UInt32 = 2000, minimumConcurrency: UInt32 = 3) {
    self.basisPoints = basisPoints
    self.minimumConcurrency = minimumConcurrency
  }

  /// How many retries may run at once. Requests in back-off and the proposed retry itself count as
  /// under way: without them the allowance of a device that is offline shrinks as failures park.
  public func retries(for load: ClusterLoad) -> UInt32 {
    let underWay = UInt64(load.active) + UInt64(load.pending) + UInt64(load.waiting) + 1
    let share = underWay * UInt64(basisPoints) / 10_000
    return max(UInt32(clamping: share), minimumConcurrency)
  }
}
