import Primitives
import TestSupport

@testable import Spool

/// A spool on a crashing disk, with a clock that the test moves.
final class Rig {
  let disk: CrashingDisk
  var spool: Spool<CrashingStorage>
  var clocks: Clocks
  var streams: [SpoolStream]
  let limits: SpoolLimits
  private var opened: UInt64 = 0

  static let defaultStreams = [
    SpoolStream(name: "alarm", logClass: 0, durability: .sync),
    SpoolStream(name: "state", logClass: 2, durability: .spill),
  ]

  /// Small segments, so that tests roll over.
  static let smallLimits = SpoolLimits(
    segmentBytes: 4096, totalBytes: 1 << 20, freeFloorBytes: 0, commitBytes: 1024)

  init(
    _ disk: CrashingDisk = CrashingDisk(), streams: [SpoolStream] = Rig.defaultStreams,
    limits: SpoolLimits = Rig.smallLimits, seed: UInt64 = 1, at seconds: Int64 = 1_000_000
  ) {
    self.disk = disk
    self.streams = streams
    self.limits = limits
    clocks = Clocks(
      now: Instant(nanoseconds: UInt64(seconds) * 1_000_000_000),
      wall: WallTime(nanoseconds: seconds * 1_000_000_000), quality: .synced)
    spool = Spool(
      opening: CrashingStorage(disk), limits: limits, streams: streams, seed: seed, clocks: clocks)
  }

  func wait(_ interval: Interval) {
    clocks.now = clocks.now + interval
    clocks.wall.nanoseconds += interval.nanoseconds
  }

  /// Starts again on the same disk.
  func reopen(streams: [SpoolStream]? = nil, seed: UInt64? = nil) {
    opened += 1
    if let streams { self.streams = streams }
    spool = Spool(
      opening: CrashingStorage(disk), limits: limits, streams: self.streams,
      seed: seed ?? 1000 + opened, clocks: clocks)
  }

  @discardableResult
  func append(
    _ stream: Int, _ payload: [UInt8], source: String = "ecu", subject: String = "",
    token: UInt64 = 0
  ) -> AppendOutcome {
    spool.append(
      stream: stream, time: clocks.wall, quality: clocks.quality, source: Array(source.utf8).span,
      subject: Array(subject.utf8).span, token: token, payload: payload.span, now: clocks.now)
  }

  func appendMany(_ stream: Int, _ count: Int, bytes: Int = 100) {
    for index in 0..<count { append(stream, Rig.payload(index, bytes)) }
  }

  static func payload(_ index: Int, _ bytes: Int) -> [UInt8] {
    var payload = Array("\(index):".utf8)
    while payload.count < bytes { payload.append(UInt8(truncatingIfNeeded: payload.count + index)) }
    return payload
  }

  /// Where the frames of a segment begin, its seal among them.
  func frames(_ file: StorageFile) -> [Int] {
    let (bytes, magic) = (disk.bytes(file), Array("SpFr".utf8))
    return bytes.indices.filter { bytes[$0...].starts(with: magic) }
  }

  /// Turns a bit of the file over.
  func flip(_ file: StorageFile, at place: Int) {
    var bytes = disk.bytes(file)
    bytes[place] ^= 1
    disk.replace(file, bytes)
  }

  func next(_ stream: Int) -> SpooledRecord? {
    var record = SpooledRecord()
    return spool.next(stream: stream, into: &record, clocks: clocks) ? record : nil
  }

  func readAll(_ stream: Int, acknowledge: Bool = false) -> [SpooledRecord] {
    var records: [SpooledRecord] = []
    while let record = next(stream) {
      records.append(record)
      if acknowledge {
        spool.acknowledge(stream: stream, sequence: record.sequence, now: clocks.now)
      }
    }
    return records
  }

  func reports() -> [SpoolReport] {
    var reports: [SpoolReport] = []
    while let report = spool.nextReport() { reports.append(report) }
    spool.confirmGaps(through: spool.gapsTold)
    return reports
  }

  func gaps() -> [GapReport] {
    reports().compactMap { if case .gap(let gap) = $0 { gap } else { nil } }
  }

  func isSafe(_ stream: Int, _ sequence: UInt64) -> Bool {
    spool.isSafe(stream: stream, sequence: sequence)
  }
  func backlog(_ stream: Int) -> (records: UInt64, bytes: UInt64) {
    spool.backlog(stream: stream)
  }
  @discardableResult
  func park(_ stream: Int, _ sequence: UInt64, _ status: UInt16) -> Bool {
    var record = SpooledRecord()
    record.sequence = sequence
    record.epoch = spool.epoch
    record.payload = Rig.payload(Int(sequence), 100)
    return spool.park(stream: stream, record: record, status: status, clocks: clocks)
  }
  func acknowledge(_ stream: Int, _ sequence: UInt64) {
    spool.acknowledge(stream: stream, sequence: sequence, now: clocks.now)
  }
  var statistics: SpoolStatistics { spool.statistics }
  var streamCount: Int { spool.streamCount }
  func streamName(_ stream: Int) -> ByteString { spool.streamName(stream) }
  var epoch: UInt64 { spool.epoch }
  var deadline: Instant? { spool.nextDeadline() }
  func close() { spool.close(clocks: clocks) }
  func commit() { spool.commit(clocks: clocks) }
  func turn() { spool.commitIfDue(clocks: clocks) }
}
