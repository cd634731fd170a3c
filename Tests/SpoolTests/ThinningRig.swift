import Primitives
import TestSupport
import Testing

@testable import Spool

/// A spool that thins, an account of what it took, and of what it says and delivers.
final class ThinningRig {
  let rig: Rig
  /// By stream: the payloads of the records that it took, number 1 first.
  var payloads: [[[UInt8]]]
  /// By stream: what was delivered, in this order, and how many records gap reports have counted.
  var delivered: [[UInt64]]
  var counted: [UInt64]
  var gaps: [GapReport] = []

  static let streams = [
    SpoolStream(name: "alarm", logClass: 0, durability: .sync),
    SpoolStream(name: "state", logClass: 2, durability: .spill),
    SpoolStream(name: "track", logClass: 2, durability: .sync),
    SpoolStream(name: "bulk", logClass: 3, durability: .spill),
  ]

  /// Some 20 segments beside the cursor.
  static func limits(_ bytes: UInt64 = 128 << 10) -> SpoolLimits {
    var limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: bytes, freeFloorBytes: 0, commitBytes: 1024)
    limits.isThinning = true
    return limits
  }

  init(
    _ disk: CrashingDisk = CrashingDisk(), limits: SpoolLimits = ThinningRig.limits(),
    streams: [SpoolStream] = ThinningRig.streams, seed: UInt64 = 1
  ) {
    rig = Rig(disk, streams: streams, limits: limits, seed: seed)
    payloads = Array(repeating: [], count: streams.count)
    delivered = Array(repeating: [], count: streams.count)
    counted = Array(repeating: 0, count: streams.count)
  }

  /// The spool of another one, on a disk of its own, after a crash.
  init(after other: ThinningRig, on disk: CrashingDisk) {
    rig = Rig(disk, streams: other.rig.streams, limits: other.rig.limits, seed: 99)
    payloads = other.payloads
    delivered = other.delivered
    counted = other.counted
    gaps = other.gaps
  }

  var levels: [UInt8] { rig.spool.segments().filter { $0.isTelemetry }.map(\.level) }
  var disk: CrashingDisk { rig.disk }

  func append(_ stream: Int, bytes: Int = 100) {
    let payload = Rig.payload(payloads[stream].count * 4 + stream, bytes)
    // A disk that fails refuses what must be on it.
    guard case .taken(let sequence) = rig.append(stream, payload) else { return }
    payloads[stream].append(payload)
    if sequence != UInt64(payloads[stream].count) { Issue.record("another number: \(sequence)") }
  }

  /// So many records of the telemetry streams, one of `track` for four of `state`.
  func fill(_ count: Int, bytes: Int = 100) {
    for index in 0..<count {
      append(index % 5 == 4 ? 2 : 1, bytes: bytes)
      if index % 8 == 7 { turn() }
    }
    turn()
  }

  /// A turn of the loop, some time after the last.
  func turn() {
    rig.wait(.seconds(31))
    rig.turn()
    note()
  }

  func note() {
    for gap in rig.gaps() {
      if gap.count == 0 || gap.count > gap.last - gap.first + 1 { Issue.record("strange: \(gap)") }
      gaps.append(gap)
      // Numbers that were reserved, and given to no record.
      if gap.reason == .memory, gap.isUpperBound { continue }
      if let stream = gap.streamIndex { counted[stream] += gap.count }
    }
  }

  /// Reads up to so many records of a stream.
  func read(_ stream: Int, _ most: Int = .max, acknowledge: Bool = true) {
    var count = 0
    while count < most, let record = rig.next(stream) {
      count += 1
      let place = Int(record.sequence) - 1
      if !payloads[stream].indices.contains(place) || payloads[stream][place] != record.payload {
        Issue.record("\(stream)/\(record.sequence) has the wrong payload")
      }
      if let last = delivered[stream].last, last >= record.sequence {
        Issue.record("\(stream)/\(record.sequence) comes behind \(last)")
      }
      delivered[stream].append(record.sequence)
      if acknowledge { rig.acknowledge(stream, record.sequence) }
    }
    note()
  }

  func readAll() { for stream in payloads.indices { read(stream) } }

  /// Every record was delivered or counted, once, and nothing waits.
  func expectExact(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
    note()
    for stream in payloads.indices {
      #expect(
        UInt64(delivered[stream].count) + counted[stream] == UInt64(payloads[stream].count),
        comment, sourceLocation: sourceLocation)
    }
    expectNothingWaits(comment, sourceLocation: sourceLocation)
    #expect(disk.mostBytes <= rig.limits.totalBytes, comment, sourceLocation: sourceLocation)
  }

  func expectNothingWaits(
    _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for stream in payloads.indices {
      #expect(rig.backlog(stream) == (0, 0), comment, sourceLocation: sourceLocation)
    }
  }

  /// Every number that was safe is delivered or named.
  func expectNamed(
    _ safe: [UInt64], _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for stream in payloads.indices {
      var isKnown = [Bool](repeating: false, count: Int(safe[stream]))
      for number in delivered[stream] where number <= safe[stream] {
        isKnown[Int(number) - 1] = true
      }
      for gap in gaps where gap.streamIndex == stream && gap.first <= safe[stream] {
        for number in gap.first...min(gap.last, safe[stream]) { isKnown[Int(number) - 1] = true }
      }
      let lost = isKnown.firstIndex(of: false).map { $0 + 1 }
      #expect(lost == nil, comment, sourceLocation: sourceLocation)
    }
    #expect(disk.mostBytes <= rig.limits.totalBytes, comment, sourceLocation: sourceLocation)
  }

  /// No range of settled numbers for each record.
  func expectFewRanges(_ most: Int, sourceLocation: SourceLocation = #_sourceLocation) {
    for stream in rig.spool.streams {
      #expect(stream.settled.ranges.count <= most, sourceLocation: sourceLocation)
    }
  }
}

extension SegmentDescription {
  var isTelemetry: Bool {
    if case .segment(2, _, _) = file { return true }
    return false
  }
}
