import Ingest
import Primitives
import Testing

@Suite("Escaped framings: SLIP, COBS, HDLC, STX/ETX, Modbus ASCII, JSON lines")
struct EscapedFramingTests {
  private func take(_ specification: FramingSpecification, _ wire: [UInt8]) -> [Outcome] {
    var framer = Framer(specification, baud: 9600)
    let whole = framer.take(wire)
    for chunk in [1, 2, 3] {
      var pieces = Framer(specification, baud: 9600)
      #expect(pieces.take(wire, chunk: chunk) == whole, "\(specification) \(hex(wire))")
    }
    return whole
  }

  @Test("RFC 1055: END and ESC in the data, ends that lead and follow, 12: wrong escapes")
  func slip() {
    let slip = FramingSpecification.slip(maximum: 16)
    #expect(take(slip, unhex("C0 01 DB DC DB DD 02 C0")) == [.frame(unhex("01 C0 DB 02"))])
    #expect(
      take(slip, unhex("01 02 C0 03 C0 C0 C0 04 C0")) == [
        .frame([1, 2]), .frame([3]), .frame([4]),
      ])
    #expect(take(slip, unhex("C0 01 DB 02 C0 03 C0")) == [.bad(.encoding), .frame([3])])
    #expect(take(slip, unhex("C0 01 DB C0 03 C0")) == [.bad(.encoding), .frame([3])])
    #expect(take(slip, unhex("C0 DB DB DC C0 03 C0")) == [.bad(.encoding), .frame([3])])
  }

  @Test("the greatest frame is one, a byte more is bad")
  func greatest() {
    let full = [UInt8](repeating: 0xC0, count: 16)
    let one = Encode.slip([1])
    #expect(take(.slip(maximum: 16), Encode.slip(full) + one) == [.frame(full), .frame([1])])
    #expect(
      take(.slip(maximum: 16), Encode.slip(full + [0]) + one) == [.bad(.tooLong), .frame([1])])
    let zeros = [UInt8](repeating: 0, count: 300)
    #expect(take(.cobs(maximum: 300), [0] + Encode.cobs(zeros) + [0]) == [.frame(zeros)])
    #expect(
      take(.cobs(maximum: 299), [0] + Encode.cobs(zeros) + [0, 2, 1, 0])
        == [.bad(.tooLong), .frame([1])])
    let flags = [UInt8](repeating: 0x7E, count: 20)
    #expect(take(.hdlc(maximum: 20), Encode.hdlc(flags)) == [.frame(flags)])
    #expect(
      take(.hdlc(maximum: 19), Encode.hdlc(flags) + Encode.hdlc([7])) == [
        .bad(.tooLong), .frame([7]),
      ])
  }

  @Test("the examples of the COBS paper, and runs of 253 to 510 bytes (13)")
  func cobs() {
    let examples: [([UInt8], String)] = [
      ([0], "01 01"), ([0, 0], "01 01 01"), ([0, 0x11, 0], "01 02 11 01"),
      (unhex("11 22 00 33"), "03 11 22 02 33"), (unhex("11 22 33 44"), "05 11 22 33 44"),
      (unhex("11 00 00 00"), "02 11 01 01 01"),
    ]
    for (data, wire) in examples {
      #expect(Encode.cobs(data) == unhex(wire))
      #expect(take(.cobs(maximum: 64), [0] + unhex(wire) + [0]) == [.frame(data)], "\(wire)")
    }
    for length in [253, 254, 255, 256, 507, 508, 509, 510] {
      for first in [UInt8(0), 1] {
        for last in [UInt8(0), 1] {
          let data = [first] + (0..<length - 2).map { UInt8(1 + $0 % 255) } + [last]
          #expect(take(.cobs(maximum: 600), [0] + Encode.cobs(data) + [0]) == [.frame(data)])
        }
      }
    }
    // The 254 bytes of the paper's last rows, with and without the code that may follow them.
    let run = (1...254).map { UInt8($0) }
    #expect(take(.cobs(maximum: 600), [0, 0xFF] + run + [0]) == [.frame(run)])
    #expect(take(.cobs(maximum: 600), [0, 0xFF] + run + [1, 0]) == [.frame(run)])
    #expect(
      take(.cobs(maximum: 600), [0, 5, 1, 2, 3, 0, 2, 9, 0]) == [.bad(.encoding), .frame([9])])
  }

  @Test("3: the first COBS frame after opening is discarded without a word, but not its count")
  func cobsOpening() {
    var framer = Framer(.cobs(maximum: 64), baud: 9600)
    #expect(framer.take([3, 1, 2, 0, 2, 7, 0]) == [.frame([7])])
    #expect(framer.counters.skippedBytes == 3 && framer.counters.badFrames == 0)
    #expect(framer.hangUp().isEmpty)
    #expect(framer.take([2, 7, 0, 2, 8, 0]) == [.frame([8])])
    var clean = Framer(.cobs(maximum: 64), baud: 9600)
    #expect(clean.take([0, 2, 7, 0]) == [.frame([7])])
    #expect(clean.counters.skippedBytes == 0)
  }

  @Test("RFC 1662: shared flags, every byte escaped, abort, a wrong FCS, too short")
  func hdlc() {
    let hdlc = FramingSpecification.hdlc(maximum: 64)
    let one = Encode.hdlc([0x31, 0x7D, 0x7E, 0x11])
    #expect(
      take(hdlc, one + one.dropFirst()) == [
        .frame([0x31, 0x7D, 0x7E, 0x11]), .frame([0x31, 0x7D, 0x7E, 0x11]),
      ])
    // The check value: "123456789" carries 6E 90.
    #expect(
      take(hdlc, [0x7E] + bytes("123456789") + [0x6E, 0x90, 0x7E]) == [.frame(bytes("123456789"))])
    // A sender may escape what it likes.
    let sent = bytes("123456789") + [0x6E, 0x90]
    let escaped = sent.flatMap { (byte: UInt8) -> [UInt8] in [0x7D, byte ^ 0x20] }
    #expect(take(hdlc, [0x7E] + escaped + [0x7E]) == [.frame(bytes("123456789"))])
    #expect(
      take(hdlc, unhex("7E 01 02 03 7D 7E") + one) == [
        .bad(.aborted), .frame([0x31, 0x7D, 0x7E, 0x11]),
      ])
    #expect(take(hdlc, unhex("7E 01 02 03 04 7E") + one).first == .bad(.checksum))
    #expect(take(hdlc, unhex("7E 01 02 7E") + one).first == .bad(.truncated))
    #expect(take(hdlc, unhex("7E 7E 7E 7E")).isEmpty)
  }

  @Test("STX and ETX: BCC, no check, DLE doubled, a frame cut by the next one")
  func stxEtx() {
    let plain = FramingSpecification.stxEtx(STXETXFraming())
    // 41 ^ 42 ^ 03 = 00.
    #expect(take(plain, unhex("02 41 42 03 00")) == [.frame([0x41, 0x42])])
    #expect(take(plain, unhex("02 41 42 03 01 02 41 03 42")) == [.bad(.checksum), .frame([0x41])])
    #expect(take(plain, unhex("02 99 98 02 41 03 42")) == [.bad(.checksum), .frame([0x41])])
    // The check may be an STX or an ETX.
    #expect(take(plain, unhex("02 01 03 02 02 41 03 42")) == [.frame([1]), .frame([0x41])])
    #expect(take(plain, unhex("02 03 03")).isEmpty)
    let bare = FramingSpecification.stxEtx(STXETXFraming(check: nil, maximum: 4))
    #expect(
      take(bare, unhex("00 02 41 42 03 FF 02 43 03")) == [.frame([0x41, 0x42]), .frame([0x43])])
    #expect(take(bare, unhex("02 41 42 43 44 45 46 47 02 43 03")).last == .frame([0x43]))
    let stuffed = FramingSpecification.stxEtx(STXETXFraming(isStuffed: true))
    #expect(take(stuffed, unhex("10 02 10 10 03 02 10 03 12")) == [.frame([0x10, 0x03, 0x02])])
    #expect(
      take(stuffed, unhex("10 02 41 42 10 02 43 10 03 40")) == [.bad(.truncated), .frame([0x43])])
    #expect(
      take(stuffed, unhex("10 02 41 10 41 10 02 43 10 03 40")) == [.bad(.encoding), .frame([0x43])])
  }

  @Test("Modbus ASCII: LRC, case, a colon inside, what is no hexadecimal digit, CR LF")
  func modbusASCII() {
    let good = bytes(":010300000001FB\r\n")
    let record = Outcome.frame([1, 3, 0, 0, 0, 1])
    #expect(take(.modbusASCII, good + good) == [record, record])
    let wrong: [(String, BadFrameReason)] = [
      (":010300000001FA\r\n", .checksum), (":0103:", .truncated), (":01G3\r\n", .encoding),
      (":0103F\r\n", .encoding), (":01FF\r\n", .truncated), (":010300000001FB\n", .trailer),
      (":010300000001FB\r0\n", .trailer), (":" + String(repeating: "0", count: 600), .tooLong),
    ]
    for (text, reason) in wrong {
      let outcomes = take(.modbusASCII, bytes(text) + good)
      #expect(outcomes.first == .bad(reason) && outcomes.last == record, "\(text) \(outcomes)")
    }
    var framer = Framer(.modbusASCII, baud: 115_200)
    _ = framer.take(bytes(":0103"), now: Instant(nanoseconds: 0))
    #expect(framer.nextDeadline() == Instant(nanoseconds: 1_000_000_000))
  }

  @Test("JSON lines: each a JSON text, at most 64 levels deep, in UTF-8")
  func jsonLines() {
    let good = [
      "{}", "[]", "0", "-0.5e+10", "\"\\\"\\u0041ü\"", " {\"a\" : [1, 2 ,{\"b\":null}] } ",
      "[" + String(repeating: "[", count: 63) + String(repeating: "]", count: 64), "[true,false]",
    ]
    for text in good { #expect(take(.jsonLines, bytes(text + "\n")) == [.frame(bytes(text))]) }
    let bad = [
      "{", "}", "{]", "[1,]", "{\"a\"}", "{\"a\":}", "{1:2}", "01", "1.", "-", "1e", "tru", "nulL",
      "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\t\"", "1 2", "[1 2]", "{} {}", ",", "{\"a\":1,}",
      "[" + String(repeating: "[", count: 64) + String(repeating: "]", count: 65),
    ]
    for text in bad {
      #expect(take(.jsonLines, bytes(text + "\n")) == [.bad(.encoding)], "\(text)")
    }
    #expect(take(.jsonLines, [0x22, 0xC3, 0x28, 0x22, 0x0A]) == [.bad(.encoding)])
    #expect(take(.jsonLines, [0x22, 0xED, 0xA0, 0x80, 0x22, 0x0A]) == [.bad(.encoding)])
    #expect(
      take(.jsonLines, bytes("{\"n\":1}\r\n\n\r\n2\n")) == [
        .frame(bytes("{\"n\":1}")), .frame([0x32]),
      ])
  }

  @Test("NMEA without a checksum is a sentence only if it is configured")
  func missingChecksum() {
    let optional = FramingSpecification.sentences(allowsMissingChecksum: true)
    let wire = bytes("$GPGLL,1\r\n$\r\n$GPGLL,4916.45,N,12311.12,W,225444,A,*1D\r\n$GPX*1\r\n")
    let whole = bytes("$GPGLL,4916.45,N,12311.12,W,225444,A,*1D")
    #expect(
      take(optional, wire) == [
        .frame(bytes("$GPGLL,1")), .bad(.missingChecksum), .frame(whole), .bad(.missingChecksum),
      ])
    #expect(frames(take(.nmea, wire)) == [whole])
    #expect(take(optional, bytes("$GPGLL,4916.45*00\r\n")) == [.bad(.checksum)])
  }

  @Test("MAVLink: flags that are not known, messages that are not, and their CRC_EXTRA configured")
  func mavlink() {
    let unknown = mavlink2(id: 42_000, extra: 17)
    let known = LengthFramingTests.mavlink2(signed: true)
    let plain = FramingSpecification.length(LengthFraming.mavlink(), deliver: .frame)
    #expect(take(plain, unknown + known) == [.bad(.unknownMessage), .frame(known)])
    let message = MAVLinkMessage(id: 42_000, crcExtra: 17)
    let added = FramingSpecification.length(
      LengthFraming.mavlink(adding: [message]), deliver: .frame)
    #expect(take(added, unknown + known) == [.frame(unknown), .frame(known)])
    var flagged = known
    flagged[2] |= 0x02
    // Its signature has bytes that look like syncs.
    let outcomes = take(plain, flagged + known)
    #expect(outcomes.first == .bad(.header) && frames(outcomes) == [known])
    let payload = FramingSpecification.length(LengthFraming.mavlink(), deliver: .payload)
    #expect(take(payload, known) == [.frame(unhex("00 00 00 00 02 03 51 04 03"))])
  }

  private func mavlink2(id: UInt32, extra: UInt8) -> [UInt8] {
    let number = [UInt8(id & 0xFF), UInt8(id >> 8 & 0xFF), UInt8(id >> 16)]
    let covered = [2, 0, 0, 7, 1, 1] + number + [0xAB, 0xCD] as [UInt8]
    let crc = Checksum.of((covered + [extra]).span, .crc16MCRF4XX)
    return [0xFD] + covered + [UInt8(crc & 0xFF), UInt8(crc >> 8)]
  }
}
