import CLinux
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

  /// Bits a second; any rate that the hardware divides.
  public var baud: UInt32
  /// 5 to 8.
  public var dataBits: UInt8
  public var parity: Parity
  /// 1 or 2.
  public var stopBits: UInt8
  public var flow: FlowControl

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

/// Why a port did not open.
public struct SerialError: Error, Sendable {
  /// What there is to do about it.
  public enum Kind: Equatable, Sendable {
    /// Not there now (ENOENT, ENXIO, ENODEV, EIO): wait for the device.
    case absent
    /// Another process has it.
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
  /// Settings that a pseudo-terminal cannot have. On real hardware they would be errors.
  public let warnings: [String]

  /// Opens and sets the port, and throws away what was received before.
  public init(_ path: ByteString, _ line: SerialLine) throws(SerialError) {
    let port = try Opening(path)
    let warnings = try port.prepare(line)
    self.warnings = warnings
    file = port.take()
  }

  public var descriptor: Int32 { file.raw }

  /// Fills `buffer`, all of which is scratch, from its start. `.ended` is a hang-up: close the port
  /// at once, so that the kernel can give the device its old name back.
  public func read(into buffer: inout [UInt8]) -> Transfer {
    do throws(SystemError) { return try file.read("read", into: &buffer) } catch { return .ended }
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

  borrowing func prepare(_ line: SerialLine) throws(SerialError) -> [String] {
    try succeed("flock", spoke_serial_lock(file.raw))
    var wanted = spoke_line(
      baud: line.baud, data_bits: line.dataBits, parity: line.parity.rawValue,
      stop_bits: line.stopBits, flow: line.flow.rawValue)
    try succeed("TCSETS2", spoke_serial_configure(file.raw, &wanted))
    // A pseudo-terminal stays exclusive while its far end is open, past our own end: after a crash
    // nobody but root could open it again. The lock does for those.
    if !isPseudoTerminal { try succeed("TIOCEXCL", spoke_serial_exclude(file.raw)) }
    var state = spoke_line_state()
    try succeed("TCGETS2", spoke_serial_state(file.raw, &state))
    let warnings = try compare(line, state)
    try succeed("TCFLSH", spoke_serial_flush(file.raw))
    return warnings
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
        "parity is \(parity(state.line.parity)), not \(parity(line.parity.rawValue))")
    }
    if state.line.stop_bits != line.stopBits {
      mismatches.append("stop_bits is \(state.line.stop_bits), not \(line.stopBits)")
    }
    if state.line.flow != line.flow.rawValue {
      mismatches.append("flow is \(flow(state.line.flow)), not \(flow(line.flow.rawValue))")
    }
    if state.hang_up_on_close != 0 { mismatches.append("hang-up on close is still on") }
    guard !mismatches.isEmpty, !isPseudoTerminal else { return mismatches }
    throw mismatch(mismatches[0])
  }

  /// A receiver samples its last bit right up to about 4 %; half of that is the other side's.
  private borrowing func compareBaud(_ wanted: UInt32, _ got: UInt32) throws(SerialError) {
    let difference = wanted > got ? wanted - got : got - wanted
    if UInt64(difference) * 100 > UInt64(wanted) * baudErrorPercentMax {
      throw mismatch("baud is \(got), not \(wanted)")
    }
  }

  private borrowing func mismatch(_ what: String) -> SerialError {
    SerialError(
      kind: .mismatch, description: "\(path.description): the driver did not take it: \(what)")
  }
}

extension SerialError {
  fileprivate init(_ path: ByteString, _ error: SystemError) {
    var reason = error.description
    switch error.code {
    case ENOENT, ENXIO, ENODEV, EIO, ENOTDIR: kind = .absent
    case EBUSY, EWOULDBLOCK:
      kind = .busy
      reason = "another process uses it"
    case EACCES, EPERM: kind = .forbidden
    case ENOTTY:
      kind = .failed
      reason = "not a serial port"
    default: kind = .failed
    }
    description = "\(path.description): \(reason)"
  }
}

private func parity(_ value: UInt8) -> String {
  switch SerialLine.Parity(rawValue: value) {
  case .even: return "even"
  case .odd: return "odd"
  case .mark: return "mark"
  case .space: return "space"
  default: return "none"
  }
}

private func flow(_ value: UInt8) -> String {
  switch SerialLine.FlowControl(rawValue: value) {
  case .rtsCts: return "rts-cts"
  case .xonXoff: return "xon-xoff"
  default: return "none"
  }
}

private let baudErrorPercentMax: UInt64 = 2
