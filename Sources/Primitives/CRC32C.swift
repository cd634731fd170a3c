/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the check of the spool's frames.
/// Check value: the nine bytes `123456789` give 0xE3069283 (RFC 3720, appendix B.4's polynomial).
public struct CRC32C: Sendable {
  private var state: UInt32 = .max

  public init() {}

  /// Starts from a salt, so that bytes left over from another use of the same place do not verify.
  public init(salt: UInt32) { state = .max ^ salt }

  /// Adds one byte to the checksum.
  public mutating func update(_ byte: UInt8) {
    state = (state >> 8) ^ crc32cTable[Int(UInt8(truncatingIfNeeded: state) ^ byte)]
  }

  /// Adds the bytes, in order, to the checksum.
  public mutating func update(_ bytes: Span<UInt8>) {
    let table = crc32cTable
    var crc = state
    var index = 0
    while index + 4 <= bytes.count {
      let word = crc ^ UInt32(littleEndian: bytes.half(at: index))
      crc =
        table[768 + Int(word & 0xFF)] ^ table[512 + Int(word >> 8 & 0xFF)]
        ^ table[256 + Int(word >> 16 & 0xFF)] ^ table[Int(word >> 24)]
      index += 4
    }
    while index < bytes.count {
      crc = (crc >> 8) ^ table[Int(UInt8(truncatingIfNeeded: crc) ^ bytes[index])]
      index += 1
    }
    state = crc
  }

  public var value: UInt32 { ~state }

  /// The checksum of `bytes` alone, without a salt.
  public static func of(_ bytes: Span<UInt8>) -> UInt32 {
    var crc = CRC32C()
    crc.update(bytes)
    return crc.value
  }
}

/// Four bytes are taken at once ("slicing", Kounavis and Berry, 2005): 256 entries for a byte, and as many for
/// a byte with one, two and three zeros behind it.
private let crc32cTable: [UInt32] = {
  var table: [UInt32] = []
  table.reserveCapacity(1_024)
  for byte in UInt32(0)..<256 {
    var crc = byte
    for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
    table.append(crc)
  }
  for place in 256..<1_024 {
    let before = table[place - 256]
    table.append(before >> 8 ^ table[Int(before & 0xFF)])
  }
  return table
}()
