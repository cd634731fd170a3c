import Primitives

/// Says how many bytes a line has carried: ten bits a byte, and never faster, but for what a late
/// wake-up has to catch up with.
struct LinePacer {
  private let baud: UInt64
  /// The line has been busy since then, and has carried `sent` bytes.
  private var anchor = Instant(nanoseconds: 0)
  private var sent: UInt64 = 0

  /// A wake-up that comes later than this finds the line idle for the rest.
  private static let catchUp = Interval.milliseconds(100)

  init(baud: UInt32) { self.baud = UInt64(baud) }

  /// The line was idle until now.
  mutating func restart(now: Instant) {
    anchor = now
    sent = 0
  }

  /// Bytes that have had their time by `now` and are not written yet.
  mutating func due(now: Instant) -> Int {
    if carried(by: now) > sent + carried(in: Self.catchUp) { restart(now: now + backwards) }
    // Keeps the products within 64 bits.
    if now - anchor > .seconds(60) {
      anchor = anchor + Interval(nanoseconds: Int64(sent * 10_000_000_000 / baud))
      sent = 0
    }
    return Int(clamping: carried(by: now) - min(sent, carried(by: now)))
  }

  mutating func write(_ count: Int) { sent += UInt64(count) }

  /// Until the next byte has had its time.
  func wait(now: Instant) -> Interval {
    let next = anchor + Interval(nanoseconds: Int64((sent + 1) * 10_000_000_000 / baud))
    return max(next - now, .zero)
  }

  private var backwards: Interval { Interval(nanoseconds: -Self.catchUp.nanoseconds) }

  private func carried(by now: Instant) -> UInt64 { carried(in: now - anchor) }

  private func carried(in interval: Interval) -> UInt64 {
    UInt64(max(interval.nanoseconds, 0)) / 1000 * baud / 10_000_000
  }
}
