import Primitives
import TestSupport
import Testing

@testable import Spool

/// What the simulator found of damage behind which a start finds nothing of a stream, or another epoch.
@Suite("Found by the simulator behind damage")
struct FoundBehindDamageTests {
  private static let streams = [
    SpoolStream(name: "one", logClass: 1, durability: .sync),
    SpoolStream(name: "other", logClass: 1, durability: .sync),
  ]

  // Seed 32107: the next record got the number, and the epoch, of the one that was lost.
  @Test("a stream's last record, lost before another stream's, is named, and its number not reused")
  func lastOfItsStream() {
    let rig = Rig(streams: Self.streams)
    rig.append(0, Rig.payload(1, 60))
    rig.commit()
    rig.append(0, Rig.payload(2, 60))
    rig.commit()
    rig.append(1, Rig.payload(3, 60))
    rig.commit()
    let epoch = rig.epoch
    rig.disk.kill()
    damageTable(rig, segment: 1, frame: 1)
    for _ in 0..<2 {
      rig.reopen()
      #expect(rig.epoch == epoch)
      let gap = rig.gaps().first { $0.streamIndex == 0 }
      #expect(gap?.first == 2 && gap?.reason == .corrupt && gap?.isUpperBound == true)
      rig.disk.kill()
    }
    rig.reopen()
    _ = rig.gaps()
    rig.append(0, Rig.payload(4, 60))
    rig.commit()
    let found = rig.readAll(0)
    #expect(found.map(\.payload) == [Rig.payload(1, 60), Rig.payload(4, 60)])
    #expect(found.last.map { $0.sequence > 2 } == true)
  }

  // Seed 28142: what the former class has, which a start reads after that, was taken for what comes behind the loss.
  @Test("a stream's last record is named, also when its former class has records of it")
  func lastBesideFormerClass() {
    let former = SpoolStream(name: "one", logClass: 2, durability: .sync)
    let rig = Rig(streams: [former, Self.streams[1]])
    rig.append(0, Rig.payload(1, 60))
    rig.commit()
    rig.disk.kill()
    rig.reopen(streams: Self.streams)
    for stream in 0...1 {
      rig.append(stream, Rig.payload(2, 60))
      rig.commit()
    }
    rig.disk.kill()
    damageTable(rig, segment: 1, frame: 0)
    rig.reopen()
    let gap = rig.gaps().first { $0.streamIndex == 0 }
    #expect(gap?.first == 2 && gap?.reason == .corrupt && gap?.isUpperBound == true)
    rig.append(0, Rig.payload(3, 60))
    rig.commit()
    let found = rig.readAll(0)
    #expect(found.map(\.payload) == [Rig.payload(1, 60), Rig.payload(3, 60)])
    #expect(found.last.map { $0.sequence > 2 } == true)
  }

  // Seed 32543: it was named under the epoch of the segment before.
  @Test("what damage took behind a change of the epoch is named under the later one")
  func behindAnEpoch() {
    let rig = Rig(streams: Self.streams)
    rig.append(0, Rig.payload(1, 60))
    rig.commit()
    rig.disk.kill()
    rig.disk.delete(.cursor)
    rig.reopen()
    _ = rig.gaps()
    let epoch = rig.epoch
    for number in 2...3 {
      rig.append(0, Rig.payload(number, 60))
      rig.commit()
    }
    rig.disk.kill()
    damageTable(rig, segment: 2, frame: 0)
    rig.reopen()
    let gaps = rig.gaps().filter { $0.streamIndex == 0 && $0.first <= 2 && 2 <= $0.last }
    #expect(gaps.map(\.epoch) == [epoch])
  }

  // Seed 16617: it was named under the epoch before.
  @Test("what a segment had that is damaged as a whole is named under the segment's epoch")
  func wholeSegment() {
    let (rig, epochs) = threeEpochs()
    damageTable(rig, segment: 2, frame: 0)
    // The seal.
    damageTable(rig, segment: 2, frame: 1, behind: 0)
    rig.reopen()
    let gaps = rig.gaps().filter { $0.streamIndex == 0 && $0.first <= 2 && 2 <= $0.last }
    #expect(gaps.map(\.epoch) == [epochs[1]])
  }

  @Test("what a segment had that one bad sector keeps from being read is named under its epoch")
  func badSector() {
    let (rig, epochs) = threeEpochs()
    let file = StorageFile.segment(logClass: 1, number: 2)
    rig.disk.badByte = (file, rig.disk.bytes(file).count - 8)
    rig.reopen()
    #expect(rig.statistics.isDegraded)
    for _ in 0..<2 {
      rig.wait(.seconds(180))
      rig.turn()
    }
    #expect(!rig.statistics.isDegraded)
    let gaps = rig.gaps().filter { $0.streamIndex == 0 && $0.first <= 2 && 2 <= $0.last }
    #expect(gaps.map(\.epoch) == [epochs[1]])
    #expect(rig.readAll(0).map(\.sequence) == [1, 3])
  }

  /// One record in each of three segments, under epochs of their own.
  private func threeEpochs() -> (rig: Rig, epochs: [UInt64]) {
    let rig = Rig(streams: Self.streams)
    var epochs: [UInt64] = []
    for number in 1...3 {
      if number > 1 {
        rig.disk.delete(.cursor)
        rig.reopen()
        _ = rig.gaps()
      }
      rig.append(0, Rig.payload(number, 60))
      rig.commit()
      epochs.append(rig.epoch)
      rig.disk.kill()
    }
    #expect(Set(epochs).count == 3)
    return (rig, epochs)
  }

  // The fuzz target spool-damage: a frame is valid anywhere in its segment.
  @Test("what a frame held is named when another frame of its segment stands in its place")
  func frameOverAnother() {
    for isLast in [false, true] {
      let rig = Rig(streams: Self.streams)
      rig.append(0, Rig.payload(1, 60))
      rig.commit()
      // A sealed segment is believed its totals.
      while rig.disk.bytes(.segment(logClass: 1, number: 2)).isEmpty {
        rig.append(0, Rig.payload(2, 60))
        rig.commit()
      }
      let file = StorageFile.segment(logClass: 1, number: 1)
      var bytes = rig.disk.bytes(file)
      let frames = rig.frames(file)
      // Those of the segment, and its seal.
      let count = frames.count - 1
      let lost = isLast ? count : count - 1
      let size = frames[lost] - frames[lost - 1]
      bytes.replaceSubrange(
        frames[lost - 1]..<frames[lost], with: bytes[frames[1]..<(frames[1] + size)])
      rig.disk.kill()
      rig.disk.replace(file, bytes)
      rig.reopen()
      let found = rig.readAll(0, acknowledge: true)
      #expect(found.map(\.sequence) == (1...UInt64(count + 1)).filter { $0 != lost })
      let gaps = rig.gaps()
      #expect(gaps.map(\.first) == [UInt64(lost)] && gaps.map(\.last) == [UInt64(lost)])
      #expect(gaps.allSatisfy { $0.reason == .corrupt && $0.epoch == rig.epoch && $0.count == 1 })
      #expect(rig.backlog(0).records == 0)
    }
  }

  // Seed 50151: only the cursor knew of them, and it was gone.
  @Test("what was on its way when its segment was given up is named though the cursor is lost")
  func lentWithoutCursor() {
    var limits = Rig.smallLimits
    limits.totalBytes = 64 << 10
    let rig = Rig(
      streams: [SpoolStream(name: "state", logClass: 1, durability: .spill)], limits: limits)
    let epoch = rig.epoch
    rig.append(0, Rig.payload(0, 100))
    rig.commit()
    #expect(rig.next(0)?.sequence == 1)
    for _ in 0..<500 where rig.spool.streams[0].lent.isEmpty {
      rig.append(0, Rig.payload(1, 100))
      rig.commit()
    }
    #expect(rig.spool.streams[0].lent.map(\.range) == [SequenceRange(first: 1, last: 1)])
    rig.disk.kill()
    rig.disk.delete(.cursor)
    rig.reopen()
    let gaps = rig.gaps().filter { $0.first <= 1 }
    #expect(gaps.map(\.epoch) == [epoch])
    #expect(gaps.allSatisfy { $0.isUpperBound && $0.reason == .corrupt })
  }

  /// `behind`: so many frames stand behind it at least.
  private func damageTable(_ rig: Rig, segment number: UInt32, frame: Int, behind: Int = 1) {
    let file = StorageFile.segment(logClass: 1, number: number)
    let frames = rig.frames(file)
    #expect(frames.count > frame + behind)
    guard frames.count > frame else { return }
    rig.flip(file, at: frames[frame] + frameHeaderBytes + 1)
  }
}
