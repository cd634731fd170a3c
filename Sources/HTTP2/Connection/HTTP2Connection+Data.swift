import Primitives

// DATA (RFC 9113 §6.1, §6.9). The connection's window is given back as content comes, so that one
// slow reader does not stop the others; a stream's window is given back as its content is consumed.
// Content held is thereby bounded by the stream windows.

extension HTTP2Connection {
  mutating func beginData(_ header: FrameHeader, now: Instant) throws(Fault) {
    guard header.stream != 0 else { throw .connection(.streamIdentifierWrong) }
    try checkNotIdle(header.stream)
    let prefix: UInt32 = header.has(FrameFlags.padded) ? 1 : 0
    guard header.length >= prefix else { throw .connection(.frameSizeWrong) }
    // With padding it is not known yet whether there is content (`receivePadding`).
    if prefix == 0 { try countContent(header, isEmpty: header.length == 0) }
    guard receiveWindow.receive(header.length, slack: 0) else {
      throw .connection(.connectionWindowExceeded)
    }
    if let increment = receiveWindow.release(Int(header.length)) {
      sendControl(.windowUpdate, on: 0, payload: UInt64(increment), length: 4)
    }
    guard let index = streams.index(of: header.stream) else {
      return try receiveLate(header.stream, isHeaders: false, now: now)
    }
    switch streams[index].receive {
    case .awaitingHeaders: throw .stream(header.stream, .dataBeforeHeaders)
    case .ended: throw .stream(header.stream, .streamClosed)
    case .body: break
    }
    guard streams[index].receiveWindow.receive(header.length, slack: windowSlack) else {
      throw .stream(header.stream, .streamWindowExceeded)
    }
    reader.expect(prefix: prefix, use: .content)
  }

  mutating func countContent(_ header: FrameHeader, isEmpty: Bool) throws(Fault) {
    try abuse.dataReceived(
      isEmpty: isEmpty && !header.has(FrameFlags.endStream), activeStreams: streams.count)
  }

  /// Until it has acknowledged SETTINGS, the peer may use the default window (RFC 9113 §6.9.2).
  private var windowSlack: Int32 {
    guard settingsDeadline != nil else { return 0 }
    let size = Int32(configuration.initialWindowSize)
    return size < HTTP2Limits.windowBytesDefault ? HTTP2Limits.windowBytesDefault - size : 0
  }

  mutating func receiveContent(
    _ bytes: Span<UInt8>, from offset: inout Int
  ) throws(Fault) -> HTTP2Event? {
    let id = reader.header.stream
    guard let index = streams.index(of: id) else {
      // The user reset the stream in the middle of the frame.
      reader.ignoreRest()
      return nil
    }
    let range = reader.takeBody(bytes, from: &offset)
    guard !range.isEmpty else { return nil }
    do throws(HTTP2Cause) {
      try streams[index].receiveContent(range.count)
    } catch {
      throw .stream(id, error)
    }
    let isComplete = reader.finish(bytes, from: &offset)
    let endStream = isComplete && reader.header.has(FrameFlags.endStream)
    if endStream { try endReceive(index) }
    return .data(stream: id, bytes: range, flowControlled: range.count, endStream: endStream)
  }

  /// A frame whose last octets were padding, or that has none, is complete.
  mutating func finishContent(at offset: Int) throws(Fault) -> HTTP2Event? {
    let id = reader.header.stream
    guard reader.header.has(FrameFlags.endStream), let index = streams.index(of: id) else {
      return nil
    }
    try endReceive(index)
    return .data(stream: id, bytes: offset..<offset, flowControlled: 0, endStream: true)
  }

  /// Padding counts against the window (RFC 9113 §6.1) and nobody else will consume it.
  mutating func creditPadding(_ count: Int, on id: UInt32) {
    guard let index = streams.index(of: id) else { return }
    releaseWindow(count, index)
  }

  func isReceiving(_ index: Int) -> Bool {
    if case .body = streams[index].receive { return true }
    return false
  }

  mutating func releaseWindow(_ count: Int, _ index: Int) {
    guard isReceiving(index), let increment = streams[index].receiveWindow.release(count) else {
      return
    }
    sendControl(.windowUpdate, on: streams[index].id, payload: UInt64(increment), length: 4)
  }
}
