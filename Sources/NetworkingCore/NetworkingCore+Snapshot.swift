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
    guard let slot = clusters.firstIndex(where: { !$0.isUsed }) else { return nil }
    let generation = clusters[slot].resolution.generation
    clusters[slot] = ClusterSlot()
    clusters[slot].resolution.generation = generation
    clusters[slot].isUsed = true
    clusters[slot].isCurrent = true
    clusters[slot].configuration = cluster
    if case .endpoints(let members) = cluster.discovery { setEndpoints(slot, members.endpoints) }
    return slot
  }

  private mutating func update(_ slot: Int, _ cluster: Cluster) {
    clusters[slot].isCurrent = true
    let old = clusters[slot].configuration
    guard old != cluster else { return }
    clusters[slot].configuration = cluster
    switch cluster.discovery {
    case .endpoints(let members):
      setEndpoints(slot, members.endpoints)
    case .dns:
      if old.discovery != cluster.discovery { forgetName(slot) }
    }
    if old.keepAlive != cluster.keepAlive { clusters[slot].keepAliveDoublings = 0 }
    // A connection that was made under another identity must not carry later requests.
    if old.security != cluster.security { retireConnections(slot, endpointsOutside: []) }
  }

  /// The name is another one: its addresses, and an answer under way, mean nothing any more.
  private mutating func forgetName(_ slot: Int) {
    setEndpoints(slot, [])
    let generation = clusters[slot].resolution.generation
    clusters[slot].resolution = ResolutionState()
    clusters[slot].resolution.generation = generation
  }

  /// A cluster that is no longer wanted closes its connections with its last request, and gives its
  /// place up with its last connection.
  mutating func retireCluster(_ slot: Int) {
    guard isAbandoned(slot) else { return }
    if isConnected(slot) { retireConnections(slot, endpointsOutside: []) }
    // Closing the last connection may have come back here and done it already.
    guard isAbandoned(slot), !isConnected(slot) else { return }
    let generation = clusters[slot].resolution.generation
    clusters[slot] = ClusterSlot()
    clusters[slot].resolution.generation = generation
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
      clusters[slot].resolution.notBefore = self.now
      clusters[slot].resolution.failures = 0
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
