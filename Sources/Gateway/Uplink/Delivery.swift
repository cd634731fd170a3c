import NetworkingCore
import Primitives
import Spool

/// Which records of a stream a delivery carries.
enum Lane: Int {
  /// Its records in order; of a stream that sends live records first, its backlog.
  case ordered = 0
  /// The live records of a stream that sends those first.
  case live = 1
}

/// Records on their way upstream together, from the moment the first is read until the last is
/// delivered, parked or dropped.
///
///     empty ─ record read ─▶ filling ─ full, or waited long enough ─▶ ready ─ submitted ─▶ requesting
///       ▲                                                              ▲ ▲                  │ │ │
///       │                                                              │ └─ time ─ backingOff ◀┘ │ transient
///       │                                                              └── rejected, halved ─────┤
///       └───────────────────────────── the last part is delivered, or its record parked ─────────┘
///
/// What the upstream rejects is sent again in halves until the one record that it will not take is
/// alone. The parts that are still to be sent are kept as their ends, the next one last: nothing is
/// copied, and every part keeps its records through all retries.
struct Delivery {
  enum Phase: Equatable {
    case empty
    case filling
    case ready
    case requesting(RequestID)
    case backingOff(until: Instant)
  }

  let lane: Lane
  var phase = Phase.empty
  var batch = RecordBatch()
  /// Its records were never in the spool.
  private(set) var isFromMemory = false
  /// A record of it lay on disk for a while: it yields to live ones.
  private(set) var isBacklog = false
  /// Since when its oldest record waits.
  private(set) var waitingSince = Instant(nanoseconds: 0)
  /// What its body comes to at most, in bytes.
  private(set) var bodyBytes = 0
  /// Records before this one are settled.
  private(set) var start = 0
  private var ends: [Int] = []
  /// How often delivery of this part has failed in a row.
  var failures: UInt32 = 0
  /// It failed because the upstream could not be reached, not by its answer.
  var isUnreachable = false

  init(lane: Lane) { self.lane = lane }

  /// The part that is sent next, or is on its way.
  var part: Range<Int> { start..<(ends.last ?? batch.count) }
  /// Records that are not settled.
  var remaining: Int { batch.count - start }
  var first: UInt64 { batch.entries[start].sequence }

  var isRequesting: Bool {
    if case .requesting = phase { true } else { false }
  }

  /// The memory that it holds, in bytes.
  var memoryBytes: Int { batch.memoryBytes }

  /// One without records gives its memory back.
  mutating func releaseMemory() {
    if phase == .empty, batch.isEmpty { batch = RecordBatch() }
  }

  /// Makes room for one more record, of what there is; false: there is not enough.
  mutating func reserve(_ count: Int, upTo limit: Int, _ records: Int, room: inout Int) -> Bool {
    batch.reserve(count, upTo: limit, records, room: &room)
  }

  /// One more record, which adds `bytes` to the body at most.
  mutating func append(_ head: borrowing DeliveryHead, bytes: Int) {
    if batch.isEmpty {
      isFromMemory = head.isFromMemory
      waitingSince = head.record.waitingSince
    }
    waitingSince = min(waitingSince, head.record.waitingSince)
    isBacklog = isBacklog || head.record.isBacklog
    bodyBytes += bytes
    batch.append(head.record)
  }

  /// No more records come: the whole is the first part.
  mutating func close() {
    if ends.isEmpty { ends.append(batch.count) }
    phase = .ready
  }

  /// The next part is at most so long.
  mutating func shorten(to count: Int) {
    if part.count > count { ends.append(start + count) }
  }

  /// The first record of the part is settled.
  mutating func passRecord() {
    start += 1
    if start == ends.last { endPart() }
  }

  /// All records of the part are settled.
  mutating func passPart() {
    start = part.upperBound
    endPart()
  }

  private mutating func endPart() {
    _ = ends.popLast()
    failures = 0
    isUnreachable = false
    if start == batch.count { clear() } else { phase = .ready }
  }

  mutating func clear() {
    batch.removeAll(keepingCapacity: true)
    ends.removeAll(keepingCapacity: true)
    phase = .empty
    start = 0
    bodyBytes = 0
    isBacklog = false
    isFromMemory = false
    failures = 0
    isUnreachable = false
  }
}

/// The next record of a lane, read but in no delivery yet: it did not fit the last one.
struct DeliveryHead {
  var record = SpooledRecord()
  /// There is a next one of this length, but no room for it; 0: there is not.
  var tooLongBytes = 0
  var isLoaded = false
  var isFromMemory = false
}
