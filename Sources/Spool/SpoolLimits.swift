import Primitives

/// Every bound of the spool. What does not fit an answer is a refusal or a gap report, never growth.
public struct SpoolLimits: Equatable, Sendable {
  /// A segment is closed when the next frame would make it longer than this.
  public var segmentBytes: UInt32
  /// The most bytes on disk, the cursor and the dead letters included.
  public var totalBytes: UInt64
  /// The file system is never filled below this.
  public var freeFloorBytes: UInt64
  /// A class's waiting records are written when they come to this.
  public var commitBytes: Int
  /// How long a `spill` record waits in memory at most.
  public var commitInterval: Interval
  /// How far apart the commits of `sync` records are at least.
  public var syncInterval: Interval
  /// The most bytes of one record: payload, subject and source.
  public var recordBytesMax: Int
  /// The most memory of the records that are not on disk yet, their bookkeeping included.
  public var tailBytesMax: Int
  /// Frames that are kept decoded for readers. Each is as large as a frame.
  public var frameSlots: Int
  /// Old telemetry is thinned before any is dropped.
  public var isThinning = false

  /// The streams that one spool may have.
  public static let streamsMax = 64
  /// Streams that are on disk but are not configured any more, besides those.
  public static let orphansMax = 32
  public static let streamNameBytesMax = 128

  /// The defaults are those of the daemon's configuration.
  public init(
    segmentBytes: UInt32 = 256 << 10, totalBytes: UInt64 = 48 << 20,
    freeFloorBytes: UInt64 = 8 << 20, commitBytes: Int = 64 << 10,
    commitInterval: Interval = .seconds(30), syncInterval: Interval = .milliseconds(50),
    recordBytesMax: Int = 64 << 10, tailBytesMax: Int? = nil, frameSlots: Int = 4
  ) {
    // Eight segments at least: one that is written and one that is full for each class.
    let segment = max(min(segmentBytes, UInt32(clamping: totalBytes / 8)), Self.segmentBytesMin)
    // Half a segment at most, so that a frame always fits an empty segment.
    let half = Int(segment / 2)
    self.segmentBytes = segment
    self.totalBytes = max(totalBytes, UInt64(segment) * 8)
    self.freeFloorBytes = freeFloorBytes
    self.commitBytes = min(max(commitBytes, 1 << 10), half)
    self.commitInterval = commitInterval
    self.syncInterval = syncInterval
    self.recordBytesMax = min(recordBytesMax, half, frameBytesMax / 2)
    self.tailBytesMax = max(
      tailBytesMax ?? 6 * self.commitBytes, 2 * (self.recordBytesMax + RecordTail.entryBytes))
    self.frameSlots = max(frameSlots, 1)
  }

  static let segmentBytesMin: UInt32 = 4 << 10

  /// What the next segment takes, and what is kept free for one that takes the place of four: as a
  /// rule a fourth of them, and a quarter more where their records are large and few.
  var nextSegmentBytes: UInt64 { UInt64(segmentBytes) + 4096 }
  var thinBytes: UInt64 { isThinning ? nextSegmentBytes + UInt64(segmentBytes / 4) : 0 }
}

/// No frame is longer, whatever the configuration of the spool that wrote it: what a reader has to
/// hold is bounded by the format.
let frameBytesMax = 4 << 20

/// How long a cursor that only saves duplicates waits to be written.
let cursorInterval = Interval.seconds(5)

/// How long a clock that is right goes on without being written down, when nothing else is. A page of
/// the cursor's each hour wears no flash.
let clockInterval = Interval.seconds(3_600)

/// How long a disk that failed is left alone.
let retryInterval = Interval.seconds(60)

/// And how long, when a source waits for it.
let pressedInterval = Interval.seconds(1)

/// How long a start waits for a file that cannot be read.
let unreadableMax = Interval.seconds(180)

/// How long a segment that could not be read is left alone: what lasts only a moment costs no record.
let readAgainFirst = Interval.seconds(1)
let readAgainLater = Interval.seconds(10)

/// The smallest and the largest number of sequence numbers reserved at once for a `spill` stream.
let reservationMin: UInt64 = 64
let reservationMax: UInt64 = 4096

/// Ranges of sequence numbers that are settled above the contiguous prefix. Requests in flight are
/// at most 64 for a stream, and each settles a contiguous range. More there are where live records went
/// first, and each outage left some of them behind as backlog: what finds no room goes once more.
let settledRangesMax = 64

/// The highest sequence number that is believed when it is read: from there on a stream counts for
/// centuries without an overflow. What a spool that was blind gives out stays far below it.
let sequenceMax = UInt64.max >> 1

/// Damaged places of a segment that are remembered. What is passed beyond them is looked at again.
let damagedPlacesMax = 64

/// Gap reports that wait one by one; from here on reports of one stream and reason are merged.
let reportsSeparateMax = 64
