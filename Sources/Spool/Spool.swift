import Primitives

/// Keeps records until they are delivered: in memory, then on disk, across restarts and power cuts.
///
/// It always opens. What is damaged is skipped, counted and reported; what cannot be written stays in
/// bounded memory. `Spool.docc` describes the format and the guarantees.
public struct Spool<Storage: SegmentStorage & ~Copyable>: ~Copyable {
  var storage: Storage
  public internal(set) var limits: SpoolLimits
  /// Part of the identity of records taken from now on. Drawn when the spool is created, and again
  /// only when numbers might otherwise be used twice: the cursor is lost or damaged, the end of a
  /// log is damaged, or a disk that takes no writes has used up its reservation. Numbers count on.
  public internal(set) var epoch: UInt64

  /// The latest time that was found at the start, of the cursor and of commits whose clock was right.
  public internal(set) var newestWall = WallTime(nanoseconds: 0)

  var random: SplitMix64
  /// The configured streams in their order, then those that are only on disk.
  var streams: [StreamState] = []
  var logs: [ClassLog] = []
  var slots: [FrameSlot] = []
  var slotUses: UInt64 = 0
  /// What the clocks showed when they were last passed in.
  var clocks: Clocks

  var disk = DiskState()
  var cursor = CursorState()
  var lastSyncCommit: Instant?
  /// Files whose sync failed in this process: it is not tried again, not even after a reopening.
  var unsyncable: [StorageFile] = []
  /// What a start found to be no segment, and those that end in something that is no frame. They stay as they
  /// are until the cursor has the new epoch: before, nothing else says that there must be one.
  var asides: [StorageFile] = []
  var torn: [StorageFile] = []
  /// A closed segment has nothing left to deliver.
  var hasSettledSegments = false
  /// A segment was made since nothing more could be thinned.
  var mayThin = true
  /// There is, or was, a segment that takes the place of others.
  var hasThinned = false
  /// What is about to be left out: the cursor has it before that is done.
  var thinning: [GapReport] = []
  /// The segment that is written, as it was when it was last synced.
  var checkpoint: Segment?
  /// What is missing between records, while segments are scanned.
  var holes: [SequenceHole] = []
  var deadLetters = DeadLetterState()

  var builder = FrameBuilder()
  /// A frame on its way to the disk, and a cursor slot on its way.
  var output: [UInt8] = []
  var input: [UInt8] = []

  var reports: [SpoolReport] = []
  var reportsTaken = 0
  /// Gap reports that were handed out and are not known to be safe.
  var unconfirmed: [UnconfirmedGap] = []
  /// How many gap reports were handed out.
  public internal(set) var gapsTold: UInt64 = 0
  /// Nothing was lost since the cursor was written: what it has of gaps is still known here.
  var isReopening = false
  var counters = SpoolStatistics()
  package internal(set) var timesStartedOver: UInt32 = 0

  /// Opens whatever is there. Problems become reports and counters.
  public init(
    opening storage: consuming Storage, limits: SpoolLimits, streams: [SpoolStream], seed: UInt64,
    clocks: Clocks
  ) {
    precondition(streams.count <= SpoolLimits.streamsMax, "spool: too many streams")
    self.storage = storage
    self.limits = limits
    self.clocks = clocks
    random = SplitMix64(seed: seed)
    epoch = 0
    for stream in streams {
      precondition(
        stream.logClass < 4 && stream.name.count <= SpoolLimits.streamNameBytesMax,
        "spool: stream out of bounds")
      self.streams.append(StreamState(stream, isConfigured: true))
    }
    for _ in 0..<4 { logs.append(ClassLog()) }
    for _ in 0..<limits.frameSlots { slots.append(FrameSlot()) }
    recover()
  }

  // MARK: Records in

  /// Takes a record. A `sync` stream's is safe, and can be read, after the next commit.
  public mutating func append(
    stream: Int, time: WallTime, quality: ClockQuality, source: Span<UInt8>,
    subject: Span<UInt8>, token: UInt64, payload: Span<UInt8>, now: Instant
  ) -> AppendOutcome {
    clocks.now = max(clocks.now, now)
    let bytes = source.count + subject.count + payload.count
    guard bytes <= limits.recordBytesMax else { return .refused(.tooLarge) }
    let isSync = streams[stream].isSync
    guard !isSync || !disk.isDegraded else { return .refused(.degraded) }
    let logClass = streams[stream].logClass
    guard makeMemory(RecordTail.entryBytes + bytes, for: logClass) else {
      return .refused(disk.isDegraded ? .degraded : .full)
    }
    if !isSync { reserveNumber(stream) }
    let sequence = streams[stream].assigned + 1
    streams[stream].assigned = sequence
    logs[logClass].tail.append(
      TailEntry(
        stream: stream, sequence: sequence, epoch: epoch, time: time.nanoseconds, token: token,
        appended: clocks.now, sourceBytes: source.count, subjectBytes: subject.count,
        payloadBytes: payload.count, quality: quality, isSync: isSync),
      source: source, subject: subject, payload: payload)
    streams[stream].tailRecords += 1
    streams[stream].tailBytes += UInt64(payload.count)
    return .taken(sequence: sequence)
  }

  // MARK: Getters

  /// Whether a record need not be kept by its source any more: it is on disk, was delivered, or was
  /// dropped with a report, which no crash takes while the disk works.
  public func isSafe(stream: Int, sequence: UInt64) -> Bool {
    guard sequence <= streams[stream].assigned else { return false }
    if !disk.isDegraded, let dropped = streams[stream].droppedAwaited,
      dropped.first <= sequence, sequence <= dropped.last
    {
      return false
    }
    if streams[stream].settled.contains(sequence) { return true }
    guard !isLent(stream, sequence) else { return false }
    // What is neither on disk nor in memory has left, whether there was room to note it or not.
    return sequence <= streams[stream].onDisk || findInTail(stream, sequence) == nil
  }

  public var statistics: SpoolStatistics {
    var result = counters
    result.bytes = accountedBytes
    result.failure = disk.failure
    for log in logs {
      result.segments += log.segments.count
      for segment in log.segments { result.records += segment.remaining }
    }
    return result
  }

  /// The records of a stream that are not delivered yet, wherever they are.
  public func backlog(stream: Int) -> (records: UInt64, bytes: UInt64) {
    var records = streams[stream].tailRecords + streams[stream].lentRecords
    var bytes = streams[stream].tailBytes + streams[stream].lentBytes
    for log in logs {
      for segment in log.segments {
        guard let index = segment.entry(of: stream) else { continue }
        records += UInt64(segment.entries[index].remaining)
        bytes += UInt64(segment.entries[index].remainingBytes)
      }
    }
    return (records, bytes)
  }

  /// Sets how much memory records may take that are not on disk. What is there stays until it is.
  public mutating func limitTail(to bytes: Int) { limits.tailBytesMax = bytes }

  /// The last number that a stream has given out.
  public func lastNumber(stream: Int) -> UInt64 { streams[stream].assigned }

  /// All streams, those that are not configured any more behind the others.
  public var streamCount: Int { streams.count }
  /// The name of the stream at an index below `streamCount`.
  public func streamName(_ stream: Int) -> ByteString { streams[stream].stream.name }

  /// The last number of earlier runs.
  package func recoveredNumber(stream: Int) -> UInt64 { streams[stream].recovered }

  /// The memory that records and frames take now.
  public var memoryBytes: Int {
    var sum = output.capacity + input.capacity + builder.records.capacity
    for log in logs { sum += log.tail.memory }
    for slot in slots { sum += slot.bytes.capacity }
    return sum
  }

  /// Whether the memory for waiting records is so full that a commit would make good room.
  public var isUnderPressure: Bool { tailBytes * 2 > limits.tailBytesMax }

  var tailBytes: Int {
    var sum = 0
    for log in logs { sum += log.tail.liveBytes }
    return sum
  }
}

/// A file that a start waits for.
struct UnreadableFile {
  var file: StorageFile
  var since: Instant
}

/// Whether the disk takes writes.
struct DiskState {
  var failure: StorageError?
  var retryAt = Instant(nanoseconds: 0)
  /// The directory could not be read: what is in it must not be touched before it can.
  var isBlind = false
  /// The numbers that were given out meanwhile are above this.
  var blindBase: UInt64 = 0
  /// It can be read, and has numbers above that.
  var isStranded = false
  /// Files that could not be read, and since when.
  var unreadable: [UnreadableFile] = []
  /// Since when records wait for a cursor: see `Spool+Unsynced.swift`.
  var unvouchedSince: Instant?
  /// The disk is being tried again.
  var isRetrying = false

  var isDegraded: Bool { failure != nil }
}

/// What is known of the cursor file.
struct CursorState {
  var generation: UInt64 = 0
  /// The epoch that it holds.
  var epoch: UInt64 = 0
  /// The latest time in this run that the clock vouched for.
  var wall = WallTime(nanoseconds: 0)
  /// When it is written for the clock's sake alone.
  var clockDue: Instant?
  /// A sync of it failed: the file is replaced.
  var isPoisoned = false
  /// The start found none, or not the newest.
  var isLost = false
  /// It has a file, whose name is on the medium.
  var fileExists = false
  /// Records on disk were settled that the file does not know of.
  var isStale = false
  /// A reservation runs low.
  var isUrgent = false
  var writtenAt: Instant?
  /// Size of the file on disk.
  var bytes: UInt64 = 0
}
