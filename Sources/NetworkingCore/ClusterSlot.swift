import Policy
import Primitives

/// An endpoint of a cluster that was picked once, with what was learnt of it.
struct EndpointState: Sendable {
  /// Stable as long as the endpoint is a member; never 0.
  var id: UInt32
  /// Its place among the members.
  var member: UInt32
  /// Of its addresses: where the next connection starts, the one that worked last.
  var preferred: UInt32 = 0
  /// Rounds through all addresses, and connections that served nothing or were cut for what the peer
  /// did, in a row.
  var failures: UInt32 = 0
  /// No connection is tried before. This is not its health: that is what others say of it.
  var notBefore = Instant(nanoseconds: 0)
  /// Of the last failure.
  var reason = ByteString()
  /// While connections to it are being opened. Out of line: few endpoints have one.
  var races: [AddressRace] = []
}

/// The lookup of one of a cluster's names.
struct ResolutionState: Sendable {
  /// Names the lookup that is under way.
  var generation: UInt32 = 0
  var isUnderWay = false
  /// To be started when others have ended.
  var isWanted = false
  var wantsAction = false
  /// Nil: never resolved.
  var validUntil: Instant?
  /// When it was resolved last.
  var resolvedAt = Instant(nanoseconds: 0)
  var failures: UInt32 = 0
  var notBefore = Instant(nanoseconds: 0)
  var addresses: [SocketAddress] = []
}

/// How many requests a category of `drop_overloads` has dropped.
struct DropCount: Sendable {
  var category: ByteString
  var count: UInt64 = 0
  /// As far as a load report has it.
  var reported: UInt64 = 0
}

/// One place in the table of clusters. It outlives its cluster's removal from the snapshot until the
/// last request and the last connection that belong to it have ended.
struct ClusterSlot: Sendable {
  var isUsed = false
  /// Part of the present snapshot.
  var isCurrent = false
  var configuration = Cluster(name: "", discovery: .endpoints(Assignment()))
  /// `drop_overloads` of its discovery, beside it: every request asks for them.
  var overloads: [DropOverload] = []
  /// Where requests may go: the assignment of the configuration, whose memory it shares, or what the
  /// names were resolved to.
  var members = Assignment()
  /// The members that were picked once. A cluster without requests keeps nothing of this kind.
  var endpoints: [EndpointState] = []
  /// Of each member: its place in `endpoints` plus 1, or 0. Empty while the balancer is not ready.
  var places: [UInt32] = []
  var balancer = LoadBalancer()
  /// Of each name.
  var resolutions: [ResolutionState] = []
  /// When those who wait for a lookup go on without it.
  var patience = Instant.never
  /// They did.
  var isOverdue = false
  /// All names were answered once, or waited for in vain.
  var hasSettled = false
  /// Requests that wait for a connection or a stream.
  var pending = SlotList()
  var load = ClusterLoads()
  /// Requests that were routed here and have not ended.
  var requests = 0
  var drops: [DropCount] = []
  var tally = LoadTally()
  var statistics = ClusterStatistics()
  var failed = FailedRequests()
  /// `upstream.maintenance_mode`
  var maintenance = FractionalPercent(numerator: 0)
  /// How often a server said that it hears too many PINGs: each doubles the time between them.
  var keepAliveDoublings: UInt8 = 0

  var dns: DNSDiscovery? {
    if case .dns(let dns) = configuration.discovery { return dns }
    return nil
  }

  var nameText: String { configuration.name.description }

  /// The name of an endpoint for `auto_host_rewrite`; empty: none.
  func hostname(of endpoint: UInt32) -> ByteString {
    guard let place = self.endpoint(endpoint) else { return ByteString() }
    return members.hostname(of: Int(endpoints[place].member))
  }

  func endpoint(_ id: UInt32) -> Int? { endpoints.firstIndex { $0.id == id } }

  /// Where an endpoint can be reached.
  func addresses(_ endpoint: Int) -> [SocketAddress] {
    members.addresses(of: Int(endpoints[endpoint].member))
  }

  var isLookingUp: Bool { resolutions.contains { $0.isUnderWay || $0.isWanted } }
}

/// Connections are tried again after this: a dead upstream costs few attempts, and a fleet does not
/// come back in step.
let reconnectBackOff = BackOff(base: .milliseconds(500), maximum: .seconds(30))
/// The shortest time between two lookups of a name, whatever its TTL says.
let resolutionFloor = Interval.seconds(5)
/// How long requests wait for a lookup when older addresses are known, and when none are.
let resolutionPatience = Interval.seconds(5)
let firstResolutionPatience = Interval.seconds(20)
/// How long they wait for the other names of a cluster when the first is known.
let stragglerPatience = Interval.seconds(1)
/// How long the addresses of a name that cannot be looked up any more are used (Envoy Mobile's
/// `host_ttl`).
let addressLifetime = Interval.seconds(24 * 3600)
/// Lookups of one cluster at once; its other names wait.
let lookupsMax = 4
/// The time for the last output of a connection that is being closed.
let lingerTime = Interval.seconds(1)
/// A connection whose peer takes not one octet of what waits for so long is given up.
let flushPatience = Interval.seconds(30)
/// The slowest peer that is not taken for a hostile one, in octets of a request's body per second.
let slowestBodyRate = 128
/// Content that one request may queue before another has its turn.
let contentPerTurn = 16 * 1024
