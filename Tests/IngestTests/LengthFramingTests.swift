import Ingest
import Primitives
import Testing

/// Descriptions of protocols whose frames others printed; they exercise every part of the language
/// in which a length framing is declared.
enum Described {
  static let ubx = LengthFraming(
    sync: [0xB5, 0x62],
    size: .field(.init(offset: 4, width: 2, order: .little, bias: 8, maximum: 1024)),
    check: .init(.fletcher8, from: 2, to: .end(2), at: .end(2), order: .big),
    payloadStart: 6, payloadEnd: .end(2), maximum: 1032)
  static let rtcm3 = LengthFraming(
    sync: [0xD3],
    size: .field(
      .init(offset: 1, width: 2, order: .big, mask: 0x3FF, bias: 6, maximum: 1023)),
    fixed: [.init(offset: 1, mask: 0xFC, value: 0)],
    check: .init(.crc24Q, from: 0, to: .end(3), at: .end(3), order: .big),
    payloadStart: 3, payloadEnd: .end(3), maximum: 1029)
  static let xiaomi = LengthFraming(
    sync: [0x55, 0xAA],
    size: .field(.init(offset: 2, width: 1, order: .little, bias: 6, minimum: 2, maximum: 255)),
    check: .init(.sum16Inverted, from: 2, to: .end(2), at: .end(2), order: .little),
    payloadStart: 6, payloadEnd: .end(2), maximum: 261)
  static let daly = LengthFraming(
    sync: [0xA5], size: .fixed(13), fixed: [.init(offset: 3, value: 8)],
    check: .init(.sum8, from: 0, to: .end(1), at: .end(1), order: .big),
    payloadStart: 4, payloadEnd: .end(1), maximum: 13)
  static let jbd = LengthFraming(
    sync: [0xDD],
    size: .field(.init(offset: 3, width: 1, order: .big, bias: 7, maximum: 255)),
    check: .init(.sum16Negated, from: 2, to: .end(3), at: .end(3), order: .big),
    trailer: [0x77], payloadStart: 4, payloadEnd: .end(3), maximum: 262)
  static let mavlink1 = LengthFraming(
    sync: [0xFE],
    size: .field(.init(offset: 1, width: 1, order: .big, bias: 8, maximum: 255)),
    check: .init(
      .crc16MCRF4XX, from: 1, to: .end(2), at: .end(2), order: .little,
      seed: .init(offset: 5, width: 1, messages: [0, 1, 30], seeds: [50, 124, 39])),
    payloadStart: 6, payloadEnd: .end(2), maximum: 263)
  static let mavlink2 = LengthFraming(
    sync: [0xFD],
    size: .field(.init(offset: 1, width: 1, order: .big, bias: 12, maximum: 255)),
    check: .init(
      .crc16MCRF4XX, from: 1, to: .end(2), at: .end(2), order: .little,
      seed: .init(offset: 7, width: 3, messages: [0], seeds: [50])),
    extension: .init(offset: 2, mask: 0x01, size: 13),
    payloadStart: 10, payloadEnd: .end(2), maximum: 280)
  /// A header with a check of its own: sync, length, XOR of both, payload, sum.
  static let checkedHeader = LengthFraming(
    sync: [0x7A], size: .field(.init(offset: 1, width: 1, order: .big, bias: 4, maximum: 200)),
    headerCheck: .init(.xor, from: 0, to: .start(2), at: .start(2), order: .big),
    check: .init(.sum8, from: 3, to: .end(1), at: .end(1), order: .big),
    payloadStart: 3, payloadEnd: .end(1), maximum: 204)
  static let all = [ubx, rtcm3, xiaomi, daly, jbd, mavlink1, mavlink2, checkedHeader]
}

@Suite("Declared length framings")
struct LengthFramingTests {
  /// MAVLink 2 with a signature, its CRC computed by hand over bytes 1 to 18 and CRC_EXTRA 50.
  static func mavlink2(signed: Bool) -> [UInt8] {
    let covered =
      [9, signed ? 1 : 0, 0, 0x4E, 1, 1, 0, 0, 0] + unhex("00 00 00 00 02 03 51 04 03") as [UInt8]
    let crc = Checksum.of((covered + [50]).span, .crc16MCRF4XX)
    let tail = [UInt8(crc & 0xFF), UInt8(crc >> 8)]
    return [0xFD] + covered + tail + (signed ? [UInt8](repeating: 0xFD, count: 13) : [])
  }

  @Test("one byte on and on costs 256 bytes of checks for each, and a frame is found behind it")
  func constantByte() {
    let framing = LengthFraming(
      sync: [0x55],
      size: .field(
        .init(offset: 1, width: 2, order: .big, bias: 0, minimum: 5, maximum: 65_536)),
      check: .init(.sum8, from: 1, to: .end(1), at: .end(1), order: .big),
      payloadStart: 3, payloadEnd: .end(1), maximum: 65_536)
    var framer = Framer([framing], deliver: .payload, baud: 115_200)
    let extent = 0x5555
    let ahead = 65_536 * 256
    let count = 100_000
    var checked = 0
    var before: UInt64 = 0
    for _ in 0..<count {
      _ = framer.take([0x55])
      if framer.settled > before { checked += extent }
      before = framer.settled
    }
    #expect(checked > ahead && checked <= ahead + count * 256)
    // All of a false frame ends with a check of its own that fails.
    #expect(framer.hangUp().allSatisfy { $0 == .bad(.truncated) })
    #expect(framer.take([0x55, 0, 5, 7, 12]) == [.frame([7])])
  }

  static let published: [(LengthFraming, [UInt8], [UInt8])] = [
    (
      Described.ubx, unhex("B5 62 06 08 06 00 C8 00 01 00 01 00 DE 6A"),
      unhex("C8 00 01 00 01 00")
    ),
    // RTCM 10403, the example of message 1005.
    (
      Described.rtcm3,
      unhex("D3 00 13 3E D7 D3 02 02 98 0E DE EF 34 B4 BD 62 AC 09 41 98 6F 33 36 0B 98"),
      unhex("3E D7 D3 02 02 98 0E DE EF 34 B4 BD 62 AC 09 41 98 6F 33")
    ),
    (Described.xiaomi, unhex("55 AA 03 20 01 1A 02 BF FF"), [0x02]),
    (Described.daly, unhex("A5 40 90 08 00 00 00 00 00 00 00 00 7D"), [0, 0, 0, 0, 0, 0, 0, 0]),
    (
      Described.jbd,
      unhex(
        "DD 03 00 1B 17 00 00 00 02 D0 03 E8 00 00 20 78 00 00 00 00 00 00 10 48 03 0F 02 0B 76"
          + "0B 82 FB FF 77"),
      unhex(
        "17 00 00 00 02 D0 03 E8 00 00 20 78 00 00 00 00 00 00 10 48 03 0F 02 0B 76 0B 82")
    ),
    (
      Described.mavlink1, unhex("FE 09 4E 01 01 00 00 00 00 00 02 03 51 04 03 1C 7F"),
      unhex("00 00 00 00 02 03 51 04 03")
    ),
    (Described.mavlink2, mavlink2(signed: false), unhex("00 00 00 00 02 03 51 04 03")),
    (Described.mavlink2, mavlink2(signed: true), unhex("00 00 00 00 02 03 51 04 03")),
    (Described.checkedHeader, [0x7A, 2, 0x78, 0x10, 0x20, 0x30], [0x10, 0x20]),
  ]

  @Test("printed frames come out whole and as payload, at every split, and behind garbage")
  func publishedFrames() {
    for (format, frame, payload) in Self.published {
      #expect(format.problem == nil)
      for cut in 0...frame.count {
        var whole = Framer([format], deliver: .frame, baud: 9600)
        #expect(whole.take(frame, splitAt: cut) == [.frame(frame)], "\(hex(frame)) at \(cut)")
      }
      var payloads = Framer([format], deliver: .payload, baud: 9600)
      #expect(payloads.take([0, 1] + frame + frame) == [.frame(payload), .frame(payload)])
      #expect(payloads.counters.skippedBytes == 2)
    }
  }

  @Test("one wrong bit anywhere is found, and the frame behind it is whole")
  func everyWrongBit() {
    for (format, frame, _) in Self.published {
      // A wrong bit in MAVLink's signature is the signature's to find.
      let covered = format.extension == nil || frame.count < 34 ? frame.count : frame.count - 13
      for bit in 0..<covered * 8 {
        var damaged = frame
        damaged[bit / 8] ^= 1 << UInt8(bit % 8)
        var framer = Framer([format], deliver: .frame, baud: 9600)
        var outcomes = framer.take(damaged + frame)
        outcomes += framer.timeOut(now: Instant(nanoseconds: 100_000_000_000))
        let isUncovered = format == Described.jbd && bit / 8 == 1
        #expect(
          frames(outcomes) == (isUncovered ? [damaged, frame] : [frame]), "\(hex(frame)) \(bit)")
      }
    }
  }

  @Test("several formats on one line, told apart by their syncs")
  func severalFormats() {
    let formats = [Described.mavlink1, Described.mavlink2, Described.ubx]
    var framer = Framer(formats, deliver: .frame, baud: 9600)
    let one = Self.published[5].1
    let two = Self.mavlink2(signed: true)
    let three = Self.published[0].1
    #expect(framer.take(one + two + three, chunk: 3) == [.frame(one), .frame(two), .frame(three)])
  }

  @Test("half a sync is waited for, and given up")
  func halfSync() {
    var framer = Framer([Described.ubx], deliver: .frame, baud: 9600)
    let frame = Self.published[0].1
    #expect(framer.take([0xB5, 0xB5] + frame) == [.frame(frame)])
    #expect(framer.take([0xB5]).isEmpty)
    #expect(framer.timeOut(now: Instant(nanoseconds: 100_000_000_000)) == [.bad(.timeout)])
    #expect(framer.counters.badFrames == 1)
  }

  @Test("reasons name the part that is wrong")
  func reasons() {
    func first(_ format: LengthFraming, _ text: String) -> Outcome? {
      var framer = Framer([format], deliver: .frame, baud: 9600)
      return framer.take(unhex(text)).first
    }
    #expect(first(Described.rtcm3, "D3 04") == .bad(.header))
    #expect(first(Described.checkedHeader, "7A 02 79") == .bad(.header))
    #expect(first(Described.ubx, "B5 62 01 02 01 04") == .bad(.length))
    #expect(first(Described.xiaomi, "55 AA 01") == .bad(.length))
    #expect(first(Described.jbd, "DD 03 00 00 00 00 78") == .bad(.trailer))
    #expect(first(Described.jbd, "DD 03 00 00 00 01 77") == .bad(.checksum))
    // A message without a seed cannot be checked.
    #expect(first(Described.mavlink1, "FE 00 00 01 01 02 00 00") == .bad(.unknownMessage))
  }

  @Test("a description that no framer can follow says what is wrong")
  func problems() {
    #expect(Described.all.allSatisfy { $0.problem == nil })
    #expect(LengthFraming.vesc.allSatisfy { $0.problem == nil })
    func problem(_ change: (inout LengthFraming) -> Void) -> LengthFramingProblem? {
      var format = Described.jbd
      change(&format)
      return format.problem
    }
    func field(_ change: (inout LengthFraming.LengthField) -> Void) -> LengthFraming.Size {
      guard case .field(var field) = Described.jbd.size else { return .fixed(0) }
      change(&field)
      return .field(field)
    }
    #expect(problem { $0.sync = [] } == .sync)
    #expect(problem { $0.sync = [1, 2, 3, 4, 5] } == .sync)
    #expect(problem { $0.size = field { $0.width = 5 } } == .length)
    #expect(problem { $0.size = field { $0.offset = 0 } } == .length)
    #expect(problem { $0.size = field { $0.maximum = 65_537 } } == .length)
    #expect(problem { $0.size = field { $0.bias = .min } } == .length)
    #expect(problem { $0.size = field { $0.bias = 1 } } == .length)
    #expect(problem { $0.size = field { $0.minimum = 256 } } == .length)
    #expect(problem { $0.size = .fixed(0) } == .length)
    #expect(problem { $0.maximum = 3 } == .maximum)
    #expect(problem { $0.maximum = 65_537 } == .maximum)
    #expect(problem { $0.fixed = [.init(offset: 0, value: 1)] } == .fixedByte)
    #expect(problem { $0.fixed = [.init(offset: 7, value: 1)] } == .fixedByte)
    #expect(problem { $0.trailer = [1, 2, 3, 4] } == .trailer)
    #expect(problem { $0.check!.at = .end(1) } == .check)
    #expect(problem { $0.check!.from = 9 } == .check)
    #expect(problem { $0.payloadStart = 5 } == .payload)
    #expect(problem { $0.headerCheck = $0.check } == .headerCheck)
    #expect(
      problem {
        $0.check!.seed = .init(offset: 1, width: 1, messages: [2, 1], seeds: [0, 0])
      } == .seed)
  }
}
