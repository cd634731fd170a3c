import HPACK
import Primitives

// HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10). Whatever becomes of a header block, it is
// decoded: the compression state of the connection depends on it (§4.3).

extension HTTP2Connection {
  mutating func beginHeaders(_ header: FrameHeader) throws(Fault) {
    guard header.stream != 0 && header.stream & 1 == 1 else {
      throw .connection(.streamIdentifierWrong)
    }
    if role == .client { try checkNotIdle(header.stream) }
    let prefix: UInt32 =
      (header.has(FrameFlags.padded) ? 1 : 0) + (header.has(FrameFlags.priority) ? 5 : 0)
    guard header.length >= prefix else { throw .connection(.frameSizeWrong) }
    guard header.length <= configuration.maxHeaderBlockSize + prefix + Self.paddingMax else {
      throw .connection(.headerBlockTooLarge)
    }
    abuse.headersBegun()
    block.removeAll(keepingCapacity: true)
    blockStream = header.stream
    blockEndsStream = header.has(FrameFlags.endStream)
    reader.expect(prefix: prefix, use: .fragment)
  }

  mutating func beginContinuation(_ header: FrameHeader) throws(Fault) {
    guard blockStream != nil else { throw .connection(.continuationUnexpected) }
    try abuse.continuationReceived()
    guard UInt32(block.count) + header.length <= configuration.maxHeaderBlockSize else {
      throw .connection(.headerBlockTooLarge)
    }
    reader.expect(prefix: 0, use: .fragment)
  }

  /// The fixed part of DATA or HEADERS is here; its first octet is the length of the padding.
  mutating func receivePadding() throws(Fault) {
    let header = reader.header
    if header.has(FrameFlags.padded) {
      let padding = reader.prefix[0]
      guard reader.setPadding(padding) else { throw .connection(.paddingTooLong) }
      if reader.use == .content {
        try countContent(header, isEmpty: reader.bodyRemaining == 0)
        creditPadding(Int(padding) + 1, on: header.stream)
      }
    }
    if reader.use == .fragment && reader.bodyRemaining > configuration.maxHeaderBlockSize {
      throw .connection(.headerBlockTooLarge)
    }
  }

  mutating func finishFragment(now: Instant) throws(Fault) -> HTTP2Event? {
    guard reader.header.has(FrameFlags.endHeaders), let id = blockStream else { return nil }
    blockStream = nil
    // A second reference, not a copy: the compiler cannot see that `decode` leaves `block` alone.
    let fragments = block
    let outcome: HPACKDecoder.Outcome
    do throws(HPACKError) {
      outcome = try decoder.decode(fragments.span, into: &receivedHeaders)
    } catch .tooMuchWork {
      throw .connection(.headerListTooLarge)
    } catch {
      throw .connection(.headerCompression)
    }
    let isUsable = outcome == .complete
    guard let index = streams.index(of: id) else {
      if role == .server && id > lastPeerStream {
        return try receiveRequest(id, isUsable: isUsable, now: now)
      }
      try receiveLate(id, isHeaders: true, now: now)
      return nil
    }
    guard isUsable else { throw .stream(id, .headerListTooLarge) }
    switch streams[index].receive {
    case .awaitingHeaders: return try receiveResponse(index)
    case .body: return try receiveTrailers(index)
    case .ended: throw .stream(id, .streamClosed)
    }
  }

  private mutating func receiveResponse(_ index: Int) throws(Fault) -> HTTP2Event? {
    let id = streams[index].id
    let facts = try checkFields(as: .response, on: id)
    if facts.isInformational {
      guard !blockEndsStream else { throw .stream(id, .informationalEnded) }
      guard streams[index].informationalCount < HTTP2Limits.informationalMax else {
        throw .stream(id, .informationalFlood)
      }
      streams[index].informationalCount += 1
      return .headers(stream: id, kind: .informational, endStream: false)
    }
    // RFC 9110 §6.4.1: these have no content, whatever content-length they announce.
    let isEmpty = streams[index].isHead || facts.status == 204 || facts.status == 304
    streams[index].receive = .body(remaining: isEmpty ? 0 : facts.contentLength)
    return try deliver(.response, index)
  }

  private mutating func receiveTrailers(_ index: Int) throws(Fault) -> HTTP2Event? {
    let id = streams[index].id
    guard blockEndsStream else { throw .stream(id, .trailersWithoutEnd) }
    _ = try checkFields(as: .trailers, on: id)
    return try deliver(.trailers, index)
  }

  /// The peer opens a stream.
  private mutating func receiveRequest(
    _ id: UInt32, isUsable: Bool, now: Instant
  ) throws(Fault) -> HTTP2Event? {
    lastPeerStream = id
    abuse.streamOpened()
    if let goAwaySent, id > goAwaySent {
      // RFC 9113 §6.8: it knows, or will know, that this is not processed.
      closedStreams.insert(id, .resetLocally)
      try abuse.meaninglessFrame(now: now)
      return nil
    }
    guard streams.count < Int(configuration.maxConcurrentStreams) else {
      throw .stream(id, .streamLimit)
    }
    guard isUsable else { throw .stream(id, .headerListTooLarge) }
    let facts = try checkFields(as: .request, on: id)
    if blockEndsStream && !facts.isConnect && facts.contentLength ?? 0 > 0 {
      throw .stream(id, .contentLengthMismatch)
    }
    streams.insert(
      Stream(
        id: id, send: .awaitingHeaders,
        receive: .body(remaining: facts.isConnect ? nil : facts.contentLength),
        sendWindow: peer.initialWindowSize, receiveWindow: Int32(configuration.initialWindowSize)))
    return try deliver(.request, streams.count - 1)
  }

  private mutating func deliver(_ kind: HeadersKind, _ index: Int) throws(Fault) -> HTTP2Event {
    let id = streams[index].id
    if blockEndsStream { try endReceive(index) }
    return .headers(stream: id, kind: kind, endStream: blockEndsStream)
  }

  private mutating func checkFields(
    as part: MessagePart, on id: UInt32
  ) throws(Fault) -> MessageFacts {
    do throws(HTTP2Cause) {
      let facts = try FieldRules.check(receivedHeaders, as: part)
      receivedStatus = facts.status
      return facts
    } catch {
      throw .stream(id, error)
    }
  }

  private static let paddingMax: UInt32 = 255
}

// MARK: - The ends of streams

extension HTTP2Connection {
  /// END_STREAM has come.
  mutating func endReceive(_ index: Int) throws(Fault) {
    let id = streams[index].id
    do throws(HTTP2Cause) {
      try streams[index].endReceive()
    } catch {
      throw .stream(id, error)
    }
    removeIfEnded(index)
  }

  @inline(__always)
  func checkNotIdle(_ id: UInt32) throws(Fault) {
    let isIdle =
      role == .client ? id & 1 == 0 || id >= nextStream : id & 1 == 0 || id > lastPeerStream
    guard !isIdle else { throw .connection(.idleStream) }
  }

  /// DATA or HEADERS on a stream that is closed (RFC 9113 §5.1).
  mutating func receiveLate(_ id: UInt32, isHeaders: Bool, now: Instant) throws(Fault) {
    switch closedStreams.closure(of: id) {
    // A window's worth of frames may be under way when our RST_STREAM goes out; not more, for ever.
    case .resetLocally: try abuse.meaninglessFrame(now: now, as: .lateFrameFlood)
    case .resetByPeer: throw .stream(id, .streamClosed)
    case .ended: throw .connection(.frameOnClosedStream)
    case nil:
      // A client's stream identifiers only rise (§5.1.1): this one was skipped or is used again.
      if role == .server && isHeaders { throw .connection(.streamIdentifierWrong) }
      try abuse.meaninglessFrame(now: now, as: .lateFrameFlood)
    }
  }

  /// A stream whose halves both have ended leaves the table.
  mutating func removeIfEnded(_ index: Int) {
    guard streams[index].receive == .ended && streams[index].send == .ended else { return }
    closedStreams.insert(streams[index].id, .ended)
    streams.remove(at: index)
    endIfDrained()
  }

  /// RFC 9113 §6.8: after GOAWAY, the connection goes with its last stream.
  mutating func endIfDrained() {
    guard ending == nil && streams.isEmpty && isDraining else { return }
    // An announcement is not the end: requests may be under way (§6.8).
    let isOnlyAnnounced = goAwaySent == HTTP2Limits.streamIdentifierMax
    if isOnlyAnnounced && goAwayReceived == nil { return }
    if goAwaySent == nil || isOnlyAnnounced { sendGoAway(.noError, debug: "") }
    if goAwayReceived != nil && goAwaySentCode == .noError {
      ending = HTTP2Error(origin: .peer, code: goAwayReceivedCode, cause: .goAway)
    } else {
      ending = HTTP2Error(origin: .local, code: goAwaySentCode, cause: .graceful)
    }
  }

  /// RFC 9113 §5.4.1: says why, and ends the connection.
  mutating func fail(_ cause: HTTP2Cause, origin: HTTP2Error.Origin = .local) {
    guard ending == nil else { return }
    sendGoAway(cause.code, debug: cause.text)
    ending = HTTP2Error(origin: origin, code: cause.code, cause: cause)
  }

  mutating func sendGoAway(_ code: HTTP2ErrorCode, debug: String) {
    // The last stream must not rise (§6.8), and does not: it is what was processed.
    let last = min(lastPeerStream, goAwaySent ?? .max)
    output.appendGoAway(lastStream: last, code: code, debug: debug)
    goAwaySent = last
    goAwaySentCode = code
  }
}
