import Primitives
import TestSupport
import Testing

@testable import Spool

/// What the simulator found where there is no room: in memory, or on the disk.
@Suite("Found by the simulator, when full")
struct FoundWhenFullTests {
  /// Seed 30630: each report of a lost record became a record that pushed out the next, without an end.
  @Test("what a full memory drops is told when there is room again, in few reports")
  func reportsWaitForRoom() throws {
    let rig = Rig.withoutRoom()
    // Each report is made a record at once, as the gateway does.
    for number in 0..<100 {
      rig.append(1, Rig.payload(number, 200))
      for report in 0..<10 {
        guard rig.hasNextToStore() else { break }
        try #require(report < 9, "reports make reports")
        rig.append(1, Rig.payload(number, 200))
      }
    }
    #expect(rig.statistics.isDegraded)
    #expect(!rig.hasNextToStore())
    rig.disk.failing = [:]
    rig.wait(.seconds(60))
    rig.turn()
    #expect(!rig.statistics.isDegraded)
    // One for each epoch: the second begins where the reserved numbers end.
    let gaps = rig.gaps()
    #expect(gaps.map(\.reason) == [.memory, .memory])
    let (first, second) = (try #require(gaps.first), try #require(gaps.last))
    #expect(first.first == 2 && second.first == first.last + 1)
    let kept = rig.readAll(1).map(\.sequence)
    #expect(kept == [1] + Array((second.last + 1)...(second.last + UInt64(kept.count) - 1)))
  }

  @Test(
    "what a full memory dropped is told when delivery has made room, though the disk is still away")
  func reportsOfADeadDisk() {
    let rig = Rig.withoutRoom()
    rig.appendMany(1, 50, bytes: 200)
    #expect(rig.hasNextToStore(), "that the disk is away")
    #expect(!rig.hasNextToStore())
    _ = rig.readAll(1, acknowledge: true)
    #expect(rig.statistics.isDegraded)
    #expect(rig.hasNextToStore())
  }

  /// Seed 30346: the file was not counted any more, and the spool took more than its size.
  @Test(
    "dead letters whose sync failed count in the size, also when the directory was opened anew")
  func deadLettersCount() {
    let rig = Rig()
    rig.appendMany(0, 10)
    rig.commit()
    for record in rig.readAll(0).prefix(5) { rig.park(0, record.sequence, 400) }
    rig.disk.failing = [.sync: .failed(5)]
    rig.park(0, 6, 400)
    rig.disk.failing = [:]
    #expect(rig.disk.bytes(.deadLetter).count > 500)
    #expect(rig.spool.deadLetters.bytes == UInt64(rig.disk.bytes(.deadLetter).count))
    let isReopened = rig.spool.reopen(streams: rig.streams, clocks: rig.clocks)
    #expect(isReopened)
    let counted = rig.spool.deadLetters.bytes
    #expect(counted == UInt64(rig.disk.bytes(.deadLetter).count))
    // The next one begins a new file.
    _ = rig.readAll(0)
    rig.park(0, 7, 400)
    #expect(rig.disk.bytes(.deadLetter).count < 500)
  }

  /// Seeds 25485 and 28253: nobody knew of it any more, and the spool took more than its size.
  @Test("a segment whose sync and removal failed counts until it can be removed")
  func leftSegment() {
    let rig = Rig()
    rig.disk.refusesSegmentSyncs = true
    rig.disk.failing = [.remove: .failed(5)]
    rig.appendMany(0, 3)
    rig.commit()
    #expect(rig.statistics.isDegraded)
    #expect(rig.statistics.segments == rig.segmentFiles && rig.segmentFiles > 0)
    rig.disk.refusesSegmentSyncs = false
    rig.disk.failing = [:]
    rig.wait(.seconds(60))
    rig.turn()
    #expect(!rig.statistics.isDegraded)
    #expect(rig.segmentFiles == 1)
    #expect(rig.readAll(0).map(\.sequence) == [1, 2, 3])
  }

  @Test("a new cursor whose sync and removal failed goes before the old one is made anew")
  func leftCursor() {
    let limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: 100 << 10, freeFloorBytes: 0, commitBytes: 1024,
      tailBytesMax: 100 << 10)
    let rig = Rig(limits: limits)
    rig.appendMany(1, 1)
    rig.commit()
    rig.disk.failing = [.sync: .failed(5), .remove: .failed(5)]
    for _ in 0..<2 { rig.close() }
    rig.commit()
    #expect(rig.disk.names.contains(.newCursor))
    rig.appendMany(1, 400)
    rig.disk.failing = [:]
    rig.commit()
    #expect(!rig.statistics.isDegraded)
    #expect(!rig.disk.names.contains(.newCursor))
  }
}

extension Rig {
  /// With one record on a disk that takes no writes any more, and little memory.
  fileprivate static func withoutRoom() -> Rig {
    var limits = Rig.smallLimits
    limits.tailBytesMax = 4096
    let rig = Rig(limits: limits)
    rig.appendMany(1, 1)
    rig.commit()
    rig.disk.failing = [.write: .failed(5)]
    return rig
  }

  fileprivate var segmentFiles: Int {
    disk.names.filter { if case .segment = $0 { true } else { false } }.count
  }

  /// Whether the spool has something to tell to one who makes records of it; it has told it then.
  fileprivate func hasNextToStore() -> Bool { spool.nextReport(storing: true) != nil }
}
