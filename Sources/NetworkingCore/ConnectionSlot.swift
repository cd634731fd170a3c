import HTTP2
import Policy
import Primitives

/// One place in the table of connections.
///
///     free → connecting → open → closing → free
///                 ↓         └──────────────↑       (the socket is gone already)
///              closing, free
///
/// `open` includes draining: no new streams, the present ones end by themselves.
struct ConnectionSlot: Sendable {
  enum Phase: UInt8 { case free, connecting, open, closing }

  struct Stream: Sendable {
    var stream: UInt32
    var request: Int
  }

  var generation: UInt32 = 1
  var phase: Phase = .free
  var cluster = -1
  var endpoint: UInt32 = 0
  /// Of the request that it was opened for: whose breakers count it.
  var priority = RoutingPriority.default
  var address = SocketAddress(0, 0, 0, 0, port: 0)
  var security = Security.plain
  /// The machine, once the socket is connected; at most one. In an array because it is large: to ask
  /// an optional value for a property copies the whole of it.
  var http: [HTTP2Connection] = []
  var streams: [Stream] = []
  /// Streams whose request's body is not sent completely.
  var unsentBodies = 0
  /// Which of the streams may send first: it moves on, so that all get their turn.
  var turn = 0

  /// Streams that were opened here, ever.
  var streamsOpened: UInt32 = 0

  /// Nothing new is started here: the endpoint is gone, the peer fell silent, or it has served its time.
  var isRetired = false
  /// The peer's SETTINGS came: there is an HTTP/2 server.
  var isProven = false
  /// TCP is established, TLS not yet: for the message when it takes too long.
  var isHandshaking = false
  /// While connecting: when the next address of the endpoint is to be tried beside this one.
  var nextRacer = Instant.never
  /// A response came to its end here: the server serves.
  var hasServed = false

  var wantsConnect = false
  var wantsFlush = false
  var wantsClose = false

  /// The end of connecting, of idleness, or of the last flush.
  var deadline = Instant.never
  /// When it has served its time.
  var expiry = Instant.never
  /// When a peer that takes nothing of what waits to be written is given up.
  var flushDeadline = Instant.never
  var lastReceived = Instant(nanoseconds: 0)
  var bytesWritten: UInt64 = 0

  /// Whether a stream can be opened now. Mutating: what only reads is given a copy of the machine.
  mutating func mayOpenStream() -> Bool {
    guard phase == .open, !isRetired, !http.isEmpty else { return false }
    return http[0].mayOpenStream()
  }

  /// Whether streams can be opened, now or when others have ended.
  var isPromising: Bool {
    switch phase {
    case .connecting: return !isRetired
    case .open:
      return !isRetired && !http.isEmpty && !http[0].isDraining
    case .closing, .free: return false
    }
  }

  /// The place in `streams`. Newest last: answers come for recent ones more often.
  func place(of stream: UInt32) -> Int? {
    streams.lastIndex { $0.stream == stream }
  }

  /// Makes the place free; ids of its connection are void from here on.
  mutating func free() {
    generation &+= 1
    phase = .free
    http = []
    cluster = -1
    endpoint = 0
    priority = .default
    streams.removeAll(keepingCapacity: true)
    unsentBodies = 0
    streamsOpened = 0
    isRetired = false
    isProven = false
    isHandshaking = false
    nextRacer = .never
    hasServed = false
    wantsConnect = false
    wantsFlush = false
    wantsClose = false
    deadline = .never
    expiry = .never
    flushDeadline = .never
    bytesWritten = 0
  }
}
