import Primitives

/// Numbers from `first` to `last`, both included.
struct SequenceRange: Equatable {
  var first: UInt64
  var last: UInt64
}

/// Which records of a stream are settled: delivered, or dropped with a report.
struct Settlement: Equatable {
  /// Everything up to here is settled.
  private(set) var through: UInt64 = 0
  /// Settled above that, ascending, never touching.
  private(set) var ranges: [SequenceRange] = []
  /// There was no room for a range: numbers that are settled are not in here.
  var isIncomplete = false

  init(through: UInt64 = 0) { self.through = through }

  func contains(_ sequence: UInt64) -> Bool {
    if sequence <= through { return true }
    for range in ranges where range.first <= sequence && sequence <= range.last { return true }
    return false
  }

  /// The last number of the settled stretch that `sequence` lies in.
  func end(of sequence: UInt64) -> UInt64? {
    if sequence <= through { return through }
    for range in ranges where range.first <= sequence && sequence <= range.last {
      return range.last
    }
    return nil
  }

  /// How many numbers of `first...last` are not settled.
  func unsettled(_ first: UInt64, _ last: UInt64) -> UInt64 {
    let start = max(first, through + 1)
    guard start <= last else { return 0 }
    var count = last - start + 1
    for range in ranges where range.last >= start && range.first <= last {
      count -= min(range.last, last) - max(range.first, start) + 1
    }
    return count
  }

  /// False when it would be one range too many: then the records are delivered again.
  @discardableResult
  mutating func settle(_ first: UInt64, _ last: UInt64) -> Bool {
    guard last > through, first <= last else { return true }
    if first <= through + 1 {
      through = last
      absorb()
      return true
    }
    var index = 0
    while index < ranges.count, ranges[index].last + 1 < first { index += 1 }
    guard index < ranges.count, ranges[index].first <= last + 1 else {
      guard ranges.count < settledRangesMax else {
        isIncomplete = true
        return false
      }
      ranges.insert(SequenceRange(first: first, last: last), at: index)
      return true
    }
    ranges[index].first = min(ranges[index].first, first)
    ranges[index].last = max(ranges[index].last, last)
    while index + 1 < ranges.count, ranges[index + 1].first <= ranges[index].last + 1 {
      ranges[index].last = max(ranges[index].last, ranges[index + 1].last)
      ranges.remove(at: index + 1)
    }
    return true
  }

  private mutating func absorb() {
    while let next = ranges.first, next.first <= through + 1 {
      through = max(through, next.last)
      ranges.removeFirst()
    }
  }
}

/// Where a reader stands in a log. Only a hint: the reader's `through` decides.
struct ReadPosition: Equatable {
  var logClass: Int
  var number: UInt32
  var frame: UInt32
  /// Into the frame, 0 at its start.
  var record: Int
}

/// Where a reader is in its stream.
struct StreamReader {
  /// The last number that it was given, or that is known not to exist.
  var through: UInt64 = 0
  var position: ReadPosition?
  /// Place in the class's tail where it was.
  var tailPlace: UInt64 = 0
}

/// The second reader of a stream that sends live records before its backlog. It reads what is above
/// `start`; the reader in order reads what is not.
struct LiveReader {
  var start: UInt64
  var reader: StreamReader
}

/// Numbers that were read, and are not settled, but are not in the spool any more: what held them
/// was given up while they were on their way. Whoever read them still has them.
struct LentRange: Equatable {
  var range: SequenceRange
  var epoch: UInt64
  var reason: DropReason
  /// Of the segment that held them: only what it kept is lent.
  var level: UInt8 = 0

  var sieve: Sieve { Sieve(level: level, range: range) }
}

/// A stream: its numbers, its reader, what is left of it.
struct StreamState {
  var stream: SpoolStream
  var isConfigured: Bool
  /// The last number given out.
  var assigned: UInt64 = 0
  /// No number above it was given out before the cursor on disk says so (`spill` only).
  var reserved: UInt64 = 0
  /// Everything up to here is on disk or settled.
  var onDisk: UInt64 = 0
  /// On disk since an earlier run.
  var recovered: UInt64 = 0
  /// What is above it is read, and not known to be on the medium: see `Spool+Unsynced.swift`.
  var vouchedFor = UInt64.max
  var settled = Settlement()
  /// The reader in order, the live one, and the one of them that reads or was the last to.
  var ordered = StreamReader()
  var live: LiveReader?
  var reader = StreamReader()
  /// The reader that reads goes no further.
  var readLimit = UInt64.max
  /// Records that only their reader still has: see `LentRange`.
  var lent: [LentRange] = []
  var lentRecords: UInt64 = 0
  var lentBytes: UInt64 = 0
  /// Place in the class's tail where the last settled record was.
  var tailSettled: UInt64 = 0
  var tailRecords: UInt64 = 0
  var tailBytes: UInt64 = 0
  /// Dropped from memory while their sources wait for them, since the cursor was written: it has no report yet.
  var droppedAwaited: SequenceRange?
  /// A record of a `spill` stream was taken in this run.
  var isActive = false
  /// How many numbers to reserve next, and when that was last done.
  var reservation = reservationMin
  var reservedAt: Instant?
  /// What the cursor file said of it at the start.
  var cursor: CursorEntry?
  /// Recovery passed damage since it last saw a record of this stream.
  var afterDamage = false
  /// So many of its records at most were in frames that a start cannot tell anything of, and none came behind.
  var lostMax: UInt64 = 0
  var lostEpoch: UInt64 = 0
  /// The epoch of the record, or the damage, that a scan saw last.
  var seenEpoch: UInt64?

  init(_ stream: SpoolStream, isConfigured: Bool) {
    self.stream = stream
    self.isConfigured = isConfigured
  }

  var isSync: Bool { stream.durability == .sync }
  /// No number was given out that was never to be written.
  var hasNoHoles: Bool { isSync && isConfigured }
  var logClass: Int { Int(stream.logClass) }
}
