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
    var crc = state
    for index in bytes.indices {
      crc = (crc >> 8) ^ crc32cTable[Int(UInt8(truncatingIfNeeded: crc) ^ bytes[index])]
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

private let crc32cTable: [UInt32] = {
  var table: [UInt32] = []
  table.reserveCapacity(256)
  for byte in UInt32(0)..<256 {
    var crc = byte
    for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
    table.append(crc)
  }
  return table
}()
