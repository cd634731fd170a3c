import Primitives
import TestSupport
import Testing

@testable import Spool

@Suite("Disk")
struct DiskTests {
  private let four = (0..<4).map {
    SpoolStream(
      name: ByteString("class\($0)"), logClass: UInt8($0), durability: $0 < 2 ? .sync : .spill)
  }

  @Test("CRC-32C: the check value of the nine digits, and of the salted start")
  func crc() {
    #expect(CRC32C.of(Array("123456789".utf8).span) == 0xE306_9283)
    #expect(saltedCRC(Array("123456789".utf8).span, 0..<9, salt: 0) == 0xE306_9283)
    #expect(saltedCRC(Array("123456789".utf8).span, 0..<9, salt: 1) != 0xE306_9283)
  }

  @Test("a failed sync closes the segment; its records go to another one, in order, once")
  func failedSync() {
    let rig = Rig()
    rig.appendMany(0, 3)
    rig.commit()
    rig.append(0, [1])
    rig.disk.failing = [.sync: .failed(5)]
    rig.disk.failAt = nil
    rig.commit()
    #expect(!rig.isSafe(0, 4))
    #expect(rig.reports() == [.degraded(.failed(5))])
    #expect(rig.append(0, [2]) == .refused(.degraded))
    rig.disk.failing = [:]
    rig.wait(.seconds(60))
    rig.turn()
    #expect(rig.reports() == [.recovered])
    #expect(rig.isSafe(0, 4))
    #expect(!rig.disk.syncedAfterFailure)
    #expect(rig.readAll(0).map(\.sequence) == [1, 2, 3, 4])
    rig.disk.kill()
    rig.reopen()
    #expect(rig.readAll(0).map(\.sequence) == [1, 2, 3, 4])
    #expect(rig.backlog(0).records == 4)
  }

  @Test("one failed sync is repaired at once, on a new segment")
  func oneFailedSync() {
    let rig = Rig()
    rig.append(0, [1])
    rig.commit()
    rig.append(0, [2])
    rig.disk.failAt = (rig.disk.operations + 2, .failed(5))
    rig.commit()
    #expect(rig.isSafe(0, 2))
    #expect(rig.statistics.segments == 2)
    #expect(rig.reports().isEmpty)
    #expect(rig.readAll(0).map(\.payload) == [[1], [2]])
  }

  @Test("without a disk, spill records live in memory, the least urgent go first, and it recovers")
  func degraded() {
    var limits = Rig.smallLimits
    limits.tailBytesMax = 8000
    let rig = Rig(streams: four, limits: limits)
    rig.append(2, [1])
    rig.append(3, [1])
    rig.turn()
    rig.disk.failing = [.write: .readOnly, .create: .readOnly]
    for index in 0..<30 {
      rig.append(3, Rig.payload(index, 100))
      rig.append(2, Rig.payload(index, 100))
    }
    #expect(rig.statistics.isDegraded)
    #expect(rig.append(0, [1]) == .refused(.degraded))
    let gaps = rig.gaps()
    #expect(gaps.allSatisfy { $0.reason == .memory && $0.stream == "class3" })
    #expect(gaps.reduce(0) { $0 + $1.count } > 10)
    // What is in memory is still sent.
    #expect(rig.readAll(2, acknowledge: true).count == 31)
    let kept = rig.readAll(3).map(\.sequence)
    #expect(kept.last == 31)
    rig.disk.failing = [:]
    #expect(rig.deadline != nil)
    rig.wait(.seconds(60))
    rig.turn()
    #expect(!rig.statistics.isDegraded)
    #expect(rig.reports().contains(.recovered))
    #expect(rig.isSafe(3, 31))
    rig.spool.rewind(stream: 3)
    #expect(rig.readAll(3).map(\.sequence) == kept)
  }

  @Test("without a disk, numbers beyond the reservation belong to another epoch")
  func degradedEpoch() {
    let rig = Rig()
    rig.append(1, [1])
    let epoch = rig.epoch
    rig.disk.failing = [.write: .readOnly, .create: .readOnly]
    for _ in 0..<100 {
      rig.append(1, [2])
      _ = rig.readAll(1, acknowledge: true)
    }
    #expect(rig.epoch != epoch)
    let other = rig.epoch
    rig.append(1, [3])
    #expect(rig.next(1)?.epoch == other)
    rig.disk.kill()
    rig.reopen()
    #expect(rig.epoch == epoch)
    rig.append(1, [4])
    #expect(rig.next(1)?.epoch == epoch)
  }

  @Test("a directory that cannot be read is taken over when it can, what it holds first")
  func blind() {
    let rig = Rig()
    rig.appendMany(1, 20)
    rig.close()
    let epoch = rig.epoch
    rig.disk.failing = [.list: .missing]
    rig.reopen()
    #expect(rig.reports() == [.degraded(.missing)])
    rig.append(1, [7])
    #expect(rig.next(1)?.payload == [7])
    rig.disk.failing = [:]
    rig.wait(.seconds(60))
    rig.turn()
    #expect(rig.reports() == [.recovered])
    let records = rig.readAll(1, acknowledge: true)
    #expect(records.count == 21)
    #expect(records.prefix(20).allSatisfy { $0.epoch == epoch })
    #expect(records.last?.payload == [7])
    #expect(records.last?.epoch != epoch)
    rig.close()
    rig.reopen()
    #expect(rig.readAll(1).isEmpty)
    #expect(rig.backlog(1) == (0, 0))
  }

  @Test("after kill -9 no number is used twice, and what may have been lost is reported")
  func reservation() {
    let rig = Rig()
    for _ in 0..<10 { rig.append(1, [1]) }
    #expect(rig.readAll(1).count == 10)
    rig.disk.kill()
    rig.reopen()
    let gaps = rig.gaps()
    #expect(gaps.count == 1)
    #expect(gaps.first?.first == 1)
    #expect(gaps.first?.reason == .memory)
    #expect(gaps.first?.isUpperBound == true)
    guard case .taken(let sequence) = rig.append(1, [2]), let gap = gaps.first else {
      Issue.record("not taken")
      return
    }
    #expect(gap.last >= 10 && sequence == gap.last + 1)
    rig.close()
    rig.reopen()
    #expect(rig.gaps().isEmpty)
    #expect(rig.append(1, [3]) == .taken(sequence: sequence + 1))
  }

  @Test(
    "the disk is full: bulk goes first, alarms last, each class keeps a segment, all is reported")
  func classOrder() {
    let limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: 128 << 10, freeFloorBytes: 0, commitBytes: 1024)
    let rig = Rig(streams: four, limits: limits)
    var dropped: [UInt64] = [0, 0, 0, 0]
    func fill(_ stream: Int, _ count: Int) {
      for index in 0..<count {
        rig.append(stream, Rig.payload(index, 100))
        if index % 8 == 7 { rig.commit() }
      }
      rig.commit()
      for gap in rig.gaps() {
        #expect(gap.reason == .space)
        dropped[gap.streamIndex!] += gap.count
      }
      #expect(rig.disk.totalBytes <= limits.totalBytes)
    }
    fill(3, 400)
    #expect(dropped[3] == 0)
    fill(2, 400)
    #expect(dropped[2] == 0)
    #expect(dropped[3] > 0)
    fill(1, 500)
    #expect(dropped[1] == 0)
    #expect(dropped[2] > 0)
    fill(0, 1500)
    #expect(dropped[0] > 0)
    for stream in 0..<4 {
      let records = rig.readAll(stream).map(\.sequence)
      #expect(!records.isEmpty, "class \(stream) keeps a segment")
      #expect(records == records.sorted())
      #expect(UInt64(records.count) + dropped[stream] == [1500, 500, 400, 400][stream])
    }
    // Less urgent records do not push out alarms.
    let alarms = rig.backlog(0).records
    fill(3, 300)
    #expect(rig.backlog(0).records == alarms)
  }

  @Test("the floor of the file system is kept by giving up old segments")
  func floor() {
    let limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: 1 << 20, freeFloorBytes: 20_000, commitBytes: 1024)
    let rig = Rig(streams: four, limits: limits)
    rig.disk.capacity = 100_000
    for index in 0..<2000 {
      rig.append(3, Rig.payload(index, 100))
      if index % 8 == 7 { rig.commit() }
    }
    #expect(rig.disk.totalBytes <= 80_000)
    #expect(!rig.statistics.isDegraded)
    #expect(rig.gaps().reduce(0) { $0 + $1.count } + rig.backlog(3).records == 2000)
  }

  @Test(
    "on a disk that others have filled nothing is given up for a segment that has no room all the same"
  )
  func nothingInVain() {
    let limits = SpoolLimits(
      segmentBytes: 4096, totalBytes: 1 << 20, freeFloorBytes: 4096, commitBytes: 1024)
    let rig = Rig(limits: limits)
    rig.appendMany(0, 20)
    rig.commit()
    rig.disk.capacity = rig.disk.totalBytes
    var taken = 20
    while !rig.statistics.isDegraded, taken < 200 {
      if case .taken = rig.append(0, Rig.payload(taken, 100)) { taken += 1 }
      rig.commit()
    }
    #expect(rig.statistics.failure == .full)
    #expect(rig.append(0, Rig.payload(taken, 100)) == .refused(.degraded))
    #expect(rig.gaps().isEmpty && rig.backlog(0).records == UInt64(taken))
    rig.disk.capacity = 100_000
    rig.commit()
    #expect(!rig.statistics.isDegraded)
    #expect(rig.readAll(0).count == taken)
  }

  @Test("a full spool opens by its seals: it reads a fraction of what is there")
  func opensFast() {
    let limits = SpoolLimits(totalBytes: 4 << 20, freeFloorBytes: 0)
    let rig = Rig(streams: four, limits: limits)
    for index in 0..<3500 { rig.append(2, Rig.payload(index, 1000)) }
    rig.close()
    let before = rig.disk.bytesRead
    let reads = rig.disk.counts[.read] ?? 0
    rig.reopen()
    #expect(rig.backlog(2).records == 3500)
    #expect(rig.disk.bytesRead - before < 450_000)
    #expect((rig.disk.counts[.read] ?? 0) - reads < 120)
    #expect(rig.readAll(2).count == 3500)
    #expect(rig.spool.memoryBytes < 1 << 20)
  }

  @Test("2 kB/s of 200-byte records with the defaults: little more is written than comes in")
  func writeAmplification() {
    let rig = Rig(streams: four, limits: SpoolLimits(freeFloorBytes: 0))
    var payload: UInt64 = 0
    for index in 0..<6000 {
      rig.append(2, Rig.payload(index, 200), source: "ecu")
      payload += 200
      rig.wait(.milliseconds(100))
      rig.turn()
    }
    #expect(rig.statistics.bytesWritten < payload * 12 / 10)
    #expect(rig.statistics.commits <= 22)
  }

  @Test("the memory of records is bounded, whichever classes have needed it before")
  func memoryOfAllClasses() {
    let streams = (UInt8(0)..<4).map {
      SpoolStream(name: ByteString("s\($0)"), logClass: $0, durability: .spill)
    }
    let limits = SpoolLimits()
    let rig = Rig(streams: streams, limits: limits)
    let frame = max(limits.commitBytes, limits.recordBytesMax) + 8_192
    let most = 2 * limits.tailBytesMax + (limits.frameSlots + 4) * frame + 32_768
    var high = 0
    for round in 0..<3 {
      for stream in 0..<4 {
        rig.disk.failing = [.write: .failed(5), .create: .failed(5)]
        for number in 0..<4_000 {
          rig.append(stream, [UInt8](repeating: 1, count: number % 7 == 0 ? 2_000 : 20))
          if number % 50 == 0 { rig.spool.commitIfDue(clocks: rig.clocks) }
          high = max(high, rig.spool.memoryBytes)
        }
        // Then the disk takes it all.
        rig.disk.failing = [:]
        rig.wait(.seconds(61))
        rig.spool.commitIfDue(clocks: rig.clocks)
        rig.spool.commit(clocks: rig.clocks)
        high = max(high, rig.spool.memoryBytes)
      }
      #expect(high <= most, "round \(round): \(high) of \(most)")
    }
    #expect(high > limits.tailBytesMax, "it was full")
  }
}
