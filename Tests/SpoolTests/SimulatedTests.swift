import Primitives
import TestSupport
import Testing

@testable import Spool

/// What the simulator found, each as small as it goes.
@Suite("Found by the simulator")
struct SimulatedTests {
  /// A spool of 40 records, in more frames than are kept in memory, on a disk that cannot read.
  private static func unreadable() -> Rig {
    let rig = Rig()
    for number in 0..<40 {
      rig.append(0, Rig.payload(number, 50))
      rig.commit()
    }
    rig.disk.kill()
    rig.reopen()
    rig.disk.failing[.read] = .failed(5)
    return rig
  }

  @Test("a disk that cannot read for a moment costs no record")
  func readErrorsPass() {
    let rig = Self.unreadable()
    // As often as a turn with many rounds asks.
    for _ in 0..<20 { #expect(rig.readAll(0).isEmpty) }
    let deadline = rig.spool.nextDeadline()
    #expect(deadline.map { $0 > rig.clocks.now } ?? false)
    rig.disk.failing = [:]
    rig.wait(.seconds(1))
    #expect(rig.readAll(0).count == 40)
    #expect(!rig.gaps().contains { $0.reason == .corrupt })
  }

  @Test("a disk that never reads again gives up after a while, with a report")
  func readErrorsStay() {
    let rig = Self.unreadable()
    for _ in 0..<30 {
      #expect(rig.readAll(0).isEmpty)
      rig.wait(.seconds(1))
    }
    #expect(rig.gaps().reduce(0) { $0 + ($1.reason == .corrupt ? $1.count : 0) } > 0)
  }

  @Test("damage that comes after a segment was scanned is reported")
  func laterDamage() {
    let rig = Rig()
    for number in 0..<40 {
      rig.append(0, Rig.payload(number, 50))
      rig.commit()
    }
    rig.disk.kill()
    rig.reopen()
    // In the payload of the third record, whose frame a scan has found whole.
    rig.disk.overturn(Rig.payload(2, 50))
    let delivered = rig.readAll(0)
    let lost = rig.gaps().reduce(0) { $0 + ($1.reason == .corrupt ? $1.count : 0) }
    #expect(delivered.count == 39)
    #expect(lost == 1)
    #expect(rig.backlog(0).records == 39)
  }

  @Test("a stream that goes to another class and comes back loses nothing")
  func thereAndBack() {
    let there = [
      SpoolStream(name: "alarm", logClass: 1, durability: .sync),
      SpoolStream(name: "state", logClass: 2, durability: .spill),
    ]
    let rig = Rig()
    for (streams, first) in [(Rig.defaultStreams, 0), (there, 10), (Rig.defaultStreams, 20)] {
      let isOpen = rig.spool.reopen(streams: streams, clocks: rig.clocks)
      #expect(isOpen)
      for number in first..<(first + 10) { rig.append(0, [UInt8(number)]) }
      rig.commit()
    }
    #expect(rig.readAll(0).count == 30)
    #expect(rig.gaps().isEmpty)
  }

  @Test("classes that are idle do not keep out one that is not")
  func idleClasses() {
    var streams: [SpoolStream] = []
    for logClass in UInt8(0)..<4 {
      streams.append(
        SpoolStream(name: ByteString("s\(logClass)"), logClass: logClass, durability: .sync))
    }
    // Room for three segments beside the cursor.
    let rig = Rig(
      streams: streams,
      limits: SpoolLimits(
        segmentBytes: 32 << 10, totalBytes: 140 << 10, freeFloorBytes: 0, commitBytes: 1024))
    for stream in streams.indices {
      for number in 0..<4 { rig.append(stream, [UInt8(number)]) }
      rig.commit()
      #expect(!rig.statistics.isDegraded)
      for number in UInt64(1)...4 {
        rig.acknowledge(stream, number)
      }
    }
    #expect(rig.gaps().isEmpty)
    #expect(rig.disk.totalBytes <= 140 << 10)
  }

  @Test("what was delivered from memory is safe, however many numbers are open between")
  func manyRanges() {
    let rig = Rig()
    for number in 0..<200 { rig.append(1, [UInt8(number)]) }
    for number in stride(from: UInt64(2), through: 200, by: 2) { rig.acknowledge(1, number) }
    for number in stride(from: UInt64(2), through: 200, by: 2) { #expect(rig.isSafe(1, number)) }
    #expect(!rig.isSafe(1, 199))
  }

  @Test("a sync that failed is not tried again by a reopening")
  func failedSyncs() {
    let rig = Rig()
    rig.append(0, [1])
    rig.commit()
    rig.append(0, [2])
    rig.disk.failAt = (rig.disk.operations + 2, .failed(5))
    rig.commit()
    #expect(!rig.statistics.isDegraded)
    let isOpen = rig.spool.reopen(streams: rig.streams, clocks: rig.clocks)
    #expect(isOpen)
    #expect(!rig.disk.syncedAfterFailure)
    #expect(rig.readAll(0).count == 2)
  }
}
