import Primitives
import TestSupport
import Testing

@testable import Spool

/// Thinning that is broken off, refused by the disk, or finds damage.
@Suite("Thinning and its disk")
struct ThinningCrashTests {
  enum End: String, CaseIterable { case kill, powerCut }

  /// A spool in which the next segment is about to make the first ones of a level go together.
  private static func beforeThinning(_ records: Int) -> ThinningRig {
    let one = ThinningRig()
    one.fill(records)
    return one
  }

  /// The numbers that are safe, of each stream.
  private static func safe(_ one: ThinningRig) -> [UInt64] {
    one.payloads.indices.map { stream in
      UInt64(
        (0..<one.payloads[stream].count).prefix { one.rig.isSafe(stream, UInt64($0 + 1)) }.count)
    }
  }

  @Test(
    "a crash at any operation loses nothing that is not named, and delivers nothing twice or wrong",
    arguments: End.allCases, [640, 1_600])
  func crash(_ end: End, _ records: Int) {
    let base = Self.beforeThinning(records)
    base.rig.close()
    var (operation, thinned) = (0, 0)
    while true {
      operation += Effort.isWhole ? 1 : records < 1_000 ? 2 : 4
      let one = ThinningRig(after: base, on: CrashingDisk(base.disk))
      one.disk.freeze(at: one.disk.operations + operation, isPowerCut: end == .powerCut)
      var safe = Self.safe(one)
      for _ in 0..<16 where !one.disk.isFrozen {
        for index in 0..<8 { one.append(index % 4 == 3 ? 2 : 1) }
        one.rig.wait(.seconds(31))
        one.rig.turn()
        // What the process says once it is gone nobody hears.
        if one.disk.isFrozen { break }
        one.note()
        safe = Self.safe(one)
      }
      if one.rig.statistics.thinned > 0 { thinned += 1 }
      guard one.disk.isFrozen else { break }
      one.disk.thaw()
      for seed in UInt64(0)..<(end == .kill ? 1 : 3) {
        let copy = CrashingDisk(one.disk)
        var random = SplitMix64(seed: seed)
        if end == .powerCut { copy.cutPower(&random) } else { copy.kill() }
        let next = ThinningRig(after: one, on: copy)
        next.note()
        let comment: Comment = "operation \(operation), seed \(seed)"
        // What was not synced may be damaged.
        let isLost = next.gaps.contains { gap in
          gap.reason == .corrupt && gap.streamIndex.map { gap.first <= safe[$0] } ?? true
        }
        #expect(!isLost, comment)
        next.readAll()
        next.expectNamed(safe, comment)
        next.expectNothingWaits(comment)
        // It goes on, and a second start finds nothing left to do.
        next.rig.appendMany(1, 100)
        next.turn()
        let left = next.disk.names
        next.rig.reopen()
        #expect(next.disk.names == left, comment)
      }
    }
    #expect(operation > 30 && thinned > 10)
  }

  @Test(
    "an operation that fails while segments are thinned costs no record that is not named",
    arguments: [StorageError.failed(5), .full])
  func failure(_ error: StorageError) {
    let base = Self.beforeThinning(1_600)
    base.rig.close()
    var operation = 0
    while true {
      operation += Effort.isWhole ? 1 : 3
      let one = ThinningRig(after: base, on: CrashingDisk(base.disk))
      one.disk.failAt = (one.disk.operations + operation, error)
      one.disk.shortWrite = operation % 2 * 100
      for _ in 0..<14 { one.fill(8) }
      if one.disk.failAt != nil { break }
      #expect(!one.disk.syncedAfterFailure)
      one.rig.wait(.seconds(61))
      one.fill(200)
      let safe = Self.safe(one)
      one.disk.kill()
      one.rig.reopen()
      one.readAll()
      one.expectNamed(safe, "operation \(operation)")
      one.expectNothingWaits("operation \(operation)")
      #expect(!one.gaps.contains { $0.reason == .corrupt }, "operation \(operation)")
      one.turn()
      #expect(!one.disk.names.contains { $0.isThinned }, "operation \(operation)")
    }
    #expect(operation > 30)
  }

  @Test(
    "a disk that refuses for good ends in what happens without thinning: the oldest segment goes")
  func refused() {
    let one = Self.beforeThinning(400)
    // The files of thinned segments alone.
    one.disk.refusesThinned = true
    one.fill(2_000)
    #expect(one.levels.allSatisfy { $0 == 0 })
    #expect(!one.rig.statistics.isDegraded)
    #expect(one.rig.statistics.thinned == 0)
    one.disk.refusesThinned = false
    one.fill(2_000)
    #expect(one.rig.statistics.thinned > 0)
    one.readAll()
    one.expectExact()
  }

  @Test("a file system that others fill is not filled by thinning")
  func floor() {
    var limits = ThinningRig.limits(1 << 20)
    limits.freeFloorBytes = 20_000
    let one = ThinningRig(limits: limits)
    one.disk.capacity = 130_000
    one.fill(4_000)
    #expect(one.disk.mostBytes <= 110_000)
    one.readAll()
    one.expectExact()
  }

  @Test(
    "damage in segments that are about to be thinned is reported as ever, and the rest is counted")
  func damagedOriginals() {
    for number in [UInt64(3), 70, 151, 260] {
      let one = Self.beforeThinning(400)
      one.disk.overturn(one.payloads[1][Int(number) - 1])
      one.fill(2_000)
      one.readAll()
      let corrupt = one.gaps.filter { $0.reason == .corrupt }
      #expect(
        corrupt.contains { $0.streamIndex == 1 && $0.first <= number && number <= $0.last },
        "\(number): \(corrupt)")
      #expect(one.rig.statistics.corruptFrames > 0)
      one.expectExact("\(number)")
    }
  }

  @Test("a byte that turns over in a thinned segment costs one frame at most, which is reported")
  func damagedLater() {
    let one = Self.beforeThinning(1_600)
    one.rig.close()
    let files = one.disk.names.filter { $0.isThinned }
    #expect(files.count > 2)
    for file in files.prefix(2) + files.suffix(1) {
      let bytes = one.disk.bytes(file)
      for offset in stride(from: 0, to: bytes.count, by: Effort.isWhole ? 13 : 41) {
        let disk = one.disk.copy()
        var damaged = bytes
        damaged[offset] ^= 1 << UInt8(offset % 8)
        disk.replace(file, damaged)
        let next = ThinningRig(after: one, on: disk)
        next.readAll()
        next.expectNamed(next.payloads.map { UInt64($0.count) }, "\(file) at \(offset)")
        next.expectNothingWaits("\(file) at \(offset)")
        let lost = next.gaps.filter { $0.reason == .corrupt && $0.count > 40 }
        #expect(lost.allSatisfy { $0.isUpperBound }, "\(file) at \(offset)")
      }
    }
  }

  @Test(
    "whatever happens, a safe record is delivered or reported, with thinning, too",
    arguments: 0..<16)
  func model(_ seed: Int) {
    var limits = ThinningRig.limits(seed % 2 == 0 ? 64 << 10 : 96 << 10)
    limits.freeFloorBytes = 2_000
    let model = Model(seed: 5_000 + UInt64(seed), limits: limits, withFaults: seed % 4 > 1)
    for _ in 0..<900 { model.step() }
    model.finish()
  }

  @Test(
    "any number of readers, restarts and changes: each record is delivered or counted once",
    arguments: 0..<24)
  func property(_ seed: Int) {
    var random = SplitMix64(seed: UInt64(seed))
    var limits = ThinningRig.limits((80 << 10) + random.below(64 << 10))
    limits.isThinning = seed < 12
    let one = ThinningRig(limits: limits, seed: 3)
    var waiting: [[UInt64]] = one.payloads.map { _ in [] }
    for _ in 0..<500 {
      let stream = [1, 1, 1, 2, 2, 0, 3][Int(random.below(7))]
      switch random.below(20) {
      case 0..<12:
        for _ in 0..<(1 + random.below(12)) {
          one.append(stream, bytes: Int(20 + random.below(300)))
        }
      case 12..<14:
        let before = one.delivered[stream].count
        one.read(stream, Int(random.below(20)), acknowledge: false)
        waiting[stream] += one.delivered[stream][before...]
      case 14..<17:
        while !waiting[stream].isEmpty, random.below(6) > 0 {
          let place = Int(random.below(UInt64(waiting[stream].count)))
          one.rig.acknowledge(stream, waiting[stream].remove(at: place))
        }
      case 17 where random.below(4) == 0:
        for index in waiting.indices {
          for sequence in waiting[index] { one.rig.acknowledge(index, sequence) }
          waiting[index] = []
        }
        // What is reported from here on is told by the next run.
        one.turn()
        one.rig.close()
        one.rig.reopen()
        one.note()
      default: one.turn()
      }
    }
    one.turn()
    for index in waiting.indices {
      for sequence in waiting[index] { one.rig.acknowledge(index, sequence) }
    }
    one.readAll()
    one.expectExact("seed \(seed)")
    one.rig.close()
    one.rig.reopen()
    #expect(one.rig.gaps().isEmpty, "seed \(seed)")
  }
}

extension StorageFile {
  var isThinned: Bool {
    if case .segment(_, _, let level) = self { return level > 0 }
    return false
  }
}
