import Primitives

/// A stream as the spool sees it.
public struct SpoolStream: Equatable, Sendable {
  /// When a record must be on disk.
  public enum Durability: Sendable {
    /// Before its source is acknowledged, and before it is sent.
    case sync
    /// In memory until it is delivered, or until it has waited for the commit interval.
    case spill
  }

  public var name: ByteString
  /// 0 alarm, 1 event, 2 telemetry, 3 bulk. Each class has a log of its own.
  public var logClass: UInt8
  public var durability: Durability
  /// Zero: no limit.
  public var ttl: Interval
  /// It has two readers: `nextLive` besides `next`.
  public var isLiveFirst: Bool

  public init(
    name: ByteString, logClass: UInt8, durability: Durability, ttl: Interval = .zero,
    isLiveFirst: Bool = false
  ) {
    self.name = name
    self.logClass = logClass
    self.durability = durability
    self.ttl = ttl
    self.isLiveFirst = isLiveFirst
  }
}

/// A record as a reader gets it. Kept by the caller and filled again and again.
public struct SpooledRecord: Sendable {
  /// With the stream and the sequence the record's identity. It is the spool's epoch, except for
  /// records that were written before the epoch changed (see `Spool.epoch`).
  public var epoch: UInt64 = 0
  public var sequence: UInt64 = 0
  public var time = WallTime(nanoseconds: 0)
  public var quality = ClockQuality.synced
  public var source: [UInt8] = []
  public var subject: [UInt8] = []
  public var token: UInt64 = 0
  public var payload: [UInt8] = []
  /// It lay on disk for a while or comes from an earlier run: it yields to live records.
  public var isBacklog = false
  /// Since when it waits to be delivered; the clock's origin when that was in an earlier run.
  public var waitingSince = Instant(nanoseconds: 0)
  /// A reader has no room for more. Of a longer record it gets nothing but its length, and when it asks
  /// again, the same one.
  public var roomBytes = Int.max
  public private(set) var tooLongBytes = 0

  public init() {}

  /// Whether so many bytes are too many.
  package mutating func refuses(_ bytes: Int) -> Bool {
    tooLongBytes = bytes > roomBytes ? bytes : 0
    return tooLongBytes > 0
  }

  /// Empties the buffers and leaves room in each. They keep their memory, but together no more than the
  /// largest record has: one with a long subject may come behind one with a long payload.
  package mutating func makeRoom(source: Int, subject: Int, payload: Int) {
    self.source.removeAll(keepingCapacity: true)
    self.subject.removeAll(keepingCapacity: true)
    self.payload.removeAll(keepingCapacity: true)
    let held =
      max(self.source.capacity, source) + max(self.subject.capacity, subject)
      + max(self.payload.capacity, payload)
    if held > SpooledRecord.heldMax { releaseMemory() }
    // Exactly: an array that grows by appending doubles.
    if source > self.source.capacity { self.source.reserveCapacity(source) }
    if subject > self.subject.capacity { self.subject.reserveCapacity(subject) }
    if payload > self.payload.capacity { self.payload.reserveCapacity(payload) }
  }

  /// Gives its memory back.
  package mutating func releaseMemory() {
    source = []
    subject = []
    payload = []
  }

  private static let heldMax = 65_536

  /// Bytes of all three.
  package var byteCount: Int { source.count + subject.count + payload.count }

  /// The memory that it holds, in bytes.
  package var memoryBytes: Int { source.capacity + subject.capacity + payload.capacity }

  /// Takes the parts of a record over.
  mutating func fill(
    _ bytes: Span<UInt8>, source: Range<Int>, subject: Range<Int>, payload: Range<Int>
  ) {
    makeRoom(source: source.count, subject: subject.count, payload: payload.count)
    self.source.append(contentsOf: bytes.extracting(source))
    self.subject.append(contentsOf: bytes.extracting(subject))
    self.payload.append(contentsOf: bytes.extracting(payload))
  }

  func encode(_ entry: TailEntry, wall: Int64, into builder: inout FrameBuilder) {
    builder.append(
      entry, wall: wall, source: source.span, subject: subject.span, payload: payload.span)
  }
}

/// What became of an append.
public enum AppendOutcome: Equatable, Sendable {
  case taken(sequence: UInt64)
  case refused(RefusalReason)
}

/// Why the spool did not take a record.
public enum RefusalReason: Equatable, Sendable {
  /// Longer than `SpoolLimits.recordBytesMax`.
  case tooLarge
  /// The disk does not take what must be on disk.
  case degraded
  /// The memory for records that are not on disk is full of more urgent ones.
  case full
}

/// Why a record was not delivered.
public enum DropReason: UInt8, Equatable, Sendable {
  case space, expired, rejected, corrupt, memory, shed
}

/// Records that will not be delivered.
public struct GapReport: Equatable, Sendable {
  public var stream: ByteString
  /// The stream's index; nil when it is not configured any more.
  public var streamIndex: Int?
  public var epoch: UInt64
  public var first: UInt64
  public var last: UInt64
  /// How many there were between `first` and `last`.
  public var count: UInt64
  /// `count` is the most there can have been: after a crash nobody knows how many of the reserved
  /// numbers were given out, or which of a damaged stretch had been delivered.
  public var isUpperBound: Bool
  /// The times of the earliest and the latest one, where they are known.
  public var from: WallTime?
  public var to: WallTime?
  public var reason: DropReason
}

/// What the spool has to tell. Each is told once.
public enum SpoolReport: Equatable, Sendable {
  case gap(GapReport)
  /// The disk does not take anything: `spill` records stay in memory, `sync` ones are refused.
  case degraded(StorageError)
  /// The disk takes writes again.
  case recovered
  /// A file that cannot be read was moved to `quarantine/`.
  case quarantined(StorageFile)
  /// The start took another epoch.
  case epochChanged(EpochReason)
}

/// Why a start cannot tell which numbers were given out, and takes another epoch.
public enum EpochReason: Equatable, Sendable {
  /// There are records, and no cursor.
  case cursorMissing
  /// A slot of the cursor is neither valid nor blank.
  case cursorDamaged
  /// A log ends in something that is no frame.
  case endDamaged
}

/// `spoke.spool.*`.
public struct SpoolStatistics: Equatable, Sendable {
  /// Bytes on disk.
  public var bytes: UInt64 = 0
  /// Records on disk that are not delivered.
  public var records: UInt64 = 0
  public var segments = 0
  public var corruptFrames: UInt64 = 0
  public var commits: UInt64 = 0
  public var bytesWritten: UInt64 = 0
  public var cursorWrites: UInt64 = 0
  /// Why the disk is not used at present; nil when it is.
  public var failure: StorageError?
  public var quarantined: UInt64 = 0
  /// Removals and moves of files that failed: the files stay, to be dealt with at the next start.
  public var filesLeft: UInt64 = 0
  public var damagedCursors: UInt64 = 0
  public var parked: UInt64 = 0
  /// Records of old telemetry that were left out to make room.
  public var thinned: UInt64 = 0

  /// The disk takes nothing: `spill` records stay in memory, `sync` ones are refused.
  public var isDegraded: Bool { failure != nil }
}
