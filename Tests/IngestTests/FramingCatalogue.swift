import Ingest
import Primitives

/// A framing with frames of it: what is on the wire, and what is delivered.
struct FramingSample: Sendable, CustomStringConvertible {
  let name: String
  let specification: FramingSpecification
  let frames: [(wire: [UInt8], record: [UInt8])]
  /// A frame that is complete but wrong.
  let damaged: [UInt8]
  /// What opens the line, without being a frame: COBS discards up to the first delimiter.
  var opening: [UInt8] = []
  /// Silence ends a partial frame.
  var endsWithSilence = true
  var description: String { name }

  var wire: [UInt8] { frames.flatMap { $0.wire } }
  var records: [[UInt8]] { frames.map { $0.record } }
  func framer(baud: UInt32 = 115_200) -> Framer { Framer(specification, baud: baud) }
}

/// Every framing that frames its bytes without a clock. Modbus RTU has tests of its own.
enum FramingCatalogue {
  static let all: [FramingSample] =
    [line, jsonLines, nmea, slip, cobs, hdlc, stxEtx, stuffed, modbusASCII] + lengths

  static let payloads: [[UInt8]] = [
    [0x03, 0x11, 0x13, 0x1A, 0xFF, 0x00, 0x0D, 0x0A], [0x7E, 0x7D, 0xC0, 0xDB, 0xDC, 0xDD, 0x10],
    [0x55, 0xAA, 0x5A, 0xA5, 0xB5, 0x62, 0xD3, 0xFE, 0xFD, 0xDD, 0x77, 0x02, 0x03],
    (0..<200).map { UInt8($0) },
  ]

  static let line = FramingSample(
    name: "line", specification: .line(delimiter: 0x0A),
    frames: ["one", "two words", "{\"n\":1}"].map { (bytes($0 + "\r\n"), bytes($0)) },
    damaged: [UInt8](repeating: 0x78, count: 5000) + [0x0A], endsWithSilence: false)

  static let jsonLines = FramingSample(
    name: "json-lines", specification: .jsonLines,
    frames: ["{\"n\":1}", "[1,-2.5e3,\"\\u00e4ö\"]", "true", "{\"a\":{\"b\":[null,{}]}}"].map {
      (bytes($0 + "\n"), bytes($0))
    },
    damaged: bytes("{\"n\":1\n"), endsWithSilence: false)

  static let nmea = FramingSample(
    name: "nmea", specification: .nmea,
    frames: NMEAFramerTests.published.map { (bytes($0 + "\r\n"), bytes($0)) },
    damaged: bytes("$GPGLL,4916.45,N,12311.12,W,225444,A,*1E\r\n"))

  static let slip = FramingSample(
    name: "slip", specification: .slip(maximum: 1006),
    frames: payloads.map { (Encode.slip($0), $0) }, damaged: [0xC0, 0x41, 0xDB, 0x42, 0xC0])

  static let cobs = FramingSample(
    name: "cobs", specification: .cobs(maximum: 1024),
    frames: payloads.map { (Encode.cobs($0) + [0], $0) }, damaged: [0x05, 0x11, 0x22, 0x00],
    opening: [0])

  static let hdlc = FramingSample(
    name: "hdlc", specification: .hdlc(maximum: 1500),
    frames: payloads.map { (Encode.hdlc($0), $0) }, damaged: [0x7E, 1, 2, 3, 4, 5, 0x7E])

  static let texts = ["A", "temperature=21.5", String(repeating: "x", count: 300)].map { bytes($0) }

  static let stxEtx = FramingSample(
    name: "stx-etx", specification: .stxEtx(STXETXFraming()),
    frames: texts.map { ([0x02] + $0 + [0x03, ($0 + [0x03]).reduce(0, ^)], $0) },
    damaged: [0x02, 0x41, 0x42, 0x03, 0x55])

  static let stuffed = FramingSample(
    name: "stx-etx with DLE",
    specification: .stxEtx(STXETXFraming(check: .crc16XModem, isStuffed: true)),
    frames: (payloads + [[0x10, 0x10, 0x03, 0x02], [0x10]]).map { (Encode.stuffed($0), $0) },
    damaged: [0x10, 0x02, 0x41, 0x10, 0x03, 0x55, 0x66])

  static let modbusASCII = FramingSample(
    name: "modbus-ascii", specification: .modbusASCII,
    frames: [
      // Read one register, as the guide of the protocol prints the query; and its longest frame.
      (bytes(":010300000001FB\r\n"), [1, 3, 0, 0, 0, 1]),
      (
        Encode.modbusASCII([0x11, 0x03] + [UInt8](repeating: 0xAB, count: 252)),
        [0x11, 0x03] + [UInt8](repeating: 0xAB, count: 252)
      ),
      (bytes(":110300010001ea\r\n"), [0x11, 3, 0, 1, 0, 1]),
    ], damaged: bytes(":010300000001FC\r\n"))

  /// The frames that their makers print, and for the table one of each of its parts.
  static let lengths: [FramingSample] = [
    length("vesc", LengthFraming.vesc, (payloads + [[4]]).map { vesc($0) }),
    length(
      "xiaomi", LengthFraming.xiaomi,
      [unhex("55 AA 03 20 01 1A 02 BF FF"), Encode.xiaomi(payloads[1]), Encode.xiaomi(payloads[2])]),
    length(
      "ninebot", LengthFraming.ninebot, payloads.map { Encode.ninebot($0) }),
    length(
      "daly", LengthFraming.daly,
      [
        unhex("A5 40 90 08 00 00 00 00 00 00 00 00 7D"),
        unhex("A5 01 90 08 02 3D 00 00 75 30 03 B1 D6"),
      ]),
    length(
      "jbd", LengthFraming.jbd,
      [
        unhex(
          "DD 03 00 1B 17 00 00 00 02 D0 03 E8 00 00 20 78 00 00 00 00 00 00 10 48 03 0F 02 0B 76"
            + "0B 82 FB FF 77"), unhex("DD A5 03 00 FF FD 77"),
      ]),
    length(
      "ubx", LengthFraming.ubx,
      [unhex("B5 62 06 08 06 00 C8 00 01 00 01 00 DE 6A"), Encode.ubx(payloads[3])]),
    length(
      "rtcm3", LengthFraming.rtcm3,
      [
        unhex("D3 00 13 3E D7 D3 02 02 98 0E DE EF 34 B4 BD 62 AC 09 41 98 6F 33 36 0B 98"),
        unhex("D3 00 00 47 EA 4B"),
      ]),
    length(
      "mavlink", LengthFraming.mavlink(),
      [
        unhex("FE 09 4E 01 01 00 00 00 00 00 02 03 51 04 03 1C 7F"),
        LengthFramingTests.mavlink2(signed: false), LengthFramingTests.mavlink2(signed: true),
      ]),
    length("length", [Described.checkedHeader], [[0x7A, 2, 0x78, 0x10, 0x20, 0x30]]),
  ]

  private static func length(
    _ name: String, _ formats: [LengthFraming], _ frames: [[UInt8]]
  ) -> FramingSample {
    var damaged = frames[0]
    damaged[damaged.count - 1] ^= 0x10
    return FramingSample(
      name: name, specification: .length(formats, deliver: .frame),
      frames: frames.map { ($0, $0) }, damaged: damaged)
  }
}

/// Senders, written from the documents and apart from the code under test.
enum Encode {
  static func slip(_ data: [UInt8]) -> [UInt8] {
    [0xC0] + data.flatMap { $0 == 0xC0 ? [0xDB, 0xDC] : $0 == 0xDB ? [0xDB, 0xDD] : [$0] } + [0xC0]
  }

  /// Cheshire's `StuffData`.
  static func cobs(_ data: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    var block: [UInt8] = []
    var isOpen = true
    for byte in data {
      isOpen = true
      if byte != 0 { block.append(byte) }
      if byte == 0 || block.count == 254 {
        out += [UInt8(block.count + 1)] + block
        block = []
        isOpen = byte == 0
      }
    }
    return isOpen ? out + [UInt8(block.count + 1)] + block : out
  }

  static func hdlc(_ data: [UInt8]) -> [UInt8] {
    var fcs: UInt16 = 0xFFFF
    for byte in data {
      fcs ^= UInt16(byte)
      for _ in 0..<8 { fcs = fcs & 1 != 0 ? fcs >> 1 ^ 0x8408 : fcs >> 1 }
    }
    fcs = ~fcs
    let all = data + [UInt8(fcs & 0xFF), UInt8(fcs >> 8)]
    return [0x7E] + all.flatMap { $0 == 0x7E || $0 == 0x7D ? [0x7D, $0 ^ 0x20] : [$0] } + [0x7E]
  }

  static func stuffed(_ data: [UInt8]) -> [UInt8] {
    var crc: UInt16 = 0
    for byte in data + [0x03] {
      crc ^= UInt16(byte) << 8
      for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
    }
    return [0x10, 0x02] + data.flatMap { $0 == 0x10 ? [0x10, 0x10] : [$0] }
      + [0x10, 0x03, UInt8(crc >> 8), UInt8(crc & 0xFF)]
  }

  static func modbusASCII(_ data: [UInt8]) -> [UInt8] {
    let lrc = 0 &- data.reduce(0, &+)
    return bytes(":" + hex(data + [lrc]).uppercased() + "\r\n")
  }

  static func modbusRTU(_ data: [UInt8]) -> [UInt8] {
    var crc: UInt16 = 0xFFFF
    for byte in data {
      crc ^= UInt16(byte)
      for _ in 0..<8 { crc = crc & 1 != 0 ? crc >> 1 ^ 0xA001 : crc >> 1 }
    }
    return data + [UInt8(crc & 0xFF), UInt8(crc >> 8)]
  }

  static func xiaomi(_ data: [UInt8]) -> [UInt8] {
    inverted([0x55, 0xAA], [UInt8(data.count + 2), 0x20, 0x01, 0xB0] + data)
  }

  static func ninebot(_ data: [UInt8]) -> [UInt8] {
    inverted([0x5A, 0xA5], [UInt8(data.count), 0x3E, 0x20, 0x01, 0xB0] + data)
  }

  private static func inverted(_ sync: [UInt8], _ body: [UInt8]) -> [UInt8] {
    let sum = body.reduce(UInt16(0)) { $0 &+ UInt16($1) } ^ 0xFFFF
    return sync + body + [UInt8(sum & 0xFF), UInt8(sum >> 8)]
  }

  static func ubx(_ payload: [UInt8]) -> [UInt8] {
    let body = [0x01, 0x07, UInt8(payload.count & 0xFF), UInt8(payload.count >> 8)] + payload
    var first: UInt8 = 0
    var second: UInt8 = 0
    for byte in body {
      first &+= byte
      second &+= first
    }
    return [0xB5, 0x62] + body + [first, second]
  }
}
