import Primitives
import Spool

/// Records that travel in one request, in flat storage: one array of bytes, one of entries. Filled
/// again and again it allocates nothing once it has been warm.
///
///     bytes   source│subject│payload│source│subject│payload│…
///     entries each with the ranges of its three parts
///
/// All records of a batch have the same epoch; `RequestEncoder.mayJoin` says whether one more may
/// stand in it.
package struct RecordBatch: Sendable {
  /// One record; the ranges are positions in `bytes`.
  struct Entry: Sendable {
    var sequence: UInt64
    /// As the clock showed it when the record was taken, and as the request says it.
    var time: WallTime
    var stampedTime: WallTime
    var quality: ClockQuality
    var stampedQuality: ClockQuality
    /// As in `SpooledRecord`.
    var isBacklog: Bool
    var source: Range<Int>
    var subject: Range<Int>
    var payload: Range<Int>
  }

  /// Meaningful while the batch is not empty.
  private(set) var epoch: UInt64 = 0
  private(set) var bytes: [UInt8] = []
  private(set) var entries: [Entry] = []

  package init() {}

  package var count: Int { entries.count }
  package var isEmpty: Bool { entries.isEmpty }
  /// Bytes of sources, subjects and payloads.
  var byteCount: Int { bytes.count }

  /// Copies a record to the end.
  package mutating func append(_ record: borrowing SpooledRecord) {
    precondition(entries.isEmpty || record.epoch == epoch, "RecordBatch: a second epoch")
    epoch = record.epoch
    let start = bytes.count
    bytes.append(contentsOf: record.source.span)
    let subject = bytes.count
    bytes.append(contentsOf: record.subject.span)
    let payload = bytes.count
    bytes.append(contentsOf: record.payload.span)
    entries.append(
      Entry(
        sequence: record.sequence, time: record.time, stampedTime: record.time,
        quality: record.quality, stampedQuality: record.quality,
        isBacklog: record.isBacklog, source: start..<subject, subject: subject..<payload,
        payload: payload..<bytes.count))
  }

  /// What the request says of a record's time.
  mutating func stamp(_ record: Int, _ time: WallTime, _ quality: ClockQuality) {
    entries[record].stampedTime = time
    entries[record].stampedQuality = quality
  }

  /// Makes room for one more record of so many bytes, in a batch of `limit` bytes and `records` records
  /// at most, with `room` bytes of memory more at most; false: that is too little. Arrays double, as far
  /// as that goes.
  mutating func reserve(
    _ count: Int, upTo limit: Int, _ records: Int, room: inout Int
  ) -> Bool {
    let stride = MemoryLayout<Entry>.stride
    let before = memoryBytes
    let least = max(bytes.count + count, bytes.capacity)
    let leastEntries = max(entries.count + 1, entries.capacity)
    guard least + leastEntries * stride - before <= room else { return false }
    let doubled = max(least, min(2 * bytes.capacity, limit))
    let doubledEntries = max(leastEntries, min(max(2 * entries.capacity, 4), records))
    let fits = doubled + doubledEntries * stride - before <= room
    if least > bytes.capacity { bytes.reserveCapacity(fits ? doubled : least) }
    if leastEntries > entries.capacity {
      entries.reserveCapacity(fits ? doubledEntries : leastEntries)
    }
    room -= memoryBytes - before
    return true
  }

  /// The memory that it holds, in bytes.
  var memoryBytes: Int { bytes.capacity + entries.capacity * MemoryLayout<Entry>.stride }

  package mutating func removeAll(keepingCapacity: Bool = true) {
    bytes.removeAll(keepingCapacity: keepingCapacity)
    entries.removeAll(keepingCapacity: keepingCapacity)
  }

  /// Lends the source of one record.
  func withSource<R>(_ index: Int, _ body: (Span<UInt8>) -> R) -> R {
    body(bytes.span.extracting(entries[index].source))
  }

  /// Lends the subject of one record.
  func withSubject<R>(_ index: Int, _ body: (Span<UInt8>) -> R) -> R {
    body(bytes.span.extracting(entries[index].subject))
  }

  /// Lends the payload of one record.
  func withPayload<R>(_ index: Int, _ body: (Span<UInt8>) -> R) -> R {
    body(bytes.span.extracting(entries[index].payload))
  }
}

extension RecordBatch {
  /// Copies one record out, to be put aside.
  func copy(_ index: Int, into record: inout SpooledRecord) {
    let entry = entries[index]
    record.epoch = epoch
    record.sequence = entry.sequence
    record.time = entry.time
    record.quality = entry.quality
    record.isBacklog = entry.isBacklog
    record.source = Array(bytes[entry.source])
    record.subject = Array(bytes[entry.subject])
    record.payload = Array(bytes[entry.payload])
  }
}
