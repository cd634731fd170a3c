import Primitives
import Testing

@Suite("CRC-32C")
struct CRC32CTests {
  @Test("the check value of the nine digits is 0xE3069283")
  func checkValue() {
    #expect(CRC32C.of(Array("123456789".utf8).span) == 0xE306_9283)
  }

  @Test("the examples of RFC 3720, appendix B.4")
  func examples() {
    #expect(CRC32C.of([UInt8](repeating: 0, count: 32).span) == 0x8A91_36AA)
    #expect(CRC32C.of([UInt8](repeating: 0xFF, count: 32).span) == 0x62A8_AB43)
    #expect(CRC32C.of(Array(UInt8(0)..<32).span) == 0x46DD_794E)
    #expect(CRC32C.of(Array((UInt8(0)..<32).reversed()).span) == 0x113F_DB5C)
  }

  @Test("bytes that are taken together come to the same as one by one")
  func together() {
    let bytes = (0..<80).map { UInt8(truncatingIfNeeded: $0 * 37 + 11) }
    for start in 0..<8 {
      for end in start...bytes.count {
        var together = CRC32C(salt: 7)
        together.update(bytes.span.extracting(start..<end))
        var alone = CRC32C(salt: 7)
        for index in start..<end { alone.update(bytes[index]) }
        #expect(together.value == alone.value, "\(start)..<\(end)")
      }
    }
  }
}
