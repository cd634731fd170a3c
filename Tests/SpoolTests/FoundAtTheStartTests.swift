import Primitives
import TestSupport
import Testing

@testable import Spool

/// What the simulator found in starts, and in what they find of the run before.
@Suite("Found by the simulator at the start")
struct FoundAtTheStartTests {
  @Test("what a start reads and cannot sync waits for a cursor that knows its numbers: seed 3990")
  func unsyncedStart() {
    var operation = 0
    var wasHeld = false
    while true {
      operation += 1
      let rig = Rig()
      rig.appendMany(0, 3)
      rig.close()
      rig.reopen()
      rig.disk.freeze(at: rig.disk.operations + operation, isPowerCut: false)
      rig.append(0, [4])
      rig.commit()
      guard rig.disk.isFrozen else { break }
      rig.disk.kill()
      rig.disk.failing = [.sync: .failed(5)]
      rig.reopen()
      var given: [String: [UInt8]] = [:]
      func take() {
        for record in rig.readAll(0) {
          given["\(record.epoch)-\(record.sequence)"] = record.payload
        }
      }
      take()
      rig.turn()
      take()
      #expect(given.count == 3, "operation \(operation)")
      let isHeld = rig.backlog(0).records == 4
      wasHeld = wasHeld || isHeld
      for seed in UInt64(0)..<8 {
        let copy = CrashingDisk(rig.disk)
        var random = SplitMix64(seed: seed)
        copy.cutPower(&random)
        let next = Rig(copy, seed: 77)
        next.append(0, [0xFF])
        next.commit()
        for record in next.readAll(0) {
          let before = given["\(record.epoch)-\(record.sequence)"]
          #expect(
            before == nil || before == record.payload, "operation \(operation), power \(seed)")
        }
      }
      // A disk that never takes a cursor gives up what it holds all the same.
      let deadline = rig.clocks.now + .seconds(180)
      while rig.clocks.now < deadline {
        rig.wait(rig.deadline.map { max(.zero, $0 - rig.clocks.now) } ?? .seconds(180))
        rig.turn()
      }
      take()
      #expect(given.count == (isHeld ? 4 : 3), "operation \(operation)")
    }
    #expect(wasHeld)
  }

  @Test("a segment that holds nothing hides no damaged end: seed 117", arguments: [false, true])
  func damagedEndBeforeNothing(hasHeader: Bool) {
    let rig = Rig()
    rig.appendMany(0, 2)
    rig.close()
    rig.reopen()
    rig.wait(.seconds(1))
    var time: [UInt8] = []
    time.appendLittleEndian(UInt64(rig.clocks.wall.nanoseconds))
    rig.append(0, [3])
    rig.commit()
    #expect(rig.readAll(0).map(\.sequence) == [1, 2, 3])
    let epoch = rig.epoch
    rig.disk.kill()
    rig.disk.overturn(time)
    let header = SegmentHeader(logClass: 0, number: 2, epoch: epoch, salt: 7)
    var bytes: [UInt8] = []
    if hasHeader { header.encode(into: &bytes) }
    rig.disk.replace(header.file, bytes)
    rig.reopen()
    #expect(rig.reports().contains(.epochChanged(.endDamaged)))
    rig.append(0, [0xFF])
    rig.commit()
    let records = rig.readAll(0)
    #expect(records.map(\.payload).last == [0xFF])
    #expect(records.map(\.epoch) == [epoch, epoch, rig.epoch])
    #expect(rig.epoch != epoch)
    rig.reopen()
    #expect(rig.reports().isEmpty)
  }

  @Test("a cursor that is written releases at once what a start could not sync")
  func unsyncedStartReleased() {
    var wasHeld = false
    for operation in 1..<40 {
      let rig = Rig()
      rig.appendMany(0, 3)
      rig.commit()
      rig.disk.kill()
      rig.disk.failAt = (rig.disk.operations + operation, .failed(5))
      rig.reopen()
      guard rig.disk.failAt == nil else { break }
      let isHeld = !rig.statistics.isDegraded && rig.readAll(0).isEmpty
      wasHeld = wasHeld || isHeld
      if rig.statistics.isDegraded { rig.wait(.seconds(60)) }
      rig.turn()
      rig.spool.rewind(stream: 0)
      #expect(rig.readAll(0).map(\.sequence) == [1, 2, 3], "operation \(operation)")
    }
    #expect(wasHeld)
  }

  @Test("a file that is given up in the middle of it is named from its beginning: seed 20598")
  func givenUpInTheMiddle() {
    var operation = 0
    var wasGivenUp = false
    while true {
      operation += 1
      let rig = Rig()
      for _ in 0..<6 {
        rig.appendMany(1, 4)
        rig.commit()
      }
      rig.close()
      rig.disk.kill()
      rig.disk.failAt = (rig.disk.operations + operation, .failed(5))
      rig.reopen()
      guard rig.disk.failAt == nil else { break }
      for _ in 0..<2 where rig.statistics.isDegraded {
        rig.wait(.seconds(180))
        rig.disk.failAt = (rig.disk.operations + operation, .failed(5))
        rig.turn()
      }
      rig.disk.failAt = nil
      rig.wait(.seconds(60))
      rig.turn()
      let gaps = rig.gaps()
      wasGivenUp = wasGivenUp || gaps.contains { $0.reason == .corrupt }
      let found = rig.readAll(1).map(\.sequence)
      for sequence in UInt64(1)...24 where !found.contains(sequence) {
        #expect(
          gaps.contains { $0.first <= sequence && sequence <= $0.last },
          "operation \(operation), record \(sequence)")
      }
    }
    #expect(wasGivenUp)
  }

  @Test("a start that takes another epoch says why")
  func reasonForEpoch() {
    func reasons(_ rig: Rig) -> [EpochReason] {
      rig.reports().compactMap { if case .epochChanged(let reason) = $0 { reason } else { nil } }
    }
    let rig = Rig()
    #expect(reasons(rig) == [])
    rig.appendMany(0, 3)
    rig.close()
    rig.reopen()
    #expect(reasons(rig) == [])
    rig.wait(.seconds(1))
    var time: [UInt8] = []
    time.appendLittleEndian(UInt64(rig.clocks.wall.nanoseconds))
    rig.append(0, [4])
    rig.commit()
    rig.disk.kill()
    rig.disk.overturn(time)
    rig.reopen()
    #expect(reasons(rig) == [.endDamaged])
    rig.disk.kill()
    rig.disk.replace(.cursor, rig.disk.bytes(.cursor).map { $0 ^ 1 })
    rig.reopen()
    #expect(reasons(rig) == [.cursorDamaged])
    rig.disk.kill()
    rig.disk.delete(.cursor)
    rig.reopen()
    #expect(reasons(rig) == [.cursorMissing])
    rig.reopen()
    #expect(reasons(rig) == [])
  }
}
