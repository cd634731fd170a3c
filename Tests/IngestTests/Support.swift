import Ingest
import Primitives
import Testing

/// One thing that came out of a framer.
enum Outcome: Equatable, CustomStringConvertible {
  case frame([UInt8])
  case bad(BadFrameReason)

  var description: String {
    switch self {
    case .frame(let bytes): "frame(\(hex(bytes)))"
    case .bad(let reason): "bad(\(reason.name))"
    }
  }
}

extension Framer {
  /// Feeds `bytes` in reads of `chunk` bytes (0: all at once).
  mutating func take(
    _ bytes: [UInt8], chunk: Int = 0, now: Instant = Instant(nanoseconds: 0)
  ) -> [Outcome] {
    var outcomes: [Outcome] = []
    var start = 0
    while start < bytes.count {
      let end = chunk == 0 ? bytes.count : min(start + chunk, bytes.count)
      var offset = 0
      let part = Array(bytes[start..<end])
      while let event = receive(part.span, from: &offset, now: now) { outcomes.append(kept(event)) }
      #expect(offset == part.count)
      start = end
    }
    return outcomes
  }

  /// Feeds a read that ends at `cut`, and the rest.
  mutating func take(_ bytes: [UInt8], splitAt cut: Int) -> [Outcome] {
    take(Array(bytes[..<cut])) + take(Array(bytes[cut...]))
  }

  mutating func timeOut(now: Instant) -> [Outcome] {
    var outcomes: [Outcome] = []
    while let event = handleTimeout(now: now) { outcomes.append(kept(event)) }
    return outcomes
  }

  mutating func hangUp() -> [Outcome] {
    var outcomes: [Outcome] = []
    while let event = receiveHangUp() { outcomes.append(kept(event)) }
    return outcomes
  }

  private func kept(_ event: FramerEvent) -> Outcome {
    switch event {
    case .frame: .frame(frame)
    case .bad(let reason): .bad(reason)
    }
  }
}

func frames(_ outcomes: [Outcome]) -> [[UInt8]] {
  outcomes.compactMap { if case .frame(let bytes) = $0 { bytes } else { nil } }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Bytes from hexadecimal digits; spaces do not count.
func unhex(_ text: String) -> [UInt8] {
  let digits = text.filter { $0 != " " }.map { UInt8($0.hexDigitValue!) }
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

func hex(_ bytes: [UInt8]) -> String {
  bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

/// A VESC packet, made the way the firmware's `packet_send_packet` makes it.
func vesc(_ payload: [UInt8]) -> [UInt8] {
  var crc: UInt16 = 0
  for byte in payload {
    crc ^= UInt16(byte) << 8
    for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
  }
  let length: [UInt8] =
    payload.count <= 255
    ? [2, UInt8(payload.count)] : [3, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
  return length + payload + [UInt8(crc >> 8), UInt8(crc & 0xFF), 3]
}

/// A sentence with its checksum and CR LF.
func sentence(_ body: String, start: String = "$") -> [UInt8] {
  let check = bytes(body).reduce(0, ^)
  return bytes(start + body + "*") + bytes(hex([check]).uppercased()) + [0x0D, 0x0A]
}

extension SplitMix64 {
  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }
}
