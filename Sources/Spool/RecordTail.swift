import Primitives

/// A record that is not on disk, or not known to be.
struct TailEntry {
  enum State: UInt8 {
    /// In memory only.
    case waiting
    /// In a file that is not synced yet.
    case written
    /// On disk, delivered or dropped: its bytes go when those before it have gone.
    case gone
  }

  var stream: Int
  var sequence: UInt64
  var epoch: UInt64
  var time: Int64
  var token: UInt64
  var appended: Instant
  var offset = 0
  var sourceBytes: Int
  var subjectBytes: Int
  var payloadBytes: Int
  var quality: ClockQuality
  var isSync: Bool
  var state = State.waiting

  var bytes: Int { sourceBytes + subjectBytes + payloadBytes }
}

/// The records of one class that are not on disk, oldest first, in memory that is used again.
/// Places are absolute: they count from the first record ever, so that they outlive the removal of
/// older ones.
struct RecordTail {
  /// What an entry costs besides its bytes.
  static let entryBytes = 96

  private var entries: [TailEntry] = []
  private var bytes: [UInt8] = []
  private var head = 0
  /// The absolute place of `entries[0]`.
  private var base: UInt64 = 0
  /// Entries that wait, and those of `sync` streams among them.
  private(set) var waiting = 0
  private(set) var waitingSync = 0
  private(set) var waitingBytes = 0

  var first: UInt64 { base + UInt64(head) }
  var end: UInt64 { base + UInt64(entries.count) }
  var isEmpty: Bool { head == entries.count }
  /// Bytes of the entries that have not gone, their bookkeeping included.
  private(set) var liveBytes = 0
  /// What the arrays hold: `collect` keeps it below twice the above.
  private var heldBytes: Int { bytes.count + entries.count * Self.entryBytes }
  /// The memory of both arrays.
  var memory: Int { bytes.capacity + entries.capacity * MemoryLayout<TailEntry>.stride }

  subscript(place: UInt64) -> TailEntry { entries[Int(place - base)] }

  mutating func append(
    _ entry: TailEntry, source: Span<UInt8>, subject: Span<UInt8>, payload: Span<UInt8>
  ) {
    var entry = entry
    entry.offset = bytes.count
    makeRoom(for: entry.bytes)
    bytes.append(contentsOf: source)
    bytes.append(contentsOf: subject)
    bytes.append(contentsOf: payload)
    entries.append(entry)
    liveBytes += entry.bytes + Self.entryBytes
    count(entry, by: 1)
  }

  mutating func setState(_ state: TailEntry.State, at place: UInt64) {
    let index = Int(place - base)
    if entries[index].state == .waiting { count(entries[index], by: -1) }
    entries[index].state = state
    if state == .gone { liveBytes -= entries[index].bytes + Self.entryBytes }
    if state == .waiting { count(entries[index], by: 1) }
  }

  private mutating func count(_ entry: TailEntry, by change: Int) {
    waiting += change
    waitingBytes += change * entry.bytes
    if entry.isSync { waitingSync += change }
  }

  func encode(_ place: UInt64, wall: Int64, into builder: inout FrameBuilder) {
    let entry = entries[Int(place - base)]
    let parts = parts(entry)
    let span = bytes.span
    builder.append(
      entry, wall: wall, source: span.extracting(parts.source),
      subject: span.extracting(parts.subject), payload: span.extracting(parts.payload))
  }

  func copy(_ place: UInt64, into record: inout SpooledRecord) {
    let entry = entries[Int(place - base)]
    let parts = parts(entry)
    record.fill(
      bytes.span, source: parts.source, subject: parts.subject, payload: parts.payload)
    record.epoch = entry.epoch
    record.sequence = entry.sequence
    record.time = WallTime(nanoseconds: entry.time)
    record.quality = entry.quality
    record.token = entry.token
    record.isBacklog = false
    record.waitingSince = entry.appended
  }

  private func parts(
    _ entry: TailEntry
  ) -> (source: Range<Int>, subject: Range<Int>, payload: Range<Int>) {
    let subjectAt = entry.offset + entry.sourceBytes
    let payloadAt = subjectAt + entry.subjectBytes
    return (
      entry.offset..<subjectAt, subjectAt..<payloadAt,
      payloadAt..<(payloadAt + entry.payloadBytes)
    )
  }

  /// When the oldest waiting entry was appended.
  func oldestWaiting(isSync: Bool) -> Instant? {
    guard isSync ? waitingSync > 0 : waiting > waitingSync else { return nil }
    for index in head..<entries.count
    where entries[index].state == .waiting && entries[index].isSync == isSync {
      return entries[index].appended
    }
    return nil
  }

  /// Whether a `spill` record of this epoch is not on disk yet.
  func holds(epoch: UInt64) -> Bool {
    entries[head...].contains { $0.epoch == epoch && !$0.isSync && $0.state != .gone }
  }

  /// Gives back the memory of what has gone, when it is worth moving the rest.
  mutating func collect() {
    if isMutated(.keepMemory) { return }
    while head < entries.count, entries[head].state == .gone { head += 1 }
    if head == entries.count {
      base += UInt64(entries.count)
      entries.removeAll(keepingCapacity: true)
      bytes.removeAll(keepingCapacity: true)
      head = 0
    } else if heldBytes > 2 * liveBytes + Self.slackBytes {
      compact()
    }
  }

  private static let slackBytes = 4 << 10

  /// Arrays double when they are full; large ones here grow by pieces, to stay close to what they hold.
  private mutating func makeRoom(for count: Int) {
    if bytes.count + count > bytes.capacity, bytes.capacity >= Self.doublingMax {
      bytes.reserveCapacity(bytes.count + count + Self.pieceBytes)
    }
    let stride = MemoryLayout<TailEntry>.stride
    if entries.count == entries.capacity, entries.capacity * stride >= Self.doublingMax {
      entries.reserveCapacity(entries.count + Self.pieceBytes / stride)
    }
  }

  private static let doublingMax = 64 << 10
  /// What `makeRoom` adds to each array at most.
  static let pieceBytes = 16 << 10

  /// Gives the memory back that is not needed for what is there.
  mutating func shrink() {
    if isMutated(.keepMemory) { return }
    collect()
    guard memory > liveBytes + liveBytes / 4 + Self.slackBytes else { return }
    if heldBytes > liveBytes { compact() }
    let former = (bytes: bytes, entries: entries)
    bytes = []
    entries = []
    bytes.reserveCapacity(former.bytes.count)
    bytes.append(contentsOf: former.bytes)
    entries.reserveCapacity(former.entries.count)
    entries.append(contentsOf: former.entries)
  }

  /// Closes the holes that entries which have gone leave between those that have not.
  private mutating func compact() {
    var kept = 0
    var end = 0
    for index in head..<entries.count where entries[index].state != .gone {
      var entry = entries[index]
      for offset in 0..<entry.bytes { bytes[end + offset] = bytes[entry.offset + offset] }
      entry.offset = end
      end += entry.bytes
      entries[kept] = entry
      kept += 1
    }
    // Places only grow: a hint that was right points at or before where its entry is now.
    base += UInt64(entries.count - kept)
    entries.removeLast(entries.count - kept)
    bytes.removeLast(bytes.count - end)
    head = 0
  }
}
