import HTTP2
import Policy
import Primitives

/// Requests on their streams: sending.
extension NetworkingCore {
  enum OnOpenStream {
    case opened
    /// Not on this connection, not now.
    case notHere
    /// The attempt is over.
    case ended
  }

  /// Sends the request's headers, and what goes of its body.
  mutating func openStream(_ request: Int, _ slot: Int) -> OnOpenStream {
    let isDuplex = requests[request].duplex >= 0
    let isBodyless = !isDuplex && requests[request].body.isEmpty
    // What is sent now begins behind what waits to be written.
    let start = bytesQueued(slot)
    let stream: UInt32
    do throws(HTTP2SubmitError) {
      stream = try submitHeaders(request, slot, endStream: isBodyless)
    } catch {
      return cannotOpen(request, slot, error)
    }
    let cluster = requests[request].cluster
    clusters[cluster].load[requests[request].priority].active += 1
    clusters[cluster].statistics.requests += 1
    if clusters[cluster].configuration.reportsLoad { tallyStart(request) }
    requests[request].phase = .streaming
    requests[request].connection = slot
    requests[request].stream = stream
    requests[request].startedAt = now
    requests[request].connectionBytesBefore = start
    countStream(slot)
    connections[slot].streams.append(ConnectionSlot.Stream(stream: stream, request: request))
    connections[slot].deadline = .never
    if !isDuplex, !isBodyless { limitSending(request) }
    noteProgress(request)
    if isDuplex {
      streamOpened(request)
    } else if isBodyless {
      requestSent(request)
    } else {
      connections[slot].unsentBodies += 1
      sendBodies(slot)
    }
    settle(slot)
    return .opened
  }

  private mutating func submitHeaders(
    _ request: Int, _ slot: Int, endStream: Bool
  ) throws(HTTP2SubmitError) -> UInt32 {
    guard !requests[request].attemptFields.isEmpty else {
      return try connections[slot].http[0].submitHeaders(
        requests[request].headers, endStream: endStream, now: now)
    }
    composeAttempt(request)
    return try connections[slot].http[0].submitHeaders(composed, endStream: endStream, now: now)
  }

  /// `max_requests_per_connection`, and a PING for a connection that rested.
  private mutating func countStream(_ slot: Int) {
    let cluster = connections[slot].cluster
    connections[slot].streamsOpened += 1
    let most = clusters[cluster].configuration.http.maxRequestsPerConnection
    if most > 0, connections[slot].streamsOpened >= most {
      connections[slot].isRetired = true
      clusters[cluster].statistics.connectionRequestsReached += 1
    }
    let idle = clusters[cluster].configuration.keepAlive.idleInterval
    if idle > .zero, connections[slot].streams.isEmpty,
      now - connections[slot].lastReceived >= idle
    {
      connections[slot].http[0].ask(now: now)
    }
  }

  /// The route's clock begins once the whole request is out, and a byte that goes is progress for the
  /// idle clock: without one of its own, a peer with a window of one octet would hold it for days.
  private mutating func limitSending(_ request: Int) {
    let timeout = requests[lead(of: request)].timeout
    guard timeout > .zero else { return }
    let seconds = requests[request].body.count / slowestBodyRate
    requests[request].sendDeadline =
      now.after(timeout) + .seconds(Int64(seconds))
  }

  private mutating func cannotOpen(
    _ request: Int, _ slot: Int, _ error: HTTP2SubmitError
  ) -> OnOpenStream {
    switch error {
    case .connectionClosed, .draining, .streamLimit, .outputFull:
      return .notHere
    case .headerListTooLarge, .malformed, .streamClosed, .outOfOrder:
      let address = connections[slot].address.description
      abandon(
        request, .tooLarge, .requestTooLarge,
        "http2: \(address): the header fields cannot be sent")
      return .ended
    case .headerListUnwanted:
      // The peer's setting is advice (RFC 9113 §6.5.2), and another server's may differ: no reason to
      // give the request up for good.
      let address = connections[slot].address.description
      abandon(
        request, .tooLarge, .refused,
        "http2: \(address): the header fields are over the peer's SETTINGS_MAX_HEADER_LIST_SIZE")
      return .ended
    }
  }

  /// Sends at most one turn of the request's body. Answers how much went.
  private mutating func sendBody(_ request: Int, _ slot: Int) -> Int {
    guard requests[request].duplex < 0 else { return sendQueued(request, slot) }
    let start = requests[request].bodySent
    let count = min(requests[request].body.count - start, contentPerTurn)
    let isLast = start + count == requests[request].body.count
    // Shares the buffer: a span of the table itself would be in the way of the other tables.
    let body = requests[request].body
    var taken = 0
    do throws(HTTP2SubmitError) {
      taken = try connections[slot].http[0].submitData(
        body.span.extracting(start..<start + count), on: requests[request].stream,
        endStream: isLast, now: now)
    } catch {
      // The stream or the connection is over: its event tells, and comes before the next turn.
      return 0
    }
    requests[request].bodySent += taken
    if isLast && taken == count {
      connections[slot].unsentBodies -= 1
      requestSent(request)
    } else if taken > 0 {
      noteProgress(request)
    }
    return taken
  }

  /// Lets all bodies of the connection take turns until nothing more goes.
  mutating func sendBodies(_ slot: Int) {
    var idle = 0
    while connections[slot].unsentBodies > 0, idle < connections[slot].streams.count {
      let count = connections[slot].streams.count
      connections[slot].turn = (connections[slot].turn + 1) % count
      let request = connections[slot].streams[connections[slot].turn].request
      let sent = requests[request].isSent ? 0 : sendBody(request, slot)
      idle = sent > 0 ? 0 : idle + 1
    }
  }

  /// The whole request is with the connection.
  private mutating func requestSent(_ request: Int) {
    requests[request].isSent = true
    let slot = requests[request].connection
    let end = bytesQueued(slot)
    requests[request].leavesAt = end
    if end == connections[slot].bytesWritten { requestLeft(request) } else { noteProgress(request) }
  }

  /// What was written on the connection, and what waits to be.
  private mutating func bytesQueued(_ slot: Int) -> UInt64 {
    connections[slot].bytesWritten + UInt64(connections[slot].http[0].withOutput { $0.count })
  }

  /// Bytes of the connection were written.
  mutating func noteLeft(_ slot: Int) {
    let written = connections[slot].bytesWritten
    for place in connections[slot].streams.indices {
      let request = connections[slot].streams[place].request
      let leavesAt = requests[request].leavesAt
      if leavesAt > 0, leavesAt <= written { requestLeft(request) }
    }
  }

  /// The whole request is with the kernel: on a slow link that may be a while later. The route's clock starts with
  /// the first time, and goes on through later attempts; each attempt has its own clock beside.
  private mutating func requestLeft(_ request: Int) {
    requests[request].leavesAt = 0
    requests[request].sendDeadline = .never
    let lead = lead(of: request)
    let timeout = requests[lead].timeout
    if requests[lead].routeDeadline == .never {
      requests[lead].routeDeadline = now.after(timeout)
    }
    if requests[request].status == 0 {
      let perTry = requests[lead].policy.perTryTimeout
      if timeout <= .zero || perTry < timeout {
        requests[request].perTryDeadline = now.after(perTry)
      }
    }
    requests[request].perTryIdleDeadline = now.after(requests[lead].perTryIdleTimeout)
    noteProgress(request)
  }

  /// Takes the request off its stream, which is reset unless it ended by itself.
  mutating func leaveStream(_ request: Int, resetting code: HTTP2ErrorCode?) {
    let slot = requests[request].connection
    let stream = requests[request].stream
    clusters[requests[request].cluster].load[requests[request].priority].active -= 1
    if let place = connections[slot].place(of: stream) {
      connections[slot].streams.remove(at: place)
    }
    if !requests[request].isSent { connections[slot].unsentBodies -= 1 }
    if requests[request].tallyPlace >= 0 { tallyFinish(request) }
    if let code {
      clusters[requests[request].cluster].statistics.resetsSent += 1
      connections[slot].http[0].reset(stream, code)
    }
    requests[request].connection = -1
    if connections[slot].phase == .open { settle(slot) }
  }

  func request(of stream: UInt32, on slot: Int) -> Int? {
    connections[slot].place(of: stream).map { connections[slot].streams[$0].request }
  }
}

/// What the peer sends.
extension NetworkingCore {
  /// Bytes the peer sent on a connection, after TLS; a connection that is gone ignores them.
  public mutating func received(_ id: ConnectionID, _ bytes: Span<UInt8>, now: Instant) {
    advance(to: now)
    guard let slot = place(of: id), !connections[slot].http.isEmpty else { return }
    let cluster = connections[slot].cluster
    clusters[cluster].statistics.bytesReceived += UInt64(bytes.count)
    connections[slot].lastReceived = self.now
    var offset = 0
    // A connection that is being closed has said all it had to say.
    while connections[slot].phase == .open,
      let event = connections[slot].http[0].receive(bytes, from: &offset, now: self.now)
    {
      if streamsInUse > 0, receivedContent(event, bytes, slot) { continue }
      handle(event, slot)
    }
    guard connections[slot].generation == id.generation else { return }
    connections[slot].http[0].trim()
    takeEvents(slot)
    if clusters[cluster].isUsed, clusters[cluster].pending.count > 0 { servePending(cluster) }
  }

  /// Takes what the connection has to tell besides its input.
  mutating func takeEvents(_ slot: Int) {
    while connections[slot].phase == .open, let event = connections[slot].http[0].nextEvent() {
      handle(event, slot)
    }
    settle(slot)
  }

  mutating func handle(_ event: HTTP2Event, _ slot: Int) {
    switch event {
    case .settings:
      // There is an HTTP/2 server at that address.
      connections[slot].isProven = true
    case .headers(let stream, let kind, let endStream):
      guard let request = request(of: stream, on: slot) else { return }
      receivedHeaders(request, slot, kind, endStream: endStream)
    case .data(let stream, let bytes, let flowControlled, let endStream):
      // Nothing is kept of a response's body: the credit goes back at once.
      connections[slot].http[0].release(flowControlled, on: stream)
      guard let request = request(of: stream, on: slot) else { return }
      receivedBody(request, bytes.count, endStream: endStream)
    case .writable(let stream):
      guard let request = request(of: stream, on: slot), !requests[request].isSent else { return }
      sendBodies(slot)
    case .reset(let stream, let code, let origin):
      guard let request = request(of: stream, on: slot) else { return }
      receivedReset(request, slot, code, origin)
    case .refused(let stream):
      guard let request = request(of: stream, on: slot) else { return }
      refused(request, slot)
    case .goAway(_, let code):
      heedComplaint(slot, code)
      clusters[connections[slot].cluster].statistics.closeNotifications += 1
      // The machine says that it drains; those who wait look for another connection.
      servePending(connections[slot].cluster)
    case .closed(let error):
      let cluster = connections[slot].cluster
      if error.origin == .local { clusters[cluster].statistics.protocolErrors += 1 }
      charge(error.cause, to: cluster)
      lose(
        slot, "http2: \(error.description)", isSocketClosed: false,
        isAtFault: error.code != .noError)
    }
  }

  /// A response is complete: the server at that address serves. SETTINGS alone do not say so; a peer
  /// that breaks the protocol behind them would be visited over and over.
  mutating func served(_ slot: Int) {
    connections[slot].hasServed = true
    let cluster = connections[slot].cluster
    guard let place = clusters[cluster].endpoint(connections[slot].endpoint) else { return }
    clusters[cluster].endpoints[place].failures = 0
    clusters[cluster].endpoints[place].notBefore = now
  }

  private mutating func receivedReset(
    _ request: Int, _ slot: Int, _ code: HTTP2ErrorCode, _ origin: ResetOrigin
  ) {
    let address = connections[slot].address.description
    let cluster = requests[request].cluster
    switch origin {
    case .peer:
      clusters[cluster].statistics.resetsReceived += 1
      brokenAttempt(request, .reset, "remote_reset", "\(address) reset the stream: \(code.name)")
    case .local:
      clusters[cluster].statistics.protocolErrors += 1
      let cause = connections[slot].http[0].lastStreamCause
      if let cause { charge(cause, to: cluster) }
      brokenAttempt(
        request, .protocolError, "protocol_error", "\(address): \(cause?.text ?? code.name)")
    }
  }
}
