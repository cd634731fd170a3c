import Primitives

/// Frames between delimiters that occur nowhere else, because the frames are encoded without them.
///
///     SLIP (RFC 1055)      [C0] data C0             C0 is DB DC, DB is DB DD
///     COBS (Cheshire 1999) code data code data … 00 a code says how far the next zero is
///     HDLC (RFC 1662)      7E data FCS 7E           7E and 7D are 7D and the byte ^ 20
///
/// A delimiter ends one frame and may begin the next; two in a row have no frame between them, and an
/// empty frame is no record.
struct EscapedFraming: Equatable {
  enum Encoding { case slip, cobs, hdlc }

  let encoding: Encoding
  /// The longest decoded frame.
  let maximum: Int

  var delimiter: UInt8 {
    switch encoding {
    case .slip: 0xC0
    case .cobs: 0x00
    case .hdlc: 0x7E
    }
  }

  /// The longest frame on the wire with its delimiter: every byte escaped, HDLC's FCS too; of COBS
  /// one code for each run of 254 bytes, and one.
  var bufferBytes: Int {
    switch encoding {
    case .slip: 2 * maximum + 1
    case .cobs: maximum + maximum / 254 + 2
    case .hdlc: 2 * (maximum + 2) + 1
    }
  }

  /// `examined`: so many bytes are known to hold no delimiter.
  func scan(_ bytes: Span<UInt8>, examined: Int, discarding: Bool) -> FrameScan {
    if bytes[0] == delimiter { return .skip(1, .padding) }
    let found = firstIndex(of: delimiter, in: bytes, from: examined)
    let end = found ?? bytes.count
    if discarding { return .skip(end, .garbage) }
    if end >= bufferBytes { return .overlong(end) }
    return found == nil ? .needMore : .enclosed(size: end + 1, body: 0..<end)
  }

  /// Replaces `frame` by what `body` encodes; nil when it is good. An empty frame is good.
  func decode(_ body: Span<UInt8>, into frame: inout [UInt8]) -> BadFrameReason? {
    switch encoding {
    case .slip: decodeSLIP(body, into: &frame)
    case .cobs: decodeCOBS(body, into: &frame)
    case .hdlc: decodeHDLC(body, into: &frame)
    }
  }

  private func decodeSLIP(_ body: Span<UInt8>, into frame: inout [UInt8]) -> BadFrameReason? {
    var index = 0
    while index < body.count {
      guard frame.count < maximum else { return .tooLong }
      var byte = body[index]
      index += 1
      if byte == 0xDB {
        guard index < body.count else { return .encoding }
        switch body[index] {
        case 0xDC: byte = 0xC0
        case 0xDD: byte = 0xDB
        default: return .encoding
        }
        index += 1
      }
      frame.append(byte)
    }
    return nil
  }

  private func decodeCOBS(_ body: Span<UInt8>, into frame: inout [UInt8]) -> BadFrameReason? {
    var index = 0
    while index < body.count {
      let code = Int(body[index])
      let end = index + code
      guard end <= body.count else { return .encoding }
      guard frame.count + code - 1 <= maximum else { return .tooLong }
      for place in index + 1..<end { frame.append(body[place]) }
      // A code of FF stands for 254 bytes that no zero follows; the last code's zero is the delimiter.
      if code < 0xFF && end < body.count {
        guard frame.count < maximum else { return .tooLong }
        frame.append(0)
      }
      index = end
    }
    return nil
  }

  private func decodeHDLC(_ body: Span<UInt8>, into frame: inout [UInt8]) -> BadFrameReason? {
    // The FCS is kept back by two bytes, so that it needs no room in the frame.
    var held: (UInt8, UInt8) = (0, 0)
    var count = 0
    var checksum = Checksum(.crc16X25)
    var index = 0
    while index < body.count {
      var byte = body[index]
      index += 1
      if byte == 0x7D {
        // A closing flag behind the escape.
        guard index < body.count else { return .aborted }
        byte = body[index] ^ 0x20
        index += 1
      }
      if count >= 2 {
        guard frame.count < maximum else { return .tooLong }
        checksum.update(held.0)
        frame.append(held.0)
      }
      held = (held.1, byte)
      count += 1
    }
    guard count > 2 else { return .truncated }
    let stated = UInt32(held.0) | UInt32(held.1) << 8
    return checksum.value == stated ? nil : .checksum
  }
}
