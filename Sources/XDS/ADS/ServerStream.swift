import Primitives

/// The stream to one server.
///
///     idle ──▶ wanted ──▶ opening ──▶ open
///               ▲  ▲         │          │     lost: at once `wanted` if the server had answered,
///               │  └─────────┴──────────┘           else `waiting` for the back-off
///            waiting
struct ServerStream: Sendable {
  enum Phase: Equatable {
    /// Not needed: a server before this one answers.
    case idle
    /// The owner is to open it.
    case wanted
    case opening
    case open
    case waiting(until: Instant)
  }

  /// What is owed to the server for the newest response of a type.
  enum Answer { case none, accepted, rejected }

  /// One resource type on the stream.
  struct Subscription: Sendable {
    /// The newest one of the type on this stream.
    var nonce = ByteString()
    var answer = Answer.none
    /// Of the NACK that is owed.
    var rejection: [UInt8] = []
    /// A request was sent.
    var isRequested = false
    /// A request with names was sent: an empty list now means no resource, not all of them.
    var hasSentNames = false
    /// All resources of the type are asked for.
    var hasSentWildcard = false
    /// The names have changed since the last request.
    var isChanged = false
  }

  var phase = Phase.idle
  /// Names the stream to the owner; 0: none.
  var stream: UInt32 = 0
  /// One that the owner has to close; 0: none.
  var closing: UInt32 = 0
  var needsNode = true
  /// The owner has not written the last request yet.
  var isBlocked = false
  /// A response has come on this stream.
  var hasAnswered = false
  /// The last stream ended without a response.
  var isUnreachable = false
  var openedAt = Instant(nanoseconds: 0)
  /// Streams in a row that ended within `quickly` although the server had answered.
  var quickEnds = 0
  var backOff = ReconnectBackOff()
  var subscriptions = [Subscription](repeating: Subscription(), count: ResourceType.count)

  /// A server that answers and resets, again and again, is not to be asked in a tight loop.
  static let quickly = Interval.seconds(1)
  static let quickEndsMax = 3

  /// Forgets the stream: nonces, names sent, answers owed.
  mutating func reset(to phase: Phase) {
    self.phase = phase
    stream = 0
    needsNode = true
    isBlocked = false
    hasAnswered = false
    for index in subscriptions.indices { subscriptions[index] = Subscription() }
  }
}
