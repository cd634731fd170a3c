import Configuration
import Ingest
import Primitives
import Spool

extension Gateway where Storage: ~Copyable {
  /// A port was opened.
  public mutating func serialOpened(_ port: Int, _ opening: SerialOpening, clocks: Clocks) {
    let name = ports[port].configuration.name
    let before = ports[port].opening
    let isReopened =
      ports[port].lastFrame != nil || ports[port].reopens > 0 || ports[port].bytes > 0
    if isReopened { ports[port].reopens += 1 }
    let isOther = !before.device.isEmpty && before.hardware != opening.hardware
    ports[port].opening = opening
    ports[port].isOpen = true
    ports[port].isReportedDown = false
    ports[port].detail = opening.detail
    ports[port].errors.last = nil
    var notes = opening.device.description
    if isOther { notes += ", another device than before" }
    if !opening.detail.utf8.isEmpty { notes += (notes.utf8.isEmpty ? "" : ", ") + opening.detail }
    log(.info, "serial \(name.description): open" + (notes.utf8.isEmpty ? "" : " (\(notes))"))
    report("port_up", clocks: clocks) { json in
      json.member("port", name)
      if !opening.device.isEmpty { json.member("device", opening.device) }
      if !opening.hardware.isEmpty { json.member("hardware", opening.hardware) }
      if isOther { json.member("other_device", true) }
    }
  }

  /// What the receiver of an open port has counted until now: first right after the opening, then
  /// now and then.
  public mutating func serialCounted(_ port: Int, _ errors: SerialErrors, clocks: Clocks) {
    let lost = ports[port].errors.take(errors)
    guard lost > 0 else { return }
    let name = ports[port].configuration.name
    log(.warning, "serial \(name.description): \(lost) characters lost (overrun)")
    report("overrun", clocks: clocks) { json in
      json.member("port", name)
      json.member("characters", lost)
    }
  }

  /// A port is gone, or could not be opened. An outage is reported once; the log also has each new
  /// reason why the port cannot be opened again.
  public mutating func serialClosed(_ port: Int, reason: String, clocks: Clocks) {
    let name = ports[port].configuration.name
    let isNews = ports[port].isOpen || ByteString(ports[port].detail) != ByteString(reason)
    ports[port].isOpen = false
    ports[port].detail = reason
    ports[port].marks.reset()
    ports[port].transmit.handleHangUp()
    releaseEcho(port, clocks: clocks)
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
    guard ports[port].opening.marksErrors else {
      receive(port, bytes, clocks: clocks)
      return watchForGarbage(port, clocks: clocks)
    }
    var offset = 0
    while let mark = ports[port].marks.next(bytes, from: &offset) {
      switch mark {
      case .data(let range): receive(port, bytes.extracting(range), clocks: clocks)
      case .damaged(let byte):
        ports[port].damagedBytes += 1
        ports[port].framer.receiveDamage()
        let damaged: InlineArray<1, UInt8> = [byte]
        receive(port, damaged.span, clocks: clocks)
      case .lineBreak:
        ports[port].breaks += 1
        ports[port].framer.receiveBreak()
      }
    }
    watchForGarbage(port, clocks: clocks)
  }

  /// Bytes without marks.
  private mutating func receive(_ port: Int, _ bytes: Span<UInt8>, clocks: Clocks) {
    ports[port].bytes += UInt64(bytes.count)
    guard ports[port].echo?.nextDeadline != nil else {
      return frame(port, bytes, clocks: clocks)
    }
    ports[port].hear(bytes)
    let heard = ports[port].heard
    frame(port, heard.span, clocks: clocks)
  }

  mutating func frame(_ port: Int, _ bytes: Span<UInt8>, clocks: Clocks) {
    var offset = 0
    while let event = ports[port].framer.receive(bytes, from: &offset, now: clocks.now) {
      handle(event, from: port, clocks: clocks)
    }
  }

  private mutating func watchForGarbage(_ port: Int, clocks: Clocks) {
    let skipped = ports[port].framer.counters.skippedBytes
    let received = ports[port].framer.counters.bytes
    let change = ports[port].garbage.observe(bytes: received, skipped: skipped, now: clocks.now)
    let name = ports[port].configuration.name
    switch change {
    case .began(let bytes, let skipped):
      let baud = ports[port].configuration.baud
      log(
        .warning,
        "serial \(name.description): \(skipped) of \(bytes) bytes are no frames; "
          + "does the board use baud \(baud), this parity and this framing?")
      report("garbage", clocks: clocks) { json in
        json.member("port", name)
        json.member("bytes", bytes)
        json.member("skipped", skipped)
        json.member("baud", UInt64(baud))
      }
    case .ended: log(.info, "serial \(name.description): the bytes are frames again")
    case nil: break
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

  @inline(never)
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
    case .bad: break
    }
  }
}
