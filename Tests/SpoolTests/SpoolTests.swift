import Primitives
import TestSupport
import Testing

@testable import Spool

@Suite("Spool")
struct SpoolTests {
  @Test("a sync record can be read and is safe only after its commit")
  func syncWaitsForCommit() {
    let rig = Rig()
    #expect(rig.append(0, [1, 2, 3], subject: "a/b", token: 77) == .taken(sequence: 1))
    #expect(!rig.isSafe(0, 1))
    #expect(rig.next(0) == nil)
    rig.turn()
    #expect(rig.isSafe(0, 1))
    let record = rig.next(0)
    #expect(record?.payload == [1, 2, 3])
    #expect(record?.source == Array("ecu".utf8))
    #expect(record?.subject == Array("a/b".utf8))
    #expect(record?.token == 77)
    #expect(record?.sequence == 1)
    #expect(record?.epoch == rig.epoch)
    #expect(record?.time == rig.clocks.wall)
    #expect(record?.isBacklog == false)
    #expect(rig.next(0) == nil)
  }

  @Test("a spill record is read from memory, and never written when delivered in time")
  func spillStaysInMemory() {
    let rig = Rig()
    rig.append(1, [1])
    let before = rig.statistics
    #expect(rig.next(1)?.payload == [1])
    #expect(!rig.isSafe(1, 1))
    rig.acknowledge(1, 1)
    #expect(rig.isSafe(1, 1))
    rig.wait(.seconds(60))
    rig.turn()
    rig.commit()
    #expect(rig.statistics.segments == 0)
    #expect(rig.statistics.bytesWritten == before.bytesWritten)
    #expect(rig.backlog(1) == (0, 0))
  }

  @Test("a spill record that waited for the commit interval is written")
  func spillIsWritten() {
    let rig = Rig()
    rig.append(1, [1])
    rig.turn()
    #expect(!rig.isSafe(1, 1))
    #expect(rig.deadline == rig.clocks.now + .seconds(30))
    rig.wait(.seconds(30))
    rig.turn()
    #expect(rig.isSafe(1, 1))
    #expect(rig.next(1)?.isBacklog == true)
  }

  @Test("sync commits are no closer than the sync interval")
  func syncInterval() {
    let rig = Rig()
    rig.append(0, [1])
    rig.turn()
    rig.append(0, [2])
    rig.turn()
    #expect(!rig.isSafe(0, 2))
    #expect(rig.deadline == rig.clocks.now + .milliseconds(50))
    rig.wait(.milliseconds(50))
    rig.turn()
    #expect(rig.isSafe(0, 2))
  }

  @Test("a backlog over many segments comes back whole and in order after a restart")
  func restartWithBacklog() {
    let rig = Rig()
    rig.appendMany(0, 300)
    rig.appendMany(1, 300)
    rig.close()
    let epoch = rig.epoch
    #expect(rig.statistics.segments > 6)
    rig.reopen()
    #expect(rig.epoch == epoch)
    for stream in 0...1 {
      let bytes = (0..<300).reduce(0) { $0 + UInt64(Rig.payload($1, 100).count) }
      #expect(rig.backlog(stream) == (300, bytes))
      let records = rig.readAll(stream)
      #expect(records.map(\.sequence) == Array(1...300))
      #expect(records.map(\.payload) == (0..<300).map { Rig.payload($0, 100) })
      #expect(records.allSatisfy { $0.isBacklog && $0.epoch == epoch })
    }
    #expect(rig.reports().isEmpty)
    #expect(rig.append(1, [9]) == .taken(sequence: 301))
  }

  @Test("delivered segments are freed, and the numbers go on after a restart")
  func freesSegments() {
    let rig = Rig()
    rig.appendMany(0, 300)
    rig.commit()
    _ = rig.readAll(0, acknowledge: true)
    rig.turn()
    #expect(rig.statistics.segments == 1)
    #expect(rig.backlog(0) == (0, 0))
    rig.disk.kill()
    rig.reopen()
    #expect(rig.readAll(0).isEmpty)
    #expect(rig.append(0, [1]) == .taken(sequence: 301))
    #expect(rig.reports().isEmpty)
  }

  @Test("acknowledgements out of order: rewinding repeats only what is not settled")
  func outOfOrder() {
    let rig = Rig()
    rig.appendMany(0, 10)
    rig.commit()
    #expect(rig.readAll(0).count == 10)
    for sequence in [2, 5, 3, 9, 1] as [UInt64] {
      rig.acknowledge(0, sequence)
    }
    #expect(rig.backlog(0).records == 5)
    rig.spool.rewind(stream: 0)
    #expect(rig.readAll(0).map(\.sequence) == [4, 6, 7, 8, 10])
    rig.close()
    rig.reopen()
    #expect(rig.readAll(0).map(\.sequence) == [4, 6, 7, 8, 10])
  }

  @Test("a record that is too large is refused")
  func tooLarge() {
    let rig = Rig()
    #expect(
      rig.append(0, Array(repeating: 0, count: rig.limits.recordBytesMax - 3))
        == .taken(sequence: 1))
    #expect(
      rig.append(0, Array(repeating: 0, count: rig.limits.recordBytesMax - 2))
        == .refused(.tooLarge))
    rig.commit()
    #expect(rig.next(0)?.payload.count == rig.limits.recordBytesMax - 3)
  }

  @Test("expired records are dropped with one report, if the clock can be trusted")
  func expiry() {
    let rig = Rig(streams: [
      SpoolStream(name: "state", logClass: 2, durability: .spill, ttl: .seconds(100))
    ])
    rig.appendMany(0, 100)
    rig.commit()
    rig.wait(.seconds(60))
    rig.append(0, [1])
    rig.wait(.seconds(60))
    rig.clocks.quality = .unsynced
    #expect(rig.next(0)?.sequence == 1)
    rig.spool.rewind(stream: 0)
    rig.clocks.quality = .synced
    #expect(rig.next(0)?.sequence == 101)
    let gaps = rig.gaps()
    #expect(gaps.count == 1)
    #expect(gaps.first?.first == 1)
    #expect(gaps.first?.last == 100)
    #expect(gaps.first?.count == 100)
    #expect(gaps.first?.reason == .expired)
    rig.wait(.seconds(60))
    rig.spool.rewind(stream: 0)
    #expect(rig.next(0) == nil)
    #expect(rig.gaps().first?.count == 1)
    #expect(rig.backlog(0) == (0, 0))
  }

  @Test("a parked record is in the dead letters, and reported as rejected")
  func parking() {
    let rig = Rig()
    rig.appendMany(0, 5)
    rig.commit()
    let records = rig.readAll(0)
    #expect(records.count == 5)
    let isParked = rig.spool.park(
      stream: 0, record: records[2], status: 422, clocks: rig.clocks)
    #expect(isParked)
    let gaps = rig.gaps()
    #expect(gaps.map(\.reason) == [.rejected])
    #expect(gaps.map(\.from) == [records[2].time] && gaps.map(\.to) == [records[2].time])
    #expect(rig.statistics.parked == 1)
    #expect(rig.disk.bytes(.deadLetter).count > 100)
    rig.spool.rewind(stream: 0)
    #expect(rig.readAll(0).map(\.sequence) == [1, 2, 4, 5])
    for _ in 0..<200 {
      rig.append(0, Rig.payload(7, 100))
      rig.commit()
      guard let record = rig.next(0) else { break }
      rig.park(0, record.sequence, 400)
    }
    #expect(rig.disk.bytes(.deadLetter).count <= 4096 + 300)
    rig.reopen()
    #expect(rig.park(0, 1, 400))
  }

  @Test("streams that are not configured any more are kept")
  func orphans() {
    let rig = Rig()
    rig.appendMany(1, 10)
    rig.close()
    rig.reopen(streams: [Rig.defaultStreams[0]])
    #expect(rig.streamCount == 2)
    #expect(rig.streamName(1) == "state")
    #expect(rig.backlog(1).records == 10)
    rig.close()
    rig.reopen(streams: Rig.defaultStreams)
    #expect(rig.readAll(1).count == 10)
    #expect(rig.append(1, [1]) == .taken(sequence: 11))
  }

  @Test("a stream that changes its class keeps its order")
  func changesClass() {
    let rig = Rig()
    rig.appendMany(0, 50)
    rig.close()
    rig.reopen(streams: [SpoolStream(name: "alarm", logClass: 3, durability: .sync)])
    rig.appendMany(0, 50)
    rig.commit()
    #expect(rig.readAll(0, acknowledge: true).map(\.sequence) == Array(1...100))
    #expect(rig.backlog(0) == (0, 0))
  }
}
