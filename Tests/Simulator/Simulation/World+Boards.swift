import Configuration
import Gateway
import HPACK
import HTTP2
import Ingest
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// Sources: boards on their lines, and devices that publish.
extension World {
  func makeBoards() {
    boards = []
    for source in plan.sources {
      guard case .serial(let port, let framing) = source.kind else { continue }
      boards.append(
        Board(framing, configuration.serial[port].framing, stream: source.stream))
    }
  }

  /// A source makes a record, or many at once.
  func emit(_ source: Int) {
    guard phase == .faults else { return }
    let shape = plan.sources[source]
    after(draw.wait(shape.every), .emit(source: source))
    let count = shape.burst > 0 && draw.chance(1, in: 40) ? shape.burst : 1
    for _ in 0..<count {
      made[source] += 1
      let payload = Payloads.make(
        source, made[source], shape, isJSON: plan.streams[shape.stream].isJSON, &draw)
      switch shape.kind {
      case .mqtt: publish(source, payload)
      case .serial(let port, let framing): transmit(port, BoardFrames.frame(framing, payload))
      }
    }
  }

  // MARK: Lines

  private func transmit(_ port: Int, _ frame: [UInt8]) {
    guard boards[port].isOpen, isAlive else { return }
    // A board that has more to say than its line carries says less.
    guard boards[port].line.count < Board.lineMax else { return }
    var frame = frame
    if chance(.noise) { disturb(&frame) }
    if chance(.frameCut) { frame.removeLast(draw.range(1...frame.count)) }
    let wasIdle = boards[port].line.isEmpty
    boards[port].line += frame
    if wasIdle { after(.milliseconds(1), .line(port: port, run: run)) }
  }

  private func disturb(_ frame: inout [UInt8]) {
    for _ in 0..<draw.range(1...4) {
      let place = draw.below(frame.count)
      switch draw.below(3) {
      case 0: frame[place] ^= 1 << UInt8(draw.below(8))
      case 1: frame.insert(UInt8(truncatingIfNeeded: draw.next()), at: place)
      default: if frame.count > 1 { frame.remove(at: place) }
      }
    }
  }

  /// Some bytes are read, in pieces as they come.
  func lineDelivers(_ port: Int) {
    guard boards[port].isOpen, !boards[port].line.isEmpty else { return }
    let most = draw.chance(1, in: 4) ? draw.range(1...40) : 4_096
    let count = min(boards[port].line.count, most)
    let bytes = Array(boards[port].line[0..<count])
    boards[port].line.removeFirst(count)
    let clocks = clocks
    gateway.receiveSerial(port, bytes.span, clocks: clocks)
    let hashes = boards[port].receive(bytes, now: clocks.now)
    observe(boards[port].stream, hashes)
    guard !boards[port].line.isEmpty else { return }
    // 115200 baud.
    after(.microseconds(Int64(count) * 87), .line(port: port, run: run))
  }

  func observeTimeouts(_ clocks: Clocks) {
    for port in boards.indices {
      observe(boards[port].stream, boards[port].timeout(now: clocks.now))
    }
    observe(plan.reports, [])
  }

  // MARK: Ports

  func restartBoard(_ port: Int) {
    boards[port] = Board(
      boards[port].framing, configuration.serial[port].framing, stream: boards[port].stream)
  }

  func plug(_ port: Int) {
    guard isAlive, !isStopping, !boards[port].isOpen else { return }
    boards[port].isOpen = true
    gateway.serialOpened(port, SerialOpening(), clocks: clocks)
    observe(plan.reports, [])
  }

  func hangUp(_ port: Int) {
    guard isAlive, boards[port].isOpen else { return }
    gateway.serialClosed(port, reason: "hung up", clocks: clocks)
    observe(boards[port].stream, boards[port].hangUp())
    observe(plan.reports, [])
    after(draw.scaled(.milliseconds(100), .seconds(60)), .plug(port: port))
  }
}
