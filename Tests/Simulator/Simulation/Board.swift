import Ingest
import Primitives

/// What a board puts on its line.
enum BoardFrames {
  /// One frame with this payload.
  static func frame(_ framing: BoardFraming, _ payload: [UInt8]) -> [UInt8] {
    switch framing {
    case .line, .jsonLines: return payload + [0x0A]
    case .nmea: return sentence(payload)
    case .slip: return slip(payload)
    case .cobs: return cobs(payload)
    case .hdlc: return hdlc(payload)
    case .stxEtx: return [0x02] + payload + [0x03, Checksum.low(payload + [0x03], .xor)]
    case .vesc: return vesc(payload)
    case .modbusASCII: return modbusASCII([0x11, 0x41] + payload)
    }
  }

  private static func sentence(_ payload: [UInt8]) -> [UInt8] {
    let body = Array("SIMAA,".utf8) + payload
    var frame: [UInt8] = [UInt8(ascii: "$")]
    frame += body
    frame.append(UInt8(ascii: "*"))
    let check = Checksum.low(body, .xor)
    frame.append(upper(check >> 4))
    frame.append(upper(check & 15))
    return frame + [0x0D, 0x0A]
  }

  private static func slip(_ payload: [UInt8]) -> [UInt8] {
    var frame: [UInt8] = [0xC0]
    for byte in payload {
      switch byte {
      case 0xC0: frame += [0xDB, 0xDC]
      case 0xDB: frame += [0xDB, 0xDD]
      default: frame.append(byte)
      }
    }
    return frame + [0xC0]
  }

  private static func cobs(_ payload: [UInt8]) -> [UInt8] {
    var frame: [UInt8] = []
    var block: [UInt8] = []
    for byte in payload {
      if byte != 0 { block.append(byte) }
      if byte == 0 || block.count == 254 {
        frame.append(UInt8(block.count + 1))
        frame += block
        block = []
      }
    }
    frame.append(UInt8(block.count + 1))
    return frame + block + [0]
  }

  private static func hdlc(_ payload: [UInt8]) -> [UInt8] {
    let check = Checksum.of(payload.span, .crc16X25)
    let body = payload + [UInt8(check & 0xFF), UInt8(check >> 8 & 0xFF)]
    var frame: [UInt8] = [0x7E]
    for byte in body {
      if byte == 0x7E || byte == 0x7D { frame += [0x7D, byte ^ 0x20] } else { frame.append(byte) }
    }
    return frame + [0x7E]
  }

  private static func vesc(_ payload: [UInt8]) -> [UInt8] {
    var frame: [UInt8] =
      payload.count < 256
      ? [2, UInt8(payload.count)] : [3, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
    let check = Checksum.of(payload.span, .crc16XModem)
    frame += payload
    return frame + [UInt8(check >> 8 & 0xFF), UInt8(check & 0xFF), 3]
  }

  private static func modbusASCII(_ body: [UInt8]) -> [UInt8] {
    var frame: [UInt8] = [UInt8(ascii: ":")]
    for byte in body + [Checksum.low(body, .sum8Negated)] {
      frame.append(upper(byte >> 4))
      frame.append(upper(byte & 15))
    }
    return frame + [0x0D, 0x0A]
  }

  private static func upper(_ nibble: UInt8) -> UInt8 {
    nibble < 10 ? 0x30 + nibble : 0x37 + nibble
  }
}

extension Checksum {
  fileprivate static func low(_ bytes: [UInt8], _ algorithm: ChecksumAlgorithm) -> UInt8 {
    UInt8(truncatingIfNeeded: Checksum.of(bytes.span, algorithm))
  }
}

/// A board and its line, with a framer like the daemon's beside it: what that one makes of the same
/// bytes at the same times is what the daemon must have taken.
struct Board {
  let framing: BoardFraming
  let stream: Int
  var framer: Framer
  var isPlugged = true
  var isOpen = false
  /// Bytes that are still to come out of the line.
  var line: [UInt8] = []

  static let lineMax = 16_384

  init(_ framing: BoardFraming, _ specification: FramingSpecification, stream: Int) {
    self.framing = framing
    self.stream = stream
    framer = Framer(specification, baud: 115_200)
  }

  /// The hashes of the frames that a hang-up lets out.
  mutating func hangUp() -> [UInt64] {
    line = []
    isOpen = false
    var found: [UInt64] = []
    while let event = framer.receiveHangUp() { if event == .frame { found.append(hash) } }
    return found
  }

  /// The hashes of the frames that are over at this time.
  mutating func timeout(now: Instant) -> [UInt64] {
    var found: [UInt64] = []
    while let deadline = framer.nextDeadline(), deadline <= now {
      guard let event = framer.handleTimeout(now: now) else { break }
      if event == .frame { found.append(hash) }
    }
    return found
  }

  /// The hashes of the frames that end within these bytes.
  mutating func receive(_ bytes: [UInt8], now: Instant) -> [UInt64] {
    var found: [UInt64] = []
    var offset = 0
    while let event = framer.receive(bytes.span, from: &offset, now: now) {
      if event == .frame { found.append(hash) }
    }
    return found
  }

  private var hash: UInt64 { Hash64.of(framer.frame.span) }
}

/// Payloads that are unlike each other: each has its source and its number.
enum Payloads {
  static func make(
    _ source: Int, _ number: UInt64, _ plan: SourcePlan, isJSON: Bool, _ draw: inout Draw
  ) -> [UInt8] {
    var most = draw.chance(1, in: 10) ? plan.payload.upperBound : draw.range(plan.payload)
    var isText = isJSON
    if case .serial(_, let framing) = plan.kind {
      most = min(most, framing.payloadMax)
      switch framing {
      case .line, .nmea, .stxEtx: isText = true
      case .jsonLines: return json(source, number, most, &draw)
      default: break
      }
      if framing == .nmea { return plain(source, number, most, &draw) }
    }
    if isText { return json(source, number, most, &draw) }
    var payload: [UInt8] = []
    payload.append(decimal: UInt64(source))
    payload.append(0x3A)
    payload.append(decimal: number)
    payload.append(0x3B)
    while payload.count < most { payload.append(UInt8(truncatingIfNeeded: draw.next())) }
    return payload
  }

  private static func json(
    _ source: Int, _ number: UInt64, _ most: Int, _ draw: inout Draw
  ) -> [UInt8] {
    var payload: [UInt8] = []
    payload.append("{\"s\":\(source),\"n\":\(number),\"x\":[\"")
    while payload.count + 4 < most { payload.append(letter(&draw)) }
    payload.append("\\\"\"]}")
    return payload
  }

  private static func plain(
    _ source: Int, _ number: UInt64, _ most: Int, _ draw: inout Draw
  ) -> [UInt8] {
    var payload: [UInt8] = []
    payload.append("\(source),\(number),")
    while payload.count < most { payload.append(letter(&draw)) }
    return payload
  }

  private static func letter(_ draw: inout Draw) -> UInt8 {
    UInt8(ascii: "a") + UInt8(draw.below(26))
  }
}
