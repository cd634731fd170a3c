import Primitives
import TestSupport
import Testing

@testable import Spool

@Suite("Gap reports survive until they are confirmed")
struct GapTests {
  /// Gives up its oldest segment for space, as its cursor says by then.
  private func full() -> (rig: Rig, gap: GapReport?) {
    let rig = Rig(
      limits: SpoolLimits(
        segmentBytes: 4096, totalBytes: 64 << 10, freeFloorBytes: 0, commitBytes: 1024))
    var gap: GapReport?
    while gap == nil {
      rig.appendMany(1, 8)
      rig.commit()
      var report = rig.spool.nextReport()
      while report != nil {
        if case .gap(let found) = report { gap = found }
        report = rig.spool.nextReport()
      }
    }
    return (rig, gap)
  }

  @Test("what was dropped for space is told again after a SIGKILL, whole")
  func toldAgain() {
    let (rig, gap) = full()
    rig.disk.kill()
    rig.reopen()
    let again = rig.gaps()
    #expect(gap?.reason == .space)
    #expect(again.contains { $0 == gap })
  }

  @Test("what nobody has taken yet is told after a SIGKILL, too")
  func notTaken() {
    let rig = Rig()
    rig.append(0, [1])
    rig.append(0, [2])
    rig.commit()
    rig.spool.discard(stream: 0, sequence: 1, reason: .expired, clocks: rig.clocks)
    rig.wait(.seconds(6))
    rig.turn()
    rig.disk.kill()
    rig.reopen()
    #expect(rig.gaps().contains { $0.first == 1 && $0.last == 1 && $0.reason == .expired })
  }

  @Test("what is confirmed is told once")
  func confirmed() {
    let (rig, gap) = full()
    rig.spool.confirmGaps(through: rig.spool.gapsTold)
    rig.wait(.seconds(6))
    rig.turn()
    rig.disk.kill()
    rig.reopen()
    #expect(!rig.gaps().contains { $0.first == gap?.first && $0.reason == .space })
  }

  @Test("a reopening tells nothing twice, and forgets nothing")
  func reopened() {
    let (rig, gap) = full()
    let isReopened = rig.spool.reopen(streams: rig.streams, clocks: rig.clocks)
    #expect(isReopened)
    #expect(rig.gaps().isEmpty)
    rig.disk.kill()
    rig.reopen()
    #expect(rig.gaps().contains { $0 == gap })
  }

  @Test("more gaps than the cursor has room for become fewer, and stay true")
  func many() {
    let rig = Rig()
    for number in 0..<600 { rig.append(0, [UInt8(number & 0xFF)]) }
    rig.commit()
    for number in UInt64(1)..<600 {
      if number % 2 == 0 {
        rig.acknowledge(0, number)
      } else {
        rig.spool.discard(stream: 0, sequence: number, reason: .rejected, clocks: rig.clocks)
      }
      while rig.spool.nextReport() != nil {}
    }
    rig.wait(.seconds(6))
    rig.turn()
    rig.disk.kill()
    rig.reopen()
    let gaps = rig.gaps().filter { $0.reason == .rejected }
    #expect(gaps.reduce(0) { $0 + $1.count } == 300)
    #expect(gaps.map { $0.first }.min() == 1)
    #expect(gaps.map { $0.last }.max() == 599)
  }
}
