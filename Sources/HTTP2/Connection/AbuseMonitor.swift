import Primitives

/// Counts what a hostile peer can do for free and this side pays for, and says when it is too much.
/// Every limit is far above what the servers in use do, and is reached by all known floods:
/// CVE-2019-9512 (PING), -9514 (RST), -9515 (SETTINGS), -9518 (empty frames), CVE-2023-44487 (rapid
/// reset), CVE-2024-27316 and its kin (CONTINUATION), CVE-2025-8671 (made-you-reset).
struct AbuseMonitor: Sendable {
  private var settings: RateLimit
  private var pings: RateLimit
  private var resets: RateLimit
  private var meaningless: RateLimit
  private var continuations: UInt32 = 0
  private var emptyFrames = 0
  private var windowUpdates: UInt64 = 0
  private var streamsOpened: UInt64 = 0
  private var dataFramesSent: UInt64 = 0

  init(now: Instant) {
    settings = RateLimit(burst: Self.settingsBurst, perSecond: Self.settingsPerSecond, now: now)
    pings = RateLimit(burst: Self.pingsBurst, perSecond: Self.pingsPerSecond, now: now)
    resets = RateLimit(burst: Self.resetsBurst, perSecond: Self.resetsPerSecond, now: now)
    meaningless = RateLimit(
      burst: Self.meaninglessBurst, perSecond: Self.meaninglessPerSecond, now: now)
  }

  mutating func streamOpened() { streamsOpened &+= 1 }

  /// A peer may measure its bandwidth with a PING for each DATA frame it gets (gRPC does).
  mutating func dataFrameSent() {
    dataFramesSent &+= 1
    pings.giveBack()
  }

  mutating func settingsReceived(now: Instant) throws(Fault) {
    guard settings.take(now: now) else { throw .connection(.settingsFlood) }
  }

  mutating func pingReceived(now: Instant) throws(Fault) {
    guard pings.take(now: now) else { throw .connection(.pingFlood) }
  }

  /// A stream was reset, by the peer or because of the peer.
  mutating func streamReset(now: Instant) throws(Fault) {
    guard resets.take(now: now) else { throw .connection(.resetFlood) }
  }

  /// A frame without effect: PRIORITY, an unknown type, an acknowledgement of nothing, GOAWAY, a late
  /// frame on a closed stream. They share one bucket; `cause` names the one that overran it.
  mutating func meaninglessFrame(
    now: Instant, as cause: HTTP2Cause = .frameFlood
  ) throws(Fault) {
    guard meaningless.take(now: now) else { throw .connection(cause) }
  }

  mutating func headersBegun() {
    continuations = 0
    emptyFrames = 0
  }

  mutating func continuationReceived() throws(Fault) {
    continuations += 1
    guard continuations <= Self.continuationsMax else { throw .connection(.continuationFlood) }
  }

  /// DATA; `isEmpty` when it neither carries nor ends anything, padding aside. In a row, one is allowed for each
  /// stream: some servers put one before trailers. Envoy allows one in all.
  mutating func dataReceived(isEmpty: Bool, activeStreams: Int) throws(Fault) {
    emptyFrames = isEmpty ? emptyFrames + 1 : 0
    guard emptyFrames <= max(1, activeStreams) else { throw .connection(.emptyFrameFlood) }
  }

  /// Envoy's rule (`max_inbound_window_update_frames_per_data_frame_sent`).
  mutating func windowUpdateReceived() throws(Fault) {
    windowUpdates &+= 1
    let allowed =
      Self.windowUpdatesBase &+ 2 &* streamsOpened
      &+ Self.windowUpdatesPerDataFrame &* dataFramesSent
    guard windowUpdates <= allowed else { throw .connection(.windowUpdateFlood) }
  }

  /// A server says SETTINGS once; some tune the window a few times a minute.
  private static let settingsBurst: UInt32 = 100
  private static let settingsPerSecond: UInt32 = 10
  private static let pingsBurst: UInt32 = 500
  private static let pingsPerSecond: UInt32 = 33
  /// nghttp2's numbers, which held against rapid reset.
  private static let resetsBurst: UInt32 = 1_000
  private static let resetsPerSecond: UInt32 = 33
  private static let meaninglessBurst: UInt32 = 1_000
  private static let meaninglessPerSecond: UInt32 = 33
  /// The block limit is one frame long, so that an honest peer needs two; small-framed ones more.
  private static let continuationsMax: UInt32 = 16
  private static let windowUpdatesBase: UInt64 = 50
  private static let windowUpdatesPerDataFrame: UInt64 = 10
}

/// A token bucket in whole tokens.
struct RateLimit: Sendable {
  private let burst: UInt32
  /// Nanoseconds for one token.
  private let period: UInt64
  private var tokens: UInt32
  private var refilled: Instant

  init(burst: UInt32, perSecond: UInt32, now: Instant) {
    self.burst = burst
    period = 1_000_000_000 / UInt64(perSecond)
    tokens = burst
    refilled = now
  }

  /// False when there is no token left.
  mutating func take(now: Instant) -> Bool {
    if tokens < burst { refill(now: now) }
    if tokens == burst { refilled = max(refilled, now) }
    guard tokens > 0 else { return false }
    tokens -= 1
    return true
  }

  mutating func giveBack() {
    if tokens < burst { tokens += 1 }
  }

  private mutating func refill(now: Instant) {
    guard now > refilled else { return }
    let earned = (now.nanoseconds - refilled.nanoseconds) / period
    guard earned < UInt64(burst - tokens) else {
      tokens = burst
      return
    }
    tokens += UInt32(earned)
    refilled.nanoseconds += earned * period
  }
}
