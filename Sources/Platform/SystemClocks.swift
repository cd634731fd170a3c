import CLinux
import Primitives

/// Reads both clocks, and asks the kernel at most once a second whether the wall clock is
/// disciplined.
public struct SystemClocks: Sendable {
  /// A wall clock before this moment is wrong: a board without a battery starts in 1970. The latest
  /// of the build, the persisted clock and the newest record that the spool holds.
  public var floor: WallTime
  private var quality = ClockQuality.unsynced
  private var qualityUntil = Instant(nanoseconds: 0)

  public init(floor: WallTime = WallTime(nanoseconds: 0)) { self.floor = floor }

  /// Both clocks now.
  public mutating func read() -> Clocks {
    let now = SystemClocks.now()
    let wall = SystemClocks.wall()
    if now >= qualityUntil {
      quality = SystemClocks.isDisciplined() ? .synced : .unsynced
      qualityUntil = now + .seconds(1)
    }
    return Clocks(now: now, wall: wall, quality: wall < floor ? .unsynced : quality)
  }

  /// CLOCK_MONOTONIC.
  public static func now() -> Instant {
    Instant(nanoseconds: UInt64(clamping: spoke_clock_monotonic()))
  }

  /// For programs that have nothing else to do meanwhile.
  public static func sleep(_ interval: Interval) {
    _ = spoke_wait_readable(nil, 0, interval.nanoseconds)
  }

  /// CLOCK_REALTIME.
  public static func wall() -> WallTime { WallTime(nanoseconds: spoke_clock_wall()) }

  /// `adjtimex` without `STA_UNSYNC`. A seccomp filter may refuse the call, since it can also set
  /// the clock; then systemd-timesyncd's mark is asked for, and without it the answer is no.
  public static func isDisciplined() -> Bool {
    let answer = spoke_clock_synced()
    if answer >= 0 { return answer == 1 }
    let mark = spoke_open_read("/run/systemd/timesync/synchronized")
    if mark < 0 { return false }
    _ = spoke_close(mark)
    return true
  }
}
