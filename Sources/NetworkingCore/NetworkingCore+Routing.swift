import GRPC
import HPACK
import Policy
import Primitives

/// What the route says of a request is applied before its first attempt.
extension NetworkingCore {
  mutating func begin(
    _ slot: Int, _ request: borrowing UpstreamRequest, _ decision: borrowing RouteDecision
  ) {
    switch decision {
    case .noListener:
      end(
        slot, .unrouted, .noListener,
        "route_not_found: no listener \(request.listener.description)")
    case .noVirtualHost:
      end(
        slot, .unrouted, .noRoute,
        "route_not_found: no virtual host for \(request.authority.description)")
    case .noRoute:
      end(
        slot, .unrouted, .noRoute, "route_not_found: no route for \(request.path.description)")
    case .noCluster(let status, let name):
      requests[slot].status = status
      end(slot, .unrouted, .noCluster, "cluster_not_found: \(name.description)")
    case .respond(let answer):
      respond(slot, answer)
    case .forward(let routed):
      forward(slot, request, routed)
    }
  }

  /// The route answers itself.
  private mutating func respond(_ slot: Int, _ answer: borrowing DirectResponse) {
    let location = answer.location
    requests[slot].details =
      location.isEmpty ? "direct_response" : "direct_response: location " + location
    if !(200...299).contains(answer.status) { requests[slot].retryEnd = .unrouted }
    end(slot, .response(status: answer.status, grpcStatus: nil, retryAfter: nil))
  }

  private mutating func forward(
    _ slot: Int, _ request: borrowing UpstreamRequest, _ routed: borrowing RoutedRequest
  ) {
    let cluster = clusterSlots[routed.cluster]
    guard cluster >= 0 else {
      let name = snapshot.clusters[routed.cluster].name
      requests[slot].status = 503
      end(slot, .unrouted, .noCluster, "cluster_not_found: no room for \(name.description)")
      return
    }
    requests[slot].fill(
      request, isTLS: clusters[cluster].configuration.security != .plain,
      rewrite: routed.rewrite)
    requests[slot].cluster = cluster
    requests[slot].priority = routed.priority
    clusters[cluster].requests += 1
    guard routed.rewrite.mutations.isEmpty || accountMutations(slot, request) else {
      end(slot, .tooLarge, .overflow, "no memory for the header fields that the route adds")
      return
    }
    guard !isTurnedAway(slot) else { return }
    nameAttemptFields(slot, routed)
    guard requests[slot].duplex < 0 else {
      requests[slot].makeEndless()
      return startAttempt(slot)
    }
    limitTime(slot, request, routed)
    limitRetries(slot, request, routed)
    guard !routed.mirrors.isEmpty else { return startAttempt(slot) }
    let mirrors = makeMirrors(of: slot, routed)
    startAttempt(slot)
    for mirror in mirrors { startAttempt(mirror) }
  }

  /// Maintenance, and `drop_overloads`, which comes before any breaker (XDS: the request has had no attempt).
  private mutating func isTurnedAway(_ slot: Int) -> Bool {
    let cluster = requests[slot].cluster
    if clusters[cluster].maintenance.numerator > 0,
      clusters[cluster].maintenance.draw(using: &random)
    {
      clusters[cluster].statistics.maintenance += 1
      end(slot, .maintenance, .overflow, "maintenance_mode: \(clusters[cluster].nameText)")
      return true
    }
    if let category = drawDrop(cluster) {
      end(slot, .dropped, .dropped, "drop_overload: \(category.description)")
      return true
    }
    return false
  }

  /// False: there is no memory for what the route adds.
  private mutating func accountMutations(
    _ slot: Int, _ request: borrowing UpstreamRequest
  ) -> Bool {
    let growth = max(requests[slot].headers.size - request.headers.size, 0)
    guard requestPool.take(growth) else { return false }
    requests[slot].accountedBytes += growth
    return true
  }

  private mutating func limitTime(
    _ slot: Int, _ request: borrowing UpstreamRequest, _ routed: borrowing RoutedRequest
  ) {
    requests[slot].timeout = request.timeout ?? routed.timeout
    requests[slot].idleTimeout = routed.idleTimeout
    var duration = routed.maxStreamDuration
    if duration <= .zero {
      let cluster = requests[slot].cluster
      duration = clusters[cluster].configuration.http.maxStreamDuration ?? .zero
    }
    guard duration > .zero else { return }
    requests[slot].durationDeadline = now.after(duration)
    // The peer is told what is left in each attempt, not what there was in the beginning.
    guard let index = request.headers.firstIndex(of: "grpc-timeout"),
      let timeout = request.headers.withField(index, { _, value in GRPCTimeout.decode(value) })
    else { return }
    requests[slot].grpcDeadline = min(now + timeout, requests[slot].durationDeadline)
    requests[slot].attemptFields.insert(.grpcTimeout)
  }

  /// Finds out what there is to retry with, once: the policy may not apply to this request.
  private mutating func limitRetries(
    _ slot: Int, _ request: borrowing UpstreamRequest, _ routed: borrowing RoutedRequest
  ) {
    requests[slot].policy = routed.retryPolicy
    if !routed.retryPolicy.isPlain {
      requests[slot].perTryIdleTimeout = routed.retryPolicy.perTryIdleTimeout
      requests[slot].avoidsTried = routed.retryPolicy.avoidsPreviousHosts
    }
    requests[slot].isHedged = routed.hedgesOnPerTryTimeout
    requests[slot].retryEnd = .notRetriable
    guard !routed.retryPolicy.conditions.isEmpty else {
      requests[slot].retryEnd = .noPolicy
      return
    }
    if isTooLarge(slot, for: routed.bodyLimit) {
      clusters[requests[slot].cluster].statistics.retriesOrShadowsAbandoned += 1
      forbidRetries(slot, .bodyTooLarge)
      return
    }
    guard !routed.retryPolicy.isPlain else { return }
    let matchers = routed.retryPolicy.retriableRequestHeaders
    guard !matchers.isEmpty else { return }
    let head = RoutingHead(request)
    for matcher in matchers where matcher.matches(head.value(of: matcher.name)) { return }
    forbidRetries(slot, .requestHeaders)
  }

  /// The per-try timeout stays: it needs no retry to be of use.
  private mutating func forbidRetries(_ slot: Int, _ reason: RetryEnd) {
    requests[slot].policy.conditions = []
    requests[slot].retryEnd = reason
  }

  func isTooLarge(_ slot: Int, for limit: UInt64?) -> Bool {
    guard let limit else { return false }
    return UInt64(requests[slot].body.count) > limit
  }

  private mutating func nameAttemptFields(_ slot: Int, _ routed: borrowing RoutedRequest) {
    if routed.addsAttemptCount { requests[slot].attemptFields.insert(.attemptCount) }
    if routed.addsTimeoutRetryHeader { requests[slot].attemptFields.insert(.timeoutRetry) }
    if routed.rewrite.usesEndpointHostname {
      requests[slot].attemptFields.insert(.endpointHostname)
      if routed.rewrite.appendsForwardedHost {
        requests[slot].attemptFields.insert(.forwardedHost)
      }
    }
  }
}
