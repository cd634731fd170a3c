import CLinux
import Primitives

/// An open descriptor with one owner. It closes when its owner ends.
public struct FileDescriptor: ~Copyable {
  /// For the event loop and for C; whoever borrows it does not close it.
  public private(set) var raw: Int32

  public init(owning raw: Int32) { self.raw = raw }

  deinit {
    if raw >= 0 { _ = spoke_close(raw) }
  }

  /// Hands the descriptor over to someone who closes it.
  public consuming func release() -> Int32 {
    let released = raw
    raw = -1
    return released
  }

  /// Fills `buffer` from its start.
  func read(
    _ operation: StaticString, into buffer: inout [UInt8]
  ) throws(SystemError) -> Transfer {
    let limit = buffer.count
    let count = buffer.withUnsafeMutableBytes { spoke_read(raw, $0.baseAddress, limit) }
    if count == -Int64(EAGAIN) { return .blocked(.readable) }
    try check(operation, count)
    return count == 0 ? .ended : .bytes(Int(count))
  }

  /// Writes what the kernel takes of `bytes`.
  func write(_ operation: StaticString, _ bytes: Span<UInt8>) throws(SystemError) -> Transfer {
    if bytes.isEmpty { return .bytes(0) }
    let count = bytes.withUnsafeBytes { spoke_write(raw, $0.baseAddress, $0.count) }
    if count == -Int64(EAGAIN) { return .blocked(.writable) }
    return .bytes(Int(try check(operation, count)))
  }
}

/// What became of a read or a write that does not wait.
public enum Transfer: Equatable, Sendable {
  /// So many bytes were read or written, at least one unless none were asked for.
  case bytes(Int)
  /// Nothing now; try again when the descriptor is ready for this.
  case blocked(Interest)
  /// The peer sends nothing more.
  case ended
}
