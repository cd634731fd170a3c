import Policy
import Primitives

/// Which endpoint serves the next attempt, and where endpoints come from.
extension NetworkingCore {
  enum EndpointChoice {
    /// A place in the cluster's endpoints.
    case endpoint(Int)
    /// The name is being resolved: wait.
    case resolving
    /// The name could not be resolved a moment ago.
    case unresolved
    /// The control plane gave no endpoints.
    case none
    /// Every endpoint failed a moment ago.
    case allFailing
  }

  /// Picks an endpoint. One of those in `tried` is passed over, up to `picks` times: then the last one
  /// is taken all the same (`previous_hosts`, `host_selection_retry_max_attempts`).
  mutating func chooseEndpoint(
    _ cluster: Int, avoiding tried: [UInt32], picks: Int
  ) -> EndpointChoice {
    var choice = chooseEndpoint(cluster)
    for _ in 0..<picks {
      guard case .endpoint(let index) = choice,
        tried.contains(clusters[cluster].endpoints[index].id)
      else { break }
      choice = chooseEndpoint(cluster)
    }
    return choice
  }

  mutating func chooseEndpoint(_ cluster: Int) -> EndpointChoice {
    if clusters[cluster].dns != nil, let choice = refreshName(cluster) { return choice }
    guard !clusters[cluster].endpoints.isEmpty else { return .none }
    if clusters[cluster].endpoints.count == 1 {
      return isEligible(cluster, 0) ? .endpoint(0) : .allFailing
    }
    // Picks read the table of connections while the balancer changes: it is taken out meanwhile.
    var balancer = clusters[cluster].balancer
    clusters[cluster].balancer = SmoothRoundRobin()
    let pick = balancer.next { isEligible(cluster, $0) }
    clusters[cluster].balancer = balancer
    return pick.map { .endpoint($0) } ?? .allFailing
  }

  /// An endpoint may be picked when it has a connection, or may be connected to.
  private func isEligible(_ cluster: Int, _ index: Int) -> Bool {
    clusters[cluster].endpoints[index].notBefore <= now
      || hasPromisingConnection(cluster, clusters[cluster].endpoints[index].id)
  }

  /// Starts a lookup when the last answer is too old. Nil: go on with the addresses that are known.
  private mutating func refreshName(_ cluster: Int) -> EndpointChoice? {
    let isEmpty = clusters[cluster].endpoints.isEmpty
    if let validUntil = clusters[cluster].resolution.validUntil, now < validUntil, !isEmpty {
      return nil
    }
    if !clusters[cluster].resolution.isUnderWay {
      guard clusters[cluster].resolution.notBefore <= now else {
        return isEmpty ? .unresolved : nil
      }
      startResolution(cluster)
    }
    let isOverdue = clusters[cluster].resolution.isOverdue
    if isEmpty { return isOverdue ? .unresolved : .resolving }
    // A connection that works serves while the name is looked up again; a new one should go to where
    // the name points now, so it waits for the answer, but not for long.
    let isServed = clusters[cluster].endpoints.contains {
      hasPromisingConnection(cluster, $0.id)
    }
    return isServed || isOverdue ? nil : .resolving
  }

  private mutating func startResolution(_ cluster: Int) {
    let isFirst = clusters[cluster].endpoints.isEmpty
    clusters[cluster].resolution.generation &+= 1
    clusters[cluster].resolution.isUnderWay = true
    clusters[cluster].resolution.wantsAction = true
    clusters[cluster].resolution.isOverdue = false
    clusters[cluster].resolution.patience =
      now + (isFirst ? firstResolutionPatience : resolutionPatience)
    clusters[cluster].statistics.resolutions += 1
    hasActions = true
  }

  /// Answers `.resolve`. An empty list is a failure.
  public mutating func resolved(
    _ id: ResolutionID, _ addresses: [SocketAddress], ttl: Interval?, now: Instant
  ) {
    advance(to: now)
    guard let cluster = takeResolution(id) else { return }
    guard !addresses.isEmpty, let dns = clusters[cluster].dns else {
      return resolutionEnded(cluster, isFailure: true)
    }
    let lifetime = max(ttl ?? dns.refresh, resolutionFloor)
    clusters[cluster].resolution.validUntil = self.now + lifetime
    clusters[cluster].resolution.failures = 0
    clusters[cluster].resolution.notBefore = self.now + resolutionFloor
    switch dns.kind {
    case .strict:
      var unique: [SocketAddress] = []
      for address in addresses where unique.count < limits.addressesMax {
        if !unique.contains(address) { unique.append(address) }
      }
      setEndpoints(cluster, unique.map { Endpoint(address: $0) })
    case .logical:
      setLogicalEndpoint(
        cluster, AddressRace.alternate(addresses, limit: limits.addressesMax))
    }
    resolutionEnded(cluster, isFailure: false)
  }

  /// The name could not be looked up. Addresses known from before stay.
  public mutating func resolutionFailed(_ id: ResolutionID, now: Instant) {
    advance(to: now)
    guard let cluster = takeResolution(id) else { return }
    resolutionEnded(cluster, isFailure: true)
  }

  private mutating func takeResolution(_ id: ResolutionID) -> Int? {
    guard clusters.indices.contains(id.slot), clusters[id.slot].isUsed,
      clusters[id.slot].resolution.isUnderWay,
      clusters[id.slot].resolution.generation == id.generation
    else { return nil }
    clusters[id.slot].resolution.isUnderWay = false
    clusters[id.slot].resolution.wantsAction = false
    return id.slot
  }

  private mutating func resolutionEnded(_ cluster: Int, isFailure: Bool) {
    clusters[cluster].resolution.patience = .never
    if isFailure {
      clusters[cluster].statistics.resolutionFailures += 1
      clusters[cluster].resolution.failures += 1
      let delay = reconnectBackOff.delay(
        clusters[cluster].resolution.failures, using: &random)
      // With addresses in hand there is no hurry; without, requests fail at once until then.
      let floor = clusters[cluster].endpoints.isEmpty ? Interval.zero : resolutionFloor
      clusters[cluster].resolution.notBefore = now + max(delay, floor)
    }
    servePending(cluster)
    retireCluster(cluster)
  }

  /// The lookup takes longer than those who wait for it can bear: they use the addresses of before,
  /// or fail. Its answer is welcome all the same.
  mutating func resolutionOverdue(_ cluster: Int) {
    clusters[cluster].resolution.isOverdue = true
    servePending(cluster)
  }

  /// All addresses are one endpoint. Connections to an address that is gone stay until they end.
  private mutating func setLogicalEndpoint(_ cluster: Int, _ addresses: [SocketAddress]) {
    guard !clusters[cluster].endpoints.isEmpty else {
      let state = EndpointState(id: newEndpointID(), addresses: addresses)
      replaceEndpoints(cluster, [state], previous: [nil])
      return
    }
    let old = clusters[cluster].endpoints[0]
    guard old.addresses != addresses else { return }
    clusters[cluster].endpoints[0].addresses = addresses
    let working = old.addresses[old.preferred]
    clusters[cluster].endpoints[0].preferred = addresses.firstIndex(of: working) ?? 0
    // The name leads elsewhere: what was learnt of the old place does not hold there.
    clusters[cluster].endpoints[0].failures = 0
    clusters[cluster].endpoints[0].notBefore = now
  }

  /// Takes a new membership; endpoints that stay keep their state and their connections.
  mutating func setEndpoints(_ cluster: Int, _ members: [Endpoint]) {
    var states: [EndpointState] = []
    var previous: [Int?] = []
    for member in members.prefix(limits.addressesMax) {
      let place = clusters[cluster].endpoints.firstIndex { $0.addresses == [member.address] }
      if let place {
        states.append(clusters[cluster].endpoints[place])
      } else {
        states.append(EndpointState(id: newEndpointID(), addresses: [member.address]))
      }
      states[states.count - 1].weight = member.weight
      previous.append(place)
    }
    replaceEndpoints(cluster, states, previous: previous)
  }

  private mutating func replaceEndpoints(
    _ cluster: Int, _ states: [EndpointState], previous: [Int?]
  ) {
    clusters[cluster].endpoints = states
    clusters[cluster].balancer.replace(
      weights: states.map { $0.weight }, previous: previous, using: &random)
    retireConnections(cluster, endpointsOutside: states)
  }

  private mutating func newEndpointID() -> UInt32 {
    lastEndpoint &+= 1
    if lastEndpoint == 0 { lastEndpoint = 1 }
    return lastEndpoint
  }
}
