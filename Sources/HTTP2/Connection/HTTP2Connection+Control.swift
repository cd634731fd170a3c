import HPACK
import Primitives

// The frames of a fixed size, and GOAWAY (RFC 9113 §6.3 … §6.9).

extension HTTP2Connection {
  mutating func beginPriority(_ header: FrameHeader, now: Instant) throws(Fault) {
    guard header.stream != 0 else { throw .connection(.streamIdentifierWrong) }
    // §6.3 says a stream error; but the stream may be idle, which RST_STREAM may not name.
    guard header.length == 5 else { throw .connection(.frameSizeWrong) }
    try abuse.meaninglessFrame(now: now, as: .priorityFlood)
  }

  mutating func beginReset(_ header: FrameHeader) throws(Fault) {
    guard header.stream != 0 else { throw .connection(.streamIdentifierWrong) }
    guard header.length == 4 else { throw .connection(.frameSizeWrong) }
    try checkNotIdle(header.stream)
    reader.expect(prefix: 4, use: .control)
  }

  mutating func receiveReset(now: Instant) throws(Fault) -> HTTP2Event? {
    let id = reader.header.stream
    let code = HTTP2ErrorCode(rawValue: readUInt32(reader.prefix.span, at: 0))
    try abuse.streamReset(now: now)
    guard let index = streams.index(of: id) else { return nil }
    let receive = streams[index].receive
    closedStreams.insert(id, .resetByPeer)
    streams.remove(at: index)
    endIfDrained()
    // A response that is complete stays complete: the peer only needs no more of the request (§8.1).
    if role == .client && receive == .ended { return nil }
    if role == .client && receive == .awaitingHeaders && code == .refusedStream {
      return .refused(stream: id)
    }
    return .reset(stream: id, code: code, origin: .peer)
  }

  mutating func beginPing(_ header: FrameHeader) throws(Fault) {
    guard header.stream == 0 else { throw .connection(.streamIdentifierWrong) }
    guard header.length == 8 else { throw .connection(.frameSizeWrong) }
    reader.expect(prefix: 8, use: .control)
  }

  mutating func receivePing(now: Instant) throws(Fault) -> HTTP2Event? {
    let opaque =
      UInt64(readUInt32(reader.prefix.span, at: 0)) << 32
      | UInt64(readUInt32(reader.prefix.span, at: 4))
    if reader.header.has(FrameFlags.acknowledgement) {
      if !keepAlive.answered(opaque) { try abuse.meaninglessFrame(now: now) }
    } else {
      try abuse.pingReceived(now: now)
      sendControl(
        .ping, flags: FrameFlags.acknowledgement, on: 0, payload: opaque, length: 8)
    }
    return nil
  }

  mutating func beginGoAway(_ header: FrameHeader, now: Instant) throws(Fault) {
    guard header.stream == 0 else { throw .connection(.streamIdentifierWrong) }
    guard header.length >= 8 else { throw .connection(.frameSizeWrong) }
    try abuse.meaninglessFrame(now: now, as: .goAwayFlood)
    reader.expect(prefix: min(header.length, 8 + HTTP2Limits.debugBytesMax), use: .control)
  }

  /// §6.8. The first one of two may name 2³¹ − 1: no new streams, and the real number comes later.
  mutating func receiveGoAway() throws(Fault) -> HTTP2Event? {
    let last = readUInt32(reader.prefix.span, at: 0) & HTTP2Limits.streamIdentifierMax
    let code = HTTP2ErrorCode(rawValue: readUInt32(reader.prefix.span, at: 4))
    guard last <= goAwayReceived ?? .max else { throw .connection(.goAwayIncreased) }
    goAwayReceived = last
    goAwayReceivedCode = code
    goAwayDebugData = ByteString(copying: reader.prefix.span.extracting(droppingFirst: 8))
    if role == .client { streams.refuse(above: last) }
    endIfDrained()
    return .goAway(lastStream: last, code: code)
  }

  mutating func beginWindowUpdate(_ header: FrameHeader) throws(Fault) {
    guard header.length == 4 else { throw .connection(.frameSizeWrong) }
    if header.stream != 0 { try checkNotIdle(header.stream) }
    reader.expect(prefix: 4, use: .control)
  }

  mutating func receiveWindowUpdate(now: Instant) throws(Fault) -> HTTP2Event? {
    let id = reader.header.stream
    let increment = Int64(readUInt32(reader.prefix.span, at: 0) & 0x7fff_ffff)
    try abuse.windowUpdateReceived()
    if id == 0 {
      guard increment > 0 else { throw .connection(.windowIncrementZero) }
      guard sendWindow.increase(by: increment) else {
        throw .connection(.connectionWindowOverflow)
      }
      blockedMayGo = true
    } else if let index = streams.index(of: id) {
      guard increment > 0 else { throw .stream(id, .windowIncrementZero) }
      guard streams[index].sendWindow.increase(by: increment) else {
        throw .stream(id, .streamWindowOverflow)
      }
      blockedMayGo = true
    }
    return nil
  }
}

// MARK: - SETTINGS

extension HTTP2Connection {
  mutating func beginSettings(_ header: FrameHeader, now: Instant) throws(Fault) {
    guard header.stream == 0 else { throw .connection(.streamIdentifierWrong) }
    if header.has(FrameFlags.acknowledgement) {
      guard header.length == 0 else { throw .connection(.frameSizeWrong) }
    }
    guard header.length % UInt32(Setting.size) == 0 else { throw .connection(.frameSizeWrong) }
    guard header.length <= HTTP2Limits.settingsEntriesMax * UInt32(Setting.size) else {
      throw .connection(.settingsFlood)
    }
    try abuse.settingsReceived(now: now)
    reader.expect(prefix: header.length, use: .control)
  }

  mutating func receiveSettings(now: Instant) throws(Fault) -> HTTP2Event? {
    if reader.header.has(FrameFlags.acknowledgement) {
      receiveAcknowledgement()
      return nil
    }
    let before = peer
    peer.begin()
    for offset in stride(from: 0, to: reader.prefix.count, by: Setting.size) {
      let setting = Setting(reader.prefix.span, at: offset)
      try peer.apply(setting, fromServer: role == .client)
      if setting.identifier == Setting.headerTableSize {
        encoder.setPeerMaximumTableSize(setting.value)
      }
    }
    try moveSendWindows(by: Int64(peer.initialWindowSize) - Int64(before.initialWindowSize))
    sendControl(.settings, flags: FrameFlags.acknowledgement, on: 0, payload: 0, length: 0)
    return .settings
  }

  /// From here on the peer keeps to our SETTINGS (RFC 9113 §6.5.3).
  private mutating func receiveAcknowledgement() {
    guard settingsDeadline != nil else { return }
    settingsDeadline = nil
    if configuration.headerTableSize < Self.initialTableSize {
      decoder.setMaximumTableSize(Int(configuration.headerTableSize))
    }
  }

  /// RFC 9113 §6.9.2: the difference goes to every stream, and may take a window below 0.
  private mutating func moveSendWindows(by difference: Int64) throws(Fault) {
    guard difference != 0 else { return }
    for index in 0..<streams.count {
      guard streams[index].sendWindow.increase(by: difference) else {
        throw .connection(.settingWindowInvalid)
      }
    }
    blockedMayGo = true
  }
}
