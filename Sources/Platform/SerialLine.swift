import Primitives

/// How a serial line is set.
public struct SerialLine: Equatable, Sendable {
  /// The check bit of every character.
  public enum Parity: UInt8, Sendable {
    case none = 0
    case even = 1
    case odd = 2
    case mark = 3
    case space = 4
  }
  /// How a side that is full stops the other one.
  public enum FlowControl: UInt8, Sendable {
    case none = 0
    case rtsCts = 1
    case xonXoff = 2
  }
  /// A bus of two wires whose direction the driver turns (`struct serial_rs485`).
  public struct RS485: Equatable, Sendable {
    /// SER_RS485_RTS_ON_SEND: the level of RTS while sending.
    public var rtsOnSend = true
    /// SER_RS485_RTS_AFTER_SEND: the level of RTS otherwise.
    public var rtsAfterSend = false
    /// Milliseconds between the turn and the first bit, 0 to 100.
    public var delayBeforeSend: UInt32 = 0
    /// Milliseconds between the last bit and the turn, 0 to 100.
    public var delayAfterSend: UInt32 = 0
    /// SER_RS485_RX_DURING_TX: the port hears itself.
    public var rxDuringTx = false
    /// SER_RS485_TERMINATE_BUS.
    public var terminateBus = false
    /// A driver without TIOCSRS485 is taken as one whose adapter turns the direction by itself.
    public var fallsBack = false

    public init() {}
  }

  /// Bits a second; any rate that the hardware divides.
  public var baud: UInt32
  /// 5 to 8.
  public var dataBits: UInt8
  public var parity: Parity
  /// 1 or 2.
  public var stopBits: UInt8
  public var flow: FlowControl
  /// Nil: not a bus.
  public var rs485: RS485?
  /// Asks the driver for every byte at once (ASYNC_LOW_LATENCY).
  public var lowLatency = false

  public init(
    baud: UInt32, dataBits: UInt8 = 8, parity: Parity = .none, stopBits: UInt8 = 1,
    flow: FlowControl = .none
  ) {
    self.baud = baud
    self.dataBits = dataBits
    self.parity = parity
    self.stopBits = stopBits
    self.flow = flow
  }
}

/// What an open port is, and what its driver made of the settings, under the names of termios.
public struct SerialStatus: Sendable {
  /// The device behind all symbolic links: `/dev/ttyUSB1`.
  public internal(set) var device = ByteString()
  /// `VENDOR:PRODUCT:SERIAL` of a USB adapter; empty for what has none of these.
  public internal(set) var hardware = ByteString()
  /// `115200 CS8 INPCK PARMRK`.
  public internal(set) var termios = ByteString()
  /// `SER_RS485_ENABLED SER_RS485_RTS_ON_SEND`; empty: not set.
  public internal(set) var rs485 = ByteString()
  /// ASYNC_LOW_LATENCY is set.
  public internal(set) var isLowLatency = false
  /// Bytes with an error, and breaks, are marked in what is read (PARMRK).
  public internal(set) var marksErrors = false
  /// Settings that this port cannot have, and that it is of use without.
  public internal(set) var warnings: [String] = []
}

/// The receiver's errors, since the driver was loaded; each counter wraps at 2³² (TIOCGICOUNT).
public struct SerialErrorCounts: Equatable, Sendable {
  /// Characters without a stop bit.
  public var frame: UInt32 = 0
  /// Characters that the hardware had no room for.
  public var overrun: UInt32 = 0
  public var parity: UInt32 = 0
  /// Breaks.
  public var brk: UInt32 = 0
  /// Characters that the driver's buffer had no room for.
  public var bufOverrun: UInt32 = 0

  public init() {}
}
