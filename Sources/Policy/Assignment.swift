import Primitives

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`: the endpoints of a cluster, by priority and
/// locality. A device may know 64 clusters with 256 endpoints each, so that an endpoint takes 32 octets,
/// and what few endpoints have stands beside them.
public struct Assignment: Equatable, Sendable {
  /// By priority, the most wanted first: 0, 1, 2 … without a gap.
  public private(set) var localities: [LocalityEndpoints] = []
  /// Those of each locality stand together.
  public private(set) var endpoints: [Endpoint] = []
  /// What `Endpoint.details` leads to.
  public private(set) var details: [EndpointDetails] = []
  /// Each is drawn on its own, one after the other.
  public var drops: [DropOverload] = []
  /// In percent: health times this is what a priority can take.
  public var overprovisioning: UInt32 = 140
  /// Health is counted by the endpoints' weights and not by their number.
  public var weighsHealth = false

  public init() {}

  /// One locality without a name.
  public init(endpoints: [Endpoint]) {
    append(LocalityEndpoints(weight: 1), endpoints)
  }

  /// Adds a locality; priorities must not go down.
  public mutating func append(
    _ locality: LocalityEndpoints, _ members: [Endpoint]
  ) {
    precondition(
      localities.last.map { $0.priority <= locality.priority } ?? true,
      "Assignment: a locality out of its priority's order")
    var locality = locality
    locality.endpoints = endpoints.count..<endpoints.count + members.count
    localities.append(locality)
    endpoints.append(contentsOf: members)
  }

  /// Keeps what few endpoints have; the answer is for `Endpoint.details` of an endpoint that is appended
  /// later. There is room for 2¹⁶ − 1.
  public mutating func keep(_ more: EndpointDetails) -> UInt16 {
    precondition(details.count < Int(UInt16.max), "Assignment: more details than endpoints")
    details.append(more)
    return UInt16(details.count)
  }

  /// What few endpoints have.
  public func details(of endpoint: Int) -> EndpointDetails? {
    let place = endpoints[endpoint].details
    return place == 0 ? nil : details[Int(place) - 1]
  }

  /// The name of the endpoint for `auto_host_rewrite` and the SNI; empty: none.
  public func hostname(of endpoint: Int) -> ByteString {
    details(of: endpoint)?.hostname ?? ByteString()
  }

  /// Where an endpoint can be reached, in the order in which that is tried.
  public func addresses(of endpoint: Int) -> [SocketAddress] {
    [endpoints[endpoint].address] + (details(of: endpoint)?.additionalAddresses ?? [])
  }

  /// The place that each endpoint had in an earlier assignment: the same address is the same endpoint,
  /// whatever else became of it, unless its name has to be the same too.
  public func places(in old: Assignment, comparingNames: Bool) -> [Int?] {
    var places: [Int?] = []
    places.reserveCapacity(endpoints.count)
    // Both mostly have the same order.
    var hint = 0
    for index in endpoints.indices {
      var found: Int?
      for step in old.endpoints.indices {
        let place = (hint + step) % old.endpoints.count
        guard old.endpoints[place].address == endpoints[index].address else { continue }
        if !comparingNames || old.hostname(of: place) == hostname(of: index) { found = place }
        break
      }
      if let found { hint = found + 1 }
      places.append(found)
    }
    return places
  }

  /// The priorities' number.
  public var priorityCount: Int { localities.last.map { Int($0.priority) + 1 } ?? 0 }
}

/// `LocalityLbEndpoints`, its endpoints by their places.
public struct LocalityEndpoints: Equatable, Sendable {
  public var locality: Locality
  public var priority: UInt32
  /// 0: no traffic where localities are weighted.
  public var weight: UInt32
  public internal(set) var endpoints = 0..<0

  public init(locality: Locality = Locality(), priority: UInt32 = 0, weight: UInt32) {
    self.locality = locality
    self.priority = priority
    self.weight = weight
  }
}

/// `envoy.config.core.v3.Locality`. All empty: none.
public struct Locality: Equatable, Sendable {
  public var region: ByteString
  public var zone: ByteString
  public var subZone: ByteString

  public init(
    region: ByteString = ByteString(), zone: ByteString = ByteString(),
    subZone: ByteString = ByteString()
  ) {
    self.region = region
    self.zone = zone
    self.subZone = subZone
  }
}

/// What the control plane says of an endpoint (`HealthStatus`).
public enum EndpointHealth: UInt8, Sendable {
  /// HEALTHY and UNKNOWN.
  case healthy = 0
  /// Used when the healthy ones are too few.
  case degraded = 1
  /// UNHEALTHY, DRAINING, TIMEOUT: only in a panic.
  case unhealthy = 2
}

/// `envoy.config.endpoint.v3.LbEndpoint`.
public struct Endpoint: Equatable, Sendable {
  public var address: SocketAddress
  public var health: EndpointHealth
  /// At least 1.
  public var weight: UInt32
  /// What `Assignment.keep` answered; 0: nothing.
  public var details: UInt16

  public init(
    address: SocketAddress, weight: UInt32 = 1, health: EndpointHealth = .healthy,
    details: UInt16 = 0
  ) {
    self.address = address
    self.weight = weight
    self.health = health
    self.details = details
  }
}

/// What few endpoints have.
public struct EndpointDetails: Equatable, Sendable {
  public var hostname: ByteString
  /// Behind the first address, in the order in which they are tried.
  public var additionalAddresses: [SocketAddress]
  /// `envoy.lb`: `canary` of its metadata.
  public var isCanary: Bool

  public init(
    hostname: ByteString = ByteString(), additionalAddresses: [SocketAddress] = [],
    isCanary: Bool = false
  ) {
    self.hostname = hostname
    self.additionalAddresses = additionalAddresses
    self.isCanary = isCanary
  }
}

/// `ClusterLoadAssignment.Policy.DropOverload`: requests that end before an endpoint is chosen.
public struct DropOverload: Equatable, Sendable {
  public var category: ByteString
  public var share: FractionalPercent

  public init(category: ByteString, share: FractionalPercent) {
    self.category = category
    self.share = share
  }
}
