import HTTP2
import Policy
import Primitives

/// The pool: one connection per endpoint unless the policy allows more, opened when needed.
extension NetworkingCore {
  enum OnEnsureConnection {
    /// A connection will come, or streams of the present one will be free.
    case underWay
    case refused(StaticString)
  }

  // Loops over places, not over values: a copied slot would retain the whole HTTP/2 machine.

  mutating func usableConnection(_ cluster: Int, _ endpoint: UInt32) -> Int? {
    for slot in connections.indices
    where connections[slot].cluster == cluster && connections[slot].endpoint == endpoint {
      if connections[slot].mayOpenStream() { return slot }
    }
    return nil
  }

  func hasPromisingConnection(_ cluster: Int, _ endpoint: UInt32) -> Bool {
    for slot in connections.indices
    where connections[slot].cluster == cluster && connections[slot].endpoint == endpoint {
      if connections[slot].isPromising { return true }
    }
    return false
  }

  func freePlace() -> Int? {
    guard connectionsInUse < connectionsMax else { return nil }
    for slot in connections.indices where connections[slot].phase == .free { return slot }
    return nil
  }

  /// Opens a connection to the endpoint unless there are as many as there may be.
  mutating func ensureConnection(
    _ cluster: Int, _ endpoint: UInt32, _ priority: RoutingPriority
  ) -> OnEnsureConnection {
    var promising: UInt32 = 0
    var isConnecting = false
    for slot in connections.indices
    where connections[slot].cluster == cluster && connections[slot].endpoint == endpoint {
      guard connections[slot].isPromising else { continue }
      promising += 1
      if connections[slot].phase == .connecting { isConnecting = true }
    }
    let most = min(
      max(clusters[cluster].configuration.connectionsPerEndpoint, 1),
      clusters[cluster].configuration.perHostMaxConnections ?? .max)
    if isConnecting || promising >= most { return .underWay }
    guard
      breakers(cluster, priority).allowsConnection(load(cluster, priority))
    else {
      if promising > 0 { return .underWay }
      guard breakers(cluster, priority).maxConnections > 0 else {
        return .refused("max_connections")
      }
      // Those of other endpoints make way, at once or with their last stream: no endpoint is without
      // a connection for as long as there are others.
      _ = reclaimConnection(of: cluster, priority)
      return .underWay
    }
    guard let index = clusters[cluster].endpoint(endpoint) else {
      preconditionFailure("NetworkingCore: a connection to an endpoint that is no member")
    }
    // Not the moment for one more, while another still carries streams.
    if clusters[cluster].endpoints[index].notBefore > now, promising > 0 { return .underWay }
    guard let slot = freePlace() else {
      if promising > 0 || reclaimConnection() { return .underWay }
      return .refused("every connection of the core is in use")
    }
    startRace(slot, cluster, index, priority)
    return .underWay
  }

  /// Closes the connection that has been without streams for the longest time, for another one to
  /// take its place: any, or one that counts for the breaker of a cluster. False: all are busy.
  mutating func reclaimConnection(
    of cluster: Int? = nil, _ priority: RoutingPriority = .default
  ) -> Bool {
    wantsConnectionSlot = true
    var oldest: Int?
    for slot in connections.indices {
      if let cluster,
        connections[slot].cluster != cluster || connections[slot].priority != priority
      {
        continue
      }
      if connections[slot].phase == .closing { return true }
      guard connections[slot].phase == .open, connections[slot].streams.isEmpty, slot != arriving
      else { continue }
      if let found = oldest, connections[found].deadline <= connections[slot].deadline {
        continue
      }
      oldest = slot
    }
    guard let oldest else { return false }
    close(oldest)
    return true
  }

  /// TCP is established, TLS not yet.
  public mutating func tcpConnected(_ id: ConnectionID, now: Instant) {
    advance(to: now)
    guard let slot = place(of: id) else { return }
    connections[slot].isHandshaking = true
  }

  /// TCP and TLS are established, the peer speaks `h2`. `isResumed`: TLS went on with the session of
  /// an earlier connection.
  public mutating func connected(_ id: ConnectionID, isResumed: Bool = false, now: Instant) {
    advance(to: now)
    guard let slot = place(of: id), connections[slot].phase == .connecting else { return }
    let cluster = connections[slot].cluster
    if connections[slot].security != .plain {
      clusters[cluster].statistics.tls.handshakes += 1
      if isResumed { clusters[cluster].statistics.tls.resumed += 1 }
    }
    endRace(winner: slot)
    connections[slot].phase = .open
    connections[slot].http = [
      HTTP2Connection(role: .client, configuration: http2Configuration(cluster), now: self.now)
    ]
    connections[slot].lastReceived = self.now
    connections[slot].deadline = .never
    connections[slot].expiry = self.now.after(
      clusters[cluster].configuration.http.maxConnectionDuration)
    arriving = slot
    servePending(cluster)
    arriving = -1
    settle(slot)
  }

  private mutating func http2Configuration(_ cluster: Int) -> HTTP2Configuration {
    let keepAlive = clusters[cluster].configuration.keepAlive
    let options = clusters[cluster].configuration.http
    var configuration = HTTP2Configuration()
    configuration.initialWindowSize =
      min(options.streamWindow ?? .max, limits.streamWindowBytes)
    configuration.maxHeaderListSize = min(options.maxResponseHeadersBytes ?? .max, 16_384)
    configuration.maxConcurrentStreams =
      min(options.maxConcurrentStreams ?? .max, UInt32(clamping: limits.requestsMax))
    configuration.headerTableSize =
      min(options.headerTableSize ?? .max, configuration.headerTableSize)
    // Less would not hold a header block and a part of a body.
    let output = max(Int(clamping: options.outputBytesMax ?? .max), 32 * 1024)
    configuration.outputLimit = min(output, limits.outputBytesMax)
    configuration.keepAliveInterval =
      keepAlive.interval > .zero ? keepAliveInterval(cluster) : nil
    configuration.keepAliveTimeout = keepAlive.timeout
    return configuration
  }

  /// Longer by chance, so that the PINGs of a fleet do not come together, and twice as long for each time
  /// that a server has complained (gRFC A8).
  private mutating func keepAliveInterval(_ cluster: Int) -> Interval {
    let keepAlive = clusters[cluster].configuration.keepAlive
    let doublings = Int64(1) << Int64(clusters[cluster].keepAliveDoublings)
    let interval = max(
      min(keepAlive.interval.nanoseconds, keepAliveMax.nanoseconds / doublings) * doublings,
      keepAlive.interval.nanoseconds)
    let spread = min(interval / 100 * Int64(keepAlive.jitterPercent), .max - interval)
    guard spread > 0 else { return Interval(nanoseconds: interval) }
    return Interval(nanoseconds: interval + Int64(random.below(UInt64(spread))))
  }

  /// The server hears too many PINGs: later connections send fewer.
  mutating func heedComplaint(_ slot: Int, _ code: HTTP2ErrorCode) {
    guard code == .enhanceYourCalm,
      connections[slot].http[0].goAwayDebugData == tooManyPings
    else { return }
    let cluster = connections[slot].cluster
    clusters[cluster].keepAliveDoublings = min(clusters[cluster].keepAliveDoublings + 1, 16)
  }

  /// Answers `.connect`; the driver has closed the socket.
  public mutating func connectionFailed(
    _ id: ConnectionID, _ reason: ByteString, kind: ConnectFailureKind = .transport, now: Instant
  ) {
    advance(to: now)
    guard let slot = place(of: id) else { return }
    clusters[connections[slot].cluster].statistics.tls.charge(kind)
    guard connections[slot].phase == .connecting else {
      return disconnected(id, reason, now: now)
    }
    connectFailed(slot, reason.description, isSocketClosed: true)
  }

  /// One address did not work: the others of the endpoint go on, or it has failed.
  mutating func connectFailed(_ slot: Int, _ reason: String, isSocketClosed: Bool) {
    let cluster = connections[slot].cluster
    let endpointID = connections[slot].endpoint
    let text = "connect \(connections[slot].address.description): \(reason)"
    let wasRetired = connections[slot].isRetired
    clusters[cluster].statistics.connectFailures += 1
    release(slot, isSocketClosed: isSocketClosed)
    guard !wasRetired, let endpoint = clusters[cluster].endpoint(endpointID) else {
      return servePending(cluster)
    }
    if !clusters[cluster].endpoints[endpoint].races.isEmpty {
      clusters[cluster].endpoints[endpoint].races[0].note(text)
    }
    if continueRace(cluster, endpoint) { return }
    let all = clusters[cluster].endpoints[endpoint].races.first?.failures ?? text
    clusters[cluster].endpoints[endpoint].races = []
    clusters[cluster].endpoints[endpoint].reason = ByteString(all)
    endpointFailed(cluster, endpoint)
    failPending(cluster, endpointID, connectText(ByteString(all)))
  }

  /// All addresses of an endpoint failed, or a connection to it was of no use. The first time it may
  /// be tried again at once, as a retry policy expects, unless the peer is at fault; then the time
  /// grows.
  mutating func endpointFailed(_ cluster: Int, _ endpoint: Int, isAtFault: Bool = false) {
    let failures = clusters[cluster].endpoints[endpoint].failures
    clusters[cluster].endpoints[endpoint].failures = failures &+ 1
    let isFree = failures == 0 && !isAtFault
    let delay = isFree ? .zero : reconnectBackOff.delay(max(failures, 1), using: &random)
    clusters[cluster].endpoints[endpoint].notBefore = now + delay
  }

  func connectText(_ reason: ByteString) -> String {
    "upstream_reset_before_response_started{connection_failure}: \(reason.description)"
  }

  /// Those who wait for an endpoint that cannot be reached have had their attempt.
  private mutating func failPending(_ cluster: Int, _ endpoint: UInt32, _ details: String) {
    let canWait = hasPromisingConnection(cluster, endpoint)
    var remaining = clusters[cluster].pending.count
    while remaining > 0, let request = clusters[cluster].pending.popFirst(&links) {
      remaining -= 1
      guard requests[request].endpoint == endpoint, !canWait else {
        clusters[cluster].pending.append(request, &links)
        continue
      }
      clusters[cluster].load[requests[request].priority].pending -= 1
      clusters[cluster].statistics.pendingFailures += 1
      requests[request].phase = .free
      if let place = clusters[cluster].endpoint(endpoint) {
        let delay = clusters[cluster].endpoints[place].notBefore - now
        requests[request].reconnectAfter = max(delay, .zero)
      }
      endAttempt(request, .connectFailure, .connectFailure, details)
    }
  }

  /// No new requests on the cluster's connections to endpoints that are not among `kept`; idle ones
  /// close.
  mutating func retireConnections(_ cluster: Int, endpointsOutside kept: [EndpointState]) {
    for slot in connections.indices
    where connections[slot].phase != .free && connections[slot].cluster == cluster {
      let endpoint = connections[slot].endpoint
      if connections[slot].phase == .closing || kept.contains(where: { $0.id == endpoint }) {
        continue
      }
      connections[slot].isRetired = true
      if connections[slot].phase == .connecting {
        forgetRace(slot)
        release(slot, isSocketClosed: false)
      } else {
        settle(slot)
      }
    }
  }

  /// An endpoint that is no longer healthy gets no new requests on the connections it has: idle ones
  /// close, busy ones finish what is on them, unless the cluster wants them cut.
  mutating func retireUnhealthy(_ cluster: Int, _ endpoint: UInt32) {
    let isCut = clusters[cluster].configuration.balancing.cutsUnhealthy
    for slot in connections.indices
    where connections[slot].phase == .open && connections[slot].cluster == cluster
      && connections[slot].endpoint == endpoint
    {
      connections[slot].isRetired = true
      if isCut {
        lose(slot, "the endpoint is unhealthy", isSocketClosed: false)
      } else {
        settle(slot)
      }
    }
  }
}

/// What gRPC servers say to one who sends more PINGs than they permit.
private let tooManyPings: ByteString = "too_many_pings"
/// Complaints raise the time between PINGs no further.
private let keepAliveMax = Interval.seconds(2 * 3600)
