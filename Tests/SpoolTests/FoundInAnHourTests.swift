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
}
