import Policy
import Primitives

/// How a cluster's endpoints are chosen, and how many requests it bears.
extension ClusterDecoder {
  mutating func readBalancing() throws(ResourceRejection) {
    let common = try message.message(27, "common_lb_config")
    try readCommon(common)
    // The newer field replaces the older ones, those of `common_lb_config` about localities included.
    if let policy = try message.message(41, "load_balancing_policy") {
      guard try readPolicy(policy, depth: 1) else {
        throw message.rejection("load_balancing_policy", "none of its policies is supported")
      }
      return
    }
    let names: [StaticString] = [
      "ROUND_ROBIN", "LEAST_REQUEST", "RING_HASH", "RANDOM", "4", "MAGLEV", "CLUSTER_PROVIDED",
    ]
    let policy = try message.int32(6)
    guard policy == 0 else {
      let isNamed = policy > 0 && policy < names.count
      let name = isNamed ? ByteString(names[Int(policy)]).description : "\(policy)"
      throw message.rejection(
        "lb_policy",
        policy == 7 ? "no load_balancing_policy is there" : "\(name) is not supported")
    }
    if let round = try message.message(56, "round_robin_lb_config"), try round.has(1) {
      note("round_robin_lb_config.slow_start_config")
    }
    try readLocalities(common, zoneAware: 2, weighted: 3)
  }

  /// `CommonLbConfig`: 1 healthy_panic_threshold, 4 update_merge_window (nothing to merge: a snapshot is
  /// swapped as a whole), 5 ignore_new_hosts_until_first_hc, 6 close_connections_on_host_set_change.
  private mutating func readCommon(_ common: ResourceReader?) throws(ResourceRejection) {
    guard let common else { return }
    if let threshold = try common.percent(1, "healthy_panic_threshold") {
      resource.cluster.balancing.panicThreshold = (threshold + 50) / 100
    }
    _ = try common.duration(4, "update_merge_window")
    if try common.bool(5) { note("common_lb_config.ignore_new_hosts_until_first_hc") }
    if try common.bool(6) { note("common_lb_config.close_connections_on_host_set_change") }
  }

  /// `CommonLbConfig` and `LocalityLbConfig`: a oneof of zone-aware routing, which needs a cluster of the
  /// client's own kind to compare with and does nothing without, and of weights.
  private mutating func readLocalities(
    _ config: ResourceReader?, zoneAware: UInt32, weighted: UInt32
  ) throws(ResourceRejection) {
    guard let config else { return }
    let members = [zoneAware, weighted]
    let member = try config.member(members)
    resource.cluster.balancing.weighsLocalities = member == weighted
    if member == zoneAware,
      let zones = try config.message(zoneAware, "zone_aware_lb_config", among: members)
    {
      resource.cluster.balancing.failsInPanic = try zones.bool(3)
      note("zone_aware_lb_config")
    }
  }

  /// `LoadBalancingPolicy`: the first that is supported. False: none is.
  private mutating func readPolicy(
    _ list: ResourceReader, depth: Int
  ) throws(ResourceRejection) -> Bool {
    guard depth <= ClusterLimits.policyDepthMax else {
      throw list.rejection(
        "", "nested deeper than \(ClusterLimits.policyDepthMax) levels")
    }
    for policy in try list.messages(1, "policies") {
      guard let config = try policy.extensionConfig(4, "typed_extension_config")?.config else {
        throw policy.rejection("typed_extension_config", "missing")
      }
      if config.names("envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin") {
        if try config.message.has(1) { note("load_balancing_policy.slow_start_config") }
        let localities = try config.message.message(2, "locality_lb_config")
        try readLocalities(localities, zoneAware: 1, weighted: 2)
        return true
      }
      if config.names("envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality") {
        let members = try config.message.message(1, "endpoint_picking_policy")
        guard let members, try readPolicy(members, depth: depth + 1) else { continue }
        resource.cluster.balancing.weighsLocalities = true
        return true
      }
    }
    return false
  }

  // MARK: Circuit breakers

  /// `CircuitBreakers`: 1 thresholds, of which the first for a priority holds, 2 per_host_thresholds.
  mutating func readBreakers() throws(ResourceRejection) {
    guard let breakers = try message.message(10, "circuit_breakers") else { return }
    var isSet = [false, false]
    for thresholds in try breakers.messages(1, "thresholds") {
      let priority = try thresholds.int32(1)
      guard priority == 0 || priority == 1 else {
        throw thresholds.rejection("priority", "\(priority) is not one of its values")
      }
      guard !isSet[Int(priority)] else { continue }
      isSet[Int(priority)] = true
      let read = try self.breakers(thresholds)
      if priority == 0 {
        resource.cluster.circuitBreakers = read
      } else {
        resource.cluster.highPriorityBreakers = read
      }
    }
    for thresholds in try breakers.messages(2, "per_host_thresholds") {
      guard resource.cluster.perHostMaxConnections == nil,
        let most = try thresholds.wrappedUInt32(2, "max_connections")
      else { continue }
      guard most > 0 else { throw thresholds.rejection("max_connections", "0") }
      resource.cluster.perHostMaxConnections = most
    }
  }

  /// `Thresholds`: 2 max_connections, 3 max_pending_requests, 4 max_requests, 5 max_retries,
  /// 8 retry_budget, 7 max_connection_pools (there is one).
  private mutating func breakers(
    _ thresholds: ResourceReader
  ) throws(ResourceRejection) -> CircuitBreakers {
    var breakers = CircuitBreakers()
    let connections = try thresholds.wrappedUInt32(2, "max_connections")
    let pending = try thresholds.wrappedUInt32(3, "max_pending_requests")
    let requests = try thresholds.wrappedUInt32(4, "max_requests")
    breakers.maxConnections =
      clamp("max_connections", connections, limits.connectionsMax) ?? breakers.maxConnections
    breakers.maxPendingRequests =
      clamp("max_pending_requests", pending, limits.requestsMax) ?? breakers.maxPendingRequests
    breakers.maxRequests =
      clamp("max_requests", requests, limits.requestsMax) ?? breakers.maxRequests
    if let retries = try thresholds.wrappedUInt32(5, "max_retries") {
      breakers.maxRetries = retries
    }
    if let budget = try thresholds.message(8, "retry_budget") {
      let defaults = RetryBudget()
      breakers.retryBudget = RetryBudget(
        basisPoints: try budget.percent(1, "budget_percent") ?? defaults.basisPoints,
        minimumConcurrency: try budget.wrappedUInt32(2, "min_retry_concurrency")
          ?? defaults.minimumConcurrency)
    }
    return breakers
  }
}
