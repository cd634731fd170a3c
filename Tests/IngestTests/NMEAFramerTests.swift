import Ingest
import Primitives
import Testing

@Suite("NMEA framing")
struct NMEAFramerTests {
  // From the NMEA FAQ, u-blox's protocol descriptions and the AIVDM/AIVDO document.
  static let published = [
    "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47",
    "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A",
    "$GPGSV,2,1,08,01,40,083,46,02,17,308,41,12,07,344,39,14,22,228,45*75",
    "$GPGLL,4916.45,N,12311.12,W,225444,A,*1D",
    "!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C",
  ]
  static func framer(baud: UInt32 = 4800) -> Framer { Framer(.nmea, baud: baud) }

  @Test("published sentences are delivered without CR LF, split at every offset")
  func everyOffset() {
    let stream = bytes(Self.published.map { $0 + "\r\n" }.joined())
    let expected = Self.published.map { Outcome.frame(bytes($0)) }
    for cut in 0...stream.count {
      var framer = Self.framer()
      #expect(framer.take(stream, splitAt: cut) == expected, "cut at \(cut)")
      #expect(framer.counters.resyncs == 0)
    }
    for chunk in 1...9 {
      var framer = Self.framer()
      #expect(framer.take(stream, chunk: chunk) == expected)
    }
  }

  @Test("lower-case digits of the checksum are digits")
  func lowerCase() {
    var framer = Self.framer()
    let text = Self.published[1].replacing("*6A", with: "*6a")
    #expect(framer.take(bytes(text)) == [.frame(bytes(text))])
  }

  @Test("a wrong checksum is one bad frame, and the next sentence is whole")
  func wrongChecksum() {
    var framer = Self.framer()
    let wrong = bytes(Self.published[0].replacing("*47", with: "*46") + "\r\n")
    let good = bytes(Self.published[1])
    #expect(
      framer.take(wrong + wrong + good)
        == [.bad(.checksum), .bad(.checksum), .frame(good)])
    #expect(framer.counters.badFrames(.checksum) == 2)
    // Both are one stretch of bytes in which it looked for a start; CR LF is no noise.
    #expect(framer.counters.resyncs == 1)
    #expect(framer.counters.skippedBytes == UInt64(2 * (wrong.count - 2)))
  }

  @Test("every single wrong byte of a sentence keeps it from being delivered, and no other")
  func everyWrongByte() {
    let sentence = bytes(Self.published[0])
    let next = bytes("\r\n" + Self.published[4])
    for index in sentence.indices {
      for flip in [UInt8(0x01), 0x20, 0x80] {
        var damaged = sentence
        damaged[index] ^= flip
        // Upper and lower case of a hexadecimal digit mean the same; here both digits are decimal.
        var framer = Self.framer()
        #expect(
          frames(framer.take(damaged + next)) == [bytes(Self.published[4])], "\(index) \(flip)")
      }
    }
  }

  @Test("a missing checksum is a bad frame")
  func missingChecksum() {
    let good = bytes(Self.published[1])
    for text in ["$GPGGA,1,2\r\n", "$GPGGA,1,2*\r\n", "$GPGGA,1,2*4\r\n", "$GPGGA,1,2*4G\n", "$\n"]
    {
      var framer = Self.framer()
      #expect(framer.take(bytes(text) + good) == [.bad(.missingChecksum), .frame(good)], "\(text)")
    }
  }

  @Test("a start inside a sentence begins a new one")
  func startInside() {
    var framer = Self.framer()
    let good = bytes(Self.published[1])
    #expect(framer.take(bytes("$GPGGA,1235") + good) == [.bad(.truncated), .frame(good)])
    #expect(framer.take(bytes("!AIVDM,1") + good) == [.bad(.truncated), .frame(good)])
  }

  @Test("a control byte inside a sentence ends it; bytes above ASCII are covered by the check")
  func invalidByte() {
    for byte in [UInt8(0x00), 0x03, 0x11, 0x1F, 0x7F] {
      var framer = Self.framer()
      let good = bytes(Self.published[1])
      #expect(framer.take(bytes("$GP") + [byte] + good) == [.bad(.invalidByte), .frame(good)])
    }
    var framer = Self.framer()
    let named = sentence("PÄCME,Zürich")
    #expect(framer.take(named) == [.frame(Array(named.dropLast(2)))])
  }

  @Test("130 bytes are a sentence, 131 are not")
  func greatestSentence() {
    let longest = sentence("PTEST," + String(repeating: "x", count: 120))
    #expect(longest.count == 132)
    let tooLong = sentence("PTEST," + String(repeating: "x", count: 121))
    for chunk in [0, 1, 13] {
      var framer = Self.framer()
      #expect(framer.take(longest, chunk: chunk) == [.frame(Array(longest.dropLast(2)))])
      #expect(
        framer.take(tooLong + longest, chunk: chunk)
          == [.bad(.tooLong), .frame(Array(longest.dropLast(2)))])
    }
  }

  @Test(
    "garbage of 0 to 64 KiB before a sentence costs nothing but its count",
    arguments: [
      0, 1, 2, 100, 511, 512, 513, 4096, 65_535, 65_536,
    ])
  func garbage(count: Int) {
    var random = SplitMix64(seed: UInt64(count))
    let noise = random.bytes(count).map { byte in
      [0x24, 0x21, 0x0D, 0x0A].contains(byte) ? UInt8(0x55) : byte
    }
    var framer = Self.framer()
    let memory = framer.memory
    let good = bytes(Self.published[0])
    #expect(framer.take(noise + good, chunk: 1000) == [.frame(good)])
    #expect(framer.counters.skippedBytes == UInt64(count))
    #expect(framer.counters.resyncs == (count == 0 ? 0 : 1))
    #expect(framer.memory == memory)
  }

  @Test("opened in the middle of a sentence, it begins with the next one")
  func midFrame() {
    let good = bytes(Self.published[1])
    let first = bytes(Self.published[0] + "\r\n")
    for start in 1..<first.count {
      var framer = Self.framer()
      #expect(framer.take(Array(first[start...]) + good) == [.frame(good)])
      #expect(framer.counters.badFrames == 0)
    }
  }

  @Test("a sentence that is cut short is given up after the silence, and the next is whole")
  func silence() {
    var framer = Self.framer()
    let start = Instant(nanoseconds: 5_000_000_000)
    #expect(framer.take(bytes("$GPGGA,123519,4807"), now: start).isEmpty)
    // 132 bytes at 4800 baud last 275 ms.
    #expect(framer.nextDeadline() == start + .milliseconds(1100))
    #expect(framer.timeOut(now: start + .milliseconds(1099)).isEmpty)
    #expect(framer.timeOut(now: start + .milliseconds(1100)) == [.bad(.timeout)])
    #expect(framer.nextDeadline() == nil)
    let good = bytes(Self.published[1])
    #expect(framer.take(good, now: start + .seconds(2)) == [.frame(good)])
  }

  @Test("a sentence is complete with its checksum: nothing waits for CR LF")
  func noTerminator() {
    var framer = Self.framer()
    let good = bytes(Self.published[0])
    #expect(framer.take(good) == [.frame(good)])
    #expect(framer.nextDeadline() == nil)
    #expect(framer.hangUp().isEmpty)
  }
}
