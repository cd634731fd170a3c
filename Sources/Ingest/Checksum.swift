import Primitives

/// The checks that serial protocols put behind a frame. The comments give the check value: what the
/// nine bytes `123456789` yield, as the catalogue of parametrised CRC algorithms lists it.
public enum ChecksumAlgorithm: Sendable, Equatable {
  /// CRC-16/XMODEM, polynomial 0x1021: VESC, MCUboot. 0x31C3.
  case crc16XModem
  /// CRC-16/MODBUS, polynomial 0x8005 reflected, initially 0xFFFF: Modbus RTU. 0x4B37.
  case crc16Modbus
  /// CRC-16/X-25 (IBM-SDLC), polynomial 0x1021 reflected, inverted: HDLC's FCS. 0x906E.
  case crc16X25
  /// CRC-16/MCRF4XX, X-25 without the final inversion: MAVLink. 0x6F91.
  case crc16MCRF4XX
  /// CRC-16/IBM-3740, known as CCITT-FALSE, polynomial 0x1021, initially 0xFFFF. 0x29B1.
  case crc16CCITTFalse
  /// CRC-16/KERMIT, polynomial 0x1021 reflected. 0x2189.
  case crc16Kermit
  /// CRC-16/ARC, polynomial 0x8005 reflected. 0xBB3D.
  case crc16ARC
  /// CRC-8/SMBUS, polynomial 0x07. 0xF4.
  case crc8
  /// CRC-8/MAXIM-DOW, polynomial 0x31 reflected. 0xA1.
  case crc8Maxim
  /// CRC-24Q, polynomial 0x864CFB: RTCM 3. 0xCDE703.
  case crc24Q
  /// CRC-32/ISO-HDLC, polynomial 0x04C11DB7 reflected, inverted. 0xCBF43926.
  case crc32
  /// All bytes exclusive-or: NMEA 0183, BCC. 0x31.
  case xor
  /// The sum modulo 2⁸: Daly. 0xDD.
  case sum8
  /// The two's complement of the sum modulo 2⁸: the LRC of Modbus ASCII. 0x23.
  case sum8Negated
  /// The sum modulo 2¹⁶. 0x01DD.
  case sum16
  /// The sum modulo 2¹⁶ exclusive-or 0xFFFF: Xiaomi, Ninebot. 0xFE22.
  case sum16Inverted
  /// The two's complement of the sum modulo 2¹⁶: JBD. 0xFE23.
  case sum16Negated
  /// RFC 1145's 8-bit Fletcher sums modulo 2⁸, the first sum in the high byte: UBX's CK_A and CK_B.
  /// 0xDD15.
  case fletcher8

  /// How many bytes it takes in a frame.
  public var width: Int {
    switch self {
    case .xor, .sum8, .sum8Negated, .crc8, .crc8Maxim: 1
    case .crc24Q: 3
    case .crc32: 4
    default: 2
    }
  }
}

/// A check under way, so that a frame can be covered in pieces.
public struct Checksum: Sendable {
  private let algorithm: ChecksumAlgorithm
  private var state: UInt32

  public init(_ algorithm: ChecksumAlgorithm) {
    self.algorithm = algorithm
    switch algorithm {
    case .crc16Modbus, .crc16X25, .crc16MCRF4XX, .crc16CCITTFalse: state = 0xFFFF
    case .crc32: state = .max
    default: state = 0
    }
  }

  /// Covers one more byte.
  public mutating func update(_ byte: UInt8) {
    switch algorithm {
    case .crc16XModem, .crc16CCITTFalse: state = shiftedLeft(xmodemTable, byte, width: 16)
    case .crc16Modbus, .crc16ARC: state = shiftedRight(modbusTable, byte)
    case .crc16X25, .crc16MCRF4XX, .crc16Kermit: state = shiftedRight(x25Table, byte)
    case .crc8: state = shiftedLeft(crc8Table, byte, width: 8)
    case .crc8Maxim: state = shiftedRight(maximTable, byte)
    case .crc24Q: state = shiftedLeft(crc24Table, byte, width: 24)
    case .crc32: state = shiftedRight(crc32Table, byte)
    case .xor: state ^= UInt32(byte)
    case .sum8, .sum8Negated, .sum16, .sum16Inverted, .sum16Negated: state &+= UInt32(byte)
    case .fletcher8:
      let first = ((state >> 8) &+ UInt32(byte)) & 0xFF
      state = first << 8 | (state &+ first) & 0xFF
    }
  }

  /// Covers all of `bytes`.
  public mutating func update(_ bytes: Span<UInt8>) {
    for index in bytes.indices { update(bytes[index]) }
  }

  /// The check of everything so far, in the low `width` bytes.
  public var value: UInt32 {
    switch algorithm {
    case .crc16X25, .sum16Inverted: (state & 0xFFFF) ^ 0xFFFF
    case .crc32: ~state
    case .sum8: state & 0xFF
    case .sum8Negated: (0 &- state) & 0xFF
    case .sum16: state & 0xFFFF
    case .sum16Negated: (0 &- state) & 0xFFFF
    default: state
    }
  }

  /// The check of `bytes` alone.
  public static func of(_ bytes: Span<UInt8>, _ algorithm: ChecksumAlgorithm) -> UInt32 {
    var checksum = Checksum(algorithm)
    checksum.update(bytes)
    return checksum.value
  }

  private func shiftedRight(_ table: [UInt32], _ byte: UInt8) -> UInt32 {
    (state >> 8) ^ table[Int(UInt8(truncatingIfNeeded: state) ^ byte)]
  }

  private func shiftedLeft(_ table: [UInt32], _ byte: UInt8, width: UInt32) -> UInt32 {
    let index = UInt8(truncatingIfNeeded: state >> (width - 8)) ^ byte
    return (state << 8 ^ table[Int(index)]) & (1 << width &- 1)
  }
}

// One table a polynomial, made when a port first needs it: 1 KiB each.
private let xmodemTable = leftTable(0x1021, width: 16)
private let crc8Table = leftTable(0x07, width: 8)
private let maximTable = rightTable(0x8C)
private let crc24Table = leftTable(0x86_4CFB, width: 24)
private let modbusTable = rightTable(0xA001)
private let x25Table = rightTable(0x8408)
private let crc32Table = rightTable(0xEDB8_8320)

private func rightTable(_ polynomial: UInt32) -> [UInt32] {
  var table: [UInt32] = []
  table.reserveCapacity(256)
  for byte in UInt32(0)..<256 {
    var crc = byte
    for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ polynomial : crc >> 1 }
    table.append(crc)
  }
  return table
}

private func leftTable(_ polynomial: UInt32, width: UInt32) -> [UInt32] {
  let top = UInt32(1) << (width - 1)
  var table: [UInt32] = []
  table.reserveCapacity(256)
  for byte in UInt32(0)..<256 {
    var crc = byte << (width - 8)
    for _ in 0..<8 { crc = crc & top == top ? crc << 1 ^ polynomial : crc << 1 }
    table.append(crc & (top << 1 &- 1))
  }
  return table
}
