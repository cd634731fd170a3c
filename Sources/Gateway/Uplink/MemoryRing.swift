import Configuration
import Primitives
import Spool

/// The records of a `durability = "memory"` stream that nobody has read yet: the newest ones that
/// fit, in memory of fixed size, never on disk. A record that is read leaves the ring; whoever read it
/// has the only one.
struct MemoryRing {
  /// A record, and where its bytes begin: source, subject and payload one behind the other, going on
  /// at the start of the storage behind its end.
  struct Entry {
    var sequence: UInt64
    var time: WallTime
    var quality: ClockQuality
    var taken: Instant
    var offset: Int
    var sourceBytes: Int
    var subjectBytes: Int
    var payloadBytes: Int

    var bytes: Int { sourceBytes + subjectBytes + payloadBytes }
  }

  /// Bytes of sources, subjects and payloads: two of the largest records.
  static let bytesMax = MemoryNeeds.ringBytes
  static let recordsMax = MemoryNeeds.ringRecords
  /// What a ring takes, in bytes.
  static let memoryBytes = bytesMax + recordsMax * MemoryLayout<Entry?>.stride

  /// Each run has an epoch of its own: no number of an earlier one is known any more.
  let epoch: UInt64
  private var entries = FixedQueue<Entry>(capacity: recordsMax)
  private var bytes: [UInt8]
  private var end = 0
  private var used = 0
  private(set) var assigned: UInt64 = 0
  private(set) var payloadBytes: UInt64 = 0

  init(epoch: UInt64) {
    self.epoch = epoch
    bytes = Array(repeating: 0, count: Self.bytesMax)
  }

  var count: Int { entries.count }

  func hasRoom(for bytes: Int) -> Bool { !entries.isFull && used + bytes <= Self.bytesMax }

  /// Takes a record; there must be room.
  mutating func append(
    time: WallTime, quality: ClockQuality, source: Span<UInt8>, subject: Span<UInt8>,
    payload: Span<UInt8>, now: Instant
  ) -> UInt64 {
    let entry = Entry(
      sequence: assigned + 1, time: time, quality: quality, taken: now, offset: end,
      sourceBytes: source.count, subjectBytes: subject.count, payloadBytes: payload.count)
    precondition(hasRoom(for: entry.bytes) && entries.append(entry), "MemoryRing: no room")
    assigned += 1
    write(source)
    write(subject)
    write(payload)
    used += entry.bytes
    payloadBytes += UInt64(entry.payloadBytes)
    return assigned
  }

  /// The oldest record leaves for another one.
  mutating func dropOldest() -> Entry? {
    guard let entry = entries.popFirst() else { return nil }
    used -= entry.bytes
    payloadBytes -= UInt64(entry.payloadBytes)
    return entry
  }

  /// The length of the oldest record.
  var firstBytes: Int? { entries.first?.bytes }

  /// Takes the oldest record out.
  mutating func next(into record: inout SpooledRecord) -> Bool {
    guard let entry = dropOldest() else { return false }
    record.epoch = epoch
    record.sequence = entry.sequence
    record.time = entry.time
    record.quality = entry.quality
    record.waitingSince = entry.taken
    record.token = 0
    record.isBacklog = false
    record.makeRoom(
      source: entry.sourceBytes, subject: entry.subjectBytes, payload: entry.payloadBytes)
    var place = entry.offset
    read(entry.sourceBytes, at: &place, into: &record.source)
    read(entry.subjectBytes, at: &place, into: &record.subject)
    read(entry.payloadBytes, at: &place, into: &record.payload)
    return true
  }

  private mutating func write(_ part: Span<UInt8>) {
    let whole = min(part.count, Self.bytesMax - end)
    bytes.replace(from: end, with: part.extracting(first: whole))
    bytes.replace(from: 0, with: part.extracting(droppingFirst: whole))
    end = (end + part.count) % Self.bytesMax
  }

  private func read(_ count: Int, at place: inout Int, into part: inout [UInt8]) {
    let whole = min(count, Self.bytesMax - place)
    let span = bytes.span
    part.append(contentsOf: span.extracting(place..<(place + whole)))
    part.append(contentsOf: span.extracting(0..<(count - whole)))
    place = (place + count) % Self.bytesMax
  }
}
