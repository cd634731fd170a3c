import HPACK
import HTTP2
import Policy
import Primitives

/// Requests in, exactly one result for each out, the pushed policy applied: routes, endpoints,
/// connections, streams, timeouts, retries, breakers. A machine without sockets and clocks: after
/// each call the driver takes actions and results until there are none, and sleeps until
/// `nextDeadline()`.
public struct NetworkingCore: ~Copyable, Sendable {
  public let limits: CoreLimits

  var snapshot = PolicySnapshot()
  /// The slot of each cluster of the snapshot; -1: there was no room for it.
  var clusterSlots: [Int] = []
  /// At most `CoreLimits.clustersMax`.
  var clusters: [ClusterSlot] = []
  var connections: [ConnectionSlot]
  var requests: [RequestSlot]
  /// Of the requests that are long-lived streams.
  var streams: [UpstreamStream]
  public internal(set) var streamsInUse = 0

  /// Each request's next deadline, beside the table so that a search reads little memory.
  var deadlines: [Instant]
  var links: SlotLinks
  /// A stack: few requests at once use few slots, whose buffers stay warm.
  var freeRequests: [Int]
  /// Places behind those of the requests: for hedges and mirrors.
  var freeSpares: [Int]
  var finished = SlotList()

  var random: SplitMix64
  /// The latest time that was passed in.
  var now = Instant(nanoseconds: 0)
  /// The wall clock, if it is known: `wall` was the time at `wallRead`.
  var wall: WallTime?
  var wallRead = Instant(nanoseconds: 0)
  /// The header fields of one attempt, if they are not its request's own.
  var composed = HeaderList()
  // What the runtime says of retries.
  var retryShare = FractionalPercent(numerator: 100)
  var defaultBackOff = BackOff()
  var lastEndpoint: UInt32 = 0
  var lastResolution: UInt32 = 0
  var hasActions = false
  /// A lookup waits for the driver.
  var wantsLookups = false
  /// A request waits for a place in the table of connections.
  var wantsConnectionSlot = false
  /// The connection that is coming up, while those it was opened for have their turn; -1: none.
  var arriving = -1

  /// Connections at once, of the table's places: what the memory that they may take has room for.
  public var connectionsMax: Int
  /// Header fields and bodies of requests under way.
  public internal(set) var requestPool: Pool
  /// What long-lived streams have received and nobody has taken.
  public internal(set) var streamPool: Pool
  /// Capacity of the buffers that free slots keep for the next request.
  var retainedBytes = 0
  /// By `HTTP2Cause`: how many connections and streams ended for it.
  var causes = [UInt64](repeating: 0, count: HTTP2Cause.allCases.count)
  /// Of clusters that are gone, until they are taken.
  var finalTallies: [ClusterTally] = []
  /// Clusters of the present snapshot that the table had no room for.
  public internal(set) var clustersLeftOut = 0

  public init(limits: CoreLimits = CoreLimits(), seed: UInt64) {
    precondition(
      limits.connectionsMax > 0 && limits.requestsMax > 0 && limits.clustersMax > 0
        && limits.addressesMax > 0 && limits.endpointsMax > 0,
      "NetworkingCore: a limit of 0 would serve nobody")
    self.limits = limits
    connectionsMax = limits.connectionsMax
    connections = [ConnectionSlot](repeating: ConnectionSlot(), count: limits.connectionsMax)
    let slots = limits.requestsMax + limits.spareAttemptsMax
    requests = [RequestSlot](repeating: RequestSlot(), count: slots)
    deadlines = [Instant](repeating: .never, count: slots)
    links = SlotLinks(count: slots)
    streams = [UpstreamStream](repeating: UpstreamStream(), count: limits.streamsMax)
    freeRequests = Array((0..<limits.requestsMax).reversed())
    freeSpares = Array((limits.requestsMax..<slots).reversed())
    random = SplitMix64(seed: seed)
    requestPool = Pool(name: "requests", limit: limits.requestBytesMax)
    streamPool = Pool(name: "streams", limit: limits.streamsMax * limits.streamBufferBytes)
  }

  /// What the wall clock says, for a `Retry-After` that is a date; nil while it is not trusted.
  public mutating func setWall(_ wall: WallTime?, now: Instant) {
    self.wall = wall
    wallRead = now
  }

  /// Takes a request. Nil: at its limit, try again after a result. A request that cannot be routed is
  /// taken, and its result says why.
  public mutating func submit(_ request: borrowing UpstreamRequest, now: Instant) -> RequestID? {
    advance(to: now)
    return admit(request, bodyBytes: request.body.count, duplex: -1)
  }

  /// `duplex`: the place of a long-lived stream, or -1.
  mutating func admit(
    _ request: borrowing UpstreamRequest, bodyBytes: Int, duplex: Int
  ) -> RequestID? {
    guard let slot = freeRequests.last else { return nil }
    let bytes = bodyBytes + request.headers.size + request.path.count
    let isTooLarge = bytes > requestPool.limit
    if !isTooLarge {
      guard requestPool.take(bytes) else { return nil }
      requests[slot].accountedBytes = bytes
    }
    freeRequests.removeLast()
    useRetained(slot)
    requests[slot].reset(token: request.token)
    if duplex >= 0 { beginStream(duplex, slot) }
    let id = RequestID(slot: slot, generation: requests[slot].generation)
    guard !isTooLarge else {
      end(
        slot, .tooLarge, .requestTooLarge,
        "a request of \(bytes) bytes, the limit is \(requestPool.limit)")
      return id
    }
    let decision = snapshot.route(
      listener: request.listener, head: RoutingHead(request), using: &random)
    begin(slot, request, decision)
    return id
  }

  /// Ends the request; its result is `.failure(.cancelled)` unless it had one already.
  public mutating func cancel(_ id: RequestID, now: Instant) {
    advance(to: now)
    guard requests.indices.contains(id.slot), requests[id.slot].generation == id.generation
    else { return }
    switch requests[id.slot].phase {
    case .free, .finished: return
    case .draining:
      requests[id.slot].phase = .free
      end(id.slot, requests[id.slot].outcome)
    case .pending, .streaming, .waiting:
      clusters[requests[id.slot].cluster].statistics.cancelled += 1
      requests[id.slot].tallyEnd = .nothing
      leaveAttempt(id.slot, resetting: .cancel)
      end(id.slot, .cancelled, .cancelled, "downstream_remote_disconnect: cancelled")
      serveEverywhere()
    }
  }

  /// The next result: exactly one per request that was taken, in the order in which they ended.
  public mutating func nextResult() -> RequestResult? {
    guard let slot = finished.popFirst(&links) else { return nil }
    let result = RequestResult(
      id: RequestID(slot: slot, generation: requests[slot].generation),
      token: requests[slot].token, outcome: requests[slot].outcome,
      attempts: requests[slot].attempts, details: requests[slot].details,
      reconnectAfter: requests[slot].reconnectAfter, retryEnd: requests[slot].retryEnd,
      localStatus: localStatus(slot))
    requests[slot].phase = .free
    requests[slot].generation &+= 1
    freeRequests.append(slot)
    if isMutated(.endTwice) { freeRequests.append(slot) }
    return result
  }

  /// Whether `nextResult` has one.
  public var hasResult: Bool { finished.count > 0 }

  /// Requests that were taken and whose result was not.
  public var requestsUnderWay: Int { limits.requestsMax - freeRequests.count }

  /// Connections that are open, being opened or being closed.
  public var connectionsInUse: Int {
    var count = 0
    for slot in connections.indices where connections[slot].phase != .free { count += 1 }
    return count
  }

  /// The memory that connections hold.
  public var connectionBytes: Int {
    var sum = 0
    for slot in connections.indices where !connections[slot].http.isEmpty {
      sum += connections[slot].http[0].memory
    }
    return sum
  }

  /// Sets what all requests together may take. Those under way go on, whatever it is.
  public mutating func limitRequests(to bytes: Int) { requestPool.limit = bytes }

  /// Time never goes back inside the core, whatever is passed in.
  mutating func advance(to time: Instant) {
    if time > now { now = time }
  }
}
