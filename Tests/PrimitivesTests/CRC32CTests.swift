import Primitives
import Testing

@Suite("CRC-32C")
struct CRC32CTests {
  @Test("the check value of the nine digits is 0xE3069283")
  func checkValue() {
    #expect(CRC32C.of(Array("123456789".utf8).span) == 0xE306_9283)
  }
}
