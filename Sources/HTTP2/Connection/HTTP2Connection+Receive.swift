import HPACK
import Primitives

extension HTTP2Connection {
  /// Takes the input from `offset` on, one event at a time: call it until it answers nil, then all
  /// of `bytes` is consumed. Ranges in events point into `bytes`.
  public mutating func receive(
    _ bytes: Span<UInt8>, from offset: inout Int, now: Instant
  ) -> HTTP2Event? {
    if let event = nextEvent() { return event }
    if offset < bytes.count { keepAlive.heard(now: now) }
    while offset < bytes.count && ending == nil {
      do throws(Fault) {
        if let event = try advance(bytes, from: &offset, now: now) { return event }
      } catch {
        if let event = settle(error, now: now) { return event }
      }
      if let event = nextEvent() { return event }
    }
    if ending != nil { offset = bytes.count }
    return nil
  }

  /// One step within the current frame.
  private mutating func advance(
    _ bytes: Span<UInt8>, from offset: inout Int, now: Instant
  ) throws(Fault) -> HTTP2Event? {
    switch reader.phase {
    case .preface:
      try receivePreface(bytes, from: &offset)
      return nil
    case .header:
      guard reader.collectHeader(bytes, from: &offset) else { return nil }
      try beginFrame(now: now)
    case .prefix, .body, .padding:
      break
    }
    if reader.phase == .prefix {
      guard reader.collectPrefix(bytes, from: &offset) else { return nil }
      if let event = try receivePrefix(now: now) { return event }
    }
    if reader.phase == .body {
      if let event = try receiveBody(bytes, from: &offset) { return event }
    }
    guard reader.phase == .padding, reader.finish(bytes, from: &offset) else { return nil }
    return try finishFrame(at: offset, now: now)
  }

  private mutating func receivePreface(
    _ bytes: Span<UInt8>, from offset: inout Int
  ) throws(Fault) {
    let isComplete = reader.collect(bytes, from: &offset, upTo: clientPreface.count)
    for index in reader.prefix.indices where reader.prefix[index] != clientPreface[index] {
      throw .connection(.badPreface)
    }
    if isComplete { reader.expectHeader() }
  }

  /// The header is here, the payload is not: everything that can be refused now, is.
  private mutating func beginFrame(now: Instant) throws(Fault) {
    let header = reader.header
    if !peer.isKnown { try checkFirst(header) }
    guard header.length <= configuration.maxFrameSize else { throw .connection(.frameTooLarge) }
    if let blockStream {
      guard header.type == .continuation && header.stream == blockStream else {
        throw .connection(.continuationExpected)
      }
    }
    switch header.type {
    case .data: try beginData(header, now: now)
    case .headers: try beginHeaders(header)
    case .continuation: try beginContinuation(header)
    case .pushPromise: throw .connection(.pushRefused)
    case .settings: try beginSettings(header, now: now)
    case .goAway: try beginGoAway(header, now: now)
    case .ping: try beginPing(header)
    case .windowUpdate: try beginWindowUpdate(header)
    case .rstStream: try beginReset(header)
    case .priority: try beginPriority(header, now: now)
    case nil: try abuse.meaninglessFrame(now: now)
    }
  }

  /// RFC 9113 §3.4: SETTINGS come first. A server that speaks HTTP/1 instead is named as such.
  private func checkFirst(_ header: FrameHeader) throws(Fault) {
    // "HTT" as a length, "P" as a type.
    if role == .client && header.length == 0x48_5454 { throw .connection(.notHTTP2) }
    guard header.type == .settings && !header.has(FrameFlags.acknowledgement) else {
      throw .connection(.firstFrameNotSettings)
    }
  }

  private mutating func receivePrefix(now: Instant) throws(Fault) -> HTTP2Event? {
    switch reader.header.type {
    case .data, .headers:
      try receivePadding()
      return nil
    case .settings: return try receiveSettings(now: now)
    case .goAway: return try receiveGoAway()
    case .ping: return try receivePing(now: now)
    case .windowUpdate: return try receiveWindowUpdate(now: now)
    case .rstStream: return try receiveReset(now: now)
    case .priority, .pushPromise, .continuation, nil: return nil
    }
  }

  private mutating func receiveBody(
    _ bytes: Span<UInt8>, from offset: inout Int
  ) throws(Fault) -> HTTP2Event? {
    switch reader.use {
    case .content:
      return try receiveContent(bytes, from: &offset)
    case .fragment:
      let range = reader.takeBody(bytes, from: &offset)
      // Exactly: doubled, a long block would take as much as two.
      if block.count + range.count > HTTP2Limits.headerBytesKept / 2 {
        block.reserveCapacity(Int(configuration.maxHeaderBlockSize))
      }
      block.append(contentsOf: bytes.extracting(range))
    case .ignored, .control:
      reader.ignoreRest()
    }
    return nil
  }

  /// The last octet of a frame is here, and `reader` expects the next header.
  private mutating func finishFrame(at offset: Int, now: Instant) throws(Fault) -> HTTP2Event? {
    switch reader.use {
    case .fragment: try finishFragment(now: now)
    case .content: try finishContent(at: offset)
    case .ignored, .control: nil
    }
  }

  /// Carries a fault out, and answers what there is to tell.
  private mutating func settle(_ fault: Fault, now: Instant) -> HTTP2Event? {
    switch fault {
    case .connection(let cause):
      fail(cause)
      return nextEvent()
    case .stream(let id, let cause):
      reader.ignoreRest()
      do throws(Fault) {
        try abuse.streamReset(now: now)
      } catch {
        return settle(error, now: now)
      }
      return endStream(id, for: cause)
    }
  }

  /// RFC 9113 §5.4.2: RST_STREAM, and an event unless the stream's end was told already.
  private mutating func endStream(_ id: UInt32, for cause: HTTP2Cause) -> HTTP2Event? {
    let index = streams.index(of: id)
    let wasTold = index == nil || (role == .client && streams[index!].receive == .ended)
    sendControl(.rstStream, on: id, payload: UInt64(cause.code.rawValue), length: 4)
    closedStreams.insert(id, .resetLocally)
    if let index { streams.remove(at: index) }
    endIfDrained()
    guard !wasTold else { return nextEvent() }
    lastStreamCause = cause
    return .reset(stream: id, code: cause.code, origin: .local)
  }
}
