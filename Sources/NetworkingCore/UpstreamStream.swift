import Primitives

/// What happens on a long-lived stream. The events of one stream come in the order of these cases,
/// `data` and `writable` again and again. A stream that has ended has no more events: its result
/// tells the rest.
public enum StreamEvent: Equatable, Sendable {
  /// The stream is on a connection, its headers are sent. Comes once, whatever `send` took before.
  case opened(RequestID)
  /// The response has begun. One that ends with its headers has no such event.
  case headers(RequestID, status: UInt16)
  /// More bytes wait for `takeBody`. Those that it leaves are not announced again by themselves.
  case data(RequestID)
  /// What `send` did not take has room now.
  case writable(RequestID)
}

/// What a request has besides its slot when its two bodies are streams: one place in a table of few.
struct UpstreamStream: Sendable {
  /// Its place in the table of requests; -1: free.
  var request = -1
  /// Not with the connection yet; accounted for in the pool of requests.
  var outgoing = ByteBuffer(limit: 0)
  /// Not taken yet. The stream's window bounds it, as credit goes back for what was taken alone.
  var incoming = ByteBuffer(limit: 0)
  /// The owner has said that nothing follows.
  var isFinishing = false
  /// END_STREAM is with the connection.
  var hasFinished = false
  /// Content is with a connection and no longer here: the request cannot be sent again.
  var hasSent = false
  /// Bytes of the last `send` that was not taken; 0: it was.
  var wanted = 0

  var wasOpened = false
  // Events that were not taken yet.
  var tellsOpened = false
  var tellsHeaders = false
  var tellsData = false

  /// Whether anything is to go to the connection.
  var hasToSend: Bool { !outgoing.isEmpty || (isFinishing && !hasFinished) }
}

/// Bytes that one stream holds back before `send` takes no more.
public let streamQueueBytesMax = 64 * 1024
