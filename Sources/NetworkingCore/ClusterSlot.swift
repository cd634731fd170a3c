import Policy
import Primitives

/// An endpoint of a cluster, with what was learnt of it.
struct EndpointState: Sendable {
  /// Stable as long as the endpoint is a member; never 0.
  var id: UInt32
  /// One, except for LOGICAL_DNS, where all addresses of the name are one endpoint.
  var addresses: [SocketAddress]
  /// Where the next connection starts: the one that worked last.
  var preferred = 0
  var weight: UInt32 = 1
  /// Rounds through all addresses, and connections that served nothing or were cut for what the peer
  /// did, in a row.
  var failures: UInt32 = 0
  /// No connection is tried before.
  var notBefore = Instant(nanoseconds: 0)
  /// Of the last failure.
  var reason = ByteString()
  /// While connections to it are being opened.
  var race: AddressRace?
}

/// The lookup of a cluster's name.
struct ResolutionState: Sendable {
  var generation: UInt32 = 0
  var isUnderWay = false
  var wantsAction = false
  /// Nil: never resolved.
  var validUntil: Instant?
  var failures: UInt32 = 0
  var notBefore = Instant(nanoseconds: 0)
  /// When those who wait for the answer go on without it.
  var patience = Instant.never
  /// They did.
  var isOverdue = false
}

/// One place in the table of clusters. It outlives its cluster's removal from the snapshot until the
/// last request and the last connection that belong to it have ended.
struct ClusterSlot: Sendable {
  var isUsed = false
  /// Part of the present snapshot.
  var isCurrent = false
  var configuration = Cluster(name: "", discovery: .endpoints(Assignment()))
  var endpoints: [EndpointState] = []
  var balancer = SmoothRoundRobin()
  var resolution = ResolutionState()
  /// Requests that wait for a connection or a stream.
  var pending = SlotList()
  var load = ClusterLoads()
  /// Requests that were routed here and have not ended.
  var requests = 0
  var statistics = ClusterStatistics()
  var failed = FailedRequests()
  /// `upstream.maintenance_mode`
  var maintenance = FractionalPercent(numerator: 0)
  /// How often a server said that it hears too many PINGs: each doubles the time between them.
  var keepAliveDoublings: UInt8 = 0

  func breakers(_ priority: RoutingPriority) -> CircuitBreakers {
    priority == .high ? configuration.highPriorityBreakers : configuration.circuitBreakers
  }

  var dns: DNSDiscovery? {
    if case .dns(let dns) = configuration.discovery { return dns }
    return nil
  }

  var nameText: String { configuration.name.description }

  /// The name of an endpoint for `auto_host_rewrite`; empty: none.
  func hostname(of endpoint: UInt32) -> ByteString {
    switch configuration.discovery {
    case .endpoints(let assignment):
      self.endpoint(endpoint).map { assignment.hostname(of: $0) } ?? ByteString()
    case .dns(let dns):
      dns.hosts.first?.hostname ?? ByteString()
    }
  }

  func endpoint(_ id: UInt32) -> Int? { endpoints.firstIndex { $0.id == id } }
}

/// Connections are tried again after this: a dead upstream costs few attempts, and a fleet does not
/// come back in step.
let reconnectBackOff = BackOff(base: .milliseconds(500), maximum: .seconds(30))
/// The shortest time between two lookups of a name, whatever its TTL says.
let resolutionFloor = Interval.seconds(5)
/// How long requests wait for a lookup when older addresses are known, and when none are.
let resolutionPatience = Interval.seconds(5)
let firstResolutionPatience = Interval.seconds(20)
/// The time for the last output of a connection that is being closed.
let lingerTime = Interval.seconds(1)
/// A connection whose peer takes not one octet of what waits for so long is given up.
let flushPatience = Interval.seconds(30)
/// The slowest peer that is not taken for a hostile one, in octets of a request's body per second.
let slowestBodyRate = 128
/// Content that one request may queue before another has its turn.
let contentPerTurn = 16 * 1024
