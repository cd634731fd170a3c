import Configuration
import Primitives

/// The gateway's own limits.
public enum GatewayLimits {
  /// Actions of one turn. Transport actions have a queue of their own in the networking core; these
  /// are log lines.
  static let actionsMax = 64

  /// Rounds of one turn in which a report that was made may set out at once.
  static let roundsMax = 4

  /// The largest record, in bytes of payload, topic and source.
  public static let recordBytesMax = ConfigurationLimits.recordBytesMax

  /// 2026-01-01T00:00:00Z. A wall clock before this has not been set since power-on.
  public static let clockFloor = WallTime(nanoseconds: 1_767_225_600 * 1_000_000_000)

  /// How long a board may refuse bytes, beside the time that those before them take on the line.
  static let transmitMax = Interval.seconds(5)
  /// What a driver holds behind `write`, and how much later than on the line an echo may be heard:
  /// USB adapters hand over what they received every 16 ms.
  static let lineBufferBytes = 4_096
  static let echoMax = Interval.milliseconds(250)

  /// SIGTERM: requests under way may finish within this time.
  public static let drainMax = Interval.seconds(5)
}
