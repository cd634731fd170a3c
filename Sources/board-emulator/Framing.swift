import Ingest
import Primitives

extension Options.Framing {
  /// How a gateway cuts the frames that are generated.
  var specification: FramingSpecification {
    let escapedMax = FramingLimits.escapedFrameDefault
    return switch self {
    case .line: .line(delimiter: 0x0A)
    case .jsonLines: .jsonLines
    case .nmea: .nmea
    case .slip: .slip(maximum: escapedMax)
    case .cobs: .cobs(maximum: escapedMax)
    case .hdlc: .hdlc(maximum: escapedMax)
    case .stxEtx: .stxEtx(STXETXFraming())
    case .modbusRTU: .modbusRTU(latency: .zero)
    case .modbusASCII: .modbusASCII
    case .vesc: .length(LengthFraming.vesc, deliver: .frame)
    case .xiaomi: .length(LengthFraming.xiaomi, deliver: .frame)
    case .ninebot: .length(LengthFraming.ninebot, deliver: .frame)
    case .daly: .length(LengthFraming.daly, deliver: .frame)
    case .jbd: .length(LengthFraming.jbd, deliver: .frame)
    case .ubx: .length(LengthFraming.ubx, deliver: .frame)
    case .rtcm3: .length(LengthFraming.rtcm3, deliver: .frame)
    case .mavlink: .length(LengthFraming.mavlink(), deliver: .frame)
    case .length: .length([Self.described], deliver: .frame)
    }
  }

  /// What `length` plays: A5 5A, the payload's length in two bytes, payload, CRC-16/CCITT-FALSE of
  /// length and payload, 0D; the high byte first in both.
  private static var described: LengthFraming {
    LengthFraming(
      sync: [0xA5, 0x5A],
      size: .field(
        LengthFraming.LengthField(offset: 2, width: 2, order: .big, bias: 7, maximum: 256)),
      check: LengthFraming.Check(
        .crc16CCITTFalse, from: 2, to: .end(3), at: .end(3), order: .big),
      trailer: [0x0D], payloadStart: 4, payloadEnd: .end(3), maximum: 263)
  }

  /// Noise before a frame that costs no frame: bytes that begin none, or are one that is bad.
  func appendNoise(
    _ count: Int, _ random: inout SplitMix64, to bytes: inout [UInt8]
  ) {
    switch self {
    case .slip, .cobs:
      // What stands between two delimiters is a frame: it needs an escape, or a run, that is wrong.
      let delimiter: UInt8 = self == .slip ? 0xC0 : 0x00
      if count >= 4 {
        bytes.append(self == .slip ? 0xDB : 0xFF)
        for _ in 0..<count - 2 { bytes.append(1 + UInt8(random.below(0x7F))) }
      }
      bytes.append(delimiter)
    default:
      for _ in 0..<count { bytes.append(noise(UInt8(truncatingIfNeeded: random.next()))) }
    }
  }

  /// `byte`, or another one when it could begin a frame that takes the next one along.
  private func noise(_ byte: UInt8) -> UInt8 {
    switch self {
    case .line, .jsonLines: byte & 1 == 0 ? 0 : 0x0A
    case .nmea: byte == 0x24 || byte == 0x21 ? 0x7F : byte
    case .modbusASCII: byte == 0x3A ? 0x7F : byte
    case .stxEtx: byte == 0x02 ? 0x7F : byte
    case .daly: byte == 0xA5 ? 0x7F : byte
    default: byte
    }
  }

  /// How many bytes a cut frame may keep at most, so that it is no frame any more.
  func longestCut(_ size: Int) -> Int {
    switch self {
    // CR LF and a digit; the flag that the next frame begins with would end this one.
    case .nmea: size - 3
    case .hdlc: size - 2
    // What is missing behind the CRC would be the signature, and be made up from the next frame.
    case .mavlink: min(size - 1, 20)
    // LF; the trailer; the last byte of the check.
    default: size - 1
    }
  }

  /// What a cut frame ends with, if it does: without, it would take the next one along.
  var endOfCut: UInt8? {
    switch self {
    case .line, .jsonLines: 0x0A
    case .slip: 0xC0
    case .cobs: 0x00
    default: nil
    }
  }

  /// Whether nothing but silence stands between two frames.
  var endsWithSilence: Bool { self == .modbusRTU }
}
