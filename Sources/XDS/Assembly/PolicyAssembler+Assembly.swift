import GRPC
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

  /// A listener as it came last.
  private final class Candidate {
    let resource: ListenerResource
    /// Nil: the routes stand in the listener.
    let routesName: ByteString?
    /// Nil: they are not there.
    let routes: RouteConfiguration?
    let clusters: [ByteString]

    init(
      _ resource: ListenerResource, routesName: ByteString?, routes: RouteConfiguration?,
      clusters: [ByteString]
    ) {
      self.resource = resource
      self.routesName = routesName
      self.routes = routes
      self.clusters = clusters
    }
  }

  /// Puts in force what is complete, and subscribes to what it and its successors need.
  mutating func assemble(now: Instant) {
    isStale = false
    isBehind = false
    decoded.keep { client.store.entry($0, $1)?.hasValue == true }
    listeners.removeEach { !settings.listeners.contains($0.listener.name) }
    var candidates: [Candidate] = []
    for name in settings.listeners {
      if let candidate = candidate(name) { candidates.append(candidate) }
    }
    for name in clusterNames(candidates).names { refresh(name) }
    for candidate in candidates { promote(candidate, now: now) }
    forgetBeginnings(candidates)
    let needed = clusterNames(candidates)
    clusters.removeEach { !needed.contains($0.cluster.name) }
    expected = NameSet()
    for candidate in candidates { expected.insert(candidate.clusters) }
    subscribe(candidates, needed)
    publish()
  }

  /// The clusters of what is in force and of what came last.
  private func clusterNames(_ candidates: [Candidate]) -> NameSet {
    var names = NameSet()
    for listener in listeners { names.insert(listener.clusters) }
    for candidate in candidates { names.insert(candidate.clusters) }
    return names
  }

  // MARK: Listeners

  /// The newest form of a listener; nil: there is none. One that does not exist, or whose routes do
  /// not, goes out of force.
  private mutating func candidate(_ name: ByteString) -> Candidate? {
    guard let resource = decoded.listener(name) else {
      if doesNotExist(.listener, name) { dropListener(name) }
      return nil
    }
    var routesName: ByteString?
    var routes: RouteConfiguration?
    switch resource.source {
    case .inline(let own): routes = own
    case .named(let named):
      routesName = named
      routes = decoded.routeConfiguration(named)
      if routes == nil, doesNotExist(.routeConfiguration, named) { dropListener(name) }
    }
    var clusters = NameSet()
    clusters.insert(routes?.clusterNames ?? [])
    for header in routes?.clusterHeaders ?? [] {
      for known in settings.headerClusters
      where known.listener == name && known.header == header {
        clusters.insert(known.value)
      }
    }
    return Candidate(
      resource, routesName: routesName, routes: routes, clusters: clusters.names)
  }

  private mutating func promote(_ candidate: Candidate, now: Instant) {
    let name = candidate.resource.name
    let held = listenerInForce(name)
    guard let routes = candidate.routes else {
      if held != nil { isBehind = true }
      return
    }
    var isComplete = true
    for cluster in candidate.clusters where readiness(ofCluster: cluster) == .awaited {
      isComplete = false
    }
    if !isComplete {
      // What works is not given up for something incomplete. Without anything in force, a part of
      // the policy is better than none once the control plane has had its time.
      if held != nil { isBehind = true }
      guard held == nil, begin(name, now: now) else { return }
      counters.incomplete += 1
    }
    let inForce = ListenerInForce(
      candidate.resource.listener(routes: routes), routesName: candidate.routesName,
      clusters: candidate.clusters)
    if let held {
      listeners[held] = inForce
    } else {
      let place = listeners.firstIndex { ByteString.precedes(name, $0.listener.name) }
      listeners.insert(inForce, at: place ?? listeners.count)
    }
    beginnings.removeEach { $0.name == name }
  }

  /// Whether a listener that has never been in force has waited for its clusters long enough.
  private mutating func begin(_ name: ByteString, now: Instant) -> Bool {
    if let known = beginnings.first(where: { $0.name == name }) {
      return isOverdue(known, now: now)
    }
    beginnings.append((name: name, since: now))
    return false
  }

  private mutating func forgetBeginnings(_ candidates: [Candidate]) {
    beginnings.removeEach { beginning in
      !candidates.contains { $0.resource.name == beginning.name && $0.routes != nil }
    }
  }

  private func listenerInForce(_ name: ByteString) -> Int? {
    listeners.firstIndex { $0.listener.name == name }
  }

  private mutating func dropListener(_ name: ByteString) {
    listeners.removeEach { $0.listener.name == name }
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
    guard isComplete else {
      if held != nil { isBehind = true }
      return
    }
    let assignment = resource.endpointsName.flatMap { decoded.endpoints($0) }
    let store = decoded
    let inForce = ClusterInForce(
      resource.assembled(assignment: assignment) { store.secret($0) },
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

  // MARK: Resources

  private func state(_ type: ResourceType, _ name: ByteString) -> Readiness {
    if decoded.contains(type, name) { return .ready }
    guard subscribed[type].contains(name) else { return .awaited }
    // Nobody will send it: there is no server, or no room to ask for it, which is counted.
    guard hasServers, let entry = client.store.entry(type, name) else { return .absent }
    return entry.state == .requested ? .awaited : .absent
  }

  /// A refused resource is a mistake of its author, not the end of what was in force, unless that is
  /// what was asked for.
  private func doesNotExist(_ type: ResourceType, _ name: ByteString) -> Bool {
    guard let entry = client.store.entry(type, name) else { return false }
    return entry.state == .doesNotExist || entry.failure?.status == .notFound
      || entry.failure != nil && client.settings.failsOnDataErrors
  }

  /// Subscribes to what is in force and to what came last, with all that they refer to.
  private mutating func subscribe(_ candidates: [Candidate], _ needed: NameSet) {
    var wanted = WantedNames()
    wanted[.listener].insert(settings.listeners)
    wanted[.runtime].insert(settings.runtimeLayers)
    for listener in listeners { wanted[.routeConfiguration].insert(listener.routesName) }
    for candidate in candidates { wanted[.routeConfiguration].insert(candidate.routesName) }
    for name in needed.names where !settings.reservedClusters.contains(name) {
      wanted[.cluster].insert(name)
      guard let resource = decoded.cluster(name) else { continue }
      wanted[.endpoints].insert(resource.endpointsName)
      wanted[.secret].insert(resource.secretNames)
    }
    for cluster in clusters {
      wanted[.endpoints].insert(cluster.endpointsName)
      wanted[.secret].insert(cluster.secretNames)
    }
    let isRepeated = roomRefused != nil
    roomRefused = nil
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw), isRepeated || wanted[type] != subscribed[type]
      else { continue }
      subscribed[type] = wanted[type]
      let before = min(roomRefused ?? .max, client.store.room)
      // What is not wanted any more may have gone after the refusal.
      if !client.subscribe(type, wanted[type].names) {
        roomRefused = min(before, client.store.room)
      }
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
