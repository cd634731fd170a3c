import Policy
import Primitives

extension NetworkingCore {
  /// Later requests follow `snapshot`; those under way keep the route and the cluster that they were
  /// given, even when both are gone.
  public mutating func apply(_ snapshot: PolicySnapshot, now: Instant) {
    advance(to: now)
    self.snapshot = snapshot
    clusterSlots.removeAll(keepingCapacity: true)
    clustersLeftOut = 0
    for slot in clusters.indices { clusters[slot].isCurrent = false }
    // First those that are there already: a new one must not take the place of an old one's state.
    for cluster in snapshot.clusters {
      let slot = clusters.firstIndex {
        $0.isUsed && $0.configuration.name == cluster.name
      }
      clusterSlots.append(slot ?? -1)
      if let slot { update(slot, cluster) }
    }
    for slot in clusters.indices where clusters[slot].isUsed && !clusters[slot].isCurrent {
      retireCluster(slot)
    }
    for index in snapshot.clusters.indices where clusterSlots[index] < 0 {
      clusterSlots[index] = add(snapshot.clusters[index]) ?? -1
      if clusterSlots[index] < 0 { clustersLeftOut += 1 }
    }
    applyRuntime()
    for slot in clusters.indices where clusters[slot].isUsed { servePending(slot) }
  }

  /// Looked up once: a request asks no table of keys.
  private mutating func applyRuntime() {
    let runtime = snapshot.runtime
    retryShare = runtime.share(
      RuntimeFraction(FractionalPercent(numerator: 100), key: "upstream.use_retry"))
    let base = runtime.integer("upstream.base_retry_backoff_ms", otherwise: 25)
    let kept = Interval.milliseconds(Int64(min(base, baseBackOffMillisecondsMax)))
    defaultBackOff = BackOff(base: kept, maximum: Interval(nanoseconds: kept.nanoseconds * 10))
    for slot in clusters.indices where clusters[slot].isCurrent {
      let key = "upstream.maintenance_mode." + clusters[slot].configuration.name
      clusters[slot].maintenance = runtime.share(
        RuntimeFraction(FractionalPercent(numerator: 0), key: key))
    }
  }

  private mutating func add(_ cluster: Cluster) -> Int? {
    guard let slot = freeSlot() else { return nil }
    clusters[slot] = ClusterSlot()
    clusters[slot].isUsed = true
    clusters[slot].isCurrent = true
    clusters[slot].configuration = cluster
    clusters[slot].overloads = cluster.discovery.drops
    switch cluster.discovery {
    case .endpoints(let members): setMembers(slot, members)
    case .dns(let dns): setNames(slot, dns, from: nil)
    }
    return slot
  }

  /// The table grows with the number of clusters, up to its limit: what is not there need not be
  /// searched.
  private mutating func freeSlot() -> Int? {
    if let slot = clusters.firstIndex(where: { !$0.isUsed }) { return slot }
    guard clusters.count < limits.clustersMax else { return nil }
    clusters.append(ClusterSlot())
    return clusters.count - 1
  }

  /// Most clusters of a new snapshot share their memory with the one before, which a comparison sees
  /// without looking at every endpoint.
  private mutating func update(_ slot: Int, _ cluster: Cluster) {
    clusters[slot].isCurrent = true
    let old = clusters[slot].configuration
    guard old != cluster else { return }
    if old.reportsLoad != cluster.reportsLoad || old.serviceName != cluster.serviceName {
      restartTally(slot)
    }
    clusters[slot].configuration = cluster
    clusters[slot].overloads = cluster.discovery.drops
    if old.discovery != cluster.discovery || old.balancing != cluster.balancing {
      updateMembers(slot, cluster, from: old)
    }
    if old.keepAlive != cluster.keepAlive { clusters[slot].keepAliveDoublings = 0 }
    // A connection that was made under another identity must not carry later requests.
    if !cluster.security.continues(old.security) {
      retireConnections(slot, endpointsOutside: [])
    }
  }

  private mutating func updateMembers(_ slot: Int, _ cluster: Cluster, from old: Cluster) {
    switch (cluster.discovery, old.discovery) {
    case (.endpoints(let members), _):
      clusters[slot].resolutions = []
      clusters[slot].patience = .never
      setMembers(slot, members)
    case (.dns(let dns), .dns(let before)):
      setNames(slot, dns, from: before)
    case (.dns(let dns), .endpoints):
      setNames(slot, dns, from: nil)
    }
  }

  /// A cluster that is no longer wanted closes its connections with its last request, and gives its
  /// place up with its last connection.
  mutating func retireCluster(_ slot: Int) {
    guard isAbandoned(slot) else { return }
    if isConnected(slot) { retireConnections(slot, endpointsOutside: []) }
    // Closing the last connection may have come back here and done it already.
    guard isAbandoned(slot), !isConnected(slot) else { return }
    keepTally(slot)
    clusters[slot] = ClusterSlot()
    guard clustersLeftOut > 0, let index = clusterSlots.firstIndex(of: -1) else { return }
    clustersLeftOut -= 1
    clusterSlots[index] = add(snapshot.clusters[index]) ?? -1
    applyRuntime()
  }

  private func isAbandoned(_ slot: Int) -> Bool {
    clusters[slot].isUsed && !clusters[slot].isCurrent && clusters[slot].requests == 0
  }

  private func isConnected(_ cluster: Int) -> Bool {
    for slot in connections.indices
    where connections[slot].phase != .free && connections[slot].cluster == cluster {
      return true
    }
    return false
  }

  /// After a change of the network: endpoints and names that failed may be tried at once.
  public mutating func forgetFailures(now: Instant) {
    advance(to: now)
    for slot in clusters.indices where clusters[slot].isUsed {
      for name in clusters[slot].resolutions.indices {
        clusters[slot].resolutions[name].notBefore = self.now
        clusters[slot].resolutions[name].failures = 0
      }
      for index in clusters[slot].endpoints.indices {
        clusters[slot].endpoints[index].failures = 0
        clusters[slot].endpoints[index].notBefore = self.now
      }
      servePending(slot)
    }
  }
}

/// Longer than any sensible `upstream.base_retry_backoff_ms`, and far from what an interval holds.
private let baseBackOffMillisecondsMax: UInt64 = 86_400_000
