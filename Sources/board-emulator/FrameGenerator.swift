import Ingest
import Primitives

/// Makes numbered frames. A frame depends on its number and the seed alone.
enum FrameGenerator {
  /// Replaces `bytes` by frame `number`.
  static func make(
    _ framing: Options.Framing, number: UInt64, seed: UInt64, into bytes: inout [UInt8]
  ) {
    var random = SplitMix64(seed: seed &+ number &* 0x2545_F491_4F6C_DD1D)
    bytes.removeAll(keepingCapacity: true)
    switch framing {
    case .line, .jsonLines: line(number, &random, &bytes)
    case .nmea: sentence(number, &random, &bytes)
    case .vesc: packet(number, &random, &bytes)
    default: BinaryFrames.append(framing, number: number, &random, &bytes)
    }
  }

  private static func line(
    _ number: UInt64, _ random: inout SplitMix64, _ bytes: inout [UInt8]
  ) {
    bytes.append(
      "{\"n\":\(number),\"mv\":\(40_000 + random.below(14_000)),\"mA\":\(random.below(30_000))")
    bytes.append(",\"pad\":\"")
    for _ in 0..<random.below(40) { bytes.append(UInt8(ascii: "a") + UInt8(random.below(26))) }
    bytes.append("\"}\n")
  }

  private static func sentence(
    _ number: UInt64, _ random: inout SplitMix64, _ bytes: inout [UInt8]
  ) {
    switch number % 3 {
    case 1: bytes.append("$GNTXT,01,01,02,n=\(number)")
    case 2:
      bytes.append("$GPGGA,")
      time(number, &bytes)
      position(&random, &bytes)
      bytes.append(",1,\(padded(4 + random.below(9), 2)),1.\(random.below(10))")
      bytes.append(",\(30 + random.below(40)).\(random.below(10)),M,44.7,M,,")
    default:
      bytes.append("$GPRMC,")
      time(number, &bytes)
      bytes.append(",A")
      position(&random, &bytes)
      bytes.append(",\(padded(random.below(30), 3)).\(random.below(10))")
      bytes.append(",\(padded(random.below(360), 3)).\(random.below(10)),010126,,,A")
    }
    let check = Checksum.of(bytes.span.extracting(1..<bytes.count), .xor)
    let digits: [UInt8] = Array("0123456789ABCDEF".utf8)
    bytes.append(UInt8(ascii: "*"))
    bytes.append(digits[Int(check >> 4)])
    bytes.append(digits[Int(check & 15)])
    bytes.append("\r\n")
  }

  /// The number as hundredths of a second since midnight.
  private static func time(_ number: UInt64, _ bytes: inout [UInt8]) {
    let hundredths = number % 8_640_000
    let seconds = hundredths / 100
    bytes.append(padded(seconds / 3600, 2))
    bytes.append(padded(seconds / 60 % 60, 2))
    bytes.append(padded(seconds % 60, 2))
    bytes.append("." + padded(hundredths % 100, 2))
  }

  /// Somewhere in Berlin.
  private static func position(_ random: inout SplitMix64, _ bytes: inout [UInt8]) {
    bytes.append(",52\(28 + random.below(8)).\(padded(random.below(10_000), 4)),N")
    bytes.append(",013\(15 + random.below(20)).\(padded(random.below(10_000), 4)),E")
  }

  private static func packet(
    _ number: UInt64, _ random: inout SplitMix64, _ bytes: inout [UInt8]
  ) {
    // One payload in eight is long enough for two bytes of length.
    let extra = random.below(8) == 0 ? 256 + random.below(140) : random.below(70)
    let count = 5 + Int(extra)
    if count < 256 {
      bytes.append(2)
    } else {
      bytes.append(3)
      bytes.append(UInt8(count >> 8))
    }
    bytes.append(UInt8(count & 0xFF))
    let start = bytes.count
    bytes.append(4)
    for shift in [UInt64(24), 16, 8, 0] {
      bytes.append(UInt8(truncatingIfNeeded: number >> shift))
    }
    for _ in 0..<extra { bytes.append(UInt8(truncatingIfNeeded: random.next())) }
    let check = Checksum.of(bytes.span.extracting(start..<bytes.count), .crc16XModem)
    bytes.append(UInt8(check >> 8))
    bytes.append(UInt8(check & 0xFF))
    bytes.append(3)
  }

  /// Decimal digits with leading zeros.
  private static func padded(_ value: UInt64, _ width: Int) -> String {
    var text = "\(value)"
    while text.utf8.count < width { text = "0" + text }
    return text
  }
}
