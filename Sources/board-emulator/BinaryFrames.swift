import Ingest
import Primitives

/// Numbered frames of the binary protocols, and of STX/ETX.
enum BinaryFrames {
  /// Appends frame `number`.
  static func append(
    _ framing: Options.Framing, number: UInt64, _ random: inout SplitMix64,
    _ bytes: inout [UInt8]
  ) {
    let data = data(number, framing == .daly ? 4 : random.below(70), &random)
    switch framing {
    case .slip: bytes += slip(withCRC(data))
    case .cobs: bytes += cobs(withCRC(data))
    case .hdlc: bytes += hdlc(data)
    case .stxEtx: bytes += stxEtx(number, &random)
    case .modbusRTU:
      let frame = [1, 3, UInt8(data.count)] + data
      bytes += frame + check(frame, .crc16Modbus, .little)
    case .modbusASCII: bytes += modbusASCII([1, 3, UInt8(data.count)] + data)
    case .xiaomi:
      let body = [UInt8(data.count + 2), 0x23, 0x01, 0xB0] + data
      bytes += [0x55, 0xAA] + body + check(body, .sum16Inverted, .little)
    case .ninebot:
      let body = [UInt8(data.count), 0x23, 0x3E, 0x04, 0xB0] + data
      bytes += [0x5A, 0xA5] + body + check(body, .sum16Inverted, .little)
    case .daly:
      let frame = [0xA5, 0x01, 0x90, 8] + data
      bytes += frame + check(frame, .sum8, .big)
    case .jbd:
      let body = [0, UInt8(data.count)] + data
      bytes += [0xDD, 0x03] + body + check(body, .sum16Negated, .big) + [0x77]
    case .ubx:
      let body = [0x0A, 0x04, UInt8(data.count), 0] + data
      bytes += [0xB5, 0x62] + body + check(body, .fletcher8, .big)
    case .rtcm3:
      let frame = [0xD3, 0, UInt8(data.count + 2), 0xFE, 0x80] + data
      bytes += frame + check(frame, .crc24Q, .big)
    case .mavlink: bytes += heartbeat(number)
    default:
      let body = [0, UInt8(data.count)] + data
      bytes += [0xA5, 0x5A] + body + check(body, .crc16CCITTFalse, .big) + [0x0D]
    }
  }

  /// The number as four bytes, the high one first, and `extra` more bytes.
  private static func data(
    _ number: UInt64, _ extra: UInt64, _ random: inout SplitMix64
  ) -> [UInt8] {
    var data = bigEndian(UInt32(truncatingIfNeeded: number), 4)
    for _ in 0..<extra { data.append(UInt8(truncatingIfNeeded: random.next())) }
    return data
  }

  private static func bigEndian(_ value: UInt32, _ width: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    for index in 0..<width {
      bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * (width - 1 - index))))
    }
    return bytes
  }

  private static func check(
    _ bytes: [UInt8], _ algorithm: ChecksumAlgorithm, _ order: LengthFraming.ByteOrder
  ) -> [UInt8] {
    let value = bigEndian(Checksum.of(bytes.span, algorithm), algorithm.width)
    return order == .big ? value : value.reversed()
  }

  private static func withCRC(_ data: [UInt8]) -> [UInt8] {
    data + check(data, .crc16XModem, .big)
  }

  private static func slip(_ data: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = [0xC0]
    for byte in data {
      switch byte {
      case 0xC0: bytes += [0xDB, 0xDC]
      case 0xDB: bytes += [0xDB, 0xDD]
      default: bytes.append(byte)
      }
    }
    return bytes + [0xC0]
  }

  private static func cobs(_ data: [UInt8]) -> [UInt8] {
    // Frames here are shorter than a run of 254 bytes.
    var bytes: [UInt8] = [0]
    var code = bytes.count
    bytes.append(1)
    for byte in data {
      if byte == 0 {
        code = bytes.count
        bytes.append(1)
      } else {
        bytes.append(byte)
        bytes[code] += 1
      }
    }
    return bytes + [0]
  }

  private static func hdlc(_ data: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = [0x7E]
    for byte in data + check(data, .crc16X25, .little) {
      if byte == 0x7E || byte == 0x7D {
        bytes += [0x7D, byte ^ 0x20]
      } else {
        bytes.append(byte)
      }
    }
    return bytes + [0x7E]
  }

  private static func stxEtx(_ number: UInt64, _ random: inout SplitMix64) -> [UInt8] {
    var data: [UInt8] = []
    data.append("n=\(number),")
    for _ in 0..<random.below(60) { data.append(UInt8(ascii: "a") + UInt8(random.below(26))) }
    data.append(0x03)
    return [0x02] + data + check(data, .xor, .big)
  }

  private static func modbusASCII(_ data: [UInt8]) -> [UInt8] {
    let digits: [UInt8] = Array("0123456789ABCDEF".utf8)
    var bytes = [UInt8(ascii: ":")]
    for byte in data + check(data, .sum8Negated, .big) {
      bytes.append(digits[Int(byte >> 4)])
      bytes.append(digits[Int(byte & 15)])
    }
    return bytes + [0x0D, 0x0A]
  }

  /// Message 0, whose CRC_EXTRA is 50: custom_mode, type, autopilot, base_mode, status, version.
  private static func heartbeat(_ number: UInt64) -> [UInt8] {
    let payload =
      bigEndian(UInt32(truncatingIfNeeded: number), 4).reversed() + [10, 3, 81, 4, 3]
    let sequence = UInt8(truncatingIfNeeded: number)
    let turn = number % 3
    let header: [UInt8] =
      turn == 1
      ? [0xFE, 9, sequence, 1, 1, 0]
      : [0xFD, 9, turn == 0 ? 1 : 0, 0, sequence, 1, 1, 0, 0, 0]
    let crc = check(Array(header[1...]) + payload + [50], .crc16MCRF4XX, .little)
    // Link id, a time stamp, and what would be the secret's hash.
    let signature: [UInt8] = turn == 0 ? [1, 0, 0, 0, 0, 0, sequence, 1, 2, 3, 4, 5, 6] : []
    return header + payload + crc + signature
  }
}
