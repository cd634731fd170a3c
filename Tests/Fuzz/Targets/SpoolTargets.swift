import Primitives
import Spool
import TestSupport

extension FuzzTarget {
  /// Damage to a spool of three segments, as a list of strokes. It opens; what it delivers is right and
  /// in order; what is missing was hit, and is reported; and it works on.
  static let spoolDamage = FuzzTarget("spool-damage", longest: 96, seeds: damageSeeds) { bytes in
    var input = FuzzInput(bytes)
    let sample = SpoolSample.shared.value
    let disk = sample.disk.copy()
    for _ in 0..<8 where !input.isAtEnd { sample.strike(disk, &input) }
    try sample.check(disk)
  }

  /// Files that another program might have written: damage with checksums that are right. Nothing
  /// of it can be told from data, but it opens and reads to an end, in bounded memory.
  static let spoolForgery = FuzzTarget("spool-forgery", longest: 512, seeds: damageSeeds) { bytes in
    var input = FuzzInput(bytes)
    let sample = SpoolSample.shared.value
    let disk = sample.disk.copy()
    for _ in 0..<8 where !input.isAtEnd {
      sample.strike(disk, &input)
      for file in disk.names { disk.replace(file, SpoolForgery.resealed(disk.bytes(file), file)) }
    }
    try SpoolSample.use(disk)
    try SpoolSample.fill(disk)
  }

  private static func damageSeeds() -> [[UInt8]] {
    [
      [], [0, 0, 0, 40, 1], [1, 1, 0, 100], [3, 0, 0, 36, 7], [0, 0, 0, 60, 1, 1, 0, 0, 90, 2],
      [1, 3, 1, 0], [2, 4, 0, 32, 4], [0, 5, 0, 0, 2], [2, 6, 0, 50, 0, 200], [3, 2, 0, 0, 9],
      [1, 0, 0, 33, 3], [0, 7, 0, 0], [2, 0, 0, 32, 0, 0, 0, 5],
    ]
  }
}

/// A spool of small segments and what it holds.
private struct SpoolSample {
  /// Made once; every check takes a copy of its disk.
  struct Shared: @unchecked Sendable { let value: SpoolSample }
  static let shared = Shared(value: SpoolSample())

  static let streams = [
    SpoolStream(name: "alarm", logClass: 0, durability: .sync),
    SpoolStream(name: "state", logClass: 2, durability: .spill),
  ]
  static let limits = SpoolLimits(
    segmentBytes: 4_096, totalBytes: 1 << 16, freeFloorBytes: 0, commitBytes: 1_024)
  static let clocks = Clocks(
    now: Instant(nanoseconds: 1_000_000_000_000),
    wall: WallTime(nanoseconds: 1_000_000_000_000_000), quality: .synced)

  let disk = CrashingDisk()
  /// By stream: payloads, number 1 first.
  private(set) var payloads: [[[UInt8]]] = [[], []]
  private let epoch: UInt64

  init() {
    var spool = Self.open(disk, seed: 1)
    while disk.names.count < 4 || payloads[1].count < 40 {
      for stream in [0, 1, 0] {
        let payload = Self.payload(payloads[stream].count)
        payloads[stream].append(payload)
        Self.append(&spool, stream, payload)
      }
      spool.commit(clocks: Self.clocks)
    }
    spool.close(clocks: Self.clocks)
    epoch = spool.epoch
  }

  static func open(
    _ disk: CrashingDisk, seed: UInt64, limits: SpoolLimits = limits
  ) -> Spool<CrashingStorage> {
    Spool(
      opening: CrashingStorage(disk), limits: limits, streams: streams, seed: seed, clocks: clocks)
  }

  static func payload(_ index: Int) -> [UInt8] {
    (0..<60).map { UInt8(truncatingIfNeeded: $0 * 7 + index) }
  }

  @discardableResult
  static func append(
    _ spool: inout Spool<CrashingStorage>, _ stream: Int, _ payload: [UInt8]
  ) -> AppendOutcome {
    let source = ascii("ecu")
    let subject = ascii("a/b")
    return spool.append(
      stream: stream, time: clocks.wall, quality: .synced, source: source.span,
      subject: subject.span, token: 0, payload: payload.span, now: clocks.now)
  }

  /// One stroke: a file, a kind, a place, and what the kind needs.
  func strike(_ disk: CrashingDisk, _ input: inout FuzzInput) {
    let names = disk.names
    guard !names.isEmpty else { return }
    let file = names[input.below(names.count)]
    var bytes = disk.bytes(file)
    let kind = input.below(8)
    let place = input.number16() % max(bytes.count, 1)
    switch kind {
    case 0: if !bytes.isEmpty { bytes[place] ^= max(input.byte(), 1) }
    case 1: bytes.removeLast(bytes.count - place)
    case 2: bytes.insert(contentsOf: input.piece(Int(input.byte())), at: place)
    case 3: bytes.removeSubrange(place..<min(place + Int(input.byte()), bytes.count))
    case 4:
      let other = disk.bytes(names[input.below(names.count)])
      let start = input.number16() % max(other.count, 1)
      let part = other[start..<min(start + 600, other.count)]
      bytes.replaceSubrange(place..<min(place + part.count, bytes.count), with: part)
    case 5: disk.delete(file)
    case 6:
      for index in place..<min(place + 4 * Int(input.byte()), bytes.count) { bytes[index] = 0 }
    default:
      // A file that comes from elsewhere; as a thinned one, with a header that says so or not.
      let number = UInt32(input.below(8))
      let logClass = UInt8(input.below(5))
      let level = UInt8(input.below(4))
      if level > 0, input.below(2) == 0, bytes.count > 11 {
        bytes[10] = input.byte()
        bytes[11] = level << 6
      }
      disk.replace(.segment(logClass: logClass, number: number, level: level), bytes)
      return
    }
    if kind != 5 { disk.replace(file, bytes) }
  }

  /// Reads everything; each record is right, in order, and no more than once; whatever is missing is
  /// covered by a report; the next start finds the same.
  func check(_ disk: CrashingDisk) throws {
    // Without the cursor nothing tells which numbers of a `spill` stream were ever written, nor what was
    // cut off at the end of a log.
    let hasCursor = disk.names.contains(.cursor) && disk.bytes(.cursor) == self.disk.bytes(.cursor)
    // A damaged cursor, or a copy of a segment elsewhere, may let a record come again: under its own
    // number, which is how the upstream tells.
    var spool = Self.open(disk, seed: 99)
    var delivered: [[UInt64]] = [[], []]
    for stream in 0...1 {
      var record = SpooledRecord()
      while spool.next(stream: stream, into: &record, clocks: Self.clocks) {
        let index = Int(clamping: record.sequence) - 1
        try require(
          record.epoch == epoch && payloads[stream].indices.contains(index)
            && record.payload == payloads[stream][index], "a wrong record \(stream)/\(index + 1)")
        try require(
          record.sequence > delivered[stream].last ?? 0, "out of order: \(stream)/\(index + 1)")
        delivered[stream].append(record.sequence)
      }
    }
    let gaps = Self.gaps(&spool)
    for stream in 0...1 {
      let missing = (1...UInt64(payloads[stream].count)).filter { !delivered[stream].contains($0) }
      for number in missing {
        let isReported = gaps.contains {
          $0.streamIndex == stream && $0.first <= number && number <= $0.last
        }
        try require(
          isReported || !hasCursor && (stream == 1 || number > delivered[stream].last ?? 0),
          "lost without a report: \(stream)/\(number)")
      }
    }
    try Self.workOn(&spool)
    spool.close(clocks: Self.clocks)
    try Self.use(disk)
  }

  private static func gaps(_ spool: inout Spool<CrashingStorage>) -> [GapReport] {
    var gaps: [GapReport] = []
    while let report = spool.nextReport() { if case .gap(let gap) = report { gaps.append(gap) } }
    return gaps
  }

  /// Whatever the disk holds: it opens, reads to an end, settles, takes a record that comes out, and
  /// does so once more.
  static func use(_ disk: CrashingDisk) throws {
    for seed in [7, 8] as [UInt64] {
      var spool = open(disk, seed: seed)
      var read = 0
      for stream in 0..<2 {
        var record = SpooledRecord()
        while spool.next(stream: stream, into: &record, clocks: clocks) {
          read += 1
          try require(read <= 100_000, "records without an end")
          if record.sequence % 2 == 0 {
            spool.acknowledge(stream: stream, sequence: record.sequence, now: clocks.now)
          }
        }
      }
      _ = gaps(&spool)
      try require(spool.memoryBytes <= 24 << 20, "\(spool.memoryBytes) bytes of memory")
      try workOn(&spool)
      spool.commit(clocks: clocks)
      spool.close(clocks: clocks)
      try require(
        disk.totalBytes <= limits.totalBytes + UInt64(limits.segmentBytes) * 64,
        "\(disk.totalBytes) bytes on disk")
    }
  }

  /// Records are taken until those that are there are thinned with them; what is left comes to an end.
  static func fill(_ disk: CrashingDisk) throws {
    var tight = limits
    tight.totalBytes = UInt64(limits.segmentBytes) * 9
    tight.isThinning = true
    var spool = open(disk, seed: 9, limits: tight)
    for number in 0..<600 {
      append(&spool, 1, payload(number))
      if number % 40 == 39 { spool.commit(clocks: clocks) }
    }
    var read = 0
    var record = SpooledRecord()
    for stream in 0...1 {
      while spool.next(stream: stream, into: &record, clocks: clocks) {
        read += 1
        try require(read <= 100_000, "records without an end")
        spool.acknowledge(stream: stream, sequence: record.sequence, now: clocks.now)
      }
      let left = spool.backlog(stream: stream).records
      try require(left == 0, "\(left) records of stream \(stream) do not come out")
    }
    spool.close(clocks: clocks)
  }

  /// A new record is taken and comes out.
  private static func workOn(_ spool: inout Spool<CrashingStorage>) throws {
    for stream in 0...1 {
      let outcome = append(&spool, stream, [1, 2, 3])
      guard case .taken(let sequence) = outcome else {
        throw Violation(description: "a record was not taken: \(outcome)")
      }
      spool.commit(clocks: clocks)
      var record = SpooledRecord()
      let isThere = spool.next(stream: stream, into: &record, clocks: clocks)
      try require(isThere, "a new record does not come out of stream \(stream)")
      try requireEqual(record.sequence, sequence, "the new record's number")
      try requireEqual(record.payload, [1, 2, 3], "the new record")
    }
  }
}
