import Primitives
import Testing

@Suite("base64, JSON text, UTF-8")
struct TextFormatTests {
  @Test(
    "RFC 4648 §10",
    arguments: [
      ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
      ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
  func base64(text: String, expected: String) {
    let bytes = Array(text.utf8)
    var encoded: [UInt8] = []
    Base64.append(bytes.span, to: &encoded)
    #expect(String(decoding: encoded, as: UTF8.self) == expected)
    #expect(encoded.count == Base64.length(of: bytes.count))
  }

  @Test(
    "JSON as RFC 8259 has it",
    arguments: [
      "{}", " [1, -0.5e+3, true, null, \"\\u00e9\\\"\"] ", "\"\\ud83d\\ude00\"",
      "{\"a\":{\"b\":[]}}",
    ])
  func valid(text: String) {
    let bytes = Array(text.utf8)
    // A span cannot stand in an expectation.
    let isWholeTaken = JSONValidator.accepts(bytes.span)
    #expect(isWholeTaken)
    for count in 0..<bytes.count where bytes[count] != 0x20 {
      let isTaken = JSONValidator.accepts(bytes.span.extracting(0..<count))
      #expect(!isTaken)
    }
  }

  @Test("JSON is taken to a depth of 64, and no deeper")
  func depth() {
    for (depth, isTaken) in [(64, true), (65, false), (100_000, false)] {
      let text =
        [UInt8](repeating: UInt8(ascii: "["), count: depth)
        + [UInt8](repeating: UInt8(ascii: "]"), count: depth)
      let answer = JSONValidator.accepts(text.span)
      #expect(answer == isTaken)
    }
  }

  @Test("what is not UTF-8 becomes U+FFFD, and all else stays")
  func utf8() {
    let bytes: [UInt8] = Array("aé".utf8) + [0xFF, 0xE2, 0x82] + Array("€😀".utf8) + [0xF0]
    var text: [UInt8] = []
    UTF8Sequence.append(bytes.span, to: &text)
    #expect(text == Array(String(decoding: bytes, as: UTF8.self).utf8))
    let areWellFormed = (
      UTF8Sequence.isWellFormed(text.span), UTF8Sequence.isWellFormed(bytes.span)
    )
    #expect(areWellFormed == (true, false))
  }
}
