import Policy
import Primitives

extension PolicyAssembler {
  /// What can be said of something that another thing refers to.
  private enum Readiness {
    /// It is there, or was in force before.
    case ready
    /// It is on its way.
    case awaited
    /// It does not exist, or is refused: nothing is waited for.
    case absent
  }

  /// A listener with the routes that belong to it, as they came last.
  private struct Candidate {
    let resource: ListenerResource
    let routes: RouteConfiguration
    let routesName: ByteString?
    let clusters: [ByteString]
  }

  /// Puts in force what is complete, and subscribes to what it and its successors need.
  mutating func assemble(now: Instant) {
    isStale = false
    decoded.keep { client.store.entry($0, $1)?.hasValue == true }
    var wanted = WantedNames()
    wanted[.listener].insert(settings.listeners)
    wanted[.runtime].insert(settings.runtimeLayers)
    var candidates: [Candidate] = []
    for name in wanted[.listener].names {
      if let candidate = candidate(name, &wanted) { candidates.append(candidate) }
      if let held = listenerInForce(name) { wanted.insert(listeners[held]) }
    }
    listeners.removeAll { !wanted[.listener].contains($0.listener.name) }
    for name in wanted[.cluster].names { refresh(name) }
    for candidate in candidates { promote(candidate, now: now) }
    forgetBeginnings(candidates)
    forgetClusters(candidates)
    expected = NameSet()
    for candidate in candidates { expected.insert(candidate.clusters) }
    subscribe(&wanted)
    publish()
  }

  // MARK: Listeners

  /// The newest form of a listener; nil: it, or its routes, are not there. One that does not exist goes
  /// out of force.
  private mutating func candidate(_ name: ByteString, _ wanted: inout WantedNames) -> Candidate? {
    guard let resource = decoded.listener(name) else {
      if doesNotExist(.listener, name) { dropListener(name) }
      return nil
    }
    let routes: RouteConfiguration
    var routesName: ByteString?
    switch resource.source {
    case .inline(let own): routes = own
    case .named(let name):
      wanted[.routeConfiguration].insert(name)
      guard let found = decoded.routeConfiguration(name) else {
        if doesNotExist(.routeConfiguration, name) { dropListener(resource.name) }
        return nil
      }
      routes = found
      routesName = name
    }
    var clusters = NameSet()
    clusters.insert(routes.clusterNames)
    for header in routes.clusterHeaders {
      for known in settings.headerClusters
      where known.listener == name && known.header == header {
        clusters.insert(known.value)
      }
    }
    for cluster in clusters.names where !settings.reservedClusters.contains(cluster) {
      wanted[.cluster].insert(cluster)
    }
    return Candidate(
      resource: resource, routes: routes, routesName: routesName, clusters: clusters.names)
  }

  private mutating func promote(_ candidate: Candidate, now: Instant) {
    let name = candidate.resource.name
    let held = listenerInForce(name)
    var isComplete = true
    for cluster in candidate.clusters where readiness(ofCluster: cluster) == .awaited {
      isComplete = false
    }
    if !isComplete {
      // What works is not given up for something incomplete. Without anything in force, a part of
      // the policy is better than none once the control plane has had its time.
      guard held == nil, begin(name, now: now) else { return }
      counters.incomplete += 1
    }
    let inForce = ListenerInForce(
      listener: candidate.resource.listener(routes: candidate.routes),
      routesName: candidate.routesName, clusters: candidate.clusters)
    if let held {
      listeners[held] = inForce
    } else {
      let place = listeners.firstIndex { ByteString.precedes(name, $0.listener.name) }
      listeners.insert(inForce, at: place ?? listeners.count)
    }
    beginnings.removeAll { $0.name == name }
  }

  /// Whether a listener that has never been in force has waited for its clusters long enough.
  private mutating func begin(_ name: ByteString, now: Instant) -> Bool {
    if let known = beginnings.first(where: { $0.name == name }) {
      return isOverdue(known, now: now)
    }
    beginnings.append((name, now))
    return false
  }

  private mutating func forgetBeginnings(_ candidates: [Candidate]) {
    beginnings.removeAll { beginning in
      !candidates.contains { $0.resource.name == beginning.name }
    }
  }

  private func listenerInForce(_ name: ByteString) -> Int? {
    listeners.firstIndex { $0.listener.name == name }
  }

  private mutating func dropListener(_ name: ByteString) {
    listeners.removeAll { $0.listener.name == name }
  }

  // MARK: Clusters

  /// Brings a cluster into force in its newest form if that is complete.
  private mutating func refresh(_ name: ByteString) {
    let held = clusterInForce(name)
    guard let resource = decoded.cluster(name) else {
      if let held, state(.cluster, name) == .absent { clusters.remove(at: held) }
      return
    }
    var isComplete = true
    if let endpoints = resource.endpointsName, state(.endpoints, endpoints) == .awaited {
      isComplete = false
    }
    for secret in resource.secretNames where state(.secret, secret) == .awaited {
      isComplete = false
    }
    guard isComplete else { return }
    let assignment = resource.endpointsName.flatMap { decoded.endpoints($0) }
    let store = decoded
    let inForce = ClusterInForce(
      cluster: resource.assembled(assignment: assignment) { store.secret($0) },
      endpointsName: resource.endpointsName, secretNames: resource.secretNames)
    if let held {
      clusters[held] = inForce
    } else {
      let place = clusters.firstIndex { ByteString.precedes(name, $0.cluster.name) }
      clusters.insert(inForce, at: place ?? clusters.count)
    }
  }

  private func clusterInForce(_ name: ByteString) -> Int? {
    clusters.firstIndex { $0.cluster.name == name }
  }

  private func readiness(ofCluster name: ByteString) -> Readiness {
    if clusterInForce(name) != nil { return .ready }
    if settings.reservedClusters.contains(name) { return .absent }
    let state = state(.cluster, name)
    // It is there, but what it needs is not.
    return state == .ready ? .awaited : state
  }

  /// Clusters that neither what is in force nor what is on its way refers to.
  private mutating func forgetClusters(_ candidates: [Candidate]) {
    var needed = NameSet()
    for listener in listeners { needed.insert(listener.clusters) }
    for candidate in candidates { needed.insert(candidate.clusters) }
    clusters.removeAll { !needed.contains($0.cluster.name) }
  }

  // MARK: Resources

  private func state(_ type: ResourceType, _ name: ByteString) -> Readiness {
    if decoded.contains(type, name) { return .ready }
    guard subscribed[type].contains(name) else { return .awaited }
    // Nobody will send it: there is no server, or no room to ask for it, which is counted.
    guard hasServers, let entry = client.store.entry(type, name) else { return .absent }
    return entry.state == .requested ? .awaited : .absent
  }

  /// A refused resource is a mistake of its author, not the end of what was in force.
  private func doesNotExist(_ type: ResourceType, _ name: ByteString) -> Bool {
    client.store.entry(type, name)?.state == .doesNotExist
  }

  /// Endpoints and secrets of what is in force and of what is to come.
  private mutating func subscribe(_ wanted: inout WantedNames) {
    for name in wanted[.cluster].names {
      guard let resource = decoded.cluster(name) else { continue }
      if let endpoints = resource.endpointsName { wanted[.endpoints].insert(endpoints) }
      wanted[.secret].insert(resource.secretNames)
    }
    for cluster in clusters {
      if let endpoints = cluster.endpointsName { wanted[.endpoints].insert(endpoints) }
      wanted[.secret].insert(cluster.secretNames)
    }
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw), wanted[type] != subscribed[type] else {
        continue
      }
      subscribed[type] = wanted[type]
      _ = client.subscribe(type, wanted[type].names)
    }
  }

  private mutating func publish() {
    var needed = NameSet()
    for listener in listeners { needed.insert(listener.clusters) }
    var next = PolicySnapshot()
    next.listeners = listeners.map { $0.listener }
    for cluster in clusters where needed.contains(cluster.cluster.name) {
      next.clusters.append(cluster.cluster)
    }
    next.runtime = Runtime(layers: settings.runtimeLayers.compactMap { decoded.runtime($0) })
    guard next != snapshot else { return }
    snapshot = next
    counters.snapshots += 1
    notices.append(.apply)
  }
}

extension WantedNames {
  mutating func insert(_ listener: PolicyAssembler.ListenerInForce) {
    if let routes = listener.routesName { self[.routeConfiguration].insert(routes) }
    self[.cluster].insert(listener.clusters)
  }
}
