import CLinux
import Primitives

/// Why a port did not open.
public struct SerialError: Error, Sendable {
  /// What there is to do about it.
  public enum Kind: Equatable, Sendable {
    /// Not there now (ENOENT, ENXIO, ENODEV, EIO): wait for the device.
    case absent
    /// Another process, or another port of this one, has it.
    case busy
    /// EACCES, EPERM: udev may not have set the group yet.
    case forbidden
    /// The driver did not take the settings; trying again does not help by itself.
    case mismatch
    /// Anything else.
    case failed
  }

  public let kind: Kind
  /// `/dev/ttyUSB0: open: Permission denied`.
  public let description: String
}

/// A serial port that this process has for itself: raw, with any baud rate, every setting read back
/// and compared. It never waits.
public final class SerialPort {
  private let file: FileDescriptor
  /// What it is, and how it is set.
  public let status: SerialStatus

  /// Opens and sets the port, and throws away what was received before.
  public init(_ path: ByteString, _ line: SerialLine) throws(SerialError) {
    let port = try Opening(path)
    status = try port.prepare(line)
    file = port.take()
  }

  public var descriptor: Int32 { file.raw }

  /// Fills `buffer`, all of which is scratch, from its start. `.ended` is a hang-up: close the port
  /// at once, so that the kernel can give the device its old name back.
  public func read(into buffer: inout [UInt8]) -> Transfer {
    do throws(SystemError) { return try file.read("read", into: &buffer) } catch { return .ended }
  }

  /// What the receiver has counted; an error of ENOTTY when the driver does not count.
  public func errorCounts() throws(SystemError) -> SerialErrorCounts {
    var answer = spoke_line_errors()
    try check("TIOCGICOUNT", spoke_serial_errors(file.raw, &answer))
    var counts = SerialErrorCounts()
    counts.frame = answer.frame
    counts.overrun = answer.overrun
    counts.parity = answer.parity
    counts.brk = answer.brk
    counts.bufOverrun = answer.buf_overrun
    return counts
  }

  /// Writes what the driver's buffer takes. `.ended` is a hang-up.
  public func write(_ bytes: Span<UInt8>) -> Transfer {
    do throws(SystemError) { return try file.write("write", bytes) } catch { return .ended }
  }
}

/// A port on its way to being usable.
private struct Opening: ~Copyable {
  private let path: ByteString
  private var file: FileDescriptor
  private let isPseudoTerminal: Bool

  init(_ path: ByteString) throws(SerialError) {
    self.path = path
    let opened = path.withCString { spoke_serial_open($0) }
    if opened < 0 { throw SerialError(path, SystemError("open", -opened)) }
    file = FileDescriptor(owning: opened)
    // Unix98 pseudo-terminal slaves (Documentation/admin-guide/devices.txt).
    isPseudoTerminal = (136...143).contains(spoke_device_major(opened))
  }

  consuming func take() -> FileDescriptor { file }

  borrowing func prepare(_ line: SerialLine) throws(SerialError) -> SerialStatus {
    try succeed("flock", spoke_serial_lock(file.raw))
    var wanted = spoke_line(
      baud: line.baud, data_bits: line.dataBits, parity: line.parity.rawValue,
      stop_bits: line.stopBits, flow: line.flow.rawValue)
    try succeed("TCSETS2", spoke_serial_configure(file.raw, &wanted))
    // At once: what comes from here on is whole.
    try succeed("TCFLSH", spoke_serial_flush(file.raw))
    // A pseudo-terminal stays exclusive while its far end is open, past our own end: after a crash
    // nobody but root could open it again. The lock does for those.
    if !isPseudoTerminal { try succeed("TIOCEXCL", spoke_serial_exclude(file.raw)) }
    var state = spoke_line_state()
    try succeed("TCGETS2", spoke_serial_state(file.raw, &state))
    var status = SerialStatus()
    status.warnings = try compare(line, state)
    status.marksErrors = state.marks_errors != 0
    status.termios = state.names
    if let rs485 = line.rs485 { try turn(rs485, &status) }
    if line.lowLatency { hurry(&status) }
    status.device = DeviceIdentity.path(of: file.raw)
    status.hardware = DeviceIdentity.usb(
      major: spoke_device_major(file.raw), minor: spoke_device_minor(file.raw))
    return status
  }

  /// RS-485: the driver turns the direction. What it did not take is an error, but for bits that a
  /// bus works without.
  private borrowing func turn(
    _ wanted: SerialLine.RS485, _ status: inout SerialStatus
  ) throws(SerialError) {
    var settings = wanted.raw
    let answer = spoke_serial_rs485(file.raw, &settings)
    if answer == -ENOTTY {
      guard wanted.fallsBack else {
        throw mismatch("the driver has no TIOCSRS485, and rs485.fallback is not 'auto-direction'")
      }
      status.warnings.append("no TIOCSRS485, the adapter must turn the direction itself")
      return
    }
    try succeed("TIOCSRS485", answer)
    status.rs485 = RS485Flag.names(settings.flags)
    let missing = wanted.raw.flags & ~settings.flags
    let needed = RS485Flag.enabled | RS485Flag.rtsOnSend | RS485Flag.rtsAfterSend
    if missing & needed != 0 || settings.flags & ~wanted.raw.flags & needed != 0 {
      throw notTaken("RS-485 is \(status.rs485.description)")
    }
    if missing != 0 {
      status.warnings.append("without \(RS485Flag.names(missing).description)")
    }
    for (name, got, want) in [
      ("before", settings.delay_before_send, wanted.delayBeforeSend),
      ("after", settings.delay_after_send, wanted.delayAfterSend),
    ] where got != want {
      status.warnings.append("rs485 delay_\(name)_send is \(got) ms, not \(want) ms")
    }
  }

  /// A port is of use without it: later, not wrong.
  private borrowing func hurry(_ status: inout SerialStatus) {
    let answer = spoke_serial_low_latency(file.raw)
    status.isLowLatency = answer == 0
    guard answer != 0 else { return }
    status.warnings.append("no ASYNC_LOW_LATENCY: \(SystemError("TIOCSSERIAL", -answer).reason)")
  }

  private borrowing func succeed(
    _ operation: StaticString, _ answer: Int32
  ) throws(SerialError) {
    if answer < 0 { throw SerialError(path, SystemError(operation, -answer)) }
  }

  /// Drivers answer "done" to what they cannot do; only reading back tells.
  private borrowing func compare(
    _ line: SerialLine, _ state: spoke_line_state
  ) throws(SerialError) -> [String] {
    try compareBaud(line.baud, state.line.baud)
    try compareBaud(line.baud, state.output_baud)
    var mismatches: [String] = []
    if state.raw == 0 { mismatches.append("raw mode is not set") }
    if state.line.data_bits != line.dataBits {
      mismatches.append("data_bits is \(state.line.data_bits), not \(line.dataBits)")
    }
    if state.line.parity != line.parity.rawValue {
      mismatches.append(
        "parity is \(parityName(state.line.parity)), not \(parityName(line.parity.rawValue))")
    }
    if state.line.stop_bits != line.stopBits {
      mismatches.append("stop_bits is \(state.line.stop_bits), not \(line.stopBits)")
    }
    if state.line.flow != line.flow.rawValue {
      mismatches.append("flow is \(flowName(state.line.flow)), not \(flowName(line.flow.rawValue))")
    }
    if state.hang_up_on_close != 0 { mismatches.append("hang-up on close is still on") }
    guard !mismatches.isEmpty, !isPseudoTerminal else { return mismatches }
    throw notTaken(mismatches[0])
  }

  /// A receiver samples its last bit right up to about 4 %; half of that is the other side's.
  private borrowing func compareBaud(_ wanted: UInt32, _ got: UInt32) throws(SerialError) {
    let difference = wanted > got ? wanted - got : got - wanted
    if UInt64(difference) * 100 > UInt64(wanted) * baudErrorPercentMax {
      throw notTaken("baud is \(got), not \(wanted)")
    }
  }

  private borrowing func notTaken(_ what: String) -> SerialError {
    mismatch("the driver did not take it: \(what)")
  }

  private borrowing func mismatch(_ what: String) -> SerialError {
    SerialError(kind: .mismatch, description: "\(path.description): \(what)")
  }
}

extension SerialError {
  fileprivate init(_ path: ByteString, _ error: SystemError) {
    var reason = error.description
    switch error.code {
    case ENOENT, ENXIO, ENODEV, EIO, ENOTDIR: kind = .absent
    case EBUSY, EWOULDBLOCK:
      kind = .busy
      reason = "EBUSY, another process or another [[serial]] uses it"
    case EACCES, EPERM: kind = .forbidden
    case ENOTTY:
      kind = .failed
      reason = "not a serial port"
    default: kind = .failed
    }
    description = "\(path.description): \(reason)"
  }
}

private let baudErrorPercentMax: UInt64 = 2
