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
      min(connections[slot].deadline, connections[slot].nextRacer),
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
    guard clusters[cluster].load.pending > 0, !clusters[cluster].isOverdue else { return .never }
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
    let phase = requests[request].phase
    if requests[request].routeDeadline <= now {
      suspect(request)
      clusters[requests[request].cluster].statistics.timeouts += 1
      let timeout = requests[request].timeout.milliseconds
      leaveAttempt(request, resetting: .cancel)
      end(request, .timeout, "upstream_response_timeout: no complete response in \(timeout) ms")
    } else if requests[request].sendDeadline <= now {
      sendOverdue(request)
    } else if phase == .waiting, requests[request].backOffEnd <= now {
      clusters[requests[request].cluster].load.waiting -= 1
      requests[request].phase = .free
      startAttempt(request)
    } else if requests[request].perTryDeadline <= now {
      suspect(request)
      clusters[requests[request].cluster].statistics.perTryTimeouts += 1
      let timeout = requests[request].policy.perTryTimeout.milliseconds
      endAttempt(
        request, .perTryTimeout, .perTryTimeout,
        "upstream_per_try_timeout: no response headers in \(timeout) ms", resetting: .cancel)
    } else if requests[request].idleDeadline <= now {
      suspect(request)
      clusters[requests[request].cluster].statistics.timeouts += 1
      let timeout = requests[request].idleTimeout.milliseconds
      leaveAttempt(request, resetting: .cancel)
      end(request, .timeout, "stream_idle_timeout: no progress in \(timeout) ms")
    } else {
      rearm(request)
    }
  }

  private mutating func sendOverdue(_ request: Int) {
    suspect(request)
    let cluster = requests[request].cluster
    clusters[cluster].statistics.timeouts += 1
    clusters[cluster].statistics.codec.flushTimeouts += 1
    let sent = requests[request].bodySent
    let count = requests[request].body.count
    leaveAttempt(request, resetting: .cancel)
    end(request, .timeout, "upstream_response_timeout: the peer let \(sent) of \(count) bytes go")
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
