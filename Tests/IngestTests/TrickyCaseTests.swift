import Ingest
import Primitives
import Testing

/// What serial lines really carry, over every framing. The numbers are those of the project's list of
/// field cases; those that need a port (17 to 29) are tested where the ports are.
@Suite("Field cases of serial lines")
struct TrickyCaseTests {
  private let later = Instant(nanoseconds: 100_000_000_000)

  @Test("1: split at every byte offset, and one byte at a time", arguments: FramingCatalogue.all)
  func everyOffset(sample: FramingSample) {
    let stream = sample.opening + sample.wire
    let expected = sample.records.map { Outcome.frame($0) }
    for cut in 0...stream.count {
      var framer = sample.framer()
      #expect(framer.take(stream, splitAt: cut) == expected, "cut at \(cut)")
    }
    for chunk in [1, 2, 3, 7, 64] {
      var framer = sample.framer()
      #expect(framer.take(stream, chunk: chunk) == expected, "reads of \(chunk)")
      #expect(framer.counters.badFrames == 0 && framer.counters.skippedBytes == 0)
    }
  }

  @Test(
    "2, 10: many frames in one read, back to back", arguments: FramingCatalogue.all)
  func manyFrames(sample: FramingSample) {
    var framer = sample.framer()
    let memory = framer.memory
    var stream = sample.opening
    var expected: [Outcome] = []
    for _ in 0..<50 {
      stream += sample.wire
      expected += sample.records.map { .frame($0) }
    }
    #expect(framer.take(stream) == expected)
    // The test keeps each frame, which costs the framer a new one.
    #expect(framer.memory <= 2 * memory)
  }

  @Test("3: opened in the middle of a frame", arguments: FramingCatalogue.all)
  func midFrame(sample: FramingSample) {
    let first = sample.frames[0].wire
    // Without a check half a frame cannot be told from a whole one; HDLC's check tells a whole one
    // that only its first flag is missing from.
    let mayDeliverHalf = ["line", "slip", "hdlc"].contains(sample.name)
    for start in 1..<first.count {
      var framer = sample.framer()
      var got = frames(framer.take(Array(first[start...]) + sample.wire))
      got += frames(framer.timeOut(now: later))
      if mayDeliverHalf && got.count > sample.records.count { got.removeFirst() }
      #expect(got == sample.records, "from \(start)")
    }
  }

  @Test("4: delimiters and syncs across two reads", arguments: FramingCatalogue.all)
  func acrossReads(sample: FramingSample) {
    var framer = sample.framer()
    #expect(framer.take(sample.opening).isEmpty)
    for (wire, record) in sample.frames {
      var got: [[UInt8]] = []
      for byte in wire {
        got += frames(framer.take([byte]))
        got += frames(framer.take([]))
      }
      #expect(got == [record])
    }
  }

  @Test(
    "5: garbage of 0 to 64 KiB, then frames; memory stays as it was",
    arguments: FramingCatalogue.all, [0, 1, 63, 4096, 65_536])
  func garbage(sample: FramingSample, count: Int) {
    for seed in UInt64(1)...3 {
      var random = SplitMix64(seed: seed)
      var framer = sample.framer()
      let memory = framer.memory
      _ = framer.take(random.bytes(count), chunk: 777)
      _ = framer.timeOut(now: later)
      // What ends with a delimiter alone has half a line of garbage in front of it.
      let end: [UInt8] = sample.endsWithSilence ? [] : [0x0A]
      let got = frames(framer.take(end + sample.opening + sample.wire, now: later))
      #expect(got.suffix(sample.records.count) == sample.records[...], "seed \(seed)")
      #expect(framer.memory <= 2 * memory)
    }
  }

  @Test("6: a whole frame as another one's payload is payload")
  func frameInside() {
    for sample in FramingCatalogue.all where ["slip", "cobs", "hdlc"].contains(sample.name) {
      let inner = sample.frames[0].wire
      let outer =
        switch sample.name {
        case "slip": Encode.slip(inner)
        case "cobs": Encode.cobs(inner) + [0]
        default: Encode.hdlc(inner)
        }
      var framer = sample.framer()
      #expect(framer.take(sample.opening + outer) == [.frame(inner)])
    }
    let inner = FramingCatalogue.stuffed.frames[0].wire
    var framer = FramingCatalogue.stuffed.framer()
    #expect(framer.take(Encode.stuffed(inner)) == [.frame(inner)])
    var ubx = Framer(.length(LengthFraming.ubx, deliver: .payload), baud: 9600)
    let packet = Encode.ubx([1, 2, 3])
    #expect(ubx.take(Encode.ubx(packet)) == [.frame(packet)])
  }

  @Test("7: a corrupt length holds good frames back for one timeout at most")
  func corruptLength() {
    for (name, start) in [
      ("ubx", "B5 62 01 07 FF 1F"), ("ubx", "B5 62 01 07 FF FF"), ("ubx", "B5 62 01 07 00 00"),
      ("rtcm3", "D3 03 FF"), ("xiaomi", "55 AA FF"), ("xiaomi", "55 AA 00"),
      ("ninebot", "5A A5 FF"),
      ("jbd", "DD 03 00 FF"), ("mavlink", "FD FF 00"), ("mavlink", "FE FF"), ("length", "7A C8 B2"),
    ] {
      let sample = FramingCatalogue.lengths.first { $0.name == name }!
      var framer = sample.framer(baud: 9600)
      let now = Instant(nanoseconds: 1_000_000_000)
      var got = frames(framer.take(unhex(start) + sample.frames[0].wire, now: now))
      if let deadline = framer.nextDeadline() {
        #expect(deadline - now <= .milliseconds(FramingLimits.silenceMaxMilliseconds))
        got += frames(framer.timeOut(now: deadline))
      }
      #expect(got == [sample.frames[0].record], "\(name) \(start)")
      #expect(framer.counters.badFrames == 1, "\(name) \(start)")
    }
  }

  @Test("8: a bad check costs one frame", arguments: FramingCatalogue.all)
  func badThenGood(sample: FramingSample) {
    var framer = sample.framer()
    var outcomes = framer.take(sample.opening + sample.damaged + sample.wire)
    outcomes += framer.timeOut(now: later)
    #expect(frames(outcomes) == sample.records || sample.name == "slip", "\(outcomes)")
    #expect(frames(outcomes).suffix(sample.records.count) == sample.records[...])
    #expect(framer.counters.badFrames == 1)
  }

  @Test("9: a truncated frame, silence, a good frame", arguments: FramingCatalogue.all)
  func truncated(sample: FramingSample) {
    guard sample.endsWithSilence else { return }
    let whole = sample.frames[sample.frames.count - 1]
    for length in 1..<whole.wire.count {
      var framer = sample.framer()
      _ = framer.take(sample.opening)
      let now = Instant(nanoseconds: 1_000_000_000)
      let early = frames(framer.take(Array(whole.wire[..<length]), now: now))
      #expect(frames(framer.timeOut(now: later)).isEmpty)
      // A sentence is whole before its CR LF, SLIP and HDLC frames may do without the first delimiter.
      #expect(early.isEmpty || early == [whole.record], "\(length)")
      #expect(framer.nextDeadline() == nil)
      #expect(frames(framer.take(whole.wire, now: later)) == [whole.record], "\(length)")
    }
  }

  @Test("11: a gap of 16 ms in a frame is not its end", arguments: FramingCatalogue.all)
  func gap(sample: FramingSample) {
    let (wire, record) = sample.frames[0]
    for baud in [UInt32(9600), 115_200, 921_600] {
      for cut in 1..<wire.count {
        var framer = sample.framer(baud: baud)
        var now = Instant(nanoseconds: 1_000_000_000)
        _ = framer.take(sample.opening, now: now)
        var got = frames(framer.take(Array(wire[..<cut]), now: now))
        now = now + .milliseconds(16)
        got += frames(framer.timeOut(now: now))
        got += frames(framer.take(Array(wire[cut...]), now: now))
        #expect(got == [record], "\(baud) baud, \(cut)")
      }
    }
  }

  @Test("14, 15: NUL and control bytes are data where the framing carries them")
  func controlBytes() {
    let data: [UInt8] = [0x00, 0x03, 0x11, 0x13, 0x1A, 0xFF, 0x7F, 0x0D, 0x0A, 0x00]
    let wires: [(FramingSpecification, [UInt8])] = [
      (.slip(maximum: 64), Encode.slip(data)), (.cobs(maximum: 64), [0] + Encode.cobs(data) + [0]),
      (.hdlc(maximum: 64), Encode.hdlc(data)),
      (
        .stxEtx(STXETXFraming(check: .crc16XModem, isStuffed: true)), Encode.stuffed(data)
      ),
      (.modbusASCII, Encode.modbusASCII(data)),
      (.length(LengthFraming.ubx, deliver: .payload), Encode.ubx(data)),
      (.length(LengthFraming.xiaomi, deliver: .payload), Encode.xiaomi(data)),
      (.length(LengthFraming.ninebot, deliver: .payload), Encode.ninebot(data)),
    ]
    for (specification, wire) in wires {
      for chunk in [0, 1] {
        var framer = Framer(specification, baud: 9600)
        #expect(framer.take(wire, chunk: chunk) == [.frame(data)], "\(specification)")
      }
    }
  }

  @Test("16: 1 MiB without an end is little memory and few events", arguments: FramingCatalogue.all)
  func endless(sample: FramingSample) {
    var framer = sample.framer()
    let memory = framer.memory
    let read = [UInt8](repeating: 0x41, count: 4096)
    var bad = 0
    for _ in 0..<256 { bad += framer.take(read).count }
    #expect(bad <= 1 && framer.memory == memory)
    #expect(framer.counters.frames == 0 && framer.counters.bytes == 1 << 20)
    let end: [UInt8] = sample.endsWithSilence ? [0xC0, 0x7E, 0x00] : [0x0A]
    _ = framer.timeOut(now: later)
    let got = frames(framer.take(end + sample.wire, now: later))
    #expect(got.suffix(sample.records.count) == sample.records[...])
  }

  @Test(
    "18: a hang-up in a frame: it is bad, and the next one after it whole",
    arguments: FramingCatalogue.all)
  func hangUp(sample: FramingSample) {
    let (wire, record) = sample.frames[0]
    for cut in 1..<wire.count {
      var framer = sample.framer()
      var got = frames(framer.take(sample.opening + wire[..<cut]))
      let before = framer.counters.bytes
      got += frames(framer.hangUp())
      #expect(got.isEmpty || got == [record])
      #expect(framer.nextDeadline() == nil)
      #expect(frames(framer.take(sample.opening + wire)) == [record], "\(cut)")
      #expect(framer.counters.bytes == before + UInt64(sample.opening.count + wire.count))
    }
  }

  @Test(
    "30: seeded streams of frames, damage and noise: the reads make no difference",
    arguments: FramingCatalogue.all)
  func soak(sample: FramingSample) {
    for seed in UInt64(1)...40 {
      var random = SplitMix64(seed: seed)
      var stream = sample.opening
      for _ in 0..<30 {
        let wire = sample.frames[Int(random.below(UInt64(sample.frames.count)))].wire
        switch random.below(5) {
        case 0: stream += random.bytes(Int(random.below(20)))
        case 1: stream += wire.prefix(Int(random.below(UInt64(wire.count))))
        case 2:
          var damaged = wire
          damaged[Int(random.below(UInt64(wire.count)))] ^= UInt8(1 + random.below(255))
          stream += damaged
        default:
          stream += wire
        }
      }
      var whole = sample.framer()
      var expected = whole.take(stream)
      expected += whole.hangUp()
      var pieces = sample.framer()
      var got: [Outcome] = []
      var start = 0
      while start < stream.count {
        let end = min(stream.count, start + 1 + Int(random.below(90)))
        got += pieces.take(Array(stream[start..<end]))
        start = end
      }
      got += pieces.hangUp()
      #expect(got == expected, "seed \(seed)")
      #expect(pieces.counters.frames == whole.counters.frames, "seed \(seed)")
      #expect(pieces.counters.badFrames == whole.counters.badFrames, "seed \(seed)")
      let good = frames(expected)
      #expect(good.count <= 60, "seed \(seed)")
    }
  }
}
