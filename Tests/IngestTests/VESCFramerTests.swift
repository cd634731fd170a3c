import Ingest
import Primitives
import Testing

@Suite("VESC framing")
struct VESCFramerTests {
  static func framer(
    _ deliver: FramingSpecification.Deliver = .payload, baud: UInt32 = 115_200
  ) -> Framer {
    Framer(.vesc(deliver: deliver), baud: baud)
  }
  /// COMM_GET_VALUES and COMM_FW_VERSION as VESC Tool sends them.
  static let getValues = unhex("02 01 04 40 84 03")
  static let firmwareVersion = unhex("02 01 00 00 00 03")

  @Test("the packets that VESC Tool sends, as payload and as frame")
  func published() {
    var payloads = Self.framer(.payload)
    #expect(payloads.take(Self.getValues) == [.frame([4])])
    #expect(payloads.take(Self.firmwareVersion) == [.frame([0])])
    var whole = Self.framer(.frame)
    #expect(whole.take(Self.getValues) == [.frame(Self.getValues)])
  }

  @Test("payloads of every length class, split at every offset")
  func everyOffset() {
    var random = SplitMix64(seed: 7)
    let payloads = [1, 2, 73, 254, 255, 256, 512].map { random.bytes($0) }
    let stream = payloads.flatMap { vesc($0) }
    let expected = payloads.map { Outcome.frame($0) }
    for cut in 0...stream.count {
      var framer = Self.framer()
      #expect(framer.take(stream, splitAt: cut) == expected, "cut at \(cut)")
      #expect(framer.counters.resyncs == 0)
    }
    for chunk in [1, 2, 3, 64, 1000] {
      var framer = Self.framer()
      #expect(framer.take(stream, chunk: chunk) == expected)
    }
  }

  @Test("payloads of 03, 11, 13, 1A, FF, 02 and NUL are data")
  func controlBytes() {
    let payload: [UInt8] = [0x03, 0x11, 0x13, 0x1A, 0xFF, 0x02, 0x00, 0x02, 0x01, 0x03]
    var framer = Self.framer()
    #expect(framer.take(vesc(payload) + vesc([0])) == [.frame(payload), .frame([0])])
  }

  @Test("a frame inside a payload is payload")
  func frameInside() {
    var framer = Self.framer()
    #expect(framer.take(vesc(Self.getValues)) == [.frame(Self.getValues)])
  }

  @Test("lengths that the firmware never sends are bad: 0, above 512, two bytes for a short one")
  func badLengths() {
    for start in ["02 00", "03 00 00", "03 00 FE", "03 02 01", "03 FF FF"] {
      for chunk in [0, 1] {
        var framer = Self.framer()
        let outcomes = framer.take(unhex(start) + Self.getValues, chunk: chunk)
        #expect(outcomes == [.bad(.length), .frame([4])], "\(start)")
      }
    }
  }

  @Test("one wrong bit anywhere costs the one frame")
  func everyWrongBit() {
    let payload: [UInt8] = [0x04, 0x02, 0x05, 0x03, 0x00]
    let frame = vesc(payload)
    for bit in 0..<frame.count * 8 {
      var damaged = frame
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      var framer = Self.framer()
      var outcomes = framer.take(damaged + Self.getValues + vesc([9, 9]))
      outcomes += framer.timeOut(now: Instant(nanoseconds: 1_000_000_000))
      let got = frames(outcomes)
      #expect(got.suffix(2) == [[4], [9, 9]] && got.count == 2, "bit \(bit): \(outcomes)")
      #expect(framer.counters.skippedBytes == UInt64(frame.count))
    }
  }

  @Test("a corrupt length swallows nothing: what stood behind it comes out within one timeout")
  func corruptLength() {
    var framer = Self.framer()
    let start = Instant(nanoseconds: 1_000_000_000)
    // 255 bytes are announced, and six come.
    #expect(framer.take([0x02, 0xFF] + Self.getValues, now: start).isEmpty)
    // 518 bytes at 115 200 baud last 44.97 ms.
    let deadline = framer.nextDeadline()!
    #expect(deadline - start > .milliseconds(179) && deadline - start < .milliseconds(181))
    #expect(framer.timeOut(now: deadline) == [.bad(.timeout), .frame([4])])
    #expect(framer.counters.skippedBytes == 2)
    #expect(framer.nextDeadline() == nil)
  }

  @Test("a corrupt length under traffic fails its check and costs no good frame")
  func corruptLengthUnderTraffic() {
    var framer = Self.framer()
    let frames = (0..<100).map { vesc([UInt8($0), 1, 2, 3]) }.flatMap { $0 }
    let outcomes = framer.take([0x03, 0x02, 0x00] + frames)
    #expect(outcomes == [.bad(.trailer)] + (0..<100).map { .frame([UInt8($0), 1, 2, 3]) })
  }

  @Test("a truncated frame, silence, a good frame")
  func truncated() {
    let frame = vesc([1, 2, 3, 4, 5])
    for length in 1..<frame.count {
      var framer = Self.framer()
      let start = Instant(nanoseconds: 0)
      #expect(framer.take(Array(frame[..<length]), now: start).isEmpty)
      #expect(frames(framer.timeOut(now: start + .seconds(1))).isEmpty)
      #expect(framer.counters.badFrames(.timeout) == 1)
      #expect(framer.take(Self.getValues, now: start + .seconds(1)) == [.frame([4])])
      #expect(framer.counters.skippedBytes == UInt64(length))
      #expect(framer.counters.resyncs == 1)
    }
  }

  @Test("a gap of 16 ms inside a frame, as USB adapters make it, is not silence")
  func gap() {
    let frame = vesc([1, 2, 3, 4, 5])
    for baud in [UInt32(9600), 115_200, 921_600, 4_000_000] {
      var framer = Self.framer(baud: baud)
      var now = Instant(nanoseconds: 0)
      #expect(framer.take(Array(frame[..<4]), now: now).isEmpty)
      now = now + .milliseconds(16)
      #expect(framer.timeOut(now: now).isEmpty)
      #expect(framer.take(Array(frame[4...]), now: now) == [.frame([1, 2, 3, 4, 5])])
    }
  }

  @Test("the timeout counts from the last byte, and never below 20 ms")
  func floor() {
    var framer = Self.framer(baud: 4_000_000)
    #expect(framer.take([0x02], now: Instant(nanoseconds: 0)).isEmpty)
    #expect(framer.nextDeadline() == Instant(nanoseconds: 20_000_000))
    #expect(framer.take([0x05], now: Instant(nanoseconds: 10_000_000)).isEmpty)
    #expect(framer.nextDeadline() == Instant(nanoseconds: 30_000_000))
  }

  @Test("a hang-up gives out what stood behind a false start, and the counters go on")
  func hangUp() {
    var framer = Self.framer()
    #expect(framer.take([0x02, 0xF0] + Self.getValues).isEmpty)
    #expect(framer.hangUp() == [.bad(.truncated), .frame([4])])
    #expect(framer.take(Self.getValues) == [.frame([4])])
    #expect(framer.counters.frames == 2)
  }

  @Test("garbage of 0 to 64 KiB, then a frame", arguments: [0, 1, 17, 512, 4096, 65_536])
  func garbage(count: Int) {
    for seed in UInt64(1)...5 {
      var random = SplitMix64(seed: seed)
      let noise = random.bytes(count)
      var framer = Self.framer()
      let memory = framer.memory
      var outcomes = framer.take(noise + Self.getValues, chunk: 333)
      outcomes += framer.timeOut(now: Instant(nanoseconds: 10_000_000_000))
      // Noise may form a frame by chance (24 bits of check and trailer): this seed forms none.
      #expect(frames(outcomes) == [[4]], "seed \(seed)")
      #expect(framer.counters.skippedBytes == UInt64(count))
      #expect(framer.memory == memory)
    }
  }

  @Test("random streams in random reads yield what the firmware's own rule yields")
  func model() {
    for seed in UInt64(1)...300 {
      var random = SplitMix64(seed: seed)
      var stream: [UInt8] = []
      while stream.count < 2000 {
        switch random.below(5) {
        case 0: stream += random.bytes(Int(random.below(30)))
        case 1: stream += [2, UInt8(random.below(256))]
        case 2: stream += [3, UInt8(random.below(3)), UInt8(random.below(256))]
        default:
          var frame = vesc(random.bytes(1 + Int(random.below(400))))
          if random.below(4) == 0 {
            frame[Int(random.below(UInt64(frame.count)))] ^= UInt8(1 + random.below(255))
          }
          if random.below(6) == 0 { frame.removeLast(Int(random.below(UInt64(frame.count)))) }
          stream += frame
        }
      }
      var framer = Self.framer()
      var got: [Outcome] = []
      var start = 0
      while start < stream.count {
        let end = min(stream.count, start + 1 + Int(random.below(700)))
        got += framer.take(Array(stream[start..<end]))
        start = end
      }
      got += framer.hangUp()
      let expected = firmwareRule(stream)
      #expect(frames(got) == expected, "seed \(seed)")
      let kept = expected.reduce(0) { $0 + $1.count + ($1.count > 255 ? 6 : 5) }
      // A payload of 255 bytes comes with either length; the streams here hold it with one byte.
      #expect(framer.counters.skippedBytes == UInt64(stream.count - kept), "seed \(seed)")
    }
  }

  /// `try_decode_packet` of the firmware over a stream that has ended: at each offset a whole packet
  /// or not, and one byte on when not.
  private func firmwareRule(_ stream: [UInt8]) -> [[UInt8]] {
    var payloads: [[UInt8]] = []
    var index = 0
    while index < stream.count {
      if let length = packetLength(stream, at: index) {
        let start = index + (stream[index] == 2 ? 2 : 3)
        let payload = Array(stream[start..<start + length])
        let end = start + length + 3
        if Array(vesc(payload).suffix(3)) == Array(stream[end - 3..<end]) {
          payloads.append(payload)
          index = end
          continue
        }
      }
      index += 1
    }
    return payloads
  }

  private func packetLength(_ stream: [UInt8], at index: Int) -> Int? {
    let left = stream.count - index
    if stream[index] == 2, left >= 2 {
      let length = Int(stream[index + 1])
      return length >= 1 && left >= length + 5 ? length : nil
    }
    if stream[index] == 3, left >= 3 {
      let length = Int(stream[index + 1]) << 8 | Int(stream[index + 2])
      return length >= 255 && length <= 512 && left >= length + 6 ? length : nil
    }
    return nil
  }
}
