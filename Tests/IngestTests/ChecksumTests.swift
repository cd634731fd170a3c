import Ingest
import Primitives
import Testing

@Suite("Checksums")
struct ChecksumTests {
  @Test(
    "the check value of the nine digits",
    arguments: [
      (ChecksumAlgorithm.crc16XModem, UInt32(0x31C3)), (.crc16Modbus, 0x4B37),
      (.crc16X25, 0x906E), (.crc16MCRF4XX, 0x6F91), (.crc24Q, 0xCDE703), (.crc32, 0xCBF4_3926),
      (.xor, 0x31), (.sum8, 0xDD), (.sum8Negated, 0x23), (.sum16, 0x01DD),
      (.sum16Inverted, 0xFE22), (.sum16Negated, 0xFE23), (.fletcher8, 0xDD15),
      (.crc16CCITTFalse, 0x29B1), (.crc16Kermit, 0x2189), (.crc16ARC, 0xBB3D), (.crc8, 0xF4),
      (.crc8Maxim, 0xA1),
    ])
  func checkValue(algorithm: ChecksumAlgorithm, value: UInt32) {
    #expect(Checksum.of(bytes("123456789").span, algorithm) == value)
  }

  @Test("UBX-CFG-RATE at 5 Hz carries DE 6A, as u-blox prints it")
  func fletcher() {
    let covered = unhex("06 08 06 00 C8 00 01 00 01 00")
    #expect(Checksum.of(covered.span, .fletcher8) == 0xDE6A)
  }

  @Test("the sentence of the NMEA 0183 manuals has the checksum 47")
  func exclusiveOr() {
    let covered = bytes("GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,")
    #expect(Checksum.of(covered.span, .xor) == 0x47)
  }

  @Test("Modbus over serial line: 02 07 is followed by 41 12, low byte first")
  func modbus() {
    #expect(Checksum.of([0x02, 0x07].span, .crc16Modbus) == 0x1241)
  }

  @Test("no byte at all yields the initial value")
  func empty() {
    let none: [UInt8] = []
    #expect(Checksum.of(none.span, .crc16XModem) == 0)
    #expect(Checksum.of(none.span, .crc16Modbus) == 0xFFFF)
    #expect(Checksum.of(none.span, .crc16X25) == 0)
    #expect(Checksum.of(none.span, .crc32) == 0)
    #expect(Checksum.of(none.span, .sum16Inverted) == 0xFFFF)
    #expect(Checksum.of(none.span, .fletcher8) == 0)
  }

  @Test("long runs of FF do not overflow a sum", arguments: [ChecksumAlgorithm.sum16, .fletcher8])
  func longRuns(algorithm: ChecksumAlgorithm) {
    let run = [UInt8](repeating: 0xFF, count: 65_536)
    // 65 536 · 255 = 0xFF_0000; Fletcher's second sum is 255 · 65 536 · 65 537 / 2, 0 modulo 256.
    #expect(Checksum.of(run.span, algorithm) == 0)
  }
}
