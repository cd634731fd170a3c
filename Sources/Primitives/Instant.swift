/// A point on the monotonic clock, in nanoseconds since an arbitrary origin. Machines never read a
/// clock: the driver passes the time in, and a test passes any time it likes.
public struct Instant: Comparable, Hashable, Sendable {
  /// Nanoseconds since the clock's origin. 2⁶⁴ ns are 584 years: it does not wrap.
  public var nanoseconds: UInt64

  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// Whether `left` comes before `right` on the clock.
  public static func < (left: Instant, right: Instant) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  /// Saturates at both ends: a deadline beyond the clock is "never", not a trap.
  public static func + (instant: Instant, interval: Interval) -> Instant {
    if interval.nanoseconds >= 0 {
      let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(
        UInt64(interval.nanoseconds))
      return Instant(nanoseconds: overflow ? .max : sum)
    }
    let magnitude = interval.nanoseconds.magnitude
    return Instant(
      nanoseconds: instant.nanoseconds > magnitude ? instant.nanoseconds - magnitude : 0)
  }

  /// The signed interval from `earlier` to `self`, saturated to ±292 years.
  public static func - (later: Instant, earlier: Instant) -> Interval {
    if later >= earlier {
      return Interval(nanoseconds: Int64(clamping: later.nanoseconds - earlier.nanoseconds))
    }
    return Interval(nanoseconds: -Int64(clamping: earlier.nanoseconds - later.nanoseconds))
  }
}

/// A length of time in nanoseconds.
public struct Interval: Comparable, Hashable, Sendable {
  public var nanoseconds: Int64

  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static let zero = Interval(nanoseconds: 0)
  /// `count` microseconds; traps beyond 292 years.
  public static func microseconds(_ count: Int64) -> Interval {
    Interval(nanoseconds: count * 1_000)
  }
  /// `count` milliseconds; traps beyond 292 years.
  public static func milliseconds(_ count: Int64) -> Interval {
    Interval(nanoseconds: count * 1_000_000)
  }
  /// `count` seconds; traps beyond 292 years.
  public static func seconds(_ count: Int64) -> Interval {
    Interval(nanoseconds: count * 1_000_000_000)
  }

  /// Whole milliseconds, rounded down.
  public var milliseconds: Int64 { nanoseconds / 1_000_000 }

  /// By signed length.
  public static func < (left: Interval, right: Interval) -> Bool {
    left.nanoseconds < right.nanoseconds
  }
  /// The sum; traps beyond 292 years.
  public static func + (left: Interval, right: Interval) -> Interval {
    Interval(nanoseconds: left.nanoseconds + right.nanoseconds)
  }
  /// The difference; traps beyond 292 years.
  public static func - (left: Interval, right: Interval) -> Interval {
    Interval(nanoseconds: left.nanoseconds - right.nanoseconds)
  }
}

/// Wall-clock time, in nanoseconds since 1970-01-01T00:00:00Z. Never used to measure a length of
/// time: it steps.
public struct WallTime: Comparable, Hashable, Sendable {
  public var nanoseconds: Int64

  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// Whether `left` is the earlier time.
  public static func < (left: WallTime, right: WallTime) -> Bool {
    left.nanoseconds < right.nanoseconds
  }
}

/// What is known of a wall-clock time when it was taken (`spoke.v1.Clock`).
public enum ClockQuality: UInt8, Sendable {
  /// The kernel says that the clock is disciplined (`adjtimex` without `STA_UNSYNC`).
  case synced = 0
  /// The clock is not disciplined, or stands before its floor.
  case unsynced = 1
  /// The time was corrected after the clock stepped.
  case restamped = 2
}

/// Both clocks, read once at the start of a loop turn.
public struct Clocks: Sendable {
  public var now: Instant
  public var wall: WallTime
  public var quality: ClockQuality

  public init(now: Instant, wall: WallTime, quality: ClockQuality) {
    self.now = now
    self.wall = wall
    self.quality = quality
  }
}
