import HTTP2
import Policy
import Primitives

extension NetworkingCore {
  /// When `handleTimeout` is due; nil: not before something else happens.
  public func nextDeadline() -> Instant? {
    var earliest = Instant.never
    for deadline in deadlines where deadline < earliest { earliest = deadline }
    for slot in connections.indices where connections[slot].phase != .free {
      earliest = min(earliest, connectionDeadline(slot))
    }
    for cluster in clusters.indices where clusters[cluster].isUsed {
      earliest = min(earliest, resolutionDeadline(cluster))
    }
    return earliest == .never ? nil : earliest
  }

  private func connectionDeadline(_ slot: Int) -> Instant {
    min(
      min(min(connections[slot].deadline, connections[slot].expiry), connections[slot].nextRacer),
      min(flushDeadline(slot), http2Deadline(slot)))
  }

  private func flushDeadline(_ slot: Int) -> Instant {
    connections[slot].phase == .open ? connections[slot].flushDeadline : .never
  }

  /// A connection without streams is not asked whether it is alive, unless the cluster wants it so:
  /// on a radio link a PING costs more than it tells. The next request asks first.
  private func http2Deadline(_ slot: Int) -> Instant {
    guard connections[slot].phase == .open else { return .never }
    let isWatched =
      !connections[slot].streams.isEmpty || !connections[slot].isProven
      || clusters[connections[slot].cluster].configuration.keepAlive.withoutStreams
    return isWatched ? connections[slot].http[0].nextDeadline() ?? .never : .never
  }

  /// Only those who wait for the answer care how long it takes.
  private func resolutionDeadline(_ cluster: Int) -> Instant {
    guard clusters[cluster].pending.count > 0, !clusters[cluster].isOverdue else { return .never }
    return clusters[cluster].patience
  }

  /// Does what the time demands. Call it at `nextDeadline()`; earlier does no harm.
  public mutating func handleTimeout(now: Instant) {
    advance(to: now)
    for cluster in clusters.indices where clusters[cluster].isUsed {
      if resolutionDeadline(cluster) <= self.now { resolutionOverdue(cluster) }
    }
    for slot in connections.indices where connections[slot].phase != .free {
      if connections[slot].nextRacer <= self.now { startNextRacer(after: slot) }
      if connections[slot].deadline <= self.now { connectionOverdue(slot) }
      if connections[slot].expiry <= self.now { expired(slot) }
      if flushDeadline(slot) <= self.now { flushOverdue(slot) }
      if http2Deadline(slot) <= self.now { askHTTP2(slot) }
    }
    for request in requests.indices where deadlines[request] <= self.now { overdue(request) }
    serveEverywhere()
  }

  private mutating func connectionOverdue(_ slot: Int) {
    switch connections[slot].phase {
    case .connecting:
      clusters[connections[slot].cluster].statistics.connectTimeouts += 1
      let timeout = clusters[connections[slot].cluster].configuration.connectTimeout
      let missing = connections[slot].isHandshaking ? "no end of the TLS handshake" : "no answer"
      connectFailed(
        slot, "\(missing) within \(timeout.milliseconds) ms", isSocketClosed: false)
    case .open:
      connections[slot].deadline = .never
      if connections[slot].streams.isEmpty { close(slot) }
    case .closing:
      requestClose(slot)
    case .free:
      break
    }
  }

  /// The connection is as old as it may be: it ends with its streams.
  private mutating func expired(_ slot: Int) {
    connections[slot].expiry = .never
    guard connections[slot].phase == .open else { return }
    clusters[connections[slot].cluster].statistics.connectionDurationsReached += 1
    connections[slot].isRetired = true
    settle(slot)
  }

  /// The peer reads nothing: what was to go out never will.
  private mutating func flushOverdue(_ slot: Int) {
    clusters[connections[slot].cluster].statistics.codec.flushTimeouts += 1
    let seconds = flushPatience.milliseconds / 1_000
    lose(
      slot, "the peer read nothing for \(seconds) s", isSocketClosed: false, isAtFault: true)
  }

  private mutating func askHTTP2(_ slot: Int) {
    while connections[slot].phase == .open,
      let event = connections[slot].http[0].handleTimeout(now: now)
    {
      handle(event, slot)
    }
    settle(slot)
  }

  private mutating func overdue(_ request: Int) {
    if requests[request].routeDeadline <= now || requests[request].durationDeadline <= now {
      requestOverdue(request)
    } else if requests[request].sendDeadline <= now {
      sendOverdue(request)
    } else if requests[request].phase == .waiting, requests[request].backOffEnd <= now {
      clusters[requests[request].cluster].load[requests[request].priority].waiting -= 1
      requests[request].phase = .free
      startAttempt(request)
    } else if requests[request].perTryDeadline <= now {
      perTryOverdue(request)
    } else if requests[request].perTryIdleDeadline <= now {
      perTryIdle(request)
    } else if requests[request].idleDeadline <= now {
      suspect(request)
      clusters[requests[request].cluster].statistics.timeouts += 1
      let timeout = requests[request].idleTimeout.milliseconds
      stop(request, "stream_idle_timeout: no progress in \(timeout) ms")
    } else {
      rearm(request)
    }
  }

  /// The time of all attempts together is over.
  private mutating func stop(_ request: Int, _ details: String) {
    leaveAttempt(request, resetting: .cancel)
    end(request, .timeout, .timeout, details)
  }

  private mutating func requestOverdue(_ request: Int) {
    suspect(request)
    let cluster = requests[request].cluster
    if requests[request].routeDeadline <= requests[request].durationDeadline {
      clusters[cluster].statistics.timeouts += 1
      let timeout = requests[request].timeout.milliseconds
      stop(request, "upstream_response_timeout: no complete response in \(timeout) ms")
    } else {
      clusters[cluster].statistics.durationsReached += 1
      stop(request, "max_duration_timeout: the request took longer than it may")
    }
  }

  private mutating func perTryOverdue(_ request: Int) {
    suspect(request)
    let lead = lead(of: request)
    clusters[requests[request].cluster].statistics.perTryTimeouts += 1
    if requests[lead].isHedged { return hedge(request) }
    let timeout = requests[lead].policy.perTryTimeout.milliseconds
    endAttempt(
      request, .perTryTimeout, .perTryTimeout,
      "upstream_per_try_timeout: no response headers in \(timeout) ms", resetting: .cancel)
  }

  /// The attempt does not get on. Once its response has begun that is the end of the request.
  private mutating func perTryIdle(_ request: Int) {
    suspect(request)
    clusters[requests[request].cluster].statistics.perTryIdleTimeouts += 1
    let timeout = requests[lead(of: request)].perTryIdleTimeout.milliseconds
    let details = "upstream_per_try_idle_timeout: no progress in \(timeout) ms"
    if requests[request].status == 0 {
      endAttempt(request, .perTryTimeout, .perTryTimeout, details, resetting: .cancel)
    } else {
      abandon(request, .responseStarted, .perTryTimeout, details, resetting: .cancel)
    }
  }

  private mutating func sendOverdue(_ request: Int) {
    suspect(request)
    let cluster = requests[request].cluster
    clusters[cluster].statistics.timeouts += 1
    clusters[cluster].statistics.codec.flushTimeouts += 1
    let sent = requests[request].bodySent
    let count = requests[request].body.count
    abandon(
      request, .timeout, .timeout,
      "upstream_response_timeout: the peer let \(sent) of \(count) bytes go", resetting: .cancel)
  }

  /// A peer that sent nothing at all since this request began may be gone without a word, as after a
  /// loss of radio. New requests get a new connection, rather than each its own timeout.
  private mutating func suspect(_ request: Int) {
    guard requests[request].phase == .streaming else { return }
    let slot = requests[request].connection
    if connections[slot].lastReceived <= requests[request].startedAt {
      connections[slot].isRetired = true
    }
  }
}
