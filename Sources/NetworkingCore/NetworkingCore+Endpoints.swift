import Policy
import Primitives

/// Which endpoint serves the next attempt, and what is known of endpoints.
extension NetworkingCore {
  enum EndpointChoice {
    /// A place in the cluster's endpoints.
    case endpoint(Int)
    /// The name is being resolved: wait.
    case resolving
    /// The name could not be resolved a moment ago.
    case unresolved
    /// The control plane gave no endpoints, or none that may be used.
    case none
    /// Every endpoint failed a moment ago.
    case allFailing
  }

  /// Picks an endpoint. One of those in `tried` is passed over, up to `picks` times: then the last one
  /// is taken all the same (`previous_hosts`, `host_selection_retry_max_attempts`).
  mutating func chooseEndpoint(
    _ cluster: Int, avoiding tried: [UInt32] = [], picks: Int = 1
  ) -> EndpointChoice {
    if !clusters[cluster].resolutions.isEmpty, let choice = refreshNames(cluster) { return choice }
    guard !clusters[cluster].members.endpoints.isEmpty else { return .none }
    prepareBalancer(cluster)
    if isAlone(cluster) {
      return isEligible(cluster, 0) ? .endpoint(use(cluster, 0)) : .allFailing
    }
    var choice = pick(cluster)
    guard !tried.isEmpty else { return choice }
    for _ in 0..<picks {
      guard case .endpoint(let index) = choice,
        tried.contains(clusters[cluster].endpoints[index].id)
      else { break }
      choice = pick(cluster)
    }
    return choice
  }

  /// There is one endpoint, and nothing that a balancer could say of it.
  private func isAlone(_ cluster: Int) -> Bool {
    clusters[cluster].members.endpoints.count == 1
      && clusters[cluster].members.endpoints[0].health == .healthy
      && !clusters[cluster].configuration.balancing.weighsLocalities
  }

  private mutating func pick(_ cluster: Int) -> EndpointChoice {
    // Picks read the table of connections while the balancer changes: it is taken out meanwhile.
    var balancer = clusters[cluster].balancer
    clusters[cluster].balancer = LoadBalancer()
    var random = random
    let pick = balancer.pick(
      clusters[cluster].members, clusters[cluster].configuration.balancing, using: &random
    ) { isEligible(cluster, $0) }
    clusters[cluster].balancer = balancer
    self.random = random
    switch pick {
    case .endpoint(let member): return .endpoint(use(cluster, member))
    case .noneHealthy: return .none
    case .noneEligible: return .allFailing
    }
  }

  /// A member may be picked when it has a connection, or may be connected to.
  private func isEligible(_ cluster: Int, _ member: Int) -> Bool {
    let place = Int(clusters[cluster].places[member])
    guard place > 0 else { return true }
    return clusters[cluster].endpoints[place - 1].notBefore <= now
      || hasPromisingConnection(cluster, clusters[cluster].endpoints[place - 1].id)
  }

  /// The state of a member, from now on if there was none.
  private mutating func use(_ cluster: Int, _ member: Int) -> Int {
    let place = Int(clusters[cluster].places[member])
    if place > 0 { return place - 1 }
    lastEndpoint &+= 1
    if lastEndpoint == 0 { lastEndpoint = 1 }
    clusters[cluster].endpoints.append(
      EndpointState(id: lastEndpoint, member: UInt32(member)))
    let index = clusters[cluster].endpoints.count - 1
    clusters[cluster].places[member] = UInt32(index + 1)
    return index
  }

  /// The first pick of a cluster: what a balancer keeps is made only now.
  private mutating func prepareBalancer(_ cluster: Int) {
    guard !clusters[cluster].balancer.isReady else { return }
    let members = clusters[cluster].members
    clusters[cluster].places = [UInt32](repeating: 0, count: members.endpoints.count)
    clusters[cluster].balancer.adopt(
      members, previous: [Int?](repeating: nil, count: members.endpoints.count),
      from: Assignment(), clusters[cluster].configuration.balancing, using: &random)
  }

  /// Takes a new membership; endpoints that stay keep their state, their turn and their connections.
  /// `isOneName`: there is one endpoint, whatever its addresses.
  mutating func setMembers(_ cluster: Int, _ members: Assignment, isOneName: Bool = false) {
    let old = clusters[cluster].members
    clusters[cluster].members = members
    clusters[cluster].tally.places = []
    guard clusters[cluster].balancer.isReady else { return }
    var previous: [Int?]
    if isOneName {
      previous = [old.endpoints.isEmpty ? nil : 0]
    } else {
      previous = members.places(in: old, comparingNames: namesMatter(cluster))
    }
    keepStates(cluster, previous)
    let balancing = clusters[cluster].configuration.balancing
    clusters[cluster].balancer.adopt(
      members, previous: previous, from: old, balancing, using: &random)
    retireConnections(cluster, endpointsOutside: clusters[cluster].endpoints)
    for (member, before) in previous.enumerated() {
      guard let before, members.endpoints[member].health == .unhealthy,
        old.endpoints[before].health != .unhealthy, clusters[cluster].places[member] > 0
      else { continue }
      let place = Int(clusters[cluster].places[member]) - 1
      retireUnhealthy(cluster, clusters[cluster].endpoints[place].id)
    }
  }

  /// A connection is for one server name: an endpoint with another name is another endpoint.
  private func namesMatter(_ cluster: Int) -> Bool {
    if case .policy(let policy) = clusters[cluster].configuration.security {
      return policy.usesHostAsServerName
    }
    return false
  }

  private mutating func keepStates(_ cluster: Int, _ previous: [Int?]) {
    let places = clusters[cluster].places
    let states = clusters[cluster].endpoints
    var newPlaces = [UInt32](repeating: 0, count: previous.count)
    var kept: [EndpointState] = []
    for (member, before) in previous.enumerated() {
      guard let before, places[before] > 0 else { continue }
      kept.append(states[Int(places[before]) - 1])
      kept[kept.count - 1].member = UInt32(member)
      newPlaces[member] = UInt32(kept.count)
    }
    clusters[cluster].places = newPlaces
    clusters[cluster].endpoints = kept
    for index in kept.indices {
      let addresses = clusters.span[cluster].addresses(index).count
      if kept[index].preferred >= addresses { clusters[cluster].endpoints[index].preferred = 0 }
    }
  }

  /// What protects a connection to the endpoint: `auto_host_sni` makes its name the server's.
  func security(_ cluster: Int, _ endpoint: Int) -> Security {
    let security = clusters[cluster].configuration.security
    guard case .policy(var policy) = security, policy.usesHostAsServerName else { return security }
    let member = Int(clusters[cluster].endpoints[endpoint].member)
    let name = clusters[cluster].members.hostname(of: member)
    if !name.isEmpty { policy.serverName = name }
    return .policy(policy)
  }

  // MARK: Drops

  /// `drop_overloads`: every category is drawn, one after the other, before an endpoint is chosen. The
  /// category that drops the request; nil: none does. It is no failure of the cluster, so that neither
  /// breakers nor retries hear of it.
  mutating func drawDrop(_ cluster: Int) -> ByteString? {
    let overloads = clusters[cluster].overloads
    for drop in overloads where drop.share.draw(using: &random) {
      clusters[cluster].statistics.drops += 1
      countDrop(cluster, drop.category)
      return drop.category
    }
    return nil
  }

  private mutating func countDrop(_ cluster: Int, _ category: ByteString) {
    let known = clusters[cluster].drops.firstIndex { $0.category == category }
    if let known {
      clusters[cluster].drops[known].count += 1
    } else if clusters[cluster].drops.count < dropCategoriesMax {
      clusters[cluster].drops.append(DropCount(category: category, count: 1))
    }
  }
}

/// Categories that are counted of one cluster.
private let dropCategoriesMax = 32
