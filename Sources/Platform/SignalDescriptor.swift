import CLinux
import Primitives

/// The signals that the daemon answers, read from a descriptor like any other input. They are
/// blocked for the process, so make this before any thread starts.
public final class SignalDescriptor {
  /// The signals with their numbers on Linux.
  public enum Signal: Int32, Sendable {
    case hangUp = 1
    case interrupt = 2
    case user1 = 10
    case user2 = 12
    case terminate = 15
  }

  private let file: FileDescriptor

  public init() throws(SystemError) {
    let signals: [Signal] = [.hangUp, .interrupt, .user1, .user2, .terminate]
    var mask: UInt64 = 0
    for signal in signals { mask |= 1 << UInt64(signal.rawValue) }
    file = FileDescriptor(owning: try check("signalfd", spoke_signal_descriptor(mask)))
    SignalDescriptor.ignoreBrokenPipe()
  }

  /// A write to a closed connection becomes an error of that write, and no longer ends the process.
  public static func ignoreBrokenPipe() { _ = spoke_ignore_sigpipe() }

  public var descriptor: Int32 { file.raw }

  /// The next signal that has come.
  public func next() -> Signal? {
    let number = spoke_signal_next(file.raw)
    return number > 0 ? Signal(rawValue: number) : nil
  }
}
