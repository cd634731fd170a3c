import GRPC
import HPACK
import Primitives

/// The gRPC calls to control planes: the streams of the `DiscoveryClient`, one for each server, and
/// that of the `LoadReporter`, to the server whose answers are in force. Messages are framed and taken
/// apart here; it knows no connection and no clock.
///
///     discovery's actions ──▶ open, send, close ──┐           ┌──▶ the owner's streams
///     load reporter ──────────────────────────────┴▶ actions ─┘
///     the owner's streams ──▶ streamOpened, responseBegan, receive, streamClosed ──▶ both machines
///
/// Bounded both ways. Of a stream one message at most waits to be written: until it is, its machine
/// makes no other, and what changes meanwhile is in the next one. Bytes are taken only while the
/// machine can use them, so that what a server sends too early stays in the windows of its stream.
public struct ControlPlaneChannel: Sendable {
  /// Counts what its owner tells it, and reports by itself.
  public var load: LoadReporter

  /// One stream.
  struct Call: Sendable {
    let stream: ChannelStream
    let server: Int
    let path: ByteString
    var deframer: MessageDeframer
    /// The framed message that is not written yet, from `written` on.
    var output: [UInt8] = []
    var written = 0
    /// The owner holds bytes that were not taken.
    var hasLeftover = false
    // Actions that are due.
    var wantsOpen = true
    var wantsWrite = false
    var wantsFinish = false
    var wantsClose = false
  }

  var calls: [Call] = []
  /// What is held of messages at most, in bytes: the longest that is taken, while there is no other.
  public var messageBytesMax = DiscoveryLimits.messageBytesMax
  /// By server.
  private var ends: [ChannelEnd?] = []
  /// Why the last stream of load reports ended.
  public private(set) var lastLoadEnd: ChannelEnd?

  public init(load: LoadReporter) { self.load = load }

  /// The fields of every call besides those of HTTP/2 itself ("gRPC over HTTP/2", Request-Headers).
  public static var fields: HeaderList {
    var fields = HeaderList()
    fields.append("te", "trailers")
    fields.append("content-type", "application/grpc")
    fields.append("user-agent", "spoke/" + ProjectVersion.text)
    return fields
  }

  /// Why the last stream to a server ended; nil: none did.
  public func lastEnd(server: Int) -> ChannelEnd? {
    ends.indices.contains(server) ? ends[server] : nil
  }

  /// Bytes held, for the memory ledger.
  public var memory: Int {
    var sum = 0
    for call in calls { sum += call.deframer.memory + call.output.capacity }
    return sum
  }

  // MARK: Discovery's actions

  /// `DiscoveryAction.open`.
  public mutating func open(_ stream: UInt32, server: Int, _ transport: DiscoveryTransport) {
    calls.append(
      Call(
        stream: .discovery(stream), server: server, path: ByteString(transport.path),
        deframer: MessageDeframer(limit: messageBytesMax)))
  }

  /// `DiscoveryAction.send`.
  public mutating func send(
    _ message: [UInt8], on stream: UInt32, _ discovery: inout DiscoveryClient
  ) {
    guard let place = place(of: .discovery(stream)) else { return }
    frame(message, place)
    discovery.setBlocked(stream, true)
  }

  /// `DiscoveryAction.close`.
  public mutating func close(_ stream: UInt32) {
    if let place = place(of: .discovery(stream)) { calls[place].wantsClose = true }
  }

  // MARK: The owner's streams

  /// The stream can be written.
  public mutating func streamOpened(
    _ stream: ChannelStream, _ discovery: inout DiscoveryClient, now: Instant
  ) {
    guard place(of: stream) != nil else { return }
    switch stream {
    case .discovery(let number): discovery.streamOpened(number, now: now)
    case .load(let number): load.streamOpened(number)
    }
  }

  /// The response's headers are here. Whoever answers with another status than 200 is no gRPC server
  /// for us: there is nothing to wait for.
  public mutating func responseBegan(
    _ stream: ChannelStream, status: UInt16, _ discovery: inout DiscoveryClient, now: Instant
  ) {
    guard status != 200, let place = place(of: stream) else { return }
    calls[place].wantsClose = true
    lose(place, ChannelEnd(httpStatus: status, at: now), &discovery)
  }

  /// The stream ended, or could not be opened.
  public mutating func streamClosed(
    _ stream: ChannelStream, _ outcome: ChannelOutcome, _ discovery: inout DiscoveryClient,
    now: Instant
  ) {
    guard let place = place(of: stream) else { return }
    var deframed: MessageError?
    do throws(MessageError) {
      try calls[place].deframer.finish()
    } catch {
      deframed = error
    }
    lose(place, ChannelEnd(outcome, deframed: deframed, at: now), &discovery)
    calls.remove(at: place)
  }

  /// Tells the call's machine that its stream is over, unless it knows.
  private mutating func lose(
    _ place: Int, _ end: ChannelEnd, _ discovery: inout DiscoveryClient
  ) {
    guard !isOver(place, discovery) else { return }
    note(end, place)
    switch calls[place].stream {
    case .discovery(let number): discovery.streamClosed(number, now: end.at)
    case .load(let number): load.streamClosed(number, now: end.at)
    }
  }

  private mutating func note(_ end: ChannelEnd, _ place: Int) {
    guard case .discovery = calls[place].stream else {
      lastLoadEnd = end
      return
    }
    while ends.count <= calls[place].server { ends.append(nil) }
    ends[calls[place].server] = end
  }

  /// Takes bytes of the response, from the first on; answers how many. `read` asks for the others.
  public mutating func receive(
    _ bytes: Span<UInt8>, on stream: ChannelStream, _ discovery: inout DiscoveryClient,
    clocks: Clocks
  ) -> Int {
    guard let place = place(of: stream) else { return bytes.count }
    var offset = 0
    while offset < bytes.count {
      // Nobody wants the rest; as long as it waits, the stream's end does too.
      if isOver(place, discovery) { return bytes.count }
      guard mayReceive(place, discovery) else { break }
      // What others hold may be more: arrays round up, and the budget may have been a larger one.
      calls[place].deframer.limit = max(messageBytesMax - held(besides: place), 0)
      do throws(MessageError) {
        guard try calls[place].deframer.receive(bytes, from: &offset) else { break }
      } catch {
        refuse(place, error, &discovery, now: clocks.now)
        return bytes.count
      }
      pass(calls[place].deframer.takeMessage(), stream, &discovery, clocks: clocks)
    }
    calls[place].hasLeftover = offset < bytes.count
    return offset
  }

  private mutating func pass(
    _ message: [UInt8], _ stream: ChannelStream, _ discovery: inout DiscoveryClient, clocks: Clocks
  ) {
    switch stream {
    case .discovery(let number): discovery.receive(message, stream: number, clocks: clocks)
    case .load(let number): load.receive(message, stream: number, now: clocks.now)
    }
  }

  /// Both machines answer with an action that closes the stream.
  private mutating func refuse(
    _ place: Int, _ error: MessageError, _ discovery: inout DiscoveryClient, now: Instant
  ) {
    note(ChannelEnd(error, at: now), place)
    switch calls[place].stream {
    case .discovery(let number): discovery.messageRefused(number, now: now)
    case .load(let number): load.messageRefused(number, now: now)
    }
  }

  /// Of the messages of other streams.
  private func held(besides place: Int) -> Int {
    var sum = 0
    for other in calls.indices where other != place { sum += calls[other].deframer.memory }
    return sum
  }

  private func mayReceive(_ place: Int, _ discovery: borrowing DiscoveryClient) -> Bool {
    switch calls[place].stream {
    case .discovery(let number):
      calls[place].output.isEmpty && discovery.isReady(for: number)
    case .load: true
    }
  }

  /// The machine has given the stream up.
  private func isOver(_ place: Int, _ discovery: borrowing DiscoveryClient) -> Bool {
    switch calls[place].stream {
    case .discovery(let number): discovery.server(of: number) == nil
    case .load(let number): load.stream != number
    }
  }

  private func place(of stream: ChannelStream) -> Int? {
    calls.firstIndex { $0.stream == stream }
  }
}

/// Output and actions.
extension ControlPlaneChannel {
  /// Bytes that are lent at once.
  private static let pieceBytesMax = 16 * 1024

  private mutating func frame(_ message: [UInt8], _ place: Int) {
    precondition(calls[place].output.isEmpty, "channel: a message before the last was written")
    calls[place].output.reserveCapacity(MessageFraming.prefixBytes + message.count)
    MessageFraming.appendPrefix(length: message.count, to: &calls[place].output)
    calls[place].output.append(contentsOf: message.span)
    calls[place].wantsWrite = true
  }

  /// Lends the next bytes to write, at most 16 KiB; nothing when all are written.
  public func withOutput<R>(_ stream: ChannelStream, _ body: (Span<UInt8>) -> R) -> R {
    guard let place = place(of: stream) else {
      let none: [UInt8] = []
      return body(none.span)
    }
    // Shares the buffer.
    let output = calls[place].output
    let start = calls[place].written
    let count = min(output.count - start, Self.pieceBytesMax)
    return body(output.span.extracting(start..<start + count))
  }

  /// `count` of them are written.
  public mutating func consumeOutput(
    _ stream: ChannelStream, _ count: Int, _ discovery: inout DiscoveryClient
  ) {
    guard let place = place(of: stream) else { return }
    precondition(
      count >= 0 && count <= calls[place].output.count - calls[place].written,
      "channel: more was written than there is")
    calls[place].written += count
    guard calls[place].written == calls[place].output.count else { return }
    calls[place].output = []
    calls[place].written = 0
    if case .discovery(let number) = stream { discovery.setBlocked(number, false) }
  }

  /// The next thing to do; nil: nothing until the next event. Discovery's own actions come first, so
  /// that it answers one message before it gets another.
  public mutating func nextAction(
    _ discovery: borrowing DiscoveryClient, now: Instant
  ) -> ChannelAction? {
    driveLoad(discovery.activeServer, now: now)
    for place in calls.indices {
      let stream = calls[place].stream
      if calls[place].wantsClose {
        let isKnown = !calls[place].wantsOpen
        calls.remove(at: place)
        return isKnown ? .close(stream) : nextAction(discovery, now: now)
      }
      if calls[place].wantsOpen {
        calls[place].wantsOpen = false
        return .open(stream, server: calls[place].server, path: calls[place].path)
      }
      if calls[place].wantsWrite {
        calls[place].wantsWrite = false
        return .write(stream)
      }
      if calls[place].wantsFinish, calls[place].output.isEmpty {
        calls[place].wantsFinish = false
        return .finish(stream)
      }
      if calls[place].hasLeftover, isOver(place, discovery) || mayReceive(place, discovery) {
        calls[place].hasLeftover = false
        return .read(stream)
      }
    }
    return nil
  }

  /// Reports go to the server whose answers are in force; nowhere while there is none.
  private mutating func driveLoad(_ server: Int?, now: Instant) {
    if load.stream != 0, let place = place(of: .load(load.stream)) {
      if let server, calls[place].server != server {
        calls[place].wantsClose = true
        load.streamClosed(load.stream, now: now)
        // Not the fault of anybody.
        load.retryNow()
      } else if !calls[place].output.isEmpty {
        return
      }
    }
    if load.wantsStream, server == nil { return }
    while let action = load.nextAction(now: now) {
      switch action {
      case .open(let stream): openLoad(stream, server: server ?? 0)
      case .send(let stream, let message):
        guard let place = place(of: .load(stream)) else { break }
        return frame(message, place)
      case .close(let stream): closeLoad(stream)
      }
    }
  }

  private mutating func openLoad(_ stream: UInt32, server: Int) {
    // One that was to end by itself had time to do so.
    for place in calls.indices {
      if case .load = calls[place].stream { calls[place].wantsClose = true }
    }
    calls.append(
      Call(
        stream: .load(stream), server: server, path: ByteString(LoadReporter.path),
        deframer: MessageDeframer(limit: messageBytesMax)))
  }

  /// After its last report the stream ends as a call does; otherwise it is reset.
  private mutating func closeLoad(_ stream: UInt32) {
    guard let place = place(of: .load(stream)) else { return }
    if load.isIdle, !calls[place].wantsOpen {
      calls[place].wantsFinish = true
    } else {
      calls[place].wantsClose = true
    }
  }
}
