import HTTP2
import Policy
import Primitives

/// How connections end, and the actions that the driver takes.
extension NetworkingCore {
  /// The place of a connection whose id is still valid.
  func place(of id: ConnectionID) -> Int? {
    guard connections.indices.contains(id.slot),
      connections[id.slot].generation == id.generation, connections[id.slot].phase != .free
    else { return nil }
    return id.slot
  }

  /// The peer closed, or the socket failed; the driver has closed it.
  public mutating func disconnected(_ id: ConnectionID, _ reason: ByteString, now: Instant) {
    advance(to: now)
    guard let slot = place(of: id) else { return }
    switch connections[slot].phase {
    case .connecting: connectFailed(slot, reason.description, isSocketClosed: true)
    case .open: lose(slot, withGoAway(slot, reason), isSocketClosed: true)
    case .closing: release(slot, isSocketClosed: true)
    case .free: break
    }
  }

  /// A peer that closes after a GOAWAY has told why: that is what an operator has to read.
  private func withGoAway(_ slot: Int, _ reason: ByteString) -> String {
    guard let said = connections[slot].http[0].goAwayReason else { return reason.description }
    return "\(reason.description), after \(said)"
  }

  /// The connection is over; so are the attempts on it. `isAtFault`: for what the peer did, or with
  /// an error code of its own.
  mutating func lose(
    _ slot: Int, _ reason: String, isSocketClosed: Bool, isAtFault: Bool = false
  ) {
    let cluster = connections[slot].cluster
    let address = connections[slot].address.description
    let endpoint = connections[slot].endpoint
    if isAtFault || !connections[slot].hasServed,
      let place = clusters[cluster].endpoint(endpoint)
    {
      // It served nothing, or did what no server does: as good as no connection, and no reason to
      // come back at once.
      clusters[cluster].endpoints[place].reason = ByteString("connect \(address): \(reason)")
      // Nor to begin there again when it has other addresses.
      let count = clusters.span[cluster].addresses(place).count
      clusters[cluster].endpoints[place].preferred =
        (clusters[cluster].endpoints[place].preferred + 1) % UInt32(count)
      endpointFailed(cluster, place, isAtFault: isAtFault)
    }
    let bytesWritten = connections[slot].bytesWritten
    // Out of the pool first, so that no attempt that starts again finds it.
    connections[slot].phase = .closing
    while let last = connections[slot].streams.last {
      let request = last.request
      if bytesWritten <= requests[request].connectionBytesBefore {
        unsentAttempt(request, address, reason)
      } else {
        brokenAttempt(request, .reset, "connection_termination", "\(address): \(reason)")
      }
    }
    if isSocketClosed {
      release(slot, isSocketClosed: true)
    } else {
      startLinger(slot)
    }
    servePending(cluster)
  }

  /// After anything that concerned the connection: announces output, closes what has nothing to do,
  /// arms the idle time.
  mutating func settle(_ slot: Int) {
    guard connections[slot].phase == .open else { return announceOutput(slot) }
    if connections[slot].http[0].isClosed { return tellEnd(slot) }
    if !connections[slot].streams.isEmpty {
      connections[slot].deadline = .never
    } else if !connections[slot].isPromising {
      return close(slot)
    } else if connections[slot].deadline == .never {
      let cluster = connections[slot].cluster
      connections[slot].deadline = now.after(clusters[cluster].configuration.idleTimeout)
    }
    announceOutput(slot)
  }

  /// The machine ended by itself; it has events about that.
  private mutating func tellEnd(_ slot: Int) {
    while connections[slot].phase == .open, let event = connections[slot].http[0].nextEvent() {
      handle(event, slot)
    }
    if connections[slot].phase == .open { startLinger(slot) }
  }

  func hasOutput(_ slot: Int) -> Bool {
    !connections[slot].http.isEmpty && connections[slot].http[0].hasOutput
  }

  private mutating func announceOutput(_ slot: Int) {
    guard connections[slot].phase != .free, hasOutput(slot) else { return }
    if connections[slot].flushDeadline == .never {
      connections[slot].flushDeadline = now + flushPatience
    }
    connections[slot].wantsFlush = true
    hasActions = true
  }

  /// Says goodbye and closes; the connection has no streams.
  mutating func close(_ slot: Int) {
    precondition(connections[slot].streams.isEmpty, "NetworkingCore: closed with streams")
    connections[slot].http[0].shutDown(.noError)
    startLinger(slot)
  }

  /// The last output gets a moment to leave.
  private mutating func startLinger(_ slot: Int) {
    connections[slot].phase = .closing
    connections[slot].deadline = now + lingerTime
    if hasOutput(slot) {
      announceOutput(slot)
    } else {
      requestClose(slot)
    }
  }

  mutating func requestClose(_ slot: Int) {
    connections[slot].phase = .closing
    connections[slot].deadline = .never
    connections[slot].nextRacer = .never
    connections[slot].wantsConnect = false
    connections[slot].wantsFlush = false
    connections[slot].wantsClose = true
    hasActions = true
  }

  /// Gives the place up. A socket that is still open is closed by the next action.
  mutating func release(_ slot: Int, isSocketClosed: Bool) {
    // A connection that the driver has not heard of needs no closing.
    if isSocketClosed || connections[slot].wantsConnect {
      freeConnection(slot)
    } else {
      requestClose(slot)
    }
  }

  private mutating func freeConnection(_ slot: Int) {
    let cluster = connections[slot].cluster
    clusters[cluster].load[connections[slot].priority].connections -= 1
    clusters[cluster].statistics.connectionsDestroyed += 1
    connections[slot].free()
    retireCluster(cluster)
    if wantsConnectionSlot { hasActions = true }
  }

  /// The next thing to do for the driver.
  public mutating func nextAction() -> TransportAction? {
    while hasActions {
      if let action = findAction() { return action }
      hasActions = false
      // A place became free for those who could not connect: they may have new actions.
      guard wantsConnectionSlot, connectionsInUse < connectionsMax else { break }
      wantsConnectionSlot = false
      serveEverywhere()
    }
    return nil
  }

  private mutating func findAction() -> TransportAction? {
    if let lookup = nextLookup() { return lookup }
    for slot in connections.indices where connections[slot].phase != .free {
      let id = ConnectionID(slot: slot, generation: connections[slot].generation)
      if connections[slot].wantsConnect {
        connections[slot].wantsConnect = false
        return .connect(
          id, address: connections[slot].address, security: connections[slot].security)
      }
      if connections[slot].wantsFlush {
        connections[slot].wantsFlush = false
        return .flush(id)
      }
      if connections[slot].wantsClose {
        freeConnection(slot)
        return .close(id)
      }
    }
    return nil
  }

  /// Lends what waits to be written on a connection; nothing for one that is gone.
  public mutating func withOutput<R>(_ id: ConnectionID, _ body: (Span<UInt8>) -> R) -> R {
    guard let slot = place(of: id), !connections[slot].http.isEmpty else {
      let none: [UInt8] = []
      return body(none.span)
    }
    return connections[slot].http[0].withOutput(body)
  }

  /// `count` bytes were written at `now`: a request that has left with them has its clock from then on.
  public mutating func consumeOutput(_ id: ConnectionID, _ count: Int, now: Instant) {
    advance(to: now)
    guard count > 0, let slot = place(of: id), !connections[slot].http.isEmpty else { return }
    let cluster = connections[slot].cluster
    connections[slot].http[0].consumeOutput(count, now: self.now)
    connections[slot].bytesWritten += UInt64(count)
    noteLeft(slot)
    connections[slot].flushDeadline = hasOutput(slot) ? now + flushPatience : .never
    clusters[cluster].statistics.bytesSent += UInt64(count)
    switch connections[slot].phase {
    case .open:
      // Room for others: headers first, they are small, then bodies in turn.
      if clusters[cluster].pending.count > 0 { servePending(cluster) }
      sendBodies(slot)
      takeEvents(slot)
    case .closing:
      if hasOutput(slot) { announceOutput(slot) } else { requestClose(slot) }
    case .connecting, .free:
      break
    }
  }
}
