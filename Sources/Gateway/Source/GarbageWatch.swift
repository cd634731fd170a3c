import Primitives

/// Notices a line whose bytes are no frames: as a rule its baud rate, its parity or its framing is
/// not the board's. It looks at one stretch of time after the other, whenever bytes come, and needs
/// no timer.
struct GarbageWatch {
  /// What a stretch showed.
  enum Change: Equatable {
    /// Half of its bytes or more were skipped.
    case began(bytes: UInt64, skipped: UInt64)
    /// A tenth or less were.
    case ended
  }

  private(set) var isAlarmed = false
  var alarms: UInt64 = 0
  private var start: Instant?
  private var bytesBefore: UInt64 = 0
  private var skippedBefore: UInt64 = 0

  /// `bytes` were received since the start and `skipped` of them belong to no good frame.
  mutating func observe(bytes: UInt64, skipped: UInt64, now: Instant) -> Change? {
    guard let start else {
      self.start = now
      return nil
    }
    let taken = bytes - bytesBefore
    guard now - start >= GarbageWatch.stretch, taken >= GarbageWatch.bytesMin else { return nil }
    // Bytes that waited in the framer when the last stretch ended may be skipped in this one.
    let bad = min(skipped - skippedBefore, taken)
    self.start = now
    bytesBefore = bytes
    skippedBefore = skipped
    if !isAlarmed, bad * 2 >= taken {
      isAlarmed = true
      alarms += 1
      return .began(bytes: taken, skipped: bad)
    }
    if isAlarmed, bad * 10 <= taken {
      isAlarmed = false
      return .ended
    }
    return nil
  }

  static let stretch = Interval.seconds(5)
  /// Fewer are no ground for an alarm: one frame that was cut off.
  static let bytesMin: UInt64 = 64
}
