import Primitives
import TestSupport
import Testing

@testable import Spool

@Suite("Thinning")
struct ThinningTests {
  @Test(
    "a sieve keeps one of four for each level, the last one, and nothing that the finer left out")
  func sieve() {
    let range = SequenceRange(first: 1, last: 100_000)
    let sieves = (UInt8(0)...3).map { Sieve(level: $0, range: range) }
    var counts = [0, 0, 0, 0]
    for sequence in range.first...range.last {
      for level in 0...3 where sieves[level].keeps(sequence) {
        counts[level] += 1
        #expect(level == 0 || sieves[level - 1].keeps(sequence))
      }
    }
    #expect(counts[0] == 100_000)
    #expect((24_000...26_000).contains(counts[1]))
    #expect((5_900...6_600).contains(counts[2]))
    #expect((1_400...1_700).contains(counts[3]))
    #expect(sieves.allSatisfy { $0.keeps(range.last) })
    // Stretches around those that are kept leave no hole and do not overlap.
    var end: UInt64 = 0
    for sequence in range.first...range.last where sieves[3].keeps(sequence) {
      let stretch = sieves[3].stretch(around: sequence)
      #expect(stretch.first <= end + 1 && stretch.last >= sequence)
      end = max(end, stretch.last)
    }
    #expect(end == range.last)
    #expect(sieves[2].open(1, 100_000, Settlement(through: 0)) == UInt64(counts[2]))
  }

  @Test("topics that take turns are thinned alike")
  func topics() {
    let sieve = Sieve(level: 1, range: SequenceRange(first: 1, last: 1 << 40))
    for topics in [2, 3, 4, 8, 16] as [UInt64] {
      for topic in 0..<topics {
        let kept = (0..<2_000).filter { sieve.keeps(1 + $0 * topics + topic) }.count
        #expect((400...600).contains(kept), "\(topic) of \(topics)")
      }
    }
  }

  @Test(
    "with an upstream that is away the old part gets coarse, the new one stays whole, all is counted"
  )
  func coarse() {
    let thinning = ThinningRig()
    var limits = ThinningRig.limits()
    limits.isThinning = false
    let dropping = ThinningRig(limits: limits)
    for one in [thinning, dropping] { one.fill(8_000) }
    let levels = thinning.levels
    #expect(Set(levels).isSuperset(of: [0, 1, 3]), "\(levels)")
    #expect(levels == levels.sorted(by: >))
    #expect(levels.filter { $0 == 0 }.count * 3 >= levels.count, "\(levels)")
    #expect(thinning.rig.statistics.thinned > 4_000)
    #expect(dropping.rig.statistics.thinned == 0)
    for one in [thinning, dropping] {
      one.readAll()
      one.expectExact()
      one.turn()
      #expect(one.disk.names.filter { $0 != .cursor }.count <= 1)
    }
    let (kept, last) = (thinning.delivered[1], dropping.delivered[1])
    #expect(kept.first! < last.first!)
    // Five times as far back, or more.
    #expect((6_400 - kept.first!) > 5 * (6_400 - last.first!))
    // The newest third of what would be there is whole.
    #expect(kept.suffix(last.count / 3) == last.suffix(last.count / 3))
    #expect(thinning.gaps.allSatisfy { $0.reason == .space && !$0.isUpperBound })
    #expect(thinning.delivered[2].count > dropping.delivered[2].count / 2)
  }

  @Test("what is kept of each level is what its sieve keeps")
  func kept() {
    let one = ThinningRig()
    one.fill(4_000)
    let segments = one.rig.spool.segments().filter { $0.isTelemetry }
    one.readAll()
    for segment in segments {
      for stream in segment.streams {
        let index = stream.name == "state" ? 1 : 2
        let range = SequenceRange(first: stream.first, last: stream.last)
        let there = one.delivered[index].filter { range.first <= $0 && $0 <= range.last }
        let sieve = Sieve(level: segment.level, range: range)
        #expect(there == (range.first...range.last).filter { sieve.keeps($0) })
        #expect(there.count == Int(stream.records))
      }
    }
  }

  @Test("a stream with few records keeps the newest of each segment")
  func few() {
    let one = ThinningRig()
    for index in 0..<4_000 {
      one.append(1)
      if index % 90 == 0 { one.append(2) }
      if index % 8 == 7 { one.turn() }
    }
    one.readAll()
    one.expectExact()
    #expect(one.delivered[2].count >= 8)
    #expect(one.rig.spool.streams[2].settled.ranges.isEmpty)
  }

  @Test("alarms, events and bulk are not thinned, and bulk goes before telemetry is")
  func otherClasses() {
    let one = ThinningRig()
    for _ in 0..<200 {
      for _ in 0..<8 { one.append(3) }
      one.turn()
    }
    for _ in 0..<20 {
      for _ in 0..<8 { one.append(1) }
      one.turn()
    }
    #expect(one.levels.allSatisfy { $0 == 0 })
    #expect(one.counted[3] > 0 && one.counted[1] == 0)
    for _ in 0..<200 {
      for _ in 0..<8 { one.append(1) }
      one.turn()
    }
    #expect(one.levels.contains(3) || one.levels.contains(2))
    // Alarms take the room of telemetry, and are there whole.
    for _ in 0..<60 {
      for _ in 0..<8 { one.append(0) }
      one.turn()
    }
    one.readAll()
    one.expectExact()
    #expect(one.delivered[0].count == 480)
  }

  @Test("records on their way are not thinned, and their acknowledgements count once")
  func inFlight() {
    let one = ThinningRig()
    one.fill(400)
    one.read(1, 150, acknowledge: false)
    let read = one.delivered[1]
    one.fill(1_500)
    #expect(one.rig.statistics.thinned > 0)
    for sequence in read { one.rig.acknowledge(1, sequence) }
    one.fill(1_500)
    one.readAll()
    one.expectExact()
    #expect(Array(one.delivered[1].prefix(150)) == read)
  }

  @Test(
    "records of a thinned segment that is dropped while they are on their way are lent, and counted once"
  )
  func lent() {
    for isAcknowledged in [true, false] {
      let one = ThinningRig()
      one.fill(4_000)
      one.read(1, 60, acknowledge: false)
      one.fill(8_000)
      let read = one.delivered[1]
      #expect(one.rig.spool.streams[1].lentRecords > 0)
      #expect(one.rig.spool.streams[1].lentRecords <= 60)
      if isAcknowledged {
        // Not in their order.
        for sequence in read.reversed() { one.rig.acknowledge(1, sequence) }
        #expect(one.rig.spool.streams[1].lentRecords == 0)
      } else {
        one.rig.spool.rewind(stream: 1)
        one.delivered[1] = []
      }
      one.readAll()
      one.expectExact("\(isAcknowledged)")
    }
  }

  @Test("acknowledgements in any order leave no ranges behind, and segments are freed")
  func anyOrder() {
    let one = ThinningRig()
    one.fill(4_000)
    var random = SplitMix64(seed: 5)
    var waiting: [UInt64] = []
    one.read(2)
    while true {
      let before = one.delivered[1].count
      one.read(1, 40 - waiting.count, acknowledge: false)
      waiting += one.delivered[1][before...]
      guard !waiting.isEmpty else { break }
      for _ in 0..<20 where !waiting.isEmpty {
        let place = Int(random.below(UInt64(waiting.count)))
        one.rig.acknowledge(1, waiting.remove(at: place))
      }
      one.expectFewRanges(41)
    }
    one.expectExact()
    #expect(one.rig.spool.streams[1].settled.ranges.isEmpty)
    #expect(one.rig.spool.streams[1].settled.through == UInt64(one.payloads[1].count))
  }

  @Test(
    "a restart in the middle of delivery goes on behind it, and reports nothing twice",
    arguments: 0..<12)
  func restarts(_ seed: Int) {
    let one = ThinningRig()
    one.fill(3_000)
    one.read(1, 20 + 37 * seed)
    one.read(2, 9 * seed)
    if seed % 2 == 0 { one.rig.close() } else { one.turn() }
    one.disk.kill()
    one.rig.reopen()
    one.note()
    #expect(one.gaps.allSatisfy { $0.reason == .space || $0.reason == .memory })
    one.readAll()
    one.expectExact("seed \(seed)")
    one.turn()
    one.rig.close()
    one.rig.reopen()
    #expect(one.rig.gaps().isEmpty)
    #expect(one.rig.statistics.records == 0)
  }

  @Test("records that have expired are counted as that, the thinned ones for space")
  func expired() {
    var streams = ThinningRig.streams
    streams[1].ttl = .seconds(3_600)
    let one = ThinningRig(streams: streams)
    one.fill(2_000)
    one.readAll()
    one.expectExact()
    #expect(one.gaps.contains { $0.reason == .expired })
  }

  @Test("records that are large and few find room, too")
  func largeRecords() {
    var random = SplitMix64(seed: 8)
    let one = ThinningRig()
    for _ in 0..<900 {
      one.append(1, bytes: Int(200 + random.below(1_500)))
      one.turn()
    }
    #expect(Set(one.levels).count > 2)
    one.readAll()
    one.expectExact()
  }

  @Test("a stream that was in another class for a while is delivered in order and whole")
  func changedClass() {
    let there = ThinningRig.streams.map { stream in
      var other = stream
      if stream.name == "state" { other.logClass = 1 }
      return other
    }
    let one = ThinningRig()
    for (streams, count) in [(ThinningRig.streams, 60), (there, 60), (ThinningRig.streams, 2_000)] {
      let isOpen = one.rig.spool.reopen(streams: streams, clocks: one.rig.clocks)
      #expect(isOpen)
      one.note()
      one.fill(count)
    }
    #expect(one.rig.statistics.thinned > 0)
    one.readAll()
    one.expectExact()
  }
}
