import CLinux
import Primitives

/// The flags of `struct serial_rs485` (linux/serial.h), whose macros Swift does not see everywhere.
enum RS485Flag {
  static let enabled: UInt32 = 1 << 0
  static let rtsOnSend: UInt32 = 1 << 1
  static let rtsAfterSend: UInt32 = 1 << 2
  static let rxDuringTx: UInt32 = 1 << 4
  static let terminateBus: UInt32 = 1 << 5

  /// The flags by name, a space between two.
  static func names(_ flags: UInt32) -> ByteString {
    var names = ByteString()
    if flags & enabled != 0 { names.add("SER_RS485_ENABLED") }
    if flags & rtsOnSend != 0 { names.add("SER_RS485_RTS_ON_SEND") }
    if flags & rtsAfterSend != 0 { names.add("SER_RS485_RTS_AFTER_SEND") }
    if flags & rxDuringTx != 0 { names.add("SER_RS485_RX_DURING_TX") }
    if flags & terminateBus != 0 { names.add("SER_RS485_TERMINATE_BUS") }
    return names.isEmpty ? "0" : names
  }
}

extension SerialLine.RS485 {
  /// As the kernel takes it.
  var raw: spoke_rs485 {
    var flags = RS485Flag.enabled
    if rtsOnSend { flags |= RS485Flag.rtsOnSend }
    if rtsAfterSend { flags |= RS485Flag.rtsAfterSend }
    if rxDuringTx { flags |= RS485Flag.rxDuringTx }
    if terminateBus { flags |= RS485Flag.terminateBus }
    return spoke_rs485(
      flags: flags, delay_before_send: delayBeforeSend, delay_after_send: delayAfterSend)
  }
}

extension spoke_line_state {
  /// What is set, by the names of termios.
  var names: ByteString {
    var names = ByteString("\(line.baud) CS\(line.data_bits)")
    if line.stop_bits == 2 { names.add("CSTOPB") }
    switch SerialLine.Parity(rawValue: line.parity) {
    case .even: names.add("PARENB")
    case .odd: names.add("PARENB PARODD")
    case .mark: names.add("PARENB PARODD CMSPAR")
    case .space: names.add("PARENB CMSPAR")
    default: break
    }
    if line.flow == SerialLine.FlowControl.rtsCts.rawValue { names.add("CRTSCTS") }
    if line.flow == SerialLine.FlowControl.xonXoff.rawValue { names.add("IXON IXOFF") }
    if checks_parity != 0 { names.add("INPCK") }
    if marks_errors != 0 { names.add("PARMRK") }
    return names
  }
}

extension ByteString {
  fileprivate mutating func add(_ word: ByteString) {
    self = isEmpty ? word : self + " " + word
  }
}

func parityName(_ value: UInt8) -> String {
  switch SerialLine.Parity(rawValue: value) {
  case .even: return "even"
  case .odd: return "odd"
  case .mark: return "mark"
  case .space: return "space"
  default: return "none"
  }
}

func flowName(_ value: UInt8) -> String {
  switch SerialLine.FlowControl(rawValue: value) {
  case .rtsCts: return "rts-cts"
  case .xonXoff: return "xon-xoff"
  default: return "none"
  }
}
