import Primitives
import TestSupport
import Testing

@testable import Spool

/// What was found by reading the code, not by a seed: ways to lose what was acknowledged without a name, or to
/// give a number out twice.
@Suite("Found by reading")
struct FoundByReadingTests {
  private static let streams = [
    SpoolStream(name: "one", logClass: 1, durability: .sync),
    SpoolStream(name: "other", logClass: 1, durability: .sync),
  ]

  @Test("the records of a segment that is set aside are named, also those that no cursor has")
  func setAside() {
    let rig = Rig()
    for number in 1...8 {
      rig.append(0, Rig.payload(number, 60))
      rig.commit()
    }
    let epoch = rig.epoch
    rig.disk.kill()
    let file = StorageFile.segment(logClass: 0, number: 1)
    #expect(rig.disk.bytes(file).count > 400)
    rig.flip(file, at: 0)
    rig.reopen()
    let gaps = rig.gaps().filter { $0.streamIndex == 0 }
    for number in UInt64(1)...8 {
      #expect(
        gaps.contains { $0.first <= number && number <= $0.last && $0.epoch == epoch },
        "record \(number) in \(gaps)")
    }
    rig.append(0, [9])
    rig.commit()
    #expect(rig.readAll(0).first.map { $0.sequence > 8 } == true)
  }

  @Test("a directory that was deleted is not without a cursor when it is filled again")
  func deletedDirectory() {
    let rig = Rig(streams: Self.streams)
    for stream in 0...1 {
      rig.appendMany(stream, 3)
      rig.commit()
    }
    for file in rig.disk.names { rig.disk.delete(file) }
    rig.append(0, [4])
    rig.wait(.seconds(1))
    rig.turn()
    rig.disk.kill()
    rig.reopen()
    let gaps = rig.gaps()
    for stream in 0...1 {
      #expect(
        gaps.contains { $0.streamIndex == stream && $0.first == 1 && $0.last >= 3 }, "\(gaps)")
    }
  }

  @Test(
    "a source may forget what was dropped from memory when the report of that is on disk, not before"
  )
  func droppedFromMemory() {
    let rig = Rig()
    rig.appendMany(1, 1)
    rig.wait(.seconds(40))
    rig.turn()
    rig.append(1, [1], token: 7)
    rig.append(1, [2], token: 8)
    _ = rig.readAll(1)
    rig.acknowledge(1, 1)
    rig.spool.discard(stream: 1, sequence: 2, reason: .expired, clocks: rig.clocks)
    #expect(!rig.isSafe(1, 2))
    rig.turn()
    #expect(rig.isSafe(1, 2))
    rig.commit()
    rig.disk.kill()
    rig.reopen()
    #expect(rig.gaps().contains { $0.first == 2 && $0.last == 2 && $0.reason == .expired })
  }

  @Test("a cursor whose name could not be synced may be read all the same: its epoch is given up")
  func unsyncedName() {
    var limits = Rig.smallLimits
    limits.tailBytesMax = 1 << 20
    let rig = Rig(limits: limits)
    rig.appendMany(1, 1)
    rig.commit()
    rig.disk.failing = [.sync: .failed(5)]
    rig.appendMany(1, 200)
    #expect(rig.statistics.failure == .failed(5))
    // Nothing waits: the disk is tried with the cursor alone.
    var given = rig.readAll(1, acknowledge: true)
    rig.disk.failing = [.syncDirectory: .failed(5)]
    rig.wait(.seconds(61))
    rig.turn()
    #expect(rig.statistics.failure == .failed(5))
    rig.appendMany(1, 300)
    given += rig.readAll(1, acknowledge: true)
    let before = Set(given.map { "\($0.epoch)-\($0.sequence)" })
    #expect(before.count == 501)
    rig.disk.kill()
    rig.reopen()
    _ = rig.readAll(1, acknowledge: true)
    rig.appendMany(1, 600)
    let again = rig.readAll(1).map { "\($0.epoch)-\($0.sequence)" }
    #expect(again.count == 600 && again.allSatisfy { !before.contains($0) })
  }

  @Test("a torn end stays until the cursor has another epoch, also when the disk comes back")
  func tornEnd() {
    var operation = 0
    while true {
      operation += 1
      let rig = Rig()
      rig.appendMany(1, 3)
      rig.commit()
      let epoch = rig.epoch
      rig.disk.kill()
      let file = StorageFile.segment(logClass: 2, number: 1)
      rig.disk.replace(file, rig.disk.bytes(file) + Array("SpFr torn".utf8))
      rig.disk.failing = [.sync: .failed(5), .write: .failed(5)]
      rig.reopen()
      #expect(rig.statistics.failure != nil && rig.epoch != epoch)
      rig.append(1, [4])
      rig.disk.failing = [:]
      rig.disk.freeze(at: rig.disk.operations + operation, isPowerCut: false)
      rig.wait(.seconds(61))
      rig.turn()
      guard rig.disk.isFrozen else { break }
      rig.disk.kill()
      rig.reopen()
      #expect(rig.epoch != epoch, "operation \(operation)")
    }
    #expect(operation > 5)
  }

  @Test(
    "a cursor that could not be read is replaced as a whole: an older slot of it is not the newest")
  func unreadableCursor() {
    var wasReplaced = false
    for operation in 1...40 {
      let rig = Rig()
      for _ in 0..<6 {
        rig.appendMany(1, 1)
        rig.close()
        rig.reopen()
      }
      let (epoch, cursor) = (rig.epoch, rig.disk.bytes(.cursor))
      rig.disk.failing = [.read: .failed(5)]
      rig.reopen()
      // The cursor is given up, and three minutes later the segments are: with that comes the next cursor.
      for turn in 1...6 {
        rig.wait(.seconds(61))
        if turn == 6 { rig.disk.freeze(at: rig.disk.operations + operation, isPowerCut: false) }
        rig.turn()
        #expect((rig.statistics.failure == nil) == (turn == 6))
      }
      rig.disk.kill()
      let isReplaced = rig.disk.bytes(.cursor) != cursor
      wasReplaced = wasReplaced || isReplaced
      rig.reopen()
      #expect(!isReplaced || rig.epoch != epoch, "operation \(operation)")
    }
    #expect(wasReplaced)
  }

  @Test("more settled stretches than a cursor has room for leave those that it has known")
  func manyRanges() {
    var entry = CursorEntry(name: "state", settled: 10, accounted: 1000, reserved: 1000)
    #expect(entry.wholeThrough == 1000)
    for number in UInt64(0)..<8 {
      entry.ranges.append(SequenceRange(first: 20 + number * 10, last: 22 + number * 10))
    }
    #expect(entry.wholeThrough == 92)
  }

  @Test("dead letters that cannot be written are counted, and take no memory")
  func deadLettersOnABadDisk() {
    let rig = Rig()
    rig.appendMany(0, 20)
    rig.commit()
    _ = rig.readAll(0)
    rig.park(0, 1, 400)
    rig.disk.failing = [.write: .failed(5), .remove: .failed(5)]
    for sequence in UInt64(2)...20 { rig.park(0, sequence, 400) }
    #expect(rig.spool.unsyncable == [.deadLetter])
    #expect(rig.statistics.parked == 20)
  }

  @Test("a damaged end is one, though a good segment of another stream follows it")
  func hiddenEnd() {
    let rig = Rig(streams: Self.streams)
    for number in 1...2 {
      rig.append(0, Rig.payload(number, 60))
      rig.commit()
    }
    rig.wait(.seconds(10))
    rig.turn()
    // The first segment ends without a seal.
    rig.append(1, Rig.payload(3, 60))
    rig.disk.failAt = (rig.disk.operations + 2, .failed(5))
    rig.commit()
    let file = StorageFile.segment(logClass: 1, number: 1)
    #expect(rig.isSafe(0, 2) && rig.isSafe(1, 1) && rig.disk.names.count == 3)
    let epoch = rig.epoch
    rig.disk.kill()
    guard let last = rig.frames(file).last else {
      Issue.record("no frame")
      return
    }
    rig.flip(file, at: last + 20)
    rig.reopen()
    #expect(rig.epoch != epoch)
  }

  @Test("a file that is put aside stays until the cursor has what it held, also in the middle")
  func asideInTheMiddle() {
    let rig = Rig(streams: Self.streams)
    rig.appendMany(0, 2)
    rig.commit()
    for _ in 0..<60 {
      rig.appendMany(1, 1)
      rig.commit()
    }
    let epoch = rig.epoch
    rig.disk.kill()
    rig.flip(.segment(logClass: 1, number: 1), at: 2)
    for _ in 0..<2 {
      rig.reopen()
      rig.disk.kill()
    }
    rig.reopen()
    let gaps = rig.gaps().filter { $0.streamIndex == 0 && $0.epoch == epoch }
    #expect(gaps.contains { $0.first == 1 && $0.last >= 2 }, "\(gaps)")
    #expect(rig.epoch != epoch)
  }

  @Test("a stream that is one too many to be remembered does not begin again with its numbers")
  func forgottenStream() {
    func only(_ name: String) -> [SpoolStream] {
      [SpoolStream(name: ByteString(name), logClass: 1, durability: .sync)]
    }
    let rig = Rig(streams: only("first"))
    let epoch = rig.epoch
    for round in 0...(SpoolLimits.streamsMax + SpoolLimits.orphansMax) {
      if round > 0 { rig.reopen(streams: only("stream\(round)")) }
      rig.appendMany(0, 1)
      rig.commit()
      #expect(rig.readAll(0, acknowledge: true).count == 1)
      rig.close()
    }
    rig.reopen(streams: only("first"))
    rig.appendMany(0, 1)
    rig.commit()
    let found = rig.readAll(0)
    #expect(found.map(\.sequence) == [1] && found.allSatisfy { $0.epoch != epoch })
  }

  @Test("a start that failed leaves nothing behind that gives damage another epoch")
  func startThatFailed() {
    for fails in [false, true] {
      let rig = Rig()
      var epochs: [UInt64] = []
      for _ in 0..<2 {
        for _ in 0..<60 {
          rig.appendMany(0, 1)
          rig.commit()
        }
        epochs.append(rig.epoch)
        rig.disk.kill()
        guard epochs.count < 2 else { break }
        rig.disk.delete(.cursor)
        rig.reopen()
        _ = rig.gaps()
      }
      rig.disk.delete(.segment(logClass: 0, number: 1))
      if fails { rig.disk.badByte = (.segment(logClass: 0, number: 2), 0) }
      rig.reopen()
      #expect(rig.statistics.isDegraded == fails)
      rig.disk.badByte = nil
      rig.wait(.seconds(61))
      rig.turn()
      let gaps = rig.gaps().filter { $0.streamIndex == 0 && $0.first == 1 }
      #expect(gaps.map(\.epoch) == [epochs[0]])
    }
  }
}
