import Primitives
import TestSupport
import Testing

@testable import Spool

/// What the simulator found in an hour of seeds, each as small as it goes.
@Suite("Found by the simulator in an hour")
struct FoundInAnHourTests {
  @Test("a damaged frame is named, also when its stream has changed its class since")
  func classChanged() {
    func state(_ logClass: UInt8) -> [SpoolStream] {
      [SpoolStream(name: "state", logClass: logClass, durability: .sync)]
    }
    let rig = Rig(streams: state(2))
    var third: [UInt8] = []
    for number in 1...5 {
      rig.wait(.seconds(1))
      if number == 3 { third.appendLittleEndian(UInt64(rig.clocks.wall.nanoseconds)) }
      rig.append(0, Rig.payload(number, 50))
      rig.commit()
    }
    rig.disk.kill()
    rig.reopen(streams: state(1))
    rig.append(0, Rig.payload(6, 50))
    rig.commit()
    rig.disk.kill()
    // The frame's header, and its table, have the time of its commit.
    rig.disk.overturn(third)
    rig.reopen()
    let gaps = rig.gaps()
    #expect(gaps.map(\.first) == [3] && gaps.map(\.last) == [3], "\(gaps)")
    #expect(gaps.allSatisfy { $0.reason == .corrupt })
    #expect(rig.readAll(0, acknowledge: true).map(\.sequence) == [1, 2, 4, 5, 6])
    #expect(rig.backlog(0).records == 0)
  }

  @Test(
    "what says that the epoch must change stays until the cursor has another one",
    arguments: [false, true])
  func evidence(isHeaderDamaged: Bool) {
    let rig = Rig()
    rig.appendMany(0, 4)
    rig.commit()
    rig.close()
    rig.reopen()
    // After the last cursor.
    rig.wait(.seconds(1))
    var time: [UInt8] = []
    time.appendLittleEndian(UInt64(rig.clocks.wall.nanoseconds))
    rig.append(0, [5])
    rig.commit()
    let given = (epoch: rig.epoch, sequence: rig.spool.lastNumber(stream: 0))
    rig.disk.kill()
    rig.disk.overturn(isHeaderDamaged ? Array("SPOKESEG".utf8) : time)
    for _ in 0..<3 {
      rig.disk.failing = [.write: .failed(5)]
      rig.reopen()
      #expect(rig.statistics.isDegraded)
      rig.disk.kill()
    }
    rig.reopen()
    rig.append(0, [6])
    rig.commit()
    #expect(!rig.statistics.isDegraded)
    let next = rig.spool.lastNumber(stream: 0)
    #expect(rig.epoch != given.epoch || next > given.sequence, "\(next) again")
    // Then it is cleared away, and the epoch stays.
    let epoch = rig.epoch
    rig.reopen()
    #expect(rig.epoch == epoch)
  }

  @Test("what a failed sync leaves in a file is not taken for safe by the next start")
  func leftByFailedSync() {
    let rig = Rig()
    rig.appendMany(0, 3)
    rig.commit()
    rig.disk.failing = [.sync: .failed(5)]
    rig.appendMany(0, 3)
    rig.commit()
    #expect(rig.statistics.isDegraded)
    rig.disk.kill()
    // The kernel has forgotten what was dirty, and syncs with success.
    rig.reopen()
    let found = rig.readAll(0).map(\.sequence)
    #expect(found.starts(with: [1, 2, 3]))
    for seed in UInt64(0)..<8 {
      let copy = CrashingDisk(rig.disk)
      var random = SplitMix64(seed: seed)
      copy.cutPower(&random)
      let kept = Rig(copy, seed: 77).readAll(0).map(\.sequence)
      #expect(Set(found).isSubset(of: kept), "power cut \(seed): \(found), then \(kept)")
    }
  }

  // Seed 10178: a broker that waited had four attempts made in less than a second.
  @Test("a start that cannot read gives no file up for many attempts, but for a long time")
  func attemptsSayNothing() {
    let rig = Rig()
    rig.appendMany(0, 20)
    rig.commit()
    rig.disk.kill()
    rig.disk.failing[.read] = .failed(5)
    rig.reopen()
    for _ in 0..<30 {
      rig.commit()
      rig.wait(.seconds(5))
    }
    #expect(rig.statistics.quarantined == 0)
    rig.disk.failing = [:]
    rig.wait(.seconds(60))
    rig.turn()
    #expect(!rig.statistics.isDegraded)
    #expect(rig.readAll(0).count == 20)
    #expect(rig.gaps().isEmpty)
  }

  // A failed sync left them in the segment before, too, where nothing reads them any more.
  @Test("damage to records that an earlier segment also has, and that are not read there, is named")
  func damagedWhereRead() {
    let rig = Rig()
    rig.appendMany(0, 3)
    rig.commit()
    rig.disk.failing = [.sync: .failed(5), .truncate: .failed(5)]
    rig.appendMany(0, 2)
    rig.commit()
    rig.disk.failing = [:]
    rig.commit()
    // So many frames that the start does not remember the first.
    for number in 6...10 {
      rig.append(0, Rig.payload(number, 100))
      rig.commit()
    }
    rig.disk.kill()
    rig.reopen()
    let files = rig.disk.names.filter { if case .segment = $0 { true } else { false } }
    #expect(files.count == 2)
    // Header and table of the first frame: nothing says what it held.
    var bytes = rig.disk.bytes(files[1])
    for place in segmentHeaderBytes..<(segmentHeaderBytes + 100) { bytes[place] ^= 1 }
    rig.disk.replace(files[1], bytes)
    #expect(rig.readAll(0, acknowledge: true).map(\.sequence) == [1, 2, 3] + Array(6...10))
    let gaps = rig.gaps()
    #expect(gaps.map(\.first) == [4] && gaps.map(\.last) == [5], "\(gaps)")
    #expect(gaps.allSatisfy { $0.reason == .corrupt })
    #expect(rig.backlog(0).records == 0)
  }

  // Seed 3388: its reader gives it up when the two are joined, and nothing else has it.
  @Test("what was lent without the directory is named when the directory is there again")
  func lentWithoutDirectory() {
    let before = Rig()
    before.appendMany(1, 1)
    before.close()
    before.disk.kill()
    before.disk.failing = [.list: .failed(5)]
    let limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: 1 << 20, freeFloorBytes: 0, commitBytes: 1024,
      tailBytesMax: 4096)
    let rig = Rig(before.disk, limits: limits, seed: 7)
    rig.append(1, [1])
    let first = rig.next(1)?.sequence
    #expect(first == rig.spool.lastNumber(stream: 1))
    rig.appendMany(1, 100)
    rig.disk.failing = [:]
    rig.commit()
    #expect(!rig.statistics.isDegraded)
    let gaps = rig.gaps().filter { $0.reason == .memory }
    #expect(gaps.contains { $0.first <= first ?? 0 && first ?? 0 <= $0.last }, "\(gaps)")
    let left = rig.readAll(1).map(\.sequence)
    #expect(gaps.reduce(0) { $0 + $1.count } + UInt64(left.count) == 102)
    #expect(rig.backlog(1).records == UInt64(left.count))
  }

  // What a load that fills the disk leaves at its end.
  @Test(
    "what counts as waiting is what was neither delivered nor dropped", arguments: UInt64(1)...12)
  func backlogIsExact(seed: UInt64) {
    let limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: 128 << 10, freeFloorBytes: 0, commitBytes: 1024)
    let rig = Rig(
      streams: (0..<2).map { number in
        SpoolStream(
          name: number == 0 ? "a" : "b", logClass: 3, durability: .sync, isLiveFirst: true)
      }, limits: limits)
    var random = SplitMix64(seed: seed)
    var open = [UInt64(0), 0]
    var drops = 0
    var onTheWay: [[(sequence: UInt64, isLive: Bool)]] = [[], []]
    for step in 0..<4_000 {
      let stream = Int(random.below(2))
      switch random.below(8) {
      case 0...2:
        let payload = Rig.payload(step, 200 + Int(random.below(800)))
        if case .taken = rig.append(stream, payload) { open[stream] += 1 }
      case 3:
        rig.wait(.milliseconds(Int64(random.below(20_000))))
        rig.turn()
      case 4, 5:
        guard onTheWay[stream].count < 20 else { continue }
        if let record = rig.next(stream) { onTheWay[stream].append((record.sequence, false)) }
      case 6:
        guard onTheWay[stream].count < 20 else { continue }
        var record = SpooledRecord()
        let isIdle = !onTheWay[stream].contains { $0.isLive }
        guard
          rig.spool.nextLive(
            stream: stream, into: &record, isIdle: isIdle, clocks: rig.clocks)
        else { continue }
        onTheWay[stream].append((record.sequence, true))
      default:
        guard !onTheWay[stream].isEmpty else { continue }
        let place = Int(random.below(UInt64(onTheWay[stream].count)))
        let sequence = onTheWay[stream].remove(at: place).sequence
        let isSettled = rig.spool.acknowledge(
          stream: stream, sequence: sequence, now: rig.clocks.now)
        if isSettled { open[stream] -= 1 }
      }
      for gap in rig.gaps() {
        drops += 1
        open[gap.streamIndex ?? 0] -= gap.count
      }
      for stream in 0...1 where rig.backlog(stream).records != open[stream] {
        Issue.record(
          "seed \(seed), step \(step), stream \(stream): \(rig.backlog(stream).records) of \(open[stream])"
        )
        return
      }
    }
    #expect(drops > 10)
  }
}
