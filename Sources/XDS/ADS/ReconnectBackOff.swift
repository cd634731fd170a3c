import Primitives

/// How long to wait before a stream is opened again: gRPC's connection back-off, 1 s · 1.6ⁿ ± 20 %,
/// at most 120 s.
struct ReconnectBackOff: Sendable {
  private static let milliseconds: UInt64 = 1_000
  private static let millisecondsMax: UInt64 = 120_000
  private var next = milliseconds

  /// The wait that follows one more failure.
  mutating func delay(_ random: inout SplitMix64) -> Interval {
    let percent = 80 + random.below(41)
    let delay = Int64(next * percent / 100)
    next = min(next * 8 / 5, ReconnectBackOff.millisecondsMax)
    return .milliseconds(delay)
  }

  /// The server answered.
  mutating func reset() { next = ReconnectBackOff.milliseconds }
}
