import HPACK
import Primitives

extension HTTP2Connection {
  /// Client: opens a stream with a request, and answers its identifier. After `outputFull`, it may
  /// be tried again when `canOpenStream` says so.
  public mutating func submitHeaders(
    _ list: HeaderList, endStream: Bool, now: Instant
  ) throws(HTTP2SubmitError) -> UInt32 {
    guard ending == nil else { throw .connectionClosed }
    guard role == .client else { throw .outOfOrder }
    guard !isDraining else { throw .draining }
    guard streams.count < Int(streamLimit) else { throw .streamLimit }
    let facts = try checkSubmitted(list, as: .request)
    let id = nextStream
    nextStream += 2
    abuse.streamOpened()
    var stream = Stream(
      id: id, send: endStream ? .ended : .body, receive: .awaitingHeaders,
      sendWindow: peer.initialWindowSize, receiveWindow: Int32(configuration.initialWindowSize))
    stream.isHead = facts.isHead
    streams.insert(stream)
    output.appendHeaders(list, with: &encoder, on: id, endStream: endStream)
    return id
  }

  /// Server: informational and final responses. Both: trailers, which end the stream. After
  /// `outputFull`, `writable` comes once there is room.
  public mutating func submitHeaders(
    _ list: HeaderList, on stream: UInt32, endStream: Bool, now: Instant
  ) throws(HTTP2SubmitError) {
    guard ending == nil else { throw .connectionClosed }
    guard let index = streams.index(of: stream), !streams[index].isRefused else {
      throw .streamClosed
    }
    switch streams[index].send {
    case .ended:
      throw .streamClosed
    case .body:
      guard endStream else { throw .outOfOrder }
      _ = try checkSubmitted(list, as: .trailers, index)
    case .awaitingHeaders:
      let facts = try checkSubmitted(list, as: .response, index)
      guard !(facts.isInformational && endStream) else { throw .outOfOrder }
      if !facts.isInformational { streams[index].send = .body }
    }
    streams.unblock(index)
    output.appendHeaders(list, with: &encoder, on: stream, endStream: endStream)
    if endStream { endSend(index) }
  }

  /// Sends as much content as windows and the output queue allow, and answers how much that was.
  /// When it was not all, `writable` comes once there is room again. END_STREAM goes with the last
  /// octet; with no content at all it goes alone, at once.
  public mutating func submitData(
    _ bytes: Span<UInt8>, on stream: UInt32, endStream: Bool, now: Instant
  ) throws(HTTP2SubmitError) -> Int {
    guard ending == nil else { throw .connectionClosed }
    guard let index = streams.index(of: stream), !streams[index].isRefused else {
      throw .streamClosed
    }
    switch streams[index].send {
    case .ended: throw .streamClosed
    case .awaitingHeaders: throw .outOfOrder
    case .body: break
    }
    var taken = 0
    while taken < bytes.count {
      let count = contentCount(bytes.count - taken, index)
      guard count > 0 else {
        streams.block(index, on: .content)
        return taken
      }
      let isLast = taken + count == bytes.count
      output.appendContent(
        bytes.extracting(taken..<taken + count), on: stream, endStream: endStream && isLast)
      sendWindow.spend(count)
      streams[index].sendWindow.spend(count)
      abuse.dataFrameSent()
      taken += count
    }
    if bytes.isEmpty && endStream {
      sendControl(.data, flags: FrameFlags.endStream, on: stream, payload: 0, length: 0)
    }
    streams.unblock(index)
    if endStream { endSend(index) }
    return taken
  }

  /// How much of `wanted` octets goes into the next DATA frame; 0 when it has to wait.
  @inline(__always)
  private func contentCount(_ wanted: Int, _ index: Int) -> Int {
    let window = Int(max(0, min(sendWindow.available, streams[index].sendWindow.available)))
    let allowed = min(wanted, window, Int(HTTP2Limits.frameBytesMin))
    let room = output.contentRoom
    // Rather wait for the queue to drain than cut slivers; a small window is the peer's wish.
    guard room >= min(allowed, HTTP2Limits.contentBytesMin) else { return 0 }
    return min(allowed, room)
  }

  /// Content of `bytes` octets is consumed: the peer may send as much again on that stream.
  public mutating func release(_ bytes: Int, on stream: UInt32) {
    guard ending == nil, bytes > 0, let index = streams.index(of: stream) else { return }
    releaseWindow(bytes, index)
  }

  /// Ends a stream abnormally. No event follows; whatever comes on it is ignored. Unknown and ended
  /// streams are left as they are.
  public mutating func reset(_ stream: UInt32, _ code: HTTP2ErrorCode) {
    guard ending == nil, let index = streams.index(of: stream) else { return }
    let wasRefused = streams[index].isRefused
    streams.remove(at: index)
    closedStreams.insert(stream, .resetLocally)
    if !wasRefused {
      sendControl(.rstStream, on: stream, payload: UInt64(code.rawValue), length: 4)
    }
    endIfDrained()
  }

  /// Says GOAWAY. No new streams; the connection closes when the last one has ended.
  public mutating func shutDown(_ code: HTTP2ErrorCode = .noError) {
    guard ending == nil else { return }
    let isSaid = goAwaySent != nil && goAwaySent != HTTP2Limits.streamIdentifierMax
    guard !isSaid || goAwaySentCode != code else { return }
    sendGoAway(code, debug: "")
    endIfDrained()
  }

  /// Server: announces a shutdown (RFC 9113 §6.8, the first of two GOAWAY frames): streams that are
  /// under way are still taken. `shutDown` follows, a round trip later.
  public mutating func announceShutDown() {
    guard ending == nil, role == .server, goAwaySent == nil else { return }
    output.appendGoAway(
      lastStream: HTTP2Limits.streamIdentifierMax, code: .noError, debug: "")
    goAwaySent = HTTP2Limits.streamIdentifierMax
  }

  private mutating func endSend(_ index: Int) {
    streams[index].send = .ended
    removeIfEnded(index)
  }

  /// `index`: the stream that is to be told when the output queue has room again.
  private mutating func checkSubmitted(
    _ list: HeaderList, as part: MessagePart, _ index: Int? = nil
  ) throws(HTTP2SubmitError) -> MessageFacts {
    let facts: MessageFacts
    do throws(HTTP2Cause) {
      facts = try FieldRules.check(list, as: part)
    } catch {
      throw .malformed(error)
    }
    let size = list.size
    guard size <= output.blockLimit else { throw .headerListTooLarge }
    guard size <= Int(clamping: peer.maxHeaderListSize) else { throw .headerListUnwanted }
    guard output.hasRoom(forBlock: size) else {
      if let index { streams.block(index, on: .headers) }
      throw .outputFull
    }
    return facts
  }
}
