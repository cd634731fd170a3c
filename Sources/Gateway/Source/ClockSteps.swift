import Primitives
import Spool

/// Knows how far the wall clock was set forwards or back in this run, and which records came before
/// that: a board without a battery starts in 1970, and takes records before it learns the time.
struct ClockSteps {
  /// The clock was set by `distance` when each stream had given out its numbers up to `last`.
  private struct Step {
    var distance: Int64
    var last: [UInt64]
  }

  private var steps: [Step] = []
  /// Numbers up to these are of earlier runs, whose clock is not known.
  private var started: [UInt64] = []
  /// Between the wall clock and the monotonic one, as of the last reading.
  private var distance: Int64?

  /// Beyond it a difference is a step; a clock that is being disciplined drifts by less.
  private static let stepMin: Int64 = 1_000_000_000
  /// Of more steps the oldest is forgotten, and its records stay as they are.
  private static let stepsMax = 8

  /// The streams are these from now on, and have given out these numbers.
  mutating func start(_ numbers: [UInt64]) {
    steps = []
    started = numbers
  }

  /// Whether the clock was set since the last reading, and by how much.
  mutating func read(_ clocks: Clocks) -> Int64? {
    let now = clocks.wall.nanoseconds &- Int64(clamping: clocks.now.nanoseconds)
    defer { distance = now }
    guard let distance else { return nil }
    let change = now &- distance
    return change.magnitude < UInt64(Self.stepMin) ? nil : change
  }

  mutating func add(_ change: Int64, last: [UInt64]) {
    if steps.count == Self.stepsMax { steps.removeFirst() }
    steps.append(Step(distance: change, last: last))
  }

  func isOfThisRun(stream: Int, sequence: UInt64) -> Bool {
    stream < started.count && sequence > started[stream]
  }

  /// By how much the clock was set since a record was taken; nil: not at all, or nobody knows.
  func correction(stream: Int, sequence: UInt64) -> Int64? {
    guard !steps.isEmpty, isOfThisRun(stream: stream, sequence: sequence) else { return nil }
    var sum: Int64 = 0
    var isAny = false
    for step in steps where sequence <= step.last[stream] {
      sum = sum &+ step.distance
      isAny = true
    }
    return isAny ? sum : nil
  }
}

extension Gateway where Storage: ~Copyable {
  /// The moment before which the wall clock is wrong. What the kernel vouches for need only be later
  /// than this program; any other clock also later than what the spool was told while it was right.
  // Inlined, as what else is asked for every record: a call would be given a copy of the gateway.
  @inline(__always)
  public var clockFloor: WallTime { max(GatewayLimits.clockFloor, spool.newestWall) }

  /// Whether the wall clock stands before its floor.
  @inline(__always)
  public func isBeforeFloor(_ clocks: Clocks) -> Bool {
    clocks.wall < (clocks.quality == .synced ? GatewayLimits.clockFloor : clockFloor)
  }

  /// Looks whether the clock was set. Before the first record that is taken with these clocks.
  mutating func noteClock(_ clocks: Clocks) {
    guard let change = clockSteps.read(clocks) else { return }
    clockSteps.add(change, last: lastNumbers())
  }

  /// The streams are new: numbers of this run begin here.
  mutating func startClockSteps() { clockSteps.start(lastNumbers()) }

  private func lastNumbers() -> [UInt64] {
    uplinks.indices.map { uplinks[$0].memory?.assigned ?? spool.lastNumber(stream: $0) }
  }

  /// What the clock says now of the moment at which a record was taken; one from before the floor is
  /// none.
  @inline(__always)
  func stamp(
    _ index: Int, _ entry: RecordBatch.Entry, clocks: Clocks
  ) -> (time: WallTime, quality: ClockQuality) {
    guard entry.quality == .unsynced else { return (entry.time, entry.quality) }
    var time = entry.time
    var quality = entry.quality
    var floor = GatewayLimits.clockFloor
    if let change = clockSteps.correction(stream: index, sequence: entry.sequence) {
      time.nanoseconds = time.nanoseconds &+ change
      if clocks.quality == .synced { quality = .restamped }
    } else if clockSteps.isOfThisRun(stream: index, sequence: entry.sequence) {
      floor = clockFloor
    }
    return (time < floor ? WallTime(nanoseconds: 0) : time, quality)
  }

  /// A delivery sets out, perhaps again: meanwhile the clock may have been set.
  mutating func restamp(_ index: Int, _ slot: Int, clocks: Clocks) {
    for record in uplinks[index].slots[slot].part {
      let entry = uplinks[index].slots[slot].batch.entries[record]
      guard entry.quality == .unsynced else { continue }
      let stamp = stamp(index, entry, clocks: clocks)
      uplinks[index].slots[slot].batch.stamp(record, stamp.time, stamp.quality)
    }
  }
}
