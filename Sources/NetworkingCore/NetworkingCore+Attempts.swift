import HTTP2
import Policy
import Primitives

/// One attempt after the other, until the request has its result.
extension NetworkingCore {
  /// The request that an attempt is made for: the slot itself, or that which a hedge belongs to.
  @inline(__always)
  func lead(of request: Int) -> Int {
    let owner = requests[request].owner
    return owner < 0 ? request : owner
  }

  /// Asked field by field: to call a method of a slot is to copy the slot.
  @inline(__always)
  func breakers(_ cluster: Int, _ priority: RoutingPriority) -> CircuitBreakers {
    priority == .high
      ? clusters[cluster].configuration.highPriorityBreakers
      : clusters[cluster].configuration.circuitBreakers
  }

  @inline(__always)
  func load(_ cluster: Int, _ priority: RoutingPriority) -> ClusterLoad {
    priority == .high ? clusters[cluster].load.high : clusters[cluster].load.normal
  }

  /// Begins an attempt that the retry policy counts.
  mutating func startAttempt(_ request: Int) {
    let lead = lead(of: request)
    requests[lead].attempts += 1
    requests[request].number = requests[lead].attempts
    place(request)
    guard requests[request].phase == .pending else { return }
    clusters[requests[request].cluster].statistics.pendingTotal += 1
  }

  /// Finds a stream for the request, or a queue to wait in, or an end.
  mutating func place(_ request: Int) {
    requests[request].beginAttempt()
    noteProgress(request)
    let cluster = requests[request].cluster
    switch pickEndpoint(request) {
    case .endpoint(let index):
      requests[request].endpoint = clusters[cluster].endpoints[index].id
      noteTried(request)
      seekStream(request)
    case .resolving:
      wait(request)
    case .unresolved:
      clusters[cluster].statistics.noHealthyUpstream += 1
      requests[request].reconnectAfter = lookupDelay(cluster)
      abandon(request, .noEndpoint, .resolutionFailed, unresolvedText(cluster))
    case .none:
      clusters[cluster].statistics.noHealthyUpstream += 1
      abandon(
        request, .noEndpoint, .noHealthyUpstream,
        "no_healthy_upstream: \(clusters[cluster].nameText)")
    case .allFailing:
      failFast(request)
    }
  }

  private mutating func pickEndpoint(_ request: Int) -> EndpointChoice {
    let lead = lead(of: request)
    let cluster = requests[request].cluster
    guard !requests[lead].tried.isEmpty else { return chooseEndpoint(cluster) }
    let picks = min(
      Int(clamping: requests[lead].policy.hostSelectionAttempts), hostSelectionAttemptsMax)
    return chooseEndpoint(cluster, avoiding: requests[lead].tried, picks: picks)
  }

  private mutating func noteTried(_ request: Int) {
    let lead = lead(of: request)
    guard requests[lead].avoidsTried else { return }
    let endpoint = requests[request].endpoint
    guard !requests[lead].tried.contains(endpoint),
      requests[lead].tried.count < triedEndpointsMax
    else { return }
    requests[lead].tried.append(endpoint)
  }

  /// When one of the cluster's names will be looked up again.
  private func lookupDelay(_ cluster: Int) -> Interval {
    var earliest = Instant.never
    for name in clusters[cluster].resolutions { earliest = min(earliest, name.notBefore) }
    return max(earliest - now, .zero)
  }

  private func unresolvedText(_ cluster: Int) -> String {
    let host = clusters[cluster].dns?.hosts.first?.host ?? ByteString()
    return "no_healthy_upstream: \(host.description) could not be resolved"
  }

  /// All endpoints failed a moment ago: no use in another attempt at once.
  private mutating func failFast(_ request: Int) {
    let cluster = requests[request].cluster
    var earliest = Instant.never
    var reason = ByteString()
    for endpoint in clusters[cluster].endpoints
    where endpoint.notBefore > now && endpoint.notBefore < earliest {
      earliest = endpoint.notBefore
      reason = endpoint.reason
    }
    requests[request].reconnectAfter = earliest == .never ? .zero : earliest - now
    endAttempt(request, .connectFailure, .connectFailure, connectText(reason))
  }

  /// Opens a stream at the request's endpoint, or queues for one.
  mutating func seekStream(_ request: Int) {
    let endpoint = requests[request].endpoint
    let cluster = requests[request].cluster
    if let connection = usableConnection(cluster, endpoint) {
      let priority = requests[request].priority
      guard breakers(cluster, priority).allowsRequest(load(cluster, priority))
      else { return overflow(request, "max_requests") }
      switch openStream(request, connection) {
      case .opened, .ended: return
      case .notHere: break
      }
    }
    switch ensureConnection(cluster, endpoint, requests[request].priority) {
    case .underWay:
      wait(request)
    case .refused(let limit):
      clusters[cluster].statistics.connectionOverflows += 1
      overflow(request, limit)
    }
  }

  private mutating func wait(_ request: Int) {
    let cluster = requests[request].cluster
    let priority = requests[request].priority
    guard breakers(cluster, priority).allowsPending(load(cluster, priority))
    else { return overflow(request, "max_pending_requests") }
    requests[request].phase = .pending
    clusters[cluster].pending.append(request, &links)
    clusters[cluster].load[priority].pending += 1
  }

  /// A breaker said no. Never retried (Envoy's "overflow" reset).
  private mutating func overflow(_ request: Int, _ limit: StaticString) {
    let cluster = requests[request].cluster
    clusters[cluster].statistics.pendingOverflows += 1
    if clusters[cluster].configuration.reportsLoad { clusters[cluster].tally.overflows += 1 }
    abandon(
      request, .circuitBreaker, .overflow,
      "upstream_reset_before_response_started{overflow}: \(limit)")
  }

  /// Gives everyone in the cluster's queue another chance. Their order stays.
  mutating func servePending(_ cluster: Int) {
    var remaining = clusters[cluster].pending.count
    while remaining > 0, let request = clusters[cluster].pending.popFirst(&links) {
      remaining -= 1
      clusters[cluster].load[requests[request].priority].pending -= 1
      requests[request].phase = .free
      let endpoint = requests[request].endpoint
      if endpoint == 0 || clusters[cluster].endpoint(endpoint) == nil {
        place(request)
      } else {
        seekStream(request)
      }
    }
  }

  /// Streams may have become free.
  mutating func serveEverywhere() {
    for cluster in clusters.indices where clusters[cluster].pending.count > 0 {
      servePending(cluster)
    }
  }

  /// Takes the request out of wherever its attempt stands, and frees what the attempt held. To reset a
  /// stream can be the end of its connection and of all that is on it: false means that it was a
  /// hedge whose request has come to its end that way.
  @discardableResult
  mutating func leaveAttempt(_ request: Int, resetting code: HTTP2ErrorCode?) -> Bool {
    let cluster = requests[request].cluster
    let priority = requests[request].priority
    let phase = requests[request].phase
    requests[request].phase = .free
    if requests[request].holdsRetry {
      requests[request].holdsRetry = false
      clusters[cluster].load[priority].retries -= 1
    }
    switch phase {
    case .pending:
      clusters[cluster].pending.remove(request, &links)
      clusters[cluster].load[priority].pending -= 1
    case .waiting:
      clusters[cluster].load[priority].waiting -= 1
    case .streaming:
      leaveStream(request, resetting: code)
    case .free, .draining, .finished:
      break
    }
    return request < limits.requestsMax || !isFreeSpare(request)
  }

  /// Recomputes the request's next deadline.
  mutating func rearm(_ request: Int) { deadlines[request] = requests[request].deadline }

  /// Something moved: the idle timeouts start again.
  mutating func noteProgress(_ request: Int) {
    let owner = requests[request].owner
    if owner >= 0 {
      requests[owner].idleDeadline = now.after(requests[owner].idleTimeout)
      rearm(owner)
    } else {
      requests[request].idleDeadline = now.after(requests[request].idleTimeout)
    }
    if requests[request].perTryIdleDeadline != .never {
      let timeout = requests[lead(of: request)].perTryIdleTimeout
      requests[request].perTryIdleDeadline = now.after(timeout)
    }
    rearm(request)
  }
}

/// Picks beyond this one after the other would cost more time than another endpoint can save.
private let hostSelectionAttemptsMax = 32
/// Endpoints that a request remembers to have tried.
private let triedEndpointsMax = 16
