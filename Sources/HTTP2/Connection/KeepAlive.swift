import Primitives

/// Asks a silent peer whether it is there (RFC 9113 §6.7).
///
///     listening ──interval without a frame──▶ asking ──timeout without a frame──▶ expired
///         ▲                                     │
///         └──────────── PING answered ──────────┘
///
/// While asking, whatever comes extends the timeout: a peer that sends is alive, however late its
/// answer. The timeout begins when the PING is written: on a slow link much may be queued before it.
struct KeepAlive: Sendable {
  private let interval: Interval?
  private let timeout: Interval
  private var heardAt: Instant
  private var askedAt: Instant?
  /// Octets that are still to be written, the last of them the PING's own.
  private var unwritten = 0
  private var pings: UInt64 = 0

  init(interval: Interval?, timeout: Interval, now: Instant) {
    self.interval = interval
    self.timeout = timeout
    heardAt = now
  }

  /// Bytes have come.
  mutating func heard(now: Instant) { heardAt = now }

  /// Our PING is answered. False: there was none, or another one.
  mutating func answered(_ opaque: UInt64) -> Bool {
    guard askedAt != nil && opaque == pings else { return false }
    askedAt = nil
    unwritten = 0
    return true
  }

  /// Asks now, unless an answer is awaited already: the payload of the PING to send.
  mutating func ask(now: Instant) -> UInt64? {
    guard askedAt == nil else { return nil }
    askedAt = now
    pings += 1
    return pings
  }

  /// The PING is the last of so many octets that wait to be written.
  mutating func queued(_ count: Int) { unwritten = count }

  mutating func written(_ count: Int, now: Instant) {
    guard unwritten > 0 else { return }
    unwritten -= min(count, unwritten)
    askedAt = now
  }

  func deadline() -> Instant? {
    if let askedAt { return unwritten > 0 ? nil : max(askedAt, heardAt) + timeout }
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
