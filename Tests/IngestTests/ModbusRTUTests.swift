import Ingest
import Primitives
import Testing

@Suite("Modbus RTU framing")
struct ModbusRTUTests {
  /// "Modbus over serial line" and the guides print these: read one register of unit 1, its answer,
  /// an exception, and 02 07 with its CRC 41 12.
  static let published: [[UInt8]] = [
    unhex("01 03 00 00 00 01 84 0A"), unhex("01 03 02 00 0A 38 43"), unhex("11 83 02 C1 34"),
    unhex("02 07 41 12"),
  ]
  static func framer(baud: UInt32 = 115_200, latency: Interval = .zero) -> Framer {
    Framer(.modbusRTU(latency: latency), baud: baud)
  }
  private let start = Instant(nanoseconds: 1_000_000_000)

  private func records(_ wires: [[UInt8]]) -> [Outcome] { wires.map { .frame($0.dropLast(2)) } }

  @Test("1, 9: silence ends a frame: the address and the PDU come out, without the CRC")
  func silence() {
    for wire in Self.published {
      var framer = Self.framer()
      #expect(framer.take(wire, chunk: 1, now: start).isEmpty)
      #expect(framer.nextDeadline() == start + .microseconds(1750))
      #expect(framer.timeOut(now: start + .microseconds(1749)).isEmpty)
      #expect(framer.timeOut(now: start + .microseconds(1750)) == records([wire]))
      #expect(framer.nextDeadline() == nil)
    }
  }

  @Test(
    "the silence is 3.5 characters, 1.75 ms or twice the adapter's latency, the greatest of them")
  func gaps() {
    let cases: [(UInt32, Interval, Interval)] = [
      (9600, .zero, Interval(nanoseconds: 4_010_416)),
      (19_200, .zero, Interval(nanoseconds: 2_005_208)),
      (38_400, .zero, .microseconds(1750)), (115_200, .zero, .microseconds(1750)),
      (115_200, .milliseconds(16), .milliseconds(32)),
      (300, .zero, Interval(nanoseconds: 128_333_333)),
    ]
    for (baud, latency, gap) in cases {
      var framer = Self.framer(baud: baud, latency: latency)
      _ = framer.take([1], now: start)
      #expect(framer.nextDeadline() == start + gap)
    }
  }

  @Test("frames with silence between them, seen by time-outs or by late reads alone")
  func sequence() {
    for readsAlone in [false, true] {
      var framer = Self.framer()
      var now = start
      var got: [Outcome] = []
      for wire in Self.published {
        got += framer.take(wire, now: now)
        now = now + .milliseconds(5)
        if !readsAlone { got += framer.timeOut(now: now) }
      }
      got += framer.timeOut(now: now)
      #expect(got == records(Self.published))
      #expect(framer.counters.badFrames == 0 && framer.counters.skippedBytes == 0)
    }
  }

  @Test("2, 10: frames that come in one read, or without silence, are told apart by their CRCs")
  func merged() {
    var framer = Self.framer()
    var got = framer.take(Self.published.flatMap { $0 }, now: start)
    got += framer.timeOut(now: start + .milliseconds(2))
    #expect(got == records(Self.published))
    // A flood that fills the buffer again and again.
    let many = (0..<200).map { Self.published[$0 % 4] }
    got = framer.take(many.flatMap { $0 }, chunk: 333, now: start + .seconds(1))
    got += framer.timeOut(now: start + .seconds(2))
    #expect(got == records(many))
  }

  @Test("1, 11: a frame in two reads with a gap of 16 ms between them, at every offset")
  func gapInside() {
    for wire in Self.published {
      for cut in 1..<wire.count {
        var framer = Self.framer()
        var got = framer.take(Array(wire[..<cut]), now: start)
        got += framer.timeOut(now: start + .milliseconds(2))
        got += framer.take(Array(wire[cut...]), now: start + .milliseconds(16))
        got += framer.timeOut(now: start + .milliseconds(18))
        #expect(got == records([wire]), "\(cut)")
      }
    }
  }

  @Test("8: a frame with a bad CRC, silence, a good frame")
  func badThenGood() {
    for bit in 0..<8 * 8 {
      var damaged = Self.published[0]
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      var framer = Self.framer()
      var got = framer.take(damaged, now: start)
      got += framer.timeOut(now: start + .milliseconds(3))
      #expect(got.isEmpty)
      got += framer.take(Self.published[1], now: start + .milliseconds(5))
      got += framer.timeOut(now: start + .milliseconds(8))
      #expect(got == [.bad(.checksum)] + records([Self.published[1]]), "bit \(bit)")
      #expect(framer.counters.skippedBytes == 8)
    }
  }

  @Test("9: what never becomes a frame is given up after 20 ms")
  func givenUp() {
    var framer = Self.framer()
    #expect(framer.take([1, 3, 0], now: start).isEmpty)
    #expect(framer.timeOut(now: start + .milliseconds(19)).isEmpty)
    #expect(framer.nextDeadline() == start + .milliseconds(20))
    #expect(framer.timeOut(now: start + .milliseconds(20)) == [.bad(.timeout)])
    #expect(framer.take([1, 3, 0, 0, 0], now: start + .seconds(1)).isEmpty)
    #expect(framer.timeOut(now: start + .seconds(2)) == [.bad(.checksum)])
    #expect(framer.nextDeadline() == nil)
  }

  @Test("5, 16: garbage of any length is bounded, and what comes behind a silence is whole")
  func garbage() {
    for count in [1, 4, 63, 256, 512, 513, 4096, 65_536, 1 << 20] {
      var random = SplitMix64(seed: UInt64(count))
      var framer = Self.framer()
      let memory = framer.memory
      var got = framer.take(random.bytes(count), chunk: 4096, now: start)
      #expect(frames(got).isEmpty)
      got = framer.take(Self.published[0], now: start + .milliseconds(5))
      got += framer.timeOut(now: start + .milliseconds(8))
      #expect(frames(got) == [Array(Self.published[0].dropLast(2))], "\(count)")
      #expect(framer.counters.badFrames == 1 && framer.memory == memory)
      #expect(framer.counters.skippedBytes == UInt64(count))
    }
  }

  @Test("18: a hang-up is silence: a whole frame comes out, half a one is bad")
  func hangUp() {
    var framer = Self.framer()
    #expect(framer.take(Self.published[0], now: start).isEmpty)
    #expect(framer.hangUp() == records([Self.published[0]]))
    #expect(framer.take([1, 3, 0, 0, 0], now: start).isEmpty)
    #expect(framer.hangUp() == [.bad(.truncated)])
    #expect(framer.take(Self.published[1], now: start).isEmpty)
    #expect(framer.hangUp() == records([Self.published[1]]))
  }

  @Test("frames of 4 to 256 bytes are frames")
  func lengths() {
    var random = SplitMix64(seed: 4)
    var framer = Self.framer()
    var now = start
    for length in 2...254 {
      let wire = Encode.modbusRTU(random.bytes(length))
      now = now + .seconds(1)
      let got = framer.take(wire, now: now) + framer.timeOut(now: now + .milliseconds(2))
      #expect(got == records([wire]), "\(length)")
    }
    let tooLong = Encode.modbusRTU(random.bytes(255))
    now = now + .seconds(1)
    #expect(framer.take(tooLong, now: now).isEmpty)
    #expect(framer.timeOut(now: now + .seconds(1)) == [.bad(.checksum)])
  }

  @Test("30: seeded traffic on a line with silences, late reads and damage")
  func soak() {
    for seed in UInt64(1)...60 {
      var random = SplitMix64(seed: seed)
      var framer = Self.framer(baud: 19_200)
      var now = start
      var sent: [[UInt8]] = []
      var got: [Outcome] = []
      for _ in 0..<40 {
        var wire = Encode.modbusRTU([1, 3] + random.bytes(Int(random.below(60))))
        if random.below(6) == 0 {
          wire[Int(random.below(UInt64(wire.count)))] ^= UInt8(1 + random.below(255))
        } else {
          sent.append(Array(wire.dropLast(2)))
        }
        let cut = Int(random.below(UInt64(wire.count)))
        got += framer.take(Array(wire[..<cut]), now: now)
        now = now + .microseconds(Int64(random.below(1900)))
        got += framer.timeOut(now: now)
        got += framer.take(Array(wire[cut...]), now: now)
        now = now + .milliseconds(3)
        // A turn that comes late sees the silence when it reads.
        if random.below(2) == 0 { got += framer.timeOut(now: now) }
      }
      got += framer.timeOut(now: now + .seconds(1))
      #expect(frames(got) == sent, "seed \(seed)")
    }
  }
}
