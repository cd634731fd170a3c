import Primitives

/// Modbus over serial line in ASCII mode (V1.02 §2.5.2): `:`, two hexadecimal characters for each byte
/// of address, PDU and LRC, CR LF. The LRC is the two's complement of the sum of the bytes before it.
enum ModbusASCIIFraming {
  /// `examined`: so many bytes are known to be the start of a frame.
  static func scan(_ bytes: Span<UInt8>, examined: Int) -> FrameScan {
    guard bytes[0] == colon else { return between(bytes) }
    for index in max(1, examined)..<max(1, examined, bytes.count) {
      let byte = bytes[index]
      if byte == 0x0A {
        guard bytes[index - 1] == 0x0D else {
          return .bad(.trailer, extent: index + 1, skip: 1)
        }
        return .enclosed(size: index + 1, body: 1..<index - 1)
      }
      // A colon begins a frame, wherever it stands.
      if byte == colon { return .bad(.truncated, extent: index, skip: index) }
      if index + 1 >= FramingLimits.modbusASCIIMax {
        return .bad(.tooLong, extent: index + 1, skip: 1)
      }
      let isEnd = byte == 0x0D && bytes[index - 1] != 0x0D
      if hexadecimalValue(byte) == nil && !isEnd {
        return .bad(.encoding, extent: index + 1, skip: 1)
      }
      if bytes[index - 1] == 0x0D { return .bad(.trailer, extent: index + 1, skip: 1) }
    }
    return .needMore
  }

  /// Replaces `frame` by address and PDU; nil when the LRC matches.
  static func decode(_ body: Span<UInt8>, into frame: inout [UInt8]) -> BadFrameReason? {
    guard body.count % 2 == 0 else { return .encoding }
    // Address, function, LRC.
    guard body.count >= 6 else { return .truncated }
    var sum: UInt8 = 0
    var index = 0
    while index < body.count {
      guard let high = hexadecimalValue(body[index]), let low = hexadecimalValue(body[index + 1])
      else { return .encoding }
      let byte = high << 4 | low
      sum &+= byte
      index += 2
      if index < body.count { frame.append(byte) }
    }
    return sum == 0 ? nil : .checksum
  }

  private static let colon = UInt8(ascii: ":")

  private static func between(_ bytes: Span<UInt8>) -> FrameScan {
    var count = 0
    while count < bytes.count && isLineEnd(bytes[count]) { count += 1 }
    if count > 0 { return .skip(count, .padding) }
    while count < bytes.count && bytes[count] != colon && !isLineEnd(bytes[count]) { count += 1 }
    return .skip(count, .garbage)
  }

  private static func isLineEnd(_ byte: UInt8) -> Bool { byte == 0x0D || byte == 0x0A }
}
