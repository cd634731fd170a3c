import Ingest
import Primitives
import Spool

/// The way from the gateway to a board: a bounded queue a port. Its user comes with the downlink.
extension Gateway where Storage: ~Copyable {
  /// Takes a message for a board. False: the port is closed, or too much waits for it already.
  /// Otherwise `nextTransmitResult` answers it with its token, once.
  mutating func transmit(
    _ port: Int, _ bytes: Span<UInt8>, token: UInt64, clocks: Clocks
  ) -> Bool {
    let ahead = ports[port].transmit.waitingBytes + bytes.count
    let deadline = clocks.now + GatewayLimits.transmitMax + ports[port].lineTime(ahead)
    guard ports[port].isOpen, ports[port].transmit.submit(bytes, token: token, deadline: deadline)
    else {
      ports[port].transmitted.refused += 1
      return false
    }
    return true
  }

  /// What became of a message.
  mutating func nextTransmitResult(_ port: Int) -> TransmitResult? {
    let result = ports[port].transmit.nextResult()
    switch result?.outcome {
    case .sent: ports[port].transmitted.sent += 1
    case .timedOut: ports[port].transmitted.timedOut += 1
    case .portDown: ports[port].transmitted.portDown += 1
    case nil: break
    }
    return result
  }

  /// Whether bytes wait to be written to the port.
  public func hasSerialOutput(_ port: Int) -> Bool { !ports[port].transmit.isEmpty }

  /// Lends the bytes to write next; nil: none.
  public func withSerialOutput<Answer>(
    _ port: Int, _ body: (Span<UInt8>) -> Answer
  ) -> Answer? {
    ports[port].transmit.withOutput(body)
  }

  /// The driver wrote so many of them.
  public mutating func consumeSerialOutput(_ port: Int, _ count: Int, now: Instant) {
    guard let message = ports[port].transmit.consumeOutput(count) else { return }
    let due = now + ports[port].lineTime(GatewayLimits.lineBufferBytes) + GatewayLimits.echoMax
    ports[port].echo?.expect(message.span, by: due)
  }

  mutating func handleSerialTimeouts(clocks: Clocks) {
    for port in ports.indices {
      ports[port].transmit.handleTimeout(now: clocks.now)
      if let deadline = ports[port].echo?.nextDeadline, deadline <= clocks.now {
        releaseEcho(port, clocks: clocks)
      }
    }
    handleFramerTimeouts(clocks: clocks)
  }

  /// What was kept back as a possible echo is none.
  mutating func releaseEcho(_ port: Int, clocks: Clocks) {
    ports[port].releaseEcho()
    let heard = ports[port].heard
    frame(port, heard.span, clocks: clocks)
  }

  func nextSerialDeadline(_ port: SerialInput) -> Instant? {
    var earliest = port.framer.nextDeadline()
    // One by one: a list of them would be allocated in every turn.
    if let other = port.transmit.nextDeadline() { earliest = min(earliest ?? other, other) }
    if let other = port.echo?.nextDeadline { earliest = min(earliest ?? other, other) }
    return earliest
  }
}
