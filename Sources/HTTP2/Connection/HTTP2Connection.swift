import HPACK
import Primitives

/// One HTTP/2 connection (RFC 9113) without any input or output of its own: bytes and time go in,
/// events and bytes come out.
///
/// The driver's turn:
///
/// 1. bytes read: `receive` until it answers nil; it consumes everything, and each event's ranges
///    point into those bytes
/// 2. `submitHeaders`, `submitData`, `release`, `reset`, `shutDown` as it likes
/// 3. `withOutput`, write, `consumeOutput`
/// 4. `nextEvent` until nil: writing, resetting and shutting down may have made events
/// 5. `handleTimeout` at `nextDeadline`
///
/// Nothing here traps on what the peer sends. Memory is bounded: one output queue, one header block,
/// one header list, a table of open streams and a ring of closed ones.
public struct HTTP2Connection: Sendable {
  /// Which end of the connection this is: the client opens streams (RFC 9113 §5.1.1).
  public enum Role: UInt8, Sendable { case client, server }

  public let role: Role
  let configuration: HTTP2Configuration

  /// The list of the last `.headers` event, until the next call of `receive`.
  public internal(set) var receivedHeaders = HeaderList()
  /// Of `receivedHeaders`, if they are those of a response.
  public internal(set) var receivedStatus: UInt16 = 0
  /// What the peer broke, of the last `.reset` event with origin `local`.
  public internal(set) var lastStreamCause: HTTP2Cause?
  /// The first bytes of the debug data of the peer's last GOAWAY.
  public internal(set) var goAwayDebugData = ByteString()

  var reader: FrameReader
  var output: OutputQueue
  var encoder: HPACKEncoder
  var decoder: HPACKDecoder
  var block: [UInt8] = []
  /// The stream whose header block is not complete: only CONTINUATION may come (RFC 9113 §6.10).
  var blockStream: UInt32?
  var blockEndsStream = false

  var streams = StreamTable()
  var closedStreams = ClosedStreams()
  /// Client: the next stream it opens. Server: unused.
  var nextStream: UInt32 = 1
  /// The highest stream that the peer has opened.
  var lastPeerStream: UInt32 = 0

  var peer = PeerSettings()
  var sendWindow = SendWindow(HTTP2Limits.windowBytesDefault)
  var receiveWindow: ReceiveWindow
  /// A window or the output queue opened since blocked streams were last looked at.
  var blockedMayGo = false

  var abuse: AbuseMonitor
  var keepAlive: KeepAlive
  /// When our SETTINGS must be acknowledged; `nil` once they are.
  var settingsDeadline: Instant?

  /// The lowest last stream that the peer's GOAWAY frames named.
  var goAwayReceived: UInt32?
  var goAwayReceivedCode = HTTP2ErrorCode.noError
  /// The last stream that our GOAWAY named.
  var goAwaySent: UInt32?
  var goAwaySentCode = HTTP2ErrorCode.noError
  /// Why the connection is over, once it is.
  var ending: HTTP2Error?
  var endingDelivered = false

  /// Queues the preface, SETTINGS and the connection's window.
  public init(role: Role, configuration: HTTP2Configuration, now: Instant) {
    var configuration = configuration
    configuration.clamp()
    self.role = role
    self.configuration = configuration
    reader = FrameReader(expectsPreface: role == .server)
    output = OutputQueue(limit: configuration.outputLimit)
    encoder = HPACKEncoder(maximumTableSize: Int(configuration.headerTableSize))
    // A peer that does not know our SETTINGS yet may use the initial size.
    decoder = HPACKDecoder(
      maximumTableSize: Int(max(configuration.headerTableSize, Self.initialTableSize)),
      maximumListSize: Int(configuration.maxHeaderListSize),
      maximumFields: Int(configuration.maxHeaderFields))
    receiveWindow = ReceiveWindow(size: Int32(configuration.connectionWindowSize))
    abuse = AbuseMonitor(now: now)
    keepAlive = KeepAlive(
      interval: configuration.keepAliveInterval, timeout: configuration.keepAliveTimeout, now: now)
    settingsDeadline = now + configuration.settingsTimeout
    queueOpening()
  }

  /// RFC 9113 §6.5.2, SETTINGS_HEADER_TABLE_SIZE.
  static let initialTableSize: UInt32 = 4_096

  private mutating func queueOpening() {
    if role == .client { output.appendPreface() }
    var settings = [
      Setting(Setting.headerTableSize, configuration.headerTableSize),
      Setting(Setting.initialWindowSize, configuration.initialWindowSize),
      Setting(Setting.maxFrameSize, configuration.maxFrameSize),
      Setting(Setting.maxHeaderListSize, configuration.maxHeaderListSize),
    ]
    switch role {
    case .client: settings.append(Setting(Setting.enablePush, 0))
    case .server:
      settings.append(Setting(Setting.maxConcurrentStreams, configuration.maxConcurrentStreams))
    }
    output.appendSettings(settings)
    let extra = configuration.connectionWindowSize - UInt32(HTTP2Limits.windowBytesDefault)
    if extra > 0 { sendControl(.windowUpdate, on: 0, payload: UInt64(extra), length: 4) }
  }
}

// MARK: - Getters

extension HTTP2Connection {
  /// Whether a client may open a stream now. False while the peer's limit is used up or the output
  /// queue is more than half full, when the connection drains, and when it is over.
  // Inlined, as what else is asked for every frame: a call would be given a copy of the connection.
  @inline(__always)
  public var canOpenStream: Bool {
    role == .client && !isDraining && streams.count < Int(streamLimit) && output.hasDrained
  }

  /// The same for an element of an array, which is copied when it is only read.
  public mutating func mayOpenStream() -> Bool { canOpenStream }

  /// Streams open now, from the first HEADERS to the end of both halves.
  public var activeStreams: Int { streams.count }

  /// No new stream will be opened on this connection: GOAWAY came or went, or stream identifiers
  /// have run out.
  @inline(__always)
  public var isDraining: Bool {
    ending != nil || goAwayReceived != nil || goAwaySent != nil
      || nextStream > HTTP2Limits.streamIdentifierMax
  }

  /// What the peer's last GOAWAY says of its reason, for a message; nil while none came.
  public var goAwayReason: String? {
    guard goAwayReceived != nil else { return nil }
    let text = goAwayDebugData.isEmpty ? "" : ": \(goAwayDebugData.description)"
    return "GOAWAY \(goAwayReceivedCode.name)\(text)"
  }

  /// The connection is over. What waits in the output still should be written.
  @inline(__always)
  public var isClosed: Bool { ending != nil }

  @inline(__always)
  public var hasOutput: Bool { !output.isEmpty }

  /// Bytes that wait to be written.
  @inline(__always)
  public var outputCount: Int { output.count }

  /// Bytes that the connection holds, as far as they vary: for the memory ledger.
  public var memory: Int {
    output.memory + encoder.memory + decoder.memory + block.capacity
      + receivedHeaders.bytes.capacity
      + receivedHeaders.fields.capacity * MemoryLayout<HeaderList.Field>.stride + streams.memory
  }

  /// Gives back what unusually many header fields have left, once they were looked at.
  public mutating func trim() {
    guard block.capacity + receivedHeaders.bytes.capacity > HTTP2Limits.headerBytesKept else {
      return
    }
    receivedHeaders = HeaderList()
    if blockStream == nil { block = [] }
  }

  @inline(__always)
  var streamLimit: UInt32 {
    min(configuration.maxConcurrentStreams, peer.maxConcurrentStreams)
  }
}

// MARK: - Output

extension HTTP2Connection {
  /// Lends the bytes that wait to be written. Mutating because an element of an array
  /// that is only read may be copied first, all of it.
  @inline(__always)
  public mutating func withOutput<R>(_ body: (Span<UInt8>) -> R) -> R { output.withBytes(body) }

  /// Forgets the oldest `count` of them: they were written at `now`.
  public mutating func consumeOutput(_ count: Int, now: Instant) {
    output.consume(count)
    keepAlive.written(count, now: now)
    if output.hasDrained { blockedMayGo = true }
  }

  /// Queues a frame that answers the peer. When even its reserve is used up, the peer does not read
  /// what it asks for, and the connection ends.
  mutating func sendControl(
    _ type: FrameType, flags: UInt8 = 0, on stream: UInt32, payload: UInt64, length: Int
  ) {
    guard
      !output.appendControl(type, flags: flags, on: stream, payload: payload, length: length)
    else { return }
    fail(.outputFlood)
  }
}

// MARK: - Events that no input makes

extension HTTP2Connection {
  /// Something that happened besides the input: `refused` after GOAWAY, `writable`, `closed`. Call
  /// it until nil after output was consumed and after `reset` or `shutDown`.
  public mutating func nextEvent() -> HTTP2Event? {
    while let stream = streams.removeRefused() {
      closedStreams.insert(stream.id, .resetLocally)
      endIfDrained()
      // A response that is complete stays complete, as when the peer resets the stream behind it.
      if stream.receive != .ended { return .refused(stream: stream.id) }
    }
    if let ending {
      guard !endingDelivered else { return nil }
      endingDelivered = true
      streams.removeAll()
      return .closed(ending)
    }
    guard blockedMayGo else { return nil }
    guard streams.blockedCount > 0, output.hasDrained,
      let id = streams.nextUnblocked(isConnectionOpen: sendWindow.available > 0)
    else {
      blockedMayGo = false
      return nil
    }
    return .writable(stream: id)
  }

  /// Whether `nextEvent` has one.
  var hasEvent: Bool {
    if streams.refusedCount > 0 { return true }
    if ending != nil { return !endingDelivered }
    return blockedMayGo && streams.blockedCount > 0 && output.hasDrained
  }
}

extension HTTP2Configuration {
  /// More than that, a table costs more memory than it saves bytes.
  private static let headerTableSizeMax: UInt32 = 65_536

  /// The stream table is searched from end to end.
  private static let concurrentStreamsMax: UInt32 = 10_000

  /// Brings every value into what the protocol allows.
  fileprivate mutating func clamp() {
    let most = UInt32(HTTP2Limits.windowBytesMax)
    initialWindowSize = min(initialWindowSize, most)
    connectionWindowSize = min(
      max(connectionWindowSize, UInt32(HTTP2Limits.windowBytesDefault)), most)
    maxFrameSize = min(
      max(maxFrameSize, HTTP2Limits.frameBytesMin), HTTP2Limits.frameBytesMax)
    headerTableSize = min(headerTableSize, Self.headerTableSizeMax)
    maxHeaderBlockSize = min(maxHeaderBlockSize, HTTP2Limits.frameBytesMax)
    maxHeaderListSize = min(maxHeaderListSize, HTTP2Limits.frameBytesMax)
    maxConcurrentStreams = min(maxConcurrentStreams, Self.concurrentStreamsMax)
    outputLimit = max(outputLimit, Int(HTTP2Limits.frameBytesMin))
  }
}
