import Ingest
import Primitives

/// A framing, a good frame as it is on the wire, and what it delivers.
struct FramerCase: Sendable {
  var name: String
  var specification: FramingSpecification
  /// Nil for a framing whose frames end with the silence behind them.
  var wire: [UInt8]?
  var delivered: [UInt8] = []
  /// Whether the bytes may be a frame that was delivered, by another reading than the framer's.
  var isFrame: @Sendable ([UInt8]) -> Bool = { !$0.isEmpty }
}

extension FramerCase {
  /// One for each framing: a new framing is one entry more.
  static let all: [FramerCase] = texts + escaped + modbus + packets

  private static let texts: [FramerCase] = [
    FramerCase(
      name: "line", specification: .line(delimiter: 10), wire: ascii("one line\r\n"),
      delivered: ascii("one line"),
      isFrame: { !$0.contains(10) && $0.count <= FramingLimits.lineMax }),
    FramerCase(
      name: "json-lines", specification: .jsonLines, wire: ascii("{\"n\":[1,\"a\"]}\n"),
      delivered: ascii("{\"n\":[1,\"a\"]}"),
      isFrame: { !$0.isEmpty && !$0.contains(10) && $0.count <= FramingLimits.lineMax }),
    FramerCase(
      name: "nmea", specification: .nmea,
      wire: ascii("$GPGLL,4916.45,N,12311.12,W,225444,A,*1D\r\n"),
      delivered: ascii("$GPGLL,4916.45,N,12311.12,W,225444,A,*1D"), isFrame: isSentence),
  ]

  private static let escaped: [FramerCase] = [
    FramerCase(
      name: "slip", specification: .slip(maximum: 64), wire: [0xC0, 1, 0xDB, 0xDC, 2, 0xC0],
      delivered: [1, 0xC0, 2], isFrame: { (1...64).contains($0.count) }),
    FramerCase(
      // Behind a zero: what comes before the first one may be half a frame.
      name: "cobs", specification: .cobs(maximum: 64), wire: [0, 3, 1, 2, 2, 3, 0],
      delivered: [1, 2, 0, 3], isFrame: { (1...64).contains($0.count) }),
    FramerCase(
      name: "hdlc", specification: .hdlc(maximum: 64),
      wire: [0x7E, 0xFF, 0x03, 0xC0, 0x21, 1, 2, 3, 4, 0xDD, 0x70, 0x7E],
      delivered: [0xFF, 0x03, 0xC0, 0x21, 1, 2, 3, 4], isFrame: { (1...64).contains($0.count) }),
    FramerCase(
      name: "stx-etx", specification: .stxEtx(STXETXFraming(maximum: 64)),
      wire: [2, 0x41, 0x42, 3, 0x41 ^ 0x42 ^ 3], delivered: [0x41, 0x42],
      isFrame: { $0.count <= 64 && !$0.contains(3) }),
    FramerCase(
      name: "stx-etx-stuffed", specification: .stxEtx(STXETXFraming(isStuffed: true, maximum: 64)),
      wire: [0x10, 2, 0x41, 0x10, 0x10, 0x10, 3, 0x41 ^ 0x10 ^ 3], delivered: [0x41, 0x10],
      isFrame: { $0.count <= 64 }),
  ]

  private static let modbus: [FramerCase] = [
    FramerCase(
      name: "modbus-rtu", specification: .modbusRTU(latency: .milliseconds(16)),
      isFrame: { (2...FramingLimits.modbusRTUMax - 2).contains($0.count) }),
    FramerCase(
      name: "modbus-ascii", specification: .modbusASCII, wire: ascii(":1103006B00037E\r\n"),
      delivered: [0x11, 3, 0, 0x6B, 0, 3], isFrame: { (2...255).contains($0.count) }),
  ]

  /// Frames as they are on the wire, made by others' encoders (Tests/Peers/test_framings.py compares).
  private static let packets: [FramerCase] = [
    FramerCase(
      name: "vesc", specification: .vesc(deliver: .payload), wire: vesc([4, 1, 2, 3]),
      delivered: [4, 1, 2, 3],
      isFrame: { !$0.isEmpty && $0.count <= FramingLimits.vescPayloadMax }),
    FramerCase(
      name: "vesc-frame", specification: .vesc(deliver: .frame), wire: vesc([4, 1, 2, 3]),
      delivered: vesc([4, 1, 2, 3]), isFrame: isVESC),
    packet("xiaomi", LengthFraming.xiaomi, [0x55, 0xAA, 4, 0x20, 1, 0x10, 9, 8, 0xB9, 0xFF]),
    packet(
      "ninebot", LengthFraming.ninebot, [0x5A, 0xA5, 2, 0x3E, 0x20, 4, 0x10, 9, 8, 0x7A, 0xFF]),
    packet(
      "daly", LengthFraming.daly, [0xA5, 0x40, 0x90, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0xA1]),
    packet("jbd", LengthFraming.jbd, [0xDD, 3, 0, 2, 7, 9, 0xFF, 0xEE, 0x77]),
    packet("ubx", LengthFraming.ubx, [0xB5, 0x62, 1, 3, 4, 0, 1, 2, 3, 4, 0x12, 0x49]),
    packet("rtcm3", LengthFraming.rtcm3, [0xD3, 0, 3, 0x3E, 0xD0, 1, 0xFC, 0x35, 5]),
    packet(
      "mavlink", LengthFraming.mavlink(),
      [
        0xFD, 9, 0, 0, 0, 1, 1, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 5, 6, 0x46, 0x61,
      ]),
  ]

  private static func packet(
    _ name: String, _ framing: [LengthFraming], _ wire: [UInt8]
  ) -> FramerCase {
    let longest = framing.map { $0.maximum }.max() ?? 0
    return FramerCase(
      name: name, specification: .length(framing, deliver: .frame), wire: wire, delivered: wire,
      isFrame: { frame in
        frame.count <= longest && framing.contains { frame.starts(with: $0.sync) }
      })
  }

  /// A VESC packet as its firmware makes it.
  static func vesc(_ payload: [UInt8]) -> [UInt8] {
    var crc: UInt16 = 0
    for byte in payload {
      crc ^= UInt16(byte) << 8
      for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
    }
    let length =
      payload.count <= 255
      ? [2, UInt8(payload.count)] : [3, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
    return length + payload + [UInt8(crc >> 8), UInt8(crc & 0xFF), 3]
  }

  @Sendable private static func isVESC(_ frame: [UInt8]) -> Bool {
    let start = frame.first == 2 ? 2 : 3
    return frame.count > start + 3 && vesc(Array(frame[start..<frame.count - 3])) == frame
  }

  @Sendable private static func isSentence(_ frame: [UInt8]) -> Bool {
    guard frame.count >= 4, frame.count <= FramingLimits.sentenceMax,
      frame[0] == UInt8(ascii: "$") || frame[0] == UInt8(ascii: "!"),
      frame[frame.count - 3] == UInt8(ascii: "*")
    else { return false }
    let check = frame[1..<frame.count - 3].reduce(0, ^)
    let text = String(decoding: frame.suffix(2), as: UTF8.self)
    return UInt8(text, radix: 16) == check && frame.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
  }
}
