import HTTP2
import NetworkingCore
import Primitives

/// What an upstream answers to a request.
struct Answer {
  enum Ending {
    /// The whole answer.
    case whole
    /// The stream is reset before anything of it.
    case reset(HTTP2ErrorCode)
    /// It breaks off within the body.
    case cut
    /// Nothing ever comes.
    case silence
  }

  var ending = Ending.whole
  var status = 200
  /// Nil: not a call, or a call that ends without one.
  var grpcStatus: Int?
  var isCall = false
  /// Seconds.
  var retryAfter: Int?
  var informational = 0
  var body = 0

  /// The records are refused for good.
  var isFinal: Bool {
    guard case .whole = ending else { return false }
    if let grpcStatus { return [3, 9, 11].contains(grpcStatus) }
    return [400, 409, 413, 415, 422].contains(status)
  }

  /// The records are taken for good.
  var takes: Bool {
    guard case .whole = ending, (200...299).contains(status) else { return false }
    return !isCall || grpcStatus == 0
  }
}

/// Bytes under way in one direction, oldest first. They arrive in their order, as TCP has it: what was
/// lost or overtaken on the way makes all behind it late.
struct Pipe {
  private var chunks: [(due: Instant, bytes: [UInt8])] = []
  private(set) var count = 0
  private(set) var last = Instant(nanoseconds: 0)

  var next: Instant? { chunks.first?.due }
  var isEmpty: Bool { chunks.isEmpty }

  /// When they will arrive.
  mutating func send(_ bytes: [UInt8], at due: Instant) -> Instant {
    last = max(last, due)
    count += bytes.count
    chunks.append((last, bytes))
    return last
  }

  mutating func receive(now: Instant) -> [UInt8]? {
    guard let first = chunks.first, first.due <= now else { return nil }
    chunks.removeFirst()
    count -= first.bytes.count
    return first.bytes
  }
}

/// One connection to an upstream, with the server at its other end.
final class Wire {
  let number: Int
  let id: ConnectionID
  let host: Int
  let run: Int
  var machine: HTTP2Connection
  var requests: [SeenRequest] = []
  var toServer = Pipe()
  var toClient = Pipe()
  var isOpen = false
  /// Our side has closed; what is under way to the server still arrives.
  var isClosedByClient = false
  /// The socket was full when it was last written.
  var isBlocked = false
  /// Nothing arrives any more, and nobody is told.
  var isSilent = false
  /// The server reads nothing before this.
  var stalledUntil = Instant(nanoseconds: 0)
  var isClosing = false

  init(
    _ number: Int, _ id: ConnectionID, host: Int, run: Int, configuration: HTTP2Configuration,
    now: Instant
  ) {
    self.number = number
    self.id = id
    self.host = host
    self.run = run
    machine = HTTP2Connection(role: .server, configuration: configuration, now: now)
  }

  func request(_ stream: UInt32) -> Int? { requests.firstIndex { $0.stream == stream } }
}
