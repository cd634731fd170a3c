import Policy
import Primitives

/// Names become endpoints. They are looked up while there are requests for them.
extension NetworkingCore {
  /// Starts lookups of names whose last answers are too old. Nil: go on with the addresses that are
  /// known.
  mutating func refreshNames(_ cluster: Int) -> EndpointChoice? {
    var isFresh = false
    for name in clusters[cluster].resolutions.indices {
      let isEmpty = clusters[cluster].resolutions[name].addresses.isEmpty
      if let end = clusters[cluster].resolutions[name].validUntil, now < end, !isEmpty {
        isFresh = true
      } else if clusters[cluster].resolutions[name].notBefore <= now {
        wantLookup(cluster, name)
      }
    }
    startLookups(cluster)
    let isEmpty = clusters[cluster].members.endpoints.isEmpty
    let isOverdue = clusters[cluster].isOverdue
    // At first all names are waited for: the most wanted ones may be answered last.
    if isFresh, !isEmpty, clusters[cluster].hasSettled || isOverdue { return nil }
    guard clusters[cluster].isLookingUp else { return isEmpty ? .unresolved : nil }
    if isEmpty { return isOverdue ? .unresolved : .resolving }
    // A connection that works serves while the name is looked up again; a new one should go to where
    // the name points now, so it waits for the answer, but not for long.
    let isServed = clusters[cluster].endpoints.contains {
      hasPromisingConnection(cluster, $0.id)
    }
    return isServed || isOverdue ? nil : .resolving
  }

  private mutating func wantLookup(_ cluster: Int, _ name: Int) {
    guard !clusters[cluster].resolutions[name].isUnderWay else { return }
    if !clusters[cluster].isLookingUp {
      let isFirst = clusters[cluster].members.endpoints.isEmpty
      clusters[cluster].patience =
        now + (isFirst ? firstResolutionPatience : resolutionPatience)
      clusters[cluster].isOverdue = false
    }
    clusters[cluster].resolutions[name].isWanted = true
  }

  private mutating func startLookups(_ cluster: Int) {
    var underWay = clusters[cluster].resolutions.count { $0.isUnderWay }
    for name in clusters[cluster].resolutions.indices
    where clusters[cluster].resolutions[name].isWanted && underWay < lookupsMax {
      underWay += 1
      lastResolution &+= 1
      clusters[cluster].resolutions[name].isWanted = false
      clusters[cluster].resolutions[name].isUnderWay = true
      clusters[cluster].resolutions[name].wantsAction = true
      clusters[cluster].resolutions[name].generation = lastResolution
      clusters[cluster].statistics.resolutions += 1
      hasActions = true
      wantsLookups = true
    }
  }

  /// The next lookup for the driver.
  mutating func nextLookup() -> TransportAction? {
    guard wantsLookups else { return nil }
    for cluster in clusters.indices {
      for name in clusters[cluster].resolutions.indices
      where clusters[cluster].resolutions[name].wantsAction {
        clusters[cluster].resolutions[name].wantsAction = false
        guard let dns = clusters[cluster].dns else { continue }
        let id = ResolutionID(
          slot: cluster, generation: clusters[cluster].resolutions[name].generation)
        return .resolve(id, host: dns.hosts[name].host, port: dns.hosts[name].port)
      }
    }
    wantsLookups = false
    return nil
  }

  /// Answers `.resolve`. An empty list is a failure.
  public mutating func resolved(
    _ id: ResolutionID, _ addresses: [SocketAddress], ttl: Interval?, now: Instant
  ) {
    advance(to: now)
    guard let (cluster, name) = takeResolution(id), let dns = clusters[cluster].dns else {
      return
    }
    let usable = dns.endpointAddresses(addresses, limits)
    guard !usable.isEmpty else { return lookupEnded(cluster, name, isFailure: true) }
    let age = dns.respectsTTL ? ttl ?? dns.refresh : dns.refresh
    let jitter = Interval(
      nanoseconds: Int64(random.below(UInt64(max(dns.jitter.nanoseconds, 0)))))
    clusters[cluster].resolutions[name].validUntil =
      self.now + max(age, resolutionFloor) + jitter
    clusters[cluster].resolutions[name].resolvedAt = self.now
    clusters[cluster].resolutions[name].failures = 0
    clusters[cluster].resolutions[name].notBefore = self.now + resolutionFloor
    if clusters[cluster].resolutions[name].addresses != usable {
      clusters[cluster].resolutions[name].addresses = usable
      takeAddresses(cluster, dns)
    }
    lookupEnded(cluster, name, isFailure: false)
  }

  /// The name could not be looked up. Addresses known from before stay, for a day.
  public mutating func resolutionFailed(_ id: ResolutionID, now: Instant) {
    advance(to: now)
    guard let (cluster, name) = takeResolution(id) else { return }
    lookupEnded(cluster, name, isFailure: true)
  }

  private mutating func takeResolution(_ id: ResolutionID) -> (cluster: Int, name: Int)? {
    guard clusters.indices.contains(id.slot), clusters[id.slot].isUsed else { return nil }
    let name = clusters[id.slot].resolutions.firstIndex {
      $0.isUnderWay && $0.generation == id.generation
    }
    guard let name else { return nil }
    clusters[id.slot].resolutions[name].isUnderWay = false
    clusters[id.slot].resolutions[name].wantsAction = false
    return (id.slot, name)
  }

  private mutating func lookupEnded(_ cluster: Int, _ name: Int, isFailure: Bool) {
    if isFailure { lookupFailed(cluster, name) }
    startLookups(cluster)
    if !clusters[cluster].isLookingUp {
      clusters[cluster].patience = .never
      clusters[cluster].hasSettled = true
    } else if !clusters[cluster].hasSettled, !isFailure {
      clusters[cluster].patience = min(clusters[cluster].patience, now + stragglerPatience)
    }
    servePending(cluster)
    retireCluster(cluster)
  }

  private mutating func lookupFailed(_ cluster: Int, _ name: Int) {
    guard let dns = clusters[cluster].dns else { return }
    clusters[cluster].statistics.resolutionFailures += 1
    clusters[cluster].resolutions[name].failures += 1
    let delay = (dns.failureRefresh ?? reconnectBackOff).delay(
      clusters[cluster].resolutions[name].failures, using: &random)
    let isEmpty = clusters[cluster].resolutions[name].addresses.isEmpty
    // With addresses in hand there is no hurry; without, requests fail at once until then.
    clusters[cluster].resolutions[name].notBefore =
      now + max(delay, isEmpty ? .zero : resolutionFloor)
    if !isEmpty, clusters[cluster].resolutions[name].resolvedAt + addressLifetime < now {
      clusters[cluster].resolutions[name].addresses = []
      takeAddresses(cluster, dns)
    }
  }

  /// The lookup takes longer than those who wait for it can bear: they use the addresses of before,
  /// or fail. Its answer is welcome all the same.
  mutating func resolutionOverdue(_ cluster: Int) {
    clusters[cluster].isOverdue = true
    if !clusters[cluster].members.endpoints.isEmpty { clusters[cluster].hasSettled = true }
    servePending(cluster)
  }

  /// The names have other addresses. Connections to an address of a LOGICAL_DNS cluster that is gone
  /// stay until they end.
  private mutating func takeAddresses(_ cluster: Int, _ dns: DNSDiscovery) {
    let members = dns.assignment(
      clusters[cluster].resolutions.map { $0.addresses }, limit: limits.endpointsMax)
    let isOneName = dns.kind == .logical && !members.endpoints.isEmpty
    guard isOneName, let state = clusters[cluster].endpoints.first else {
      return setMembers(cluster, members, isOneName: isOneName)
    }
    let working = clusters.span[cluster].addresses(0)[Int(state.preferred)]
    setMembers(cluster, members, isOneName: true)
    let place = clusters.span[cluster].addresses(0).firstIndex(of: working) ?? 0
    clusters[cluster].endpoints[0].preferred = UInt32(place)
    // The name leads elsewhere: what was learnt of the old place does not hold there.
    clusters[cluster].endpoints[0].failures = 0
    clusters[cluster].endpoints[0].notBefore = now
  }

  /// Takes other names. What is known of those that stay is kept.
  mutating func setNames(_ cluster: Int, _ dns: DNSDiscovery, from old: DNSDiscovery?) {
    let states = clusters[cluster].resolutions
    clusters[cluster].resolutions = dns.hosts.map { host in
      guard let old, old.family == dns.family, old.kind == dns.kind,
        let place = old.hosts.firstIndex(where: { $0.host == host.host && $0.port == host.port })
      else { return ResolutionState() }
      return states[place]
    }
    if !clusters[cluster].isLookingUp { clusters[cluster].patience = .never }
    clusters[cluster].hasSettled = clusters[cluster].resolutions.contains { !$0.addresses.isEmpty }
    let isSameName =
      dns.kind == .logical && old?.kind == .logical && old?.hosts.first == dns.hosts.first
    let members = dns.assignment(
      clusters[cluster].resolutions.map { $0.addresses }, limit: limits.endpointsMax)
    setMembers(cluster, members, isOneName: isSameName && !members.endpoints.isEmpty)
  }
}

extension DNSDiscovery {
  /// What of an answer is used, each address once. All the addresses of a LOGICAL_DNS name are tried, one
  /// family after the other, so that there `AUTO` and `V4_PREFERRED` say which comes first; a
  /// STRICT_DNS name has endpoints of one family.
  func endpointAddresses(_ answer: [SocketAddress], _ limits: CoreLimits) -> [SocketAddress] {
    switch kind {
    case .strict:
      var unique: [SocketAddress] = []
      for address in family.select(answer) where unique.count < limits.endpointsMax {
        if !unique.contains(address) { unique.append(address) }
      }
      return unique
    case .logical:
      guard family != .v4Only, family != .v6Only else {
        return AddressRace.alternate(family.select(answer), limit: limits.addressesMax)
      }
      return AddressRace.alternate(
        family.select(answer) + answer, limit: limits.addressesMax)
    }
  }

  /// The endpoints that the addresses of each name make.
  func assignment(_ addresses: [[SocketAddress]], limit: Int) -> Assignment {
    var assignment = Assignment()
    assignment.overprovisioning = overprovisioning
    assignment.weighsHealth = weighsHealth
    var free = limit
    for (index, locality) in localities.enumerated() {
      var members: [Endpoint] = []
      for (host, addresses) in zip(hosts, addresses)
      where host.locality == index && !addresses.isEmpty {
        let isOne = kind == .logical
        let details = assignment.keep(
          EndpointDetails(
            hostname: host.hostname,
            additionalAddresses: isOne ? [SocketAddress](addresses.dropFirst()) : []))
        for address in addresses.prefix(isOne ? 1 : free) {
          // Two names may lead to one place; the first has it.
          guard free > 0, !assignment.endpoints.contains(where: { $0.address == address }),
            !members.contains(where: { $0.address == address })
          else { continue }
          free -= 1
          members.append(
            Endpoint(
              address: address, weight: host.weight, health: host.health, details: details))
        }
      }
      assignment.append(locality, members)
    }
    return assignment
  }
}
