import Primitives
import TestSupport
import Testing

@testable import Spool

/// What the simulator found in starts, and in what they find of the run before.
@Suite("Found by the simulator at the start")
struct FoundAtTheStartTests {
  /// `isCursorSynced`: only segments cannot be synced. Else nobody knows whether the cursor that was read is on
  /// the medium.
  @Test(
    "what a start reads and cannot sync waits for a cursor that knows its numbers: seed 3990",
    arguments: [false, true])
  func unsyncedStart(isCursorSynced: Bool) {
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
      if !isCursorSynced { rig.disk.failing = [.sync: .failed(5)] }
      rig.disk.refusesSegmentSyncs = isCursorSynced
      rig.reopen()
      var given: [String: [UInt8]] = [:]
      func take() {
        for record in rig.readAll(0) {
          given["\(record.epoch)-\(record.sequence)"] = record.payload
        }
      }
      take()
      #expect(given.count == (isCursorSynced ? 3 : 0), "operation \(operation)")
      let isHeld = rig.backlog(0).records == 4
      rig.turn()
      take()
      #expect(given.count == (isCursorSynced ? isHeld ? 4 : 3 : 0), "operation \(operation)")
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

  @Test("what a start could not sync is not known again when a broker repeats it: seed 36388")
  func unsyncedTokens() {
    var operation = 0
    var (wasKnown, wasLost) = (false, false)
    while true {
      operation += 1
      let rig = Rig()
      rig.append(0, [1], token: 1)
      rig.close()
      rig.reopen()
      rig.disk.freeze(at: rig.disk.operations + operation, isPowerCut: false)
      rig.append(0, [2], token: 2)
      rig.commit()
      guard rig.disk.isFrozen else { break }
      rig.disk.kill()
      let synced = Rig(CrashingDisk(rig.disk), seed: 77)
      wasKnown = wasKnown || synced.spool.recentTokens(ofEachClass: 10) == [1, 2]
      rig.disk.failing = [.sync: .failed(5)]
      rig.reopen()
      // Those are acknowledged at once, and not repeated again.
      let known = rig.spool.recentTokens(ofEachClass: 10)
      for seed in UInt64(0)..<8 {
        let copy = CrashingDisk(rig.disk)
        var random = SplitMix64(seed: seed)
        copy.cutPower(&random)
        let kept = Rig(copy, seed: 77).readAll(0).map { UInt64($0.payload[0]) }
        wasLost = wasLost || kept == [1]
        #expect(Set(known).isSubset(of: kept), "operation \(operation), power \(seed)")
      }
    }
    #expect(wasKnown && wasLost)
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

  // Seed 23532: they were not counted as waiting, and the segment was freed before its reader came to them.
  @Test("damage in a sealed segment that a start passes while it counts is named by the reader")
  func damagedWhileCounted() {
    for damaged in 0..<60 {
      let rig = Rig()
      var left: Set<UInt64> = []
      for number in 0..<60 {
        rig.append(1, Rig.payload(number, 60))
        // Delivered before it had to be written: its number is in no segment.
        if number % 3 == 0 {
          rig.acknowledge(1, UInt64(number + 1))
          left.insert(UInt64(number + 1))
        }
        if number % 4 == 3 { rig.commit() }
      }
      for _ in 0..<10 {
        guard let record = rig.next(1) else { break }
        rig.acknowledge(1, record.sequence)
        left.insert(record.sequence)
      }
      rig.close()
      rig.disk.kill()
      rig.disk.overturn(Rig.payload(damaged, 60))
      rig.reopen()
      left.formUnion(rig.readAll(1, acknowledge: true).map(\.sequence))
      let gaps = rig.gaps()
      for number in UInt64(1)...60 where !left.contains(number) {
        #expect(
          gaps.contains { $0.first <= number && number <= $0.last },
          "record \(number), damaged is \(damaged + 1)")
      }
      #expect(rig.backlog(1).records == 0, "damaged is \(damaged + 1)")
    }
  }

  /// With eight records on disk, three of them delivered, and a cursor that could not be synced.
  private func rigWithBadCursor() -> Rig {
    let rig = Rig()
    rig.appendMany(1, 8)
    rig.commit()
    _ = rig.readAll(1)
    for sequence in UInt64(1)...3 { rig.acknowledge(1, sequence) }
    rig.wait(.seconds(10))
    rig.turn()
    rig.disk.failing = [.sync: .failed(5)]
    rig.acknowledge(1, 4)
    rig.wait(.seconds(10))
    rig.turn()
    #expect(rig.statistics.failure == .failed(5))
    return rig
  }

  // Seeds 50151 and 1226: it was removed before there was another one.
  @Test("a cursor whose sync failed is there until the next one is, whatever end comes in between")
  func cursorStays() {
    for isPowerCut in [false, true] {
      for seed in UInt64(0)..<8 {
        for operation in 1...12 {
          let rig = rigWithBadCursor()
          let epoch = rig.epoch
          if operation % 2 == 0 { rig.disk.failing = [:] }
          rig.disk.freeze(at: rig.disk.operations + operation, isPowerCut: isPowerCut)
          rig.wait(.seconds(60))
          rig.turn()
          var random = SplitMix64(seed: seed)
          if isPowerCut { rig.disk.cutPower(&random) } else { rig.disk.kill() }
          rig.reopen()
          let place = "operation \(operation), seed \(seed), power cut \(isPowerCut)"
          #expect(rig.epoch == epoch, "\(place)")
          #expect(rig.gaps().allSatisfy { $0.first > 8 }, "\(place)")
          #expect(rig.readAll(1).first.map { $0.sequence == 4 || $0.sequence == 5 } == true)
          #expect(!rig.disk.names.contains(.newCursor), "\(place)")
        }
      }
    }
  }

  @Test("a cursor whose sync failed makes room for the next one where there is none for both")
  func cursorGivesWay() {
    let rig = rigWithBadCursor()
    rig.disk.failing = [:]
    rig.disk.capacity = rig.disk.totalBytes
    rig.wait(.seconds(60))
    rig.turn()
    #expect(rig.statistics.failure == nil)
    #expect(!rig.disk.hasLostCursor && !rig.disk.syncedAfterFailure)
    rig.disk.kill()
    rig.reopen()
    #expect(rig.readAll(1).map(\.sequence) == [5, 6, 7, 8])
  }

  // Seed 24985: one report for all of them, under the epoch of one.
  @Test("records of several epochs that were lent when the power went are named under their own")
  func lentOfManyEpochs() {
    let limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: 64 << 10, freeFloorBytes: 0, commitBytes: 1024)
    let rig = Rig(limits: limits)
    var onTheWay: [SpooledRecord] = []
    for _ in 0..<5 {
      rig.disk.delete(.cursor)
      rig.reopen()
      rig.appendMany(0, 3)
      rig.commit()
    }
    _ = rig.reports()
    for _ in 0..<15 { if let record = rig.next(0) { onTheWay.append(record) } }
    #expect(Set(onTheWay.map(\.epoch)).count == 5 && onTheWay.count == 15)
    // The second epoch's are delivered: they lie between those that are lent.
    for record in onTheWay[3..<6] { rig.acknowledge(0, record.sequence) }
    while rig.spool.streams[0].lent.count < 4 {
      rig.appendMany(0, 5)
      rig.commit()
    }
    rig.wait(.seconds(6))
    rig.turn()
    var random = SplitMix64(seed: 1)
    rig.disk.cutPower(&random)
    rig.reopen()
    let gaps = rig.gaps()
    for (place, record) in onTheWay.enumerated() {
      let named = gaps.filter { $0.first <= record.sequence && record.sequence <= $0.last }
      #expect(named.map(\.epoch) == ((3..<6).contains(place) ? [] : [record.epoch]), "\(gaps)")
    }
    // That of the last epoch has later ones of it, too.
    #expect(gaps.filter { $0.last <= 12 }.reduce(0) { $0 + $1.count } == 9)
  }
}
