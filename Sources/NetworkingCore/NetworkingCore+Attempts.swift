import HTTP2
import Policy
import Primitives

/// One attempt after the other, until the request has its result.
extension NetworkingCore {
  /// Begins an attempt that the retry policy counts.
  mutating func startAttempt(_ request: Int) {
    requests[request].attempts += 1
    place(request)
    guard requests[request].phase == .pending else { return }
    clusters[requests[request].cluster].statistics.pendingTotal += 1
  }

  /// Finds a stream for the request, or a queue to wait in, or an end.
  mutating func place(_ request: Int) {
    requests[request].beginAttempt()
    noteProgress(request)
    let cluster = requests[request].cluster
    switch chooseEndpoint(cluster) {
    case .endpoint(let index):
      requests[request].endpoint = clusters[cluster].endpoints[index].id
      seekStream(request)
    case .resolving:
      wait(request)
    case .unresolved:
      clusters[cluster].statistics.noHealthyUpstream += 1
      requests[request].reconnectAfter = clusters[cluster].resolution.notBefore - now
      leaveAttempt(request, resetting: nil)
      end(request, .resolutionFailed, unresolvedText(cluster))
    case .none:
      clusters[cluster].statistics.noHealthyUpstream += 1
      leaveAttempt(request, resetting: nil)
      end(
        request, .noHealthyUpstream,
        "no_healthy_upstream: \(clusters[cluster].configuration.name.description)")
    case .allFailing:
      failFast(request)
    }
  }

  private func unresolvedText(_ cluster: Int) -> String {
    "no_healthy_upstream: \(clusters[cluster].dns?.host.description ?? "") could not be resolved"
  }

  /// All endpoints failed a moment ago: no use in another attempt at once.
  private mutating func failFast(_ request: Int) {
    let cluster = requests[request].cluster
    var earliest = Instant.never
    var reason = ByteString()
    for endpoint in clusters[cluster].endpoints where endpoint.notBefore < earliest {
      earliest = endpoint.notBefore
      reason = endpoint.reason
    }
    requests[request].reconnectAfter = earliest - now
    endAttempt(request, .connectFailure, .connectFailure, connectText(reason))
  }

  /// Opens a stream at the request's endpoint, or queues for one.
  mutating func seekStream(_ request: Int) {
    let endpoint = requests[request].endpoint
    let cluster = requests[request].cluster
    if let connection = usableConnection(cluster, endpoint) {
      guard clusters[cluster].configuration.circuitBreakers.allowsRequest(clusters[cluster].load)
      else { return overflow(request, "max_requests") }
      if openStream(request, connection) { return }
    }
    guard requests[request].phase != .finished else { return }
    switch ensureConnection(cluster, endpoint) {
    case .underWay:
      wait(request)
    case .refused(let limit):
      clusters[cluster].statistics.connectionOverflows += 1
      overflow(request, limit)
    }
  }

  private mutating func wait(_ request: Int) {
    let cluster = requests[request].cluster
    guard clusters[cluster].configuration.circuitBreakers.allowsPending(clusters[cluster].load)
    else { return overflow(request, "max_pending_requests") }
    requests[request].phase = .pending
    clusters[cluster].pending.append(request, &links)
    clusters[cluster].load.pending += 1
  }

  /// A breaker said no. Never retried (Envoy's "overflow" reset).
  private mutating func overflow(_ request: Int, _ limit: StaticString) {
    clusters[requests[request].cluster].statistics.pendingOverflows += 1
    leaveAttempt(request, resetting: nil)
    end(request, .overflow, "upstream_reset_before_response_started{overflow}: \(limit)")
  }

  /// Gives everyone in the cluster's queue another chance. Their order stays.
  mutating func servePending(_ cluster: Int) {
    var remaining = clusters[cluster].pending.count
    while remaining > 0, let request = clusters[cluster].pending.popFirst(&links) {
      remaining -= 1
      clusters[cluster].load.pending -= 1
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
    for cluster in clusters.indices where clusters[cluster].load.pending > 0 {
      servePending(cluster)
    }
  }

  /// Takes the request out of wherever its attempt stands, and frees what the attempt held.
  mutating func leaveAttempt(_ request: Int, resetting code: HTTP2ErrorCode?) {
    let cluster = requests[request].cluster
    switch requests[request].phase {
    case .pending:
      clusters[cluster].pending.remove(request, &links)
      clusters[cluster].load.pending -= 1
    case .waiting:
      clusters[cluster].load.waiting -= 1
    case .streaming:
      leaveStream(request, resetting: code)
    case .free, .draining, .finished:
      break
    }
    requests[request].phase = .free
    if requests[request].holdsRetry {
      requests[request].holdsRetry = false
      clusters[cluster].load.retries -= 1
    }
  }

  /// An attempt ended without a usable response: another one, or the end.
  mutating func endAttempt(
    _ request: Int, _ outcome: AttemptOutcome, _ reason: FailureReason, _ details: String,
    resetting code: HTTP2ErrorCode? = nil
  ) {
    leaveAttempt(request, resetting: code)
    if scheduleRetry(request, outcome) { return }
    end(request, reason, details)
  }

  /// Queues the request behind its back-off if the policy wants it and the budget has room. The
  /// attempt before has been left.
  private mutating func scheduleRetry(_ request: Int, _ outcome: AttemptOutcome) -> Bool {
    guard mayRetry(request, outcome) else { return false }
    schedule(request)
    return true
  }

  /// The retry was allowed: it counts from here until its attempt ends.
  mutating func schedule(_ request: Int) {
    let cluster = requests[request].cluster
    let number = UInt32(requests[request].attempts)
    clusters[cluster].load.retries += 1
    clusters[cluster].load.waiting += 1
    clusters[cluster].statistics.retries += 1
    requests[request].holdsRetry = true
    requests[request].phase = .waiting
    requests[request].perTryDeadline = .never
    requests[request].backOffEnd =
      now + requests[request].policy.backOff.delay(number, using: &random)
    rearm(request)
  }

  /// Whether a retry is allowed; counts why not.
  mutating func mayRetry(_ request: Int, _ outcome: AttemptOutcome) -> Bool {
    let cluster = requests[request].cluster
    guard requests[request].policy.retries(outcome) else { return false }
    guard requests[request].attempts <= Int(clamping: requests[request].policy.retries) else {
      clusters[cluster].statistics.retryLimitExceeded += 1
      return false
    }
    guard clusters[cluster].configuration.circuitBreakers.allowsRetry(clusters[cluster].load)
    else {
      clusters[cluster].statistics.retryOverflows += 1
      return false
    }
    return true
  }

  /// The request's result, without a response.
  mutating func end(_ request: Int, _ reason: FailureReason, _ details: String) {
    requests[request].details = ByteString(details)
    end(request, .failure(reason))
  }

  /// The request's result. It was taken out of its attempt before.
  mutating func end(_ request: Int, _ outcome: RequestResult.Outcome) {
    precondition(requests[request].phase == .free, "NetworkingCore: a request ended twice")
    requests[request].phase = .finished
    requests[request].outcome = outcome
    deadlines[request] = .never
    let cluster = requests[request].cluster
    if cluster >= 0 {
      clusters[cluster].requests -= 1
      retireCluster(cluster)
    }
    retainBuffers(request)
    if requests[request].duplex >= 0 { endStream(request) }
    finished.append(request, &links)
  }

  /// Recomputes the request's next deadline.
  mutating func rearm(_ request: Int) { deadlines[request] = requests[request].deadline }

  /// Something moved: the idle timeout starts again.
  mutating func noteProgress(_ request: Int) {
    requests[request].idleDeadline = now.after(requests[request].idleTimeout)
    rearm(request)
  }
}
