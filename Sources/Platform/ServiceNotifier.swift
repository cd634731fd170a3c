import CLinux
import Primitives

/// The notification protocol of systemd (`sd_notify(3)`): datagrams to the socket that it names in
/// the environment. Without a socket every message is quietly dropped.
public struct ServiceNotifier: Sendable {
  private let socket: ByteString?
  /// How often the service manager must hear from the main loop, if it asked for that. Send
  /// `watchdog` at half of it.
  public let watchdogInterval: Interval?

  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
  public init() {
    let path = EnvironmentVariable.value("NOTIFY_SOCKET") ?? ""
    // Other address families of newer versions (vsock) are for virtual machines.
    let isPath = path.hasPrefix("/") || path.hasPrefix("@")
    socket = isPath ? path : nil
    let interval = ServiceNotifier.watchdog(
      microseconds: EnvironmentVariable.value("WATCHDOG_USEC"),
      process: EnvironmentVariable.value("WATCHDOG_PID"), own: UInt64(spoke_process_id()))
    // Nobody is fed where nobody hears.
    watchdogInterval = isPath ? interval : nil
  }

  /// Asked for when the time is a positive number, and the process, if there is one, is us.
  static func watchdog(microseconds: ByteString?, process: ByteString?, own: UInt64) -> Interval? {
    guard let microseconds, let count = decimalValue(microseconds.bytes), count > 0 else {
      return nil
    }
    if let process, decimalValue(process.bytes) != own { return nil }
    return .microseconds(Int64(clamping: min(count, UInt64(Int64.max / 1_000))))
  }

  public var isActive: Bool { socket != nil }

  /// Start-up or a reload is complete.
  @discardableResult
  public func ready(status: String) -> Bool { send("READY=1\nSTATUS=\(line(status))") }

  /// A reload begins; `ready` ends it.
  @discardableResult
  public func reloading(now: Instant) -> Bool {
    send("RELOADING=1\nMONOTONIC_USEC=\(now.nanoseconds / 1_000)")
  }

  /// The end begins, and takes up to `interval`.
  @discardableResult
  public func stopping(within interval: Interval) -> Bool {
    send("STOPPING=1\nEXTEND_TIMEOUT_USEC=\(interval.nanoseconds / 1_000)")
  }

  /// The main loop is alive.
  @discardableResult
  public func watchdog() -> Bool { send("WATCHDOG=1") }

  /// One line for `systemctl status`.
  @discardableResult
  public func status(_ text: String) -> Bool { send("STATUS=\(line(text))") }

  private func send(_ message: String) -> Bool {
    guard let socket else { return false }
    var bytes = Array(message.utf8)
    return bytes.withUnsafeMutableBytes { bytes in
      socket.withCString { spoke_unix_send($0, bytes.baseAddress, bytes.count) }
    } == 0
  }

  /// A line break would start another assignment.
  private func line(_ text: String) -> String { String(decoding: printable(text), as: UTF8.self) }
}

/// The number that all of the bytes write in decimal.
func decimalValue(_ bytes: [UInt8]) -> UInt64? {
  var value: UInt64 = 0
  for byte in bytes {
    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
    let (product, overflow) = value.multipliedReportingOverflow(by: 10)
    let (sum, carry) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
    if overflow || carry { return nil }
    value = sum
  }
  return bytes.isEmpty ? nil : value
}

/// The text with a space for every control character: text from outside must not forge lines.
func printable(_ text: String) -> [UInt8] {
  var bytes = Array(text.utf8)
  for index in bytes.indices where bytes[index] < 0x20 || bytes[index] == 0x7F {
    bytes[index] = UInt8(ascii: " ")
  }
  return bytes
}
