import Configuration
import Ingest
import Primitives
import Spool

/// What the driver found when it opened a port, in words for `/serial`.
public struct SerialOpening: Sendable {
  /// What is odd about it; empty: nothing.
  public var detail = ""
  /// The device behind all symbolic links.
  public var device = ByteString()
  /// Who made it, and its serial number; empty: it does not say.
  public var hardware = ByteString()
  /// The settings as read back, by the names of termios.
  public var termios = ByteString()
  /// The flags of `struct serial_rs485`; empty: not a bus.
  public var rs485 = ByteString()
  /// ASYNC_LOW_LATENCY is set.
  public var isLowLatency = false
  /// What is read carries the marks of PARMRK.
  public var marksErrors = false

  public init() {}
}

/// The receiver's errors as its driver counts them (`struct serial_icounter_struct`); each counter
/// wraps at 2³².
public struct SerialErrors: Equatable, Sendable {
  public var frame: UInt32 = 0
  public var overrun: UInt32 = 0
  public var parity: UInt32 = 0
  public var brk: UInt32 = 0
  public var bufOverrun: UInt32 = 0

  public init() {}
}

/// The same, added up over all times that a port was open.
struct SerialErrorTotals {
  var frame: UInt64 = 0
  var overrun: UInt64 = 0
  var parity: UInt64 = 0
  var brk: UInt64 = 0
  var bufOverrun: UInt64 = 0
  /// The last reading; nil: the driver has not been asked since the port was opened.
  var last: SerialErrors?
  /// The driver has answered at least once.
  var isKnown = false

  /// Adds what has come since the last reading; the first one after an opening is the zero mark, for
  /// the driver counts from when it was loaded. Answers how many characters were lost.
  mutating func take(_ now: SerialErrors) -> UInt64 {
    isKnown = true
    defer { last = now }
    guard let last else { return 0 }
    let lost = UInt64(now.overrun &- last.overrun) + UInt64(now.bufOverrun &- last.bufOverrun)
    frame += UInt64(now.frame &- last.frame)
    overrun += UInt64(now.overrun &- last.overrun)
    parity += UInt64(now.parity &- last.parity)
    brk += UInt64(now.brk &- last.brk)
    bufOverrun += UInt64(now.bufOverrun &- last.bufOverrun)
    return lost
  }
}

/// Messages to the board, by how they ended.
struct TransmitCounters {
  var sent: UInt64 = 0
  var timedOut: UInt64 = 0
  var portDown: UInt64 = 0
  /// No room, or no port.
  var refused: UInt64 = 0
}

/// One serial port as the gateway sees it: bytes in, frames out, and what has become of it.
struct SerialInput {
  var configuration: SerialConfiguration
  var framer: Framer
  var isOpen = false
  /// Whether this outage has been reported: it is one `port_down`, however its reason changes.
  var isReportedDown = false
  /// Why it is closed, or what is odd about it, in words.
  var detail = "not opened yet"
  /// As it was last opened.
  var opening = SerialOpening()
  var bytes: UInt64 = 0
  var frames: UInt64 = 0
  var reopens: UInt64 = 0
  var lastFrame: WallTime?

  var marks = LineMarks()
  var damagedBytes: UInt64 = 0
  var breaks: UInt64 = 0
  var errors = SerialErrorTotals()
  var garbage = GarbageWatch()

  var transmit = TransmitQueue()
  var transmitted = TransmitCounters()
  var echo: EchoFilter?
  /// What the echo filter lets through.
  var heard: [UInt8] = []

  init(_ configuration: SerialConfiguration) {
    self.configuration = configuration
    framer = Framer(configuration.framing, baud: configuration.baud)
    if configuration.suppressesEcho { echo = EchoFilter() }
  }

  /// How long so many characters take, at twelve bits each: no line has longer ones.
  func lineTime(_ count: Int) -> Interval {
    let bits = Int64(count) * 12
    return Interval(nanoseconds: bits * 1_000_000_000 / Int64(max(configuration.baud, 1)))
  }

  /// Leaves in `heard` what of these bytes is not echo.
  mutating func hear(_ bytes: Span<UInt8>) {
    heard.removeAll(keepingCapacity: true)
    echo?.receive(bytes, into: &heard)
  }

  /// Leaves in `heard` what was kept back as a possible echo.
  mutating func releaseEcho() {
    heard.removeAll(keepingCapacity: true)
    echo?.release(into: &heard)
  }

  mutating func continueCounting(from old: SerialInput) {
    bytes = old.bytes
    frames = old.frames
    reopens = old.reopens
    lastFrame = old.lastFrame
    opening = old.opening
    damagedBytes = old.damagedBytes
    breaks = old.breaks
    errors = old.errors
    errors.last = nil
    framer.continueCounting(from: old.framer)
    garbage = old.garbage
    transmitted = old.transmitted
    // The port is opened anew; whoever waits for an answer gets it.
    transmit = old.transmit
    transmit.handleHangUp()
  }
}
