import Primitives
import Testing

@testable import HPACK

@Suite("the Huffman code")
struct HuffmanTests {
  private func encoded(_ text: [UInt8]) -> [UInt8] {
    var block: [UInt8] = []
    HuffmanCode.shared.encode(
      text.span, count: HuffmanCode.shared.encodedCount(text.span), into: &block)
    return block
  }

  private func decoded(_ block: [UInt8], limit: Int = 65_536) throws(HPACKError) -> [UInt8] {
    var bytes: [UInt8] = []
    let count = try HuffmanCode.shared.decode(block.span, into: &bytes, limit: limit)
    #expect(bytes.count == min(count, limit))
    return bytes
  }

  @Test("every symbol comes back, alone and between others", arguments: UInt8.min...UInt8.max)
  func everySymbol(symbol: UInt8) throws {
    for text in [[symbol], [symbol, symbol, symbol], [0x61, symbol, 0xFF, symbol, 0x30]] {
      let block = encoded(text)
      #expect(block.count == HuffmanCode.shared.encodedCount(text.span))
      #expect(try decoded(block) == text)
    }
  }

  @Test("any text comes back, and the announced length is the real one")
  func anyText() throws {
    var random = SplitMix64(seed: 7541)
    for _ in 0..<2_000 {
      let text = (0..<random.below(80)).map { _ in UInt8(random.below(256)) }
      let block = encoded(text)
      #expect(block.count == HuffmanCode.shared.encodedCount(text.span))
      #expect(try decoded(block) == text)
    }
  }

  @Test("RFC 7541 §5.2: EOS inside of a string is an error, after any number of symbols")
  func endOfString() {
    #expect(throws: HPACKError.huffmanEndOfString) { try decoded(hex("ffff fffc")) }
    // `a` is 00011, and then thirty ones.
    #expect(throws: HPACKError.huffmanEndOfString) { try decoded(hex("1fff ffff ff")) }
  }

  @Test("RFC 7541 §5.2: padding of 1 to 7 ones is right")
  func padding() throws {
    // `0` has 5 bits and `:` 7 or 8: strings of `0` end at every offset in an octet.
    for count in 1...8 {
      let text = [UInt8](repeating: 0x30, count: count)
      #expect(try decoded(encoded(text)) == text)
    }
    #expect(try decoded([]) == [])
  }

  @Test(
    "RFC 7541 §5.2: padding of more than 7 bits, or not of ones, is an error",
    arguments: [
      "ff", "ffff", "ffff ff",  // eight and more ones
      "07ff",  // `0` and eleven ones
      "06", "00", "1e",  // `0`, `0`, `a` with zeros in their padding
      "fe",  // the beginning of a long code
    ])
  func wrongPadding(block: String) {
    #expect(throws: HPACKError.huffmanPadding) { try decoded(hex(block)) }
  }

  @Test("above the limit a string is checked and counted, but not kept")
  func limit() throws {
    let text = [UInt8](repeating: 0x65, count: 1_000)
    #expect(try decoded(encoded(text), limit: 10) == Array(text.prefix(10)))
    var broken = encoded(text)
    broken.append(0xFF)
    #expect(throws: HPACKError.huffmanPadding) { try decoded(broken, limit: 10) }
  }

  @Test("any octets decode or are refused, and what decodes has one encoding")
  func anyOctets() {
    var random = SplitMix64(seed: 42)
    var accepted = 0
    for _ in 0..<20_000 {
      let block = (0..<(1 + random.below(6))).map { _ in UInt8(random.below(256)) }
      guard let text = try? decoded(block) else { continue }
      accepted += 1
      #expect(encoded(text) == block)
    }
    #expect(accepted > 100)
  }
}
