/// What this side still may send on a stream.
enum SendHalf: UInt8, Sendable {
  /// Server: the response has not begun (1xx may have been sent).
  case awaitingHeaders
  /// HEADERS are sent; content and trailers may follow.
  case body
  /// END_STREAM is sent.
  case ended
}

/// What the peer still may send on a stream.
enum ReceiveHalf: Equatable, Sendable {
  /// Client: the response has not begun (1xx may have come).
  case awaitingHeaders
  /// Content and trailers may follow; `remaining` octets of content exactly, when that is known.
  case body(remaining: UInt64?)
  /// END_STREAM has come.
  case ended
}

/// What a stream that could not send everything waits for.
enum Waiting: UInt8, Sendable {
  case no
  /// Windows and room in the output queue.
  case content
  /// Room in the output queue: a header block needs no window.
  case headers
}

/// One open stream: two independent halves (RFC 9113 §5.1: "open" is both, "half-closed" one), and
/// their windows.
///
///     SendHalf      awaitingHeaders ─▶ body ─▶ ended
///     ReceiveHalf   awaitingHeaders ─▶ body ─▶ ended
///
/// A client begins at body/awaitingHeaders, a server at awaitingHeaders/body. When both have ended,
/// or on RST_STREAM either way, the stream leaves the table.
struct Stream: Sendable {
  let id: UInt32
  var send: SendHalf
  var receive: ReceiveHalf
  var sendWindow: SendWindow
  var receiveWindow: ReceiveWindow
  /// Client: the response has no content whatever its content-length says (RFC 9110 §6.4.1).
  var isHead = false
  /// Something was not taken; `writable` is due once it can be.
  var waiting = Waiting.no
  /// Client: 1xx responses so far.
  var informationalCount: UInt8 = 0
  /// The peer will never process it; `refused` is due.
  var isRefused = false

  init(
    id: UInt32, send: SendHalf, receive: ReceiveHalf, sendWindow: Int32, receiveWindow: Int32
  ) {
    self.id = id
    self.send = send
    self.receive = receive
    self.sendWindow = SendWindow(sendWindow)
    self.receiveWindow = ReceiveWindow(size: receiveWindow)
  }

  /// Content of `count` octets has come.
  mutating func receiveContent(_ count: Int) throws(HTTP2Cause) {
    guard case .body(let remaining?) = receive else { return }
    guard UInt64(count) <= remaining else { throw .contentLengthMismatch }
    receive = .body(remaining: remaining - UInt64(count))
  }

  /// END_STREAM has come.
  mutating func endReceive() throws(HTTP2Cause) {
    if case .body(let remaining?) = receive, remaining > 0 { throw .contentLengthMismatch }
    receive = .ended
  }
}
