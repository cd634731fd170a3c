import Configuration
import Ingest
import Primitives
import Spool

/// One serial port as the gateway sees it: bytes in, frames out, and what has become of it.
struct SerialInput {
  let configuration: SerialConfiguration
  var framer: Framer
  var isOpen = false
  /// Whether this outage has been reported: it is one `port_down`, however its reason changes.
  var isReportedDown = false
  /// Why it is closed, or what is odd about it, in words.
  var detail = "not opened yet"
  var bytes: UInt64 = 0
  var frames: UInt64 = 0
  var badFrames: UInt64 = 0
  var reopens: UInt64 = 0
  var lastFrame: WallTime?

  init(_ configuration: SerialConfiguration) {
    self.configuration = configuration
    framer = Framer(configuration.framing, baud: configuration.baud)
  }
}

extension Gateway where Storage: ~Copyable {
  /// A port was opened; `detail` says what is odd about it, or is empty.
  public mutating func serialOpened(_ port: Int, detail: String, clocks: Clocks) {
    let name = ports[port].configuration.name
    if ports[port].lastFrame != nil || ports[port].reopens > 0 || ports[port].bytes > 0 {
      ports[port].reopens += 1
    }
    ports[port].isOpen = true
    ports[port].isReportedDown = false
    ports[port].detail = detail
    log(.info, "serial \(name.description): open" + (detail.utf8.isEmpty ? "" : " (\(detail))"))
    report("port_up", clocks: clocks) { json in
      json.member("port", name)
    }
  }

  /// A port is gone, or could not be opened. An outage is reported once; the log also has each new
  /// reason why the port cannot be opened again.
  public mutating func serialClosed(_ port: Int, reason: String, clocks: Clocks) {
    let name = ports[port].configuration.name
    let isNews = ports[port].isOpen || ByteString(ports[port].detail) != ByteString(reason)
    ports[port].isOpen = false
    ports[port].detail = reason
    // What the hang-up cut off can never be completed; good frames behind a false start come out.
    while let event = ports[port].framer.receiveHangUp() {
      handle(event, from: port, clocks: clocks)
    }
    guard isNews else { return }
    log(.warning, "serial \(name.description): \(reason)")
    guard !ports[port].isReportedDown else { return }
    ports[port].isReportedDown = true
    let last = ports[port].lastFrame
    report("port_down", clocks: clocks) { json in
      json.member("port", name)
      json.member("reason", ByteString(reason))
      if let last { json.member("last", TimestampText.of(last)) }
    }
  }

  /// Bytes read from a port; each frame they complete becomes a record of the port's stream.
  public mutating func receiveSerial(_ port: Int, _ bytes: Span<UInt8>, clocks: Clocks) {
    ports[port].bytes += UInt64(bytes.count)
    var offset = 0
    while let event = ports[port].framer.receive(bytes, from: &offset, now: clocks.now) {
      handle(event, from: port, clocks: clocks)
    }
  }

  mutating func handleFramerTimeouts(clocks: Clocks) {
    for port in ports.indices {
      while let deadline = ports[port].framer.nextDeadline(), deadline <= clocks.now {
        guard let event = ports[port].framer.handleTimeout(now: clocks.now) else { break }
        handle(event, from: port, clocks: clocks)
      }
    }
  }

  private mutating func handle(_ event: FramerEvent, from port: Int, clocks: Clocks) {
    switch event {
    case .frame:
      ports[port].frames += 1
      ports[port].lastFrame = clocks.wall
      let stream = ports[port].configuration.stream
      let source = ports[port].configuration.name.bytes
      let frame = ports[port].framer.frame
      let outcome = take(
        stream: stream, source: source.span, subject: Span(), token: 0, payload: frame.span,
        clocks: clocks)
      // A serial line cannot be told to wait.
      if outcome == .noRoom { shed(stream: stream, clocks: clocks) }
    case .bad:
      ports[port].badFrames += 1
    }
  }
}
