import Primitives

/// What a segment holds of a stream, and how much of that is still to be delivered.
struct SegmentEntry: Equatable {
  var totals: StreamTotals
  /// The last number that is to be read from here. Below the last one written when the sync of this
  /// segment failed, so that the records were written to the next one again.
  var highest: UInt64
  var remaining: UInt32
  var remainingBytes: UInt32

  init(_ totals: StreamTotals) {
    self.totals = totals
    highest = totals.last
    remaining = totals.count
    remainingBytes = totals.bytes
  }

  /// Takes one record away. Its bytes are not known here; on the average they are right, and the
  /// last record leaves nothing.
  mutating func settleOne() {
    guard remaining > 0 else { return }
    remainingBytes -= remainingBytes / remaining
    remaining -= 1
    if remaining == 0 { remainingBytes = 0 }
  }

  mutating func settleAll() {
    remaining = 0
    remainingBytes = 0
  }
}

/// A segment on disk, as the spool remembers it.
struct Segment {
  enum State {
    /// Takes frames.
    case open
    case closed
  }

  var header: SegmentHeader
  var state: State
  /// Up to here the file holds frames; what is behind it is not ours.
  var bytes: UInt32
  var frames: UInt32 = 0
  var entries: [SegmentEntry] = []
  /// It was read frame by frame: what is damaged in it has been reported.
  var isScanned = false
  /// Where a scan found damage; what was found is reported. Damage elsewhere came later.
  var damagedAt: [UInt32] = []
  /// Reads in a row that the disk refused, and when it is asked again.
  var readFailures = 0
  var readAgainAt: Instant?

  var file: StorageFile { header.file }

  var remaining: UInt64 {
    var sum: UInt64 = 0
    for entry in entries { sum += UInt64(entry.remaining) }
    return sum
  }

  /// Which numbers it may hold of what the entry stands for.
  func sieve(_ entry: Int) -> Sieve {
    Sieve(
      level: header.level,
      range: SequenceRange(first: entries[entry].totals.first, last: entries[entry].highest))
  }

  func entry(of stream: Int) -> Int? {
    for index in entries.indices where entries[index].totals.stream == stream { return index }
    return nil
  }

  mutating func add(_ totals: StreamTotals) {
    if let index = entry(of: totals.stream) {
      entries[index].totals.merge(totals)
      entries[index].highest = entries[index].totals.last
      entries[index].remaining += totals.count
      entries[index].remainingBytes += totals.bytes
    } else {
      entries.append(SegmentEntry(totals))
    }
  }
}

/// The log of one class: segments by ascending number, the last one possibly open, and the records
/// that are not in them yet.
struct ClassLog {
  var segments: [Segment] = []
  var tail = RecordTail()
  var nextNumber: UInt32 = 1

  func index(of number: UInt32) -> Int? {
    // Ascending, but with holes where segments were freed out of order.
    let place = sortedPlace(segments.count) { segments[$0].header.number < number }
    return place < segments.count && segments[place].header.number == number ? place : nil
  }

  var hasOpenSegment: Bool { segments.last?.state == .open }
}
