import HTTP2
import Policy
import Primitives

/// After an attempt: another one, or the end.
extension NetworkingCore {
  /// An attempt ended without a usable response.
  mutating func endAttempt(
    _ request: Int, _ outcome: AttemptOutcome, _ reason: FailureReason, _ details: String,
    resetting code: HTTP2ErrorCode? = nil
  ) {
    guard leaveAttempt(request, resetting: code) else { return }
    guard let refusal = refusal(request, outcome) else {
      return schedule(request, followsTimeout: outcome == .perTryTimeout)
    }
    abandon(request, refusal, reason, details)
  }

  /// The attempt was the last one, or the request goes on without it: a hedge that fails is forgotten,
  /// and the attempt that it was to help may be the one that fails.
  mutating func abandon(
    _ request: Int, _ why: RetryEnd, _ reason: FailureReason, _ details: String,
    resetting code: HTTP2ErrorCode? = nil
  ) {
    guard leaveAttempt(request, resetting: code) else { return }
    if requests[request].owner >= 0 {
      freeSpare(request)
    } else if !adoptHedge(request) {
      end(request, why, reason, details)
    }
  }

  /// Why there is no retry after `outcome`; nil: there may be one. Counts. The attempt is in none of the
  /// cluster's loads any more. `isHedge`: whatever happened, it is not for the policy's conditions.
  mutating func refusal(
    _ request: Int, _ outcome: AttemptOutcome?, isHedge: Bool = false
  ) -> RetryEnd? {
    let lead = lead(of: request)
    let cluster = requests[request].cluster
    let priority = requests[request].priority
    guard !requests[lead].policy.conditions.isEmpty else { return requests[lead].retryEnd }
    if let outcome {
      guard requests[lead].policy.retries(outcome) else { return .notRetriable }
    }
    if requests[request].hasSuccessor { return .limit }
    guard requests[lead].attempts <= Int(clamping: requests[lead].policy.retries) else {
      clusters[cluster].statistics.retryLimitExceeded += 1
      return .limit
    }
    guard breakers(cluster, priority).allowsRetry(load(cluster, priority)) else {
      clusters[cluster].statistics.retryOverflows += 1
      return .overflow
    }
    return retryShare.draw(using: &random) ? nil : .disabled
  }

  /// Queues the request behind its back-off: it counts as a retry from here until its attempt ends.
  /// `delay`: what the upstream asked for; nil: the policy's own.
  mutating func schedule(
    _ request: Int, after delay: Interval? = nil, followsTimeout: Bool = false
  ) {
    let lead = lead(of: request)
    let cluster = requests[request].cluster
    clusters[cluster].load[requests[request].priority].retries += 1
    clusters[cluster].load[requests[request].priority].waiting += 1
    clusters[cluster].statistics.retries += 1
    requests[request].holdsRetry = true
    requests[request].phase = .waiting
    requests[request].followsTimeout = followsTimeout
    requests[request].perTryDeadline = .never
    requests[request].perTryIdleDeadline = .never
    requests[request].sendDeadline = .never
    if let delay {
      clusters[cluster].statistics.backOffsRateLimited += 1
      requests[request].backOffEnd = now + delay
    } else {
      clusters[cluster].statistics.backOffsExponential += 1
      let backOff = requests[lead].policy.backOff ?? defaultBackOff
      let number = UInt32(clamping: requests[lead].attempts)
      requests[request].backOffEnd = now + backOff.delay(number, using: &random)
    }
    rearm(request)
  }

  /// Nothing of the request had left: another connection may take it, without asking the policy. Each
  /// time that takes a connection that was up, and an endpoint whose connections serve nothing is
  /// not tried for a while, so that the bound is hardly ever reached.
  mutating func unsentAttempt(_ request: Int, _ address: String, _ reason: String) {
    if requests[request].unsentReplays < unsentReplaysMax, mayReplay(request) {
      requests[request].unsentReplays += 1
      return replay(request)
    }
    endAttempt(
      request, .resetBeforeRequest, .reset,
      "upstream_reset_before_response_started{connection_termination}: \(address): \(reason)")
  }

  /// Not processed by the peer: once again at once, as gRPC does it; then it is for the policy.
  mutating func refused(_ request: Int, _ slot: Int) {
    let address = connections[slot].address.description
    guard requests[request].status == 0 else {
      return brokenAttempt(request, .reset, "remote_refused_stream_reset", address)
    }
    if connections[slot].bytesWritten <= requests[request].connectionBytesBefore {
      return unsentAttempt(request, address, "the connection drains")
    }
    if !requests[request].wasReplayed, mayReplay(request) {
      requests[request].wasReplayed = true
      return replay(request)
    }
    endAttempt(
      request, .refused, .refused,
      "upstream_reset_before_response_started{remote_refused_stream_reset}: \(address)")
  }

  /// Sends a request that the peer did not process again: no retry that the policy counts.
  private mutating func replay(_ request: Int) {
    let holdsRetry = requests[request].holdsRetry
    requests[request].holdsRetry = false
    requests[request].tallyEnd = .nothing
    guard leaveAttempt(request, resetting: nil) else { return }
    requests[request].holdsRetry = holdsRetry
    place(request)
  }

  /// The stream ended without its response's end. Before the response's headers that is for the retry
  /// policy; after them it is not, as with Envoy: the upstream has answered.
  mutating func brokenAttempt(
    _ request: Int, _ reason: FailureReason, _ cause: String, _ text: String,
    resetting code: HTTP2ErrorCode? = nil
  ) {
    if requests[request].status == 0 {
      return endAttempt(
        request, .reset, reason, "upstream_reset_before_response_started{\(cause)}: \(text)",
        resetting: code)
    }
    let status = requests[request].status
    abandon(
      request, .responseStarted, reason,
      "upstream_reset_after_response_started{\(cause)}: status \(status), \(text)",
      resetting: code)
  }

  /// The request's result, without a response.
  mutating func end(
    _ request: Int, _ why: RetryEnd, _ reason: FailureReason, _ details: String
  ) {
    requests[request].details = ByteString(details)
    requests[request].retryEnd = why
    end(request, .failure(reason))
  }

  /// The request's result. It was taken out of its attempt before.
  mutating func end(_ request: Int, _ outcome: RequestResult.Outcome) {
    precondition(requests[request].phase == .free, "NetworkingCore: a request ended twice")
    precondition(requests[request].owner < 0, "NetworkingCore: a hedge has no result")
    if requests[request].isMirror { return freeSpare(request) }
    if requests[request].hedges > 0 { dropHedges(request) }
    requests[request].phase = .finished
    requests[request].outcome = outcome
    deadlines[request] = .never
    let cluster = requests[request].cluster
    if cluster >= 0 {
      if requests[request].retryEnd != .none { remember(request) }
      clusters[cluster].requests -= 1
      retireCluster(cluster)
    }
    retainBuffers(request)
    if requests[request].duplex >= 0 { endStream(request) }
    if !isMutated(.loseResult) { finished.append(request, &links) }
  }

  private mutating func remember(_ request: Int) {
    clusters[requests[request].cluster].failed.append(
      FailedRequest(
        at: now, token: requests[request].token, outcome: requests[request].outcome,
        attempts: requests[request].attempts, retryEnd: requests[request].retryEnd,
        details: requests[request].details))
  }
}

/// Connections that break before they took anything of a request that it survives.
private let unsentReplaysMax: UInt8 = 16
