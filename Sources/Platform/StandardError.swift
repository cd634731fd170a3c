import CLinux
import Primitives

/// Log lines to standard error: one `write` a line, with the `<N>` that the journal reads when it is
/// not a terminal. Each severity has a budget of lines, so that a fault that repeats does not fill
/// the log; what was left out is counted in the next line that gets through.
public struct StandardError: Sendable {
  /// As `syslog(3)` numbers them.
  public enum Severity: UInt8, Comparable, Sendable {
    case error = 3
    case warning = 4
    case info = 6
    case debug = 7

    /// By number: the less, the more severe.
    public static func < (left: Severity, right: Severity) -> Bool {
      left.rawValue < right.rawValue
    }
  }

  private struct Budget {
    var lines = burstMax
    var filledAt = Instant(nanoseconds: 0)
    var omitted: UInt64 = 0
  }

  /// Nothing above it is written.
  public var threshold: Severity
  private let descriptor: Int32
  private let isTerminal: Bool
  private var budgets: [Budget]

  /// The program's log.
  public init(threshold: Severity) { self.init(threshold: threshold, descriptor: 2) }

  init(threshold: Severity, descriptor: Int32) {
    self.threshold = threshold
    self.descriptor = descriptor
    isTerminal = spoke_is_terminal(descriptor) != 0
    budgets = Array(repeating: Budget(), count: 8)
  }

  /// Whether a line of this severity would be written.
  public func isEnabled(_ severity: Severity) -> Bool { severity <= threshold }

  /// The message is made only when it is written.
  public mutating func log(
    _ severity: Severity, now: Instant, _ message: @autoclosure () -> String
  ) {
    guard isEnabled(severity), let omitted = take(severity, now) else { return }
    var line: [UInt8] = []
    line.append(isTerminal ? "\(name(severity)): " : "<\(severity.rawValue)>")
    line += printable(message())
    if omitted > 0 { line.append(" (\(omitted) like it left out)") }
    line.append(UInt8(ascii: "\n"))
    // Nobody is there to be told when it fails.
    _ = line.withUnsafeBytes { spoke_write(descriptor, $0.baseAddress, $0.count) }
  }

  /// The lines left out before this one; nil when this one is left out too.
  private mutating func take(_ severity: Severity, _ now: Instant) -> UInt64? {
    let index = Int(severity.rawValue)
    if budgets[index].lines < burstMax {
      let gained = (now - budgets[index].filledAt).nanoseconds / refillInterval.nanoseconds
      if gained > 0 {
        budgets[index].lines = min(burstMax, budgets[index].lines + Int(min(gained, 1_000)))
        budgets[index].filledAt = now
      }
    } else {
      budgets[index].filledAt = now
    }
    guard budgets[index].lines > 0 else {
      budgets[index].omitted += 1
      return nil
    }
    budgets[index].lines -= 1
    defer { budgets[index].omitted = 0 }
    return budgets[index].omitted
  }

  private func name(_ severity: Severity) -> String {
    switch severity {
    case .error: return "error"
    case .warning: return "warning"
    case .info: return "info"
    case .debug: return "debug"
    }
  }
}

/// Lines of one severity in a row.
private let burstMax = 40
/// One more line after each of these: a fault that never ends stays below two lines a second.
private let refillInterval = Interval.milliseconds(500)

/// What a program prints for its user.
public enum StandardOutput {
  /// False when nobody reads it any more.
  @discardableResult
  public static func write(_ text: String) -> Bool { write(Array(text.utf8).span, to: 1) }

  /// False when nobody reads it any more.
  @discardableResult
  public static func write(_ bytes: Span<UInt8>) -> Bool { write(bytes, to: 1) }

  /// Returns when what was written is on the medium, if the standard output is a file on one.
  public static func synchronize() -> Bool {
    let answer = spoke_sync_data(1)
    return answer >= 0 || answer == -EINVAL || answer == -EROFS
  }

  /// For messages about the command line, which are not log lines.
  @discardableResult
  public static func writeError(_ text: String) -> Bool { write(Array(text.utf8).span, to: 2) }

  private static func write(_ bytes: Span<UInt8>, to descriptor: Int32) -> Bool {
    var done = 0
    while done < bytes.count {
      let count = bytes.extracting(done..<bytes.count).withUnsafeBytes {
        spoke_write(descriptor, $0.baseAddress, $0.count)
      }
      if count <= 0 { return false }
      done += Int(count)
    }
    return true
  }
}
