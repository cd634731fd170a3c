import Primitives

/// The pause before a record that could not be delivered is tried again: full jitter, uniform over
/// [0, min(1 s · 2ⁿ, 5 min)), the cap applied before the draw so that a fleet never falls in step.
enum DeliveryBackoff {
  static let base = Interval.seconds(1)
  static let maximum = Interval.seconds(300)
  /// A `Retry-After` beyond this is taken as this: an upstream cannot silence a device for days.
  static let retryAfterMaximum = Interval.seconds(3_600)

  /// `failures`: how often this record has failed in a row, from 1 on.
  static func delay(
    failures: UInt32, retryAfter: Interval?, using random: inout SplitMix64
  ) -> Interval {
    let exponent = min(failures, 10) - 1
    let bound = min(base.nanoseconds << Int64(exponent), maximum.nanoseconds)
    let jittered = Interval(nanoseconds: Int64(random.below(UInt64(bound))))
    guard let retryAfter else { return jittered }
    // Retry-After is a lower bound (RFC 9110 §10.2.3); a second of jitter on top spreads the fleet.
    let spread = Interval(nanoseconds: Int64(random.below(UInt64(base.nanoseconds))))
    return min(retryAfter, retryAfterMaximum) + spread
  }
}
