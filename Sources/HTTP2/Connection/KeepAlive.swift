import Primitives

/// Asks a silent peer whether it is there (RFC 9113 §6.7).
///
///     listening ──interval without a frame──▶ asking ──timeout without a frame──▶ expired
///         ▲                                     │
///         └──────────── PING answered ──────────┘
///
/// While asking, any frame extends the timeout: a peer that sends is alive, however late its answer.
struct KeepAlive: Sendable {
  private let interval: Interval?
  private let timeout: Interval
  private var heardAt: Instant
  private var askedAt: Instant?
  private var pings: UInt64 = 0

  init(interval: Interval?, timeout: Interval, now: Instant) {
    self.interval = interval
    self.timeout = timeout
    heardAt = now
  }

  /// A frame has come.
  mutating func heard(now: Instant) { heardAt = now }

  /// Our PING is answered. False: there was none, or another one.
  mutating func answered(_ opaque: UInt64) -> Bool {
    guard askedAt != nil && opaque == pings else { return false }
    askedAt = nil
    return true
  }

  /// Asks now, unless an answer is awaited already: the payload of the PING to send.
  mutating func ask(now: Instant) -> UInt64? {
    guard askedAt == nil else { return nil }
    askedAt = now
    pings += 1
    return pings
  }

  func deadline() -> Instant? {
    if let askedAt { return max(askedAt, heardAt) + timeout }
    guard let interval else { return nil }
    return heardAt + interval
  }

  enum OnTimeout: Equatable {
    case nothing
    case ping(opaque: UInt64)
    case expired
  }

  mutating func handleTimeout(now: Instant) -> OnTimeout {
    guard let deadline = deadline(), now >= deadline else { return .nothing }
    guard let opaque = ask(now: now) else { return .expired }
    return .ping(opaque: opaque)
  }
}
