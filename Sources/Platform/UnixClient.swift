import CLinux
import Primitives

/// One exchange over a Unix socket, for programs that have nothing else to do meanwhile: connect,
/// send, read until the other side ends.
public enum UnixClient {
  /// Why there is no answer.
  public enum Failure: Error, Sendable {
    /// Nobody listens there, or the path cannot be used.
    case unreachable(SystemError)
    /// The other side broke off.
    case broken(SystemError)
    case timedOut
    case tooLong
  }

  /// Sends `request` and returns all that comes back until the end of the stream. The whole exchange
  /// ends within `timeout`; an answer above `limit` bytes is refused.
  public static func exchange(
    _ request: [UInt8], with path: ByteString, timeout: Interval, limit: Int
  ) throws(Failure) -> [UInt8] {
    let deadline = SystemClocks.now() + timeout
    let opened = path.withCString { spoke_unix_connect($0) }
    guard opened >= 0 else { throw .unreachable(SystemError("connect", -opened)) }
    let socket = FileDescriptor(owning: opened)
    try send(request, to: socket, deadline)
    return try receive(from: socket, deadline, limit: limit)
  }

  private static func send(
    _ request: [UInt8], to socket: borrowing FileDescriptor, _ deadline: Instant
  ) throws(Failure) {
    var done = 0
    while done < request.count {
      try wait(for: socket, writing: true, deadline)
      let count = request.span.extracting(done..<request.count).withUnsafeBytes {
        spoke_write(socket.raw, $0.baseAddress, $0.count)
      }
      if count == -Int64(EAGAIN) { continue }
      guard count > 0 else { throw .broken(SystemError("write", Int32(clamping: -count))) }
      done += Int(count)
    }
  }

  private static func receive(
    from socket: borrowing FileDescriptor, _ deadline: Instant, limit: Int
  ) throws(Failure) -> [UInt8] {
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16_384)
    while true {
      try wait(for: socket, writing: false, deadline)
      let room = chunk.count
      let count = chunk.withUnsafeMutableBytes { spoke_read(socket.raw, $0.baseAddress, room) }
      if count == -Int64(EAGAIN) { continue }
      guard count >= 0 else { throw .broken(SystemError("read", Int32(clamping: -count))) }
      guard count > 0 else { return answer }
      guard answer.count + Int(count) <= limit else { throw .tooLong }
      answer.append(contentsOf: chunk.span.extracting(first: Int(count)))
    }
  }

  private static func wait(
    for socket: borrowing FileDescriptor, writing: Bool, _ deadline: Instant
  ) throws(Failure) {
    while true {
      let left = (deadline - SystemClocks.now()).milliseconds
      guard left > 0 else { throw .timedOut }
      let ready = spoke_client_wait(socket.raw, writing ? 1 : 0, Int32(clamping: left))
      if ready > 0 { return }
      guard ready == 0 || ready == -EINTR else { throw .broken(SystemError("poll", -ready)) }
    }
  }
}
