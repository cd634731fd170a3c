import HTTP2
import Policy
import Primitives

/// Long-lived streams: both sides send as they like, until one of them ends it. They are requests
/// that are routed as others are, on the same connections, with these differences:
///
/// - no timeout runs, and no retry policy applies. Keep-alive finds out whether the peer is there
/// - one that the peer did not process is sent again once, as long as no content had gone out
/// - the response's body is lent piece by piece, and the peer gets credit for what was taken alone:
///   a reader that waits costs the stream's window in memory, and no more
///
/// One result ends each. After a response that is complete it comes when the body was taken; in all
/// other cases at once, and what was not taken is gone.
extension NetworkingCore {
  /// Takes a request whose body is sent by `send`; the one it has is ignored, and so is its timeout.
  /// Nil: at its limit, try again after a result.
  public mutating func openStream(
    _ request: borrowing UpstreamRequest, now: Instant
  ) -> RequestID? {
    advance(to: now)
    guard let place = streams.firstIndex(where: { $0.request < 0 }) else { return nil }
    return admit(request, bodyBytes: 0, duplex: place)
  }

  /// The slot was taken for a stream.
  mutating func beginStream(_ place: Int, _ request: Int) {
    requests[request].duplex = place
    streams[place] = UpstreamStream()
    streams[place].request = request
    streams[place].outgoing = ByteBuffer(limit: streamQueueBytesMax)
    streams[place].incoming = ByteBuffer(limit: limits.streamBufferBytes)
    streamsInUse += 1
  }

  /// Queues content, before `opened` as well. False: nothing was taken. `writable` tells when there
  /// is room; never for more than `streamQueueBytesMax`, and not after the stream's end.
  public mutating func send(_ id: RequestID, _ bytes: Span<UInt8>, now: Instant) -> Bool {
    advance(to: now)
    guard let place = stream(id), !streams[place].isFinishing else { return false }
    guard bytes.count <= streams[place].outgoing.free, requestPool.take(bytes.count) else {
      streams[place].wanted = min(bytes.count, streamQueueBytesMax)
      return false
    }
    streams[place].wanted = 0
    let isTaken = streams[place].outgoing.append(bytes)
    precondition(isTaken, "NetworkingCore: a queue took less than it had room for")
    if !bytes.isEmpty { startSending(id.slot) }
    return true
  }

  /// What `send` would take now.
  public func sendRoom(_ id: RequestID) -> Int {
    guard let place = stream(id), !streams[place].isFinishing else { return 0 }
    return min(streams[place].outgoing.free, requestPool.limit - requestPool.used)
  }

  /// Nothing follows what was sent so far. The response goes on.
  public mutating func finishSending(_ id: RequestID, now: Instant) {
    advance(to: now)
    guard let place = stream(id), !streams[place].isFinishing else { return }
    streams[place].isFinishing = true
    startSending(id.slot)
  }

  /// Lends what has come of the response's body and was not taken, oldest byte first. `take` answers
  /// how many bytes it took; the peer gets credit for those. Answers the same; 0: nothing waits.
  @discardableResult
  public mutating func takeBody(
    _ id: RequestID, now: Instant, _ take: (Span<UInt8>) -> Int
  ) -> Int {
    advance(to: now)
    guard let place = stream(id), !streams[place].incoming.isEmpty else { return 0 }
    let count = streams[place].incoming.withBytes(take)
    guard count > 0 else { return 0 }
    streams[place].incoming.consume(count)
    streamPool.giveBack(count)
    if streams[place].incoming.isEmpty {
      // A stream that rests holds no memory.
      streams[place].incoming = ByteBuffer(limit: limits.streamBufferBytes)
    }
    let request = id.slot
    if requests[request].phase == .streaming {
      let slot = requests[request].connection
      connections[slot].http[0].release(count, on: requests[request].stream)
      settle(slot)
    } else if requests[request].phase == .draining, streams[place].incoming.isEmpty {
      requests[request].phase = .free
      end(request, requests[request].outcome)
    }
    return count
  }

  /// Bytes that wait for `takeBody`.
  public func bodyCount(_ id: RequestID) -> Int {
    stream(id).map { streams[$0].incoming.count } ?? 0
  }

  /// The next event. Take events before results.
  public mutating func nextStreamEvent() -> StreamEvent? {
    guard streamsInUse > 0 else { return nil }
    for place in streams.indices where streams[place].request >= 0 {
      if let event = takeEvent(place) { return event }
    }
    return nil
  }

  private mutating func takeEvent(_ place: Int) -> StreamEvent? {
    let request = streams[place].request
    let id = RequestID(slot: request, generation: requests[request].generation)
    if streams[place].tellsOpened {
      streams[place].tellsOpened = false
      return .opened(id)
    }
    if streams[place].tellsHeaders {
      streams[place].tellsHeaders = false
      return .headers(id, status: requests[request].status)
    }
    if streams[place].tellsData {
      streams[place].tellsData = false
      return .data(id)
    }
    guard streams[place].wanted > 0, sendRoom(id) >= streams[place].wanted else { return nil }
    streams[place].wanted = 0
    return .writable(id)
  }

  /// The place of a stream that has not ended.
  private func stream(_ id: RequestID) -> Int? {
    guard requests.indices.contains(id.slot), requests[id.slot].generation == id.generation,
      requests[id.slot].duplex >= 0
    else { return nil }
    return requests[id.slot].duplex
  }
}

/// Sending and receiving on streams.
extension NetworkingCore {
  /// Whether all of a request is still there to be sent again.
  func mayReplay(_ request: Int) -> Bool {
    let place = requests[request].duplex
    return place < 0 || !streams[place].hasSent
  }

  /// The headers are with a connection; `isSent` says that nothing waits to follow them.
  mutating func streamOpened(_ request: Int) {
    let place = requests[request].duplex
    requests[request].isSent = true
    // Of an attempt before, whose END_STREAM nobody has read.
    streams[place].hasFinished = false
    if !streams[place].wasOpened {
      streams[place].wasOpened = true
      streams[place].tellsOpened = true
    }
    startSending(request)
  }

  private mutating func startSending(_ request: Int) {
    guard requests[request].phase == .streaming,
      streams[requests[request].duplex].hasToSend
    else { return }
    let slot = requests[request].connection
    if requests[request].isSent {
      requests[request].isSent = false
      connections[slot].unsentBodies += 1
    }
    sendBodies(slot)
    settle(slot)
  }

  /// Sends at most one turn of what waits. Answers how much went.
  mutating func sendQueued(_ request: Int, _ slot: Int) -> Int {
    let place = requests[request].duplex
    // Taken out meanwhile: a span of the table itself would be in the way of the other tables.
    var queue = ByteBuffer(limit: 0)
    swap(&queue, &streams[place].outgoing)
    let count = min(queue.count, contentPerTurn)
    let isLast = streams[place].isFinishing && count == queue.count
    var taken = 0
    do throws(HTTP2SubmitError) {
      taken = try queue.withBytes { bytes throws(HTTP2SubmitError) in
        try connections[slot].http[0].submitData(
          bytes.extracting(0..<count), on: requests[request].stream, endStream: isLast, now: now)
      }
    } catch {
      // The stream or the connection is over: its event tells, and comes before the next turn.
      swap(&queue, &streams[place].outgoing)
      return 0
    }
    queue.consume(taken)
    requestPool.giveBack(taken)
    if taken > 0 { streams[place].hasSent = true }
    if isLast, taken == count { streams[place].hasFinished = true }
    streams[place].outgoing = queue.isEmpty ? ByteBuffer(limit: streamQueueBytesMax) : queue
    if !streams[place].hasToSend {
      connections[slot].unsentBodies -= 1
      requests[request].isSent = true
    }
    return taken
  }

  /// Keeps content of a stream until it is taken. False: the event is another one.
  mutating func receivedContent(
    _ event: HTTP2Event, _ bytes: Span<UInt8>, _ slot: Int
  ) -> Bool {
    guard case .data(let stream, let range, _, let endStream) = event,
      let request = request(of: stream, on: slot), requests[request].duplex >= 0
    else { return false }
    let place = requests[request].duplex
    if !range.isEmpty {
      let isKept =
        streamPool.take(range.count)
        && streams[place].incoming.append(bytes.extracting(range))
      precondition(isKept, "NetworkingCore: a stream received more than its window")
      streams[place].tellsData = true
      // It may go on for months: a message is as good as the end of a response.
      if !connections[slot].hasServed { served(slot) }
    }
    if endStream { completed(request) }
    return true
  }

  /// The response has its end; its result waits until the body was taken.
  mutating func streamCompleted(_ request: Int, _ outcome: RequestResult.Outcome) {
    let place = requests[request].duplex
    leaveAttempt(request, resetting: streams[place].hasFinished ? nil : .cancel)
    streams[place].isFinishing = true
    guard !streams[place].incoming.isEmpty else { return end(request, outcome) }
    requests[request].phase = .draining
    requests[request].outcome = outcome
    dropOutgoing(place)
  }

  /// Nobody will read it.
  private mutating func dropOutgoing(_ place: Int) {
    requestPool.giveBack(streams[place].outgoing.count)
    streams[place].outgoing = ByteBuffer(limit: 0)
    streams[place].wanted = 0
  }

  /// The request has its result.
  mutating func endStream(_ request: Int) {
    let place = requests[request].duplex
    dropOutgoing(place)
    streamPool.giveBack(streams[place].incoming.count)
    streams[place] = UpstreamStream()
    requests[request].duplex = -1
    streamsInUse -= 1
  }
}
