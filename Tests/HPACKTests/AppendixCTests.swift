import Primitives
import Testing

@testable import HPACK

/// The examples of RFC 7541, appendix C, to the byte.
@Suite("RFC 7541, appendix C")
struct AppendixCTests {
  @Test(
    "§C.1: integers",
    arguments: [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a")])
  func integers(value: Int, prefixBits: Int, encoded: String) throws {
    var block: [UInt8] = []
    encodeInteger(value, prefixBits: prefixBits, pattern: 0, into: &block)
    #expect(block == hex(encoded))
    var offset = 0
    #expect(try decodeInteger(block.span, &offset, prefixBits: prefixBits) == value)
    #expect(offset == block.count)
  }

  @Test(
    "§C.2: the four representations",
    arguments: [
      (
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        TestField("custom-key", "custom-header"), 55
      ),
      ("040c 2f73 616d 706c 652f 7061 7468", TestField(":path", "/sample/path", .no), 0),
      (
        "1008 7061 7373 776f 7264 0673 6563 7265 74",
        TestField("password", "secret", .never), 0
      ),
      ("82", TestField(":method", "GET"), 0),
    ])
  func representations(block: String, field: TestField, tableSize: Int) throws {
    var decoder = HPACKDecoder()
    #expect(try decoder.fields(hex(block)) == [field])
    #expect(decoder.tableSize == tableSize)
    // The encoder seeds the table with the name of a `.no` field only when no table has it.
    var encoder = HPACKEncoder(maximumTableSize: 4096, codesStrings: false)
    #expect(encoder.block([field]) == hex(block))
  }

  @Test("§C.3–C.6: three blocks on one connection", arguments: Example.all)
  func sequences(example: Example) throws {
    var decoder = HPACKDecoder(tableSize: example.tableSize)
    var encoder = HPACKEncoder(
      maximumTableSize: example.tableSize, codesStrings: example.codesStrings)
    for (index, step) in example.steps.enumerated() {
      #expect(try decoder.fields(hex(step.block)) == step.fields)
      #expect(decoder.tableSize == step.tableSize)
      // A table smaller than HTTP/2's initial one is announced in the first block.
      let update: [UInt8] = index == 0 && example.tableSize == 256 ? [0x3F, 0xE1, 0x01] : []
      #expect(encoder.block(step.fields) == update + hex(step.ours ?? step.block))
      #expect(encoder.tableSize == step.tableSize)
    }
  }
}

struct Example: Sendable, CustomTestStringConvertible {
  struct Step: Sendable {
    var fields: [TestField]
    var block: String
    var tableSize: Int
    /// Where this encoder's choice differs: raw when the coded string is not shorter.
    var ours: String?
  }

  var testDescription: String
  var tableSize = 4096
  var codesStrings: Bool
  var steps: [Step]

  static let all =
    [requests(plain: true), requests(plain: false)]
    + [responses(plain: true), responses(plain: false)]

  private static func requests(plain: Bool) -> Example {
    let base = [
      TestField(":method", "GET"), TestField(":scheme", "http"), TestField(":path", "/"),
      TestField(":authority", "www.example.com"),
    ]
    let last = [
      TestField(":method", "GET"), TestField(":scheme", "https"),
      TestField(":path", "/index.html"), TestField(":authority", "www.example.com"),
      TestField("custom-key", "custom-value"),
    ]
    let blocks =
      plain
      ? [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ]
      : [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ]
    return Example(
      testDescription: plain ? "C.3" : "C.4", codesStrings: !plain,
      steps: [
        Step(fields: base, block: blocks[0], tableSize: 57),
        Step(
          fields: base + [TestField("cache-control", "no-cache")], block: blocks[1],
          tableSize: 110),
        Step(fields: last, block: blocks[2], tableSize: 164),
      ])
  }

  private static func responses(plain: Bool) -> Example {
    func fields(_ status: String, _ second: String, _ more: [TestField] = []) -> [TestField] {
      [
        TestField(":status", status), TestField("cache-control", "private"),
        TestField("date", "Mon, 21 Oct 2013 20:13:\(second) GMT"),
        TestField("location", "https://www.example.com"),
      ] + more
    }
    let third = [
      TestField("content-encoding", "gzip"),
      TestField(
        "set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ]
    let blocks = plain ? plainResponses : codedResponses
    return Example(
      testDescription: plain ? "C.5" : "C.6", tableSize: 256, codesStrings: !plain,
      steps: [
        Step(fields: fields("302", "21"), block: blocks[0], tableSize: 222),
        Step(
          fields: fields("307", "21"), block: blocks[1], tableSize: 222,
          ours: plainResponses[1]),
        Step(fields: fields("200", "22", third), block: blocks[2], tableSize: 215),
      ])
  }

  private static let plainResponses = [
    """
    4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
    2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
    6c65 2e63 6f6d
    """,
    "4803 3330 37c1 c0bf",
    """
    88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
    54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
    5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
    3d31
    """,
  ]

  private static let codedResponses = [
    """
    4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
    2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3
    """,
    "4883 640e ffc1 c0bf",
    """
    88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
    77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
    9587 3160 65c0 03ed 4ee5 b106 3d50 07
    """,
  ]
}
