import Primitives

/// Exponential back-off with full jitter: uniform over [0, min(base · 2ⁿ⁻¹, maximum)).
public struct BackOff: Equatable, Sendable {
  public var base: Interval
  public var maximum: Interval

  public init(base: Interval = .milliseconds(25), maximum: Interval = .milliseconds(250)) {
    self.base = base
    self.maximum = maximum
  }

  /// The exclusive bound of the delay before retry `number`, which counts from 1.
  public func bound(_ number: UInt32) -> Interval {
    let shift = min(number == 0 ? 0 : number - 1, 40)
    let (grown, overflow) = base.nanoseconds.multipliedReportingOverflow(by: Int64(1) << shift)
    return overflow ? maximum : min(Interval(nanoseconds: grown), maximum)
  }

  /// A random delay before retry `number`, uniform below `bound(number)`; zero when that is zero.
  public func delay(_ number: UInt32, using random: inout SplitMix64) -> Interval {
    let bound = max(self.bound(number).nanoseconds, 0)
    return Interval(nanoseconds: Int64(random.below(UInt64(bound))))
  }
}

/// `RetryPolicy.RateLimitedRetryBackOff`: the upstream says in a response that is retried when to come
/// back.
public struct RateLimitedBackOff: Equatable, Sendable {
  /// `RetryPolicy.ResetHeader`.
  public struct ResetHeader: Equatable, Sendable {
    /// `ResetHeaderFormat`.
    public enum Format: UInt8, Sendable {
      /// From now.
      case seconds = 0
      /// Seconds since 1970.
      case unixTimestamp = 1
    }
    /// In lower case.
    public var name: ByteString
    public var format: Format

    public init(name: ByteString, format: Format = .seconds) {
      self.name = name
      self.format = format
    }
  }

  /// The first with a usable value counts.
  public var resetHeaders: [ResetHeader]
  /// A longer interval is not usable.
  public var maximum: Interval

  public init(resetHeaders: [ResetHeader], maximum: Interval = .seconds(300)) {
    self.resetHeaders = resetHeaders
    self.maximum = maximum
  }

  /// Whether the upstream may ask for this interval.
  public func accepts(_ interval: Interval) -> Bool {
    interval >= .milliseconds(1) && interval <= maximum
  }

  /// The delay for an interval: never less, and up to half of it more, so that those who were turned
  /// away together do not come back together.
  public static func delay(_ interval: Interval, using random: inout SplitMix64) -> Interval {
    let spread = max(interval.nanoseconds, 0) / 2
    return interval + Interval(nanoseconds: Int64(random.below(UInt64(spread))))
  }
}
