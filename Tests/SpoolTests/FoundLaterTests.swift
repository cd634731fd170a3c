import Primitives
import TestSupport
import Testing

@testable import Spool

/// What the simulator found in its seeds beyond 200, each as small as it goes.
@Suite("Found by the simulator, later")
struct FoundLaterTests {
  @Test("what a start finds survives a power cut, whatever operation the last run was killed in")
  func foundIsSafe() {
    var operation = 0
    while true {
      operation += 1
      let rig = Rig()
      rig.appendMany(0, 20)
      rig.commit()
      let epoch = rig.epoch
      rig.disk.freeze(at: rig.disk.operations + operation, isPowerCut: false)
      for _ in 0..<3 {
        rig.appendMany(0, 20)
        rig.commit()
      }
      guard rig.disk.isFrozen else { break }
      rig.disk.kill()
      rig.reopen()
      let found = rig.readAll(0).map(\.sequence)
      #expect(found.count >= 20)
      for seed in UInt64(0)..<4 {
        let copy = CrashingDisk(rig.disk)
        var random = SplitMix64(seed: seed)
        copy.cutPower(&random)
        let next = Rig(copy, seed: 77)
        let kept = next.readAll(0).map(\.sequence)
        #expect(Set(found).isSubset(of: kept), "killed in operation \(operation), power \(seed)")
        #expect(next.epoch == epoch, "killed in operation \(operation), power \(seed)")
      }
    }
    #expect(operation > 20)
  }

  @Test("a cursor that was written, not synced, and read all the same gives out no number twice")
  func unsyncedCursor() {
    let rig = Rig()
    rig.appendMany(1, 3)
    rig.close()
    rig.disk.kill()
    rig.disk.delete(.cursor)
    rig.disk.failing = [.sync: .failed(5)]
    rig.reopen()
    var given: Set<String> = []
    func take(_ count: Int) {
      for number in 0..<count {
        rig.append(1, [UInt8(number)])
        while let record = rig.next(1) {
          given.insert("\(record.epoch)-\(record.sequence)")
          rig.acknowledge(1, record.sequence)
        }
      }
    }
    for _ in 0..<3 {
      take(100)
      rig.wait(.seconds(60))
      rig.turn()
    }
    #expect(rig.statistics.isDegraded)
    rig.disk.kill()
    rig.reopen()
    for _ in 0..<300 {
      rig.append(1, [0xFF])
      while let record = rig.next(1) {
        rig.acknowledge(1, record.sequence)
        guard record.payload == [0xFF] else { continue }
        #expect(!given.contains("\(record.epoch)-\(record.sequence)"))
      }
    }
  }

  @Test("a read that fails while records are counted leaves no count that is wrong")
  func miscounted() {
    var operation = 0
    while true {
      operation += 1
      let rig = Rig()
      for number in 0..<120 {
        rig.append(1, Rig.payload(number, 60))
        // Delivered before it had to be written: its number is in no segment.
        if number % 3 == 0 { rig.acknowledge(1, UInt64(number + 1)) }
        if number % 10 == 9 { rig.commit() }
      }
      for _ in 0..<15 { if let record = rig.next(1) { rig.acknowledge(1, record.sequence) } }
      rig.close()
      rig.disk.kill()
      rig.disk.failAt = (rig.disk.operations + operation, .failed(5))
      rig.reopen()
      if rig.disk.failAt != nil { break }
      rig.wait(.seconds(60))
      rig.turn()
      _ = rig.readAll(1, acknowledge: true)
      #expect(rig.backlog(1).records == 0, "operation \(operation)")
      for gap in rig.gaps() {
        #expect(gap.count <= gap.last - gap.first + 1, "operation \(operation)")
      }
    }
    #expect(operation > 5)
  }

  @Test("a directory that comes back with higher numbers than the clock let begin is opened anew")
  func stranded() {
    let rig = Rig()
    rig.appendMany(1, 20)
    rig.close()
    for isAgain in [false, true] {
      // The second time with a clock that is no further: its numbers are those of the first.
      rig.disk.kill()
      rig.disk.failing = [.list: .missing]
      rig.reopen()
      for number in 0..<5 { rig.append(1, [UInt8(number)]) }
      #expect(rig.next(1)?.payload == [0])
      rig.disk.failing = [:]
      rig.wait(.seconds(60))
      rig.turn()
      let isStranded = rig.spool.isStranded
      #expect(isStranded == isAgain)
      if isStranded {
        #expect(rig.statistics.isDegraded)
        rig.spool.startOver(clocks: rig.clocks)
        let lost = rig.gaps().filter { $0.reason == .memory && !$0.isUpperBound }
        #expect(lost.reduce(0) { $0 + $1.count } == 5)
      }
      #expect(!rig.statistics.isDegraded)
      rig.clocks.wall.nanoseconds -= 60_000_000_000
      rig.spool.rewind(stream: 1)
      #expect(rig.readAll(1).count == 25)
      rig.commit()
    }
    rig.close()
    rig.reopen()
    #expect(rig.readAll(1, acknowledge: true).count == 25)
    #expect(rig.backlog(1).records == 0)
  }

  @Test("a directory that is gone for a while costs no record")
  func goneForAWhile() {
    let rig = Rig()
    rig.appendMany(0, 40)
    rig.commit()
    rig.disk.kill()
    rig.reopen()
    for operation in CrashingDisk.Operation.allCases { rig.disk.failing[operation] = .missing }
    for _ in 0..<20 {
      #expect(rig.readAll(0).count < 40)
      rig.append(1, [1])
      rig.wait(.seconds(31))
      rig.turn()
    }
    #expect(rig.statistics.isDegraded)
    rig.disk.failing = [:]
    rig.wait(.seconds(60))
    rig.turn()
    #expect(!rig.statistics.isDegraded)
    rig.spool.rewind(stream: 0)
    #expect(rig.readAll(0).count == 40)
    #expect(rig.readAll(1).count == 20)
    #expect(!rig.gaps().contains { $0.reason == .corrupt })
  }

  @Test(
    "a directory that was deleted is filled again; what was in it is reported, nothing else is lost"
  )
  func deleted() {
    let rig = Rig()
    rig.appendMany(0, 40)
    rig.commit()
    for name in rig.disk.names { rig.disk.delete(name) }
    rig.appendMany(0, 10)
    rig.commit()
    rig.wait(.seconds(61))
    rig.turn()
    #expect(!rig.statistics.isDegraded)
    let kept = rig.readAll(0).map(\.sequence)
    let lost = rig.gaps().reduce(0) { $0 + ($1.reason == .corrupt ? $1.count : 0) }
    #expect(kept == Array(41...50))
    #expect(lost == 40)
    rig.close()
    rig.disk.kill()
    rig.reopen()
    #expect(rig.readAll(0).map(\.sequence) == kept)
    #expect(rig.append(0, [1]) == .taken(sequence: 51))
  }

  @Test("records of one class do not wait longer because another class is written again and again")
  func otherClassIsBusy() {
    let rig = Rig(streams: [
      SpoolStream(name: "alarm", logClass: 0, durability: .sync),
      SpoolStream(name: "event", logClass: 1, durability: .sync),
      SpoolStream(name: "state", logClass: 1, durability: .spill),
    ])
    rig.append(0, [1])
    rig.turn()
    rig.append(0, [2])
    let taken = rig.clocks.now
    #expect(!rig.isSafe(0, 2))
    while rig.clocks.now < taken + rig.limits.syncInterval {
      #expect(rig.deadline.map { $0 <= taken + rig.limits.syncInterval } == true)
      rig.wait(.milliseconds(10))
      rig.append(1, [3])
      rig.appendMany(2, 12)
      rig.turn()
    }
    #expect(rig.isSafe(0, 2))
  }

  @Test("a record keeps its epoch when the one before it, of another epoch, has expired in memory")
  func epochOfExpired() {
    let rig = Rig(streams: [
      SpoolStream(name: "state", logClass: 2, durability: .spill, ttl: .seconds(100))
    ])
    rig.append(0, [0])
    let epoch = rig.epoch
    rig.disk.failing = [.write: .failed(5)]
    while rig.epoch == epoch {
      rig.wait(.seconds(2))
      rig.append(0, [1])
      rig.turn()
    }
    let taken = (epoch: rig.epoch, sequence: rig.spool.lastNumber(stream: 0))
    rig.wait(.seconds(99))
    #expect(rig.next(0)?.sequence == taken.sequence)
    #expect(rig.gaps().contains { $0.last == taken.sequence - 1 && $0.reason == .expired })
    rig.disk.failing = [:]
    rig.commit()
    #expect(!rig.statistics.isDegraded)
    rig.reopen()
    let found = rig.next(0)
    #expect(found?.sequence == taken.sequence)
    #expect(found?.epoch == taken.epoch)
  }

  @Test("records that are on their way when damage shows in their segment may still arrive")
  func lentByDamage() {
    let rig = Rig(streams: [
      SpoolStream(name: "alarm", logClass: 0, durability: .sync),
      SpoolStream(name: "event", logClass: 0, durability: .sync),
    ])
    for number in 0..<12 {
      for stream in 0...1 { rig.append(stream, Rig.payload(number, 50 + stream)) }
      rig.commit()
    }
    rig.disk.kill()
    rig.reopen()
    for number in UInt64(1)...6 { #expect(rig.next(0)?.sequence == number) }
    // Frames of two records each: the third one was read by one stream, the tenth by none.
    rig.disk.overturn(Rig.payload(2, 50))
    rig.disk.overturn(Rig.payload(9, 50))
    #expect(rig.readAll(1, acknowledge: true).map(\.sequence) == [1, 2, 4, 5, 6, 7, 8, 9, 11, 12])
    let gaps = rig.gaps()
    #expect(gaps.allSatisfy { $0.reason == .corrupt && $0.count == 1 })
    #expect(gaps.filter { $0.streamIndex == 0 }.map(\.first) == [10])
    #expect(gaps.filter { $0.streamIndex == 1 }.map(\.first) == [3, 10])
    #expect(rig.backlog(0).records == 11)
    // A crash finds the damage once more, a delivery ends it.
    let copy = CrashingDisk(rig.disk)
    copy.kill()
    let next = Rig(copy, streams: rig.streams, seed: 7)
    #expect(next.readAll(0).map(\.sequence) == [1, 2, 4, 5, 6, 7, 8, 9, 11, 12])
    #expect(next.gaps().contains { $0.streamIndex == 0 && $0.first == 3 && $0.last == 3 })
    #expect(!rig.isSafe(0, 3))
    for number in UInt64(1)...6 { rig.acknowledge(0, number) }
    #expect(rig.isSafe(0, 3))
    #expect(rig.readAll(0, acknowledge: true).map(\.sequence) == [7, 8, 9, 11, 12])
    #expect(rig.backlog(0).records == 0)
    #expect(rig.gaps().isEmpty)
    rig.close()
    rig.reopen()
    #expect(rig.readAll(0).isEmpty)
    #expect(rig.gaps().isEmpty)
  }

  @Test("records that were lent by damage are reported when their reader gives them up")
  func lentAndGivenUp() {
    let rig = Rig()
    for number in 0..<40 {
      rig.append(0, Rig.payload(number, 50))
      rig.commit()
    }
    rig.disk.kill()
    rig.reopen()
    while rig.next(0)?.sequence != 10 {}
    // More places than the cursor has room for.
    for number in [1, 3, 5, 7, 15] { rig.disk.overturn(Rig.payload(number, 50)) }
    #expect(rig.readAll(0).count == 29)
    #expect(rig.gaps().map(\.first) == [16])
    rig.wait(.seconds(60))
    rig.turn()
    let copy = CrashingDisk(rig.disk)
    copy.kill()
    for one in [Rig(copy, seed: 7), rig] {
      one.spool.rewind(stream: 0)
      #expect(one.readAll(0, acknowledge: true).count == 35)
      let lost = one.gaps().filter { $0.reason == .corrupt }
      for number in [2, 4, 6, 8] as [UInt64] {
        #expect(lost.contains { $0.first <= number && number <= $0.last }, "\(number)")
      }
      #expect(one.backlog(0).records == 0)
    }
  }

  @Test(
    "a crash while a disk comes back: the report has the epoch under which numbers were reserved")
  func epochOfReserved() {
    var operation = 0
    var named = 0
    while true {
      operation += 1
      let rig = Rig()
      // A segment that has nothing left: room is made with a cursor before anything else is written.
      for number in 0..<40 { rig.append(0, Rig.payload(number, 100)) }
      rig.commit()
      rig.append(1, [0])
      rig.acknowledge(1, 1)
      for _ in 0..<3 { rig.append(1, [1]) }
      let epoch = rig.epoch
      rig.disk.failing = [.write: .failed(5)]
      while rig.epoch == epoch {
        rig.append(1, [2])
        rig.acknowledge(1, rig.spool.lastNumber(stream: 1))
      }
      for number in UInt64(1)...40 { rig.acknowledge(0, number) }
      rig.disk.failing = [:]
      rig.disk.freeze(at: rig.disk.operations + operation, isPowerCut: false)
      rig.wait(.seconds(60))
      rig.turn()
      guard rig.disk.isFrozen else { break }
      rig.disk.kill()
      rig.reopen()
      let kept = rig.readAll(1).map(\.sequence)
      let gaps = rig.gaps()
      for number in UInt64(2)...4 where !kept.contains(number) {
        named += 1
        #expect(
          gaps.contains { $0.epoch == epoch && $0.first <= number && number <= $0.last },
          "\(number), killed in operation \(operation): \(gaps)")
      }
    }
    #expect(named > 0)
  }

  @Test("a record that left without room to note that takes no other with it when it leaves again")
  func settledTwice() {
    let rig = Rig(limits: SpoolLimits(segmentBytes: 64 << 10, freeFloorBytes: 0))
    rig.appendMany(0, 200)
    rig.commit()
    let numbers = rig.readAll(0).map(\.sequence)
    var left: Set<UInt64> = []
    for number in numbers where number % 2 == 0 {
      if rig.spool.acknowledge(stream: 0, sequence: number, now: rig.clocks.now) {
        left.insert(number)
      }
    }
    #expect(left.count == settledRangesMax)
    #expect(rig.backlog(0).records == UInt64(200 - left.count))
    // Neither counted nor reported: it is read again.
    #expect(!rig.park(0, 200, 400))
    rig.spool.discard(stream: 0, sequence: 198, reason: .expired, clocks: rig.clocks)
    #expect(rig.gaps().isEmpty)
    // As long as the odd ones have not left, there is no more room.
    for _ in 0..<3 {
      let mustRewind = rig.spool.mustRewind(stream: 0)
      #expect(mustRewind)
      rig.spool.rewind(stream: 0)
      while let record = rig.next(0) {
        if record.sequence % 2 == 0 { rig.acknowledge(0, record.sequence) }
      }
    }
    rig.turn()
    #expect(rig.backlog(0).records == UInt64(200 - left.count))
    rig.spool.rewind(stream: 0)
    for record in rig.readAll(0, acknowledge: true) { left.insert(record.sequence) }
    #expect(left.count == 200)
    #expect(rig.backlog(0).records == 0)
    rig.close()
    rig.disk.kill()
    rig.reopen()
    #expect(rig.next(0) == nil && rig.gaps().isEmpty)
  }
}
