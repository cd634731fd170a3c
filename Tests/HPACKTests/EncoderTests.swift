import Primitives
import Testing

@testable import HPACK

@Suite("the encoder")
struct EncoderTests {
  private let request = [
    TestField(":method", "POST"), TestField(":scheme", "https"),
    TestField(":path", "/v1/state"), TestField(":authority", "ingest.example.com"),
    TestField("content-type", "application/json"),
    TestField("ce-id", "scooter-0042/gnss/7f3a-1", .no),
    TestField("content-length", "200"),
  ]

  @Test("a warm request costs an octet for every field that does not change")
  func warm() {
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    let cold = encoder.block(request)
    let warm = encoder.block(request)
    // Five octets of indexed fields, ce-id by the name of its first occurrence, content-length.
    #expect(cold.count > 60)
    #expect(warm.count == 5 + (2 + 1 + 17) + (2 + 1 + 2))
    #expect(encoder.block(request) == warm)
  }

  @Test("a changing value is inserted once for its name, and never again")
  func seeding() {
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    _ = encoder.block([TestField("ce-id", "1", .no)])
    let size = encoder.tableSize
    #expect(size == 32 + 6)
    for sequence in 2...1_000 { _ = encoder.block([TestField("ce-id", "\(sequence)", .no)]) }
    #expect(encoder.tableSize == size)
    _ = encoder.block([TestField("content-length", "17"), TestField("date", "x", .no)])
    #expect(encoder.tableSize == size)
  }

  @Test("a field and a name are found while the table has them, however many went through it")
  func found() {
    func field(_ key: Int) -> TestField { TestField("x-\(key % 3)", "\(key)") }
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    var random = SplitMix64(seed: 7541)
    let all = HeaderList((100..<1_000).map(field))
    var blocks: [UInt8] = []
    for _ in 0..<72 { encoder.encode(all, into: &blocks) }
    // Newest first: 107 entries of 32 + 3 + 3 octets. Soon their numbers of 16 bits come round.
    var table = Array((893..<1_000).reversed())
    for turn in 0..<3_000 {
      let key = 100 + Int(random.below(900))
      let block = encoder.block([field(key)])
      var expected: [UInt8] = []
      if let place = table.firstIndex(of: key) {
        encodeInteger(62 + place, prefixBits: 7, pattern: 0x80, into: &expected)
      } else {
        let named = table.firstIndex { $0 % 3 == key % 3 }.map { 62 + $0 } ?? 0
        encodeInteger(named, prefixBits: 6, pattern: 0x40, into: &expected)
        table = [key] + table.prefix(106)
      }
      guard block.starts(with: expected) else {
        Issue.record("field \(turn): \(block) instead of \(expected)")
        return
      }
    }
  }

  @Test(
    "credentials are never indexed, whatever the caller says",
    arguments: [
      ("authorization", "Bearer x", true), ("proxy-authorization", "Basic x", true),
      ("cookie", "short=1", true), ("cookie", "session=0123456789abcdef", false),
      ("x-token", "t", false),
    ])
  func credentials(name: String, value: String, never: Bool) throws {
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    var decoder = HPACKDecoder()
    for _ in 0..<2 {
      let fields = try decoder.fields(encoder.block([TestField(name, value)]))
      #expect(fields == [TestField(name, value, never ? .never : .yes)])
    }
    #expect((encoder.tableSize == 0) == never)
  }

  @Test("RFC 7541 §7.1.3: a never-indexed field stays one on every hop, even when a table has it")
  func neverIndexedStays() throws {
    var first = HPACKEncoder(maximumTableSize: 4096)
    var second = HPACKEncoder(maximumTableSize: 4096)
    var decoder = HPACKDecoder()
    let field = TestField("x-key", "secret", .never)
    _ = first.block([TestField("x-key", "secret")])
    _ = second.block([TestField("x-key", "secret")])
    _ = try decoder.fields(hex("40 0178 0179"))
    var list = HeaderList()
    var block: [UInt8] = []
    first = HPACKEncoder(maximumTableSize: 4096)
    first.encode(HeaderList([field, TestField(":method", "GET", .never)]), into: &block)
    #expect(try decoder.decode(block.span, into: &list) == .complete)
    #expect(list.testFields == [field, TestField(":method", "GET", .never)])
    block.removeAll()
    second.encode(list, into: &block)
    #expect(block[0] & 0xF0 == 0x10)
    #expect(list.fields[0].neverIndexed)
  }

  @Test("a field that would take most of the table is not inserted")
  func largeField() {
    var encoder = HPACKEncoder(maximumTableSize: 256)
    _ = encoder.block([TestField("a", String(repeating: "v", count: 160))])
    #expect(encoder.tableSize == 0)
    _ = encoder.block([TestField("a", String(repeating: "v", count: 150))])
    #expect(encoder.tableSize == 183)
  }

  @Test("RFC 7541 §4.2: a change of the peer's limit opens the next block, once")
  func sizeUpdate() {
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    let field = TestField(":method", "GET")
    #expect(encoder.block([field]) == hex("82"))
    encoder.setPeerMaximumTableSize(100)
    #expect(encoder.block([field]) == hex("3f45 82"))
    #expect(encoder.block([field]) == hex("82"))
    encoder.setPeerMaximumTableSize(100)
    #expect(encoder.block([field]) == hex("82"))
  }

  @Test("RFC 7541 §4.2: the smallest size of the interval, and then the final one")
  func smallestThenFinal() {
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    _ = encoder.block([TestField("a", "b")])
    encoder.setPeerMaximumTableSize(2_000)
    encoder.setPeerMaximumTableSize(0)
    encoder.setPeerMaximumTableSize(4_096)
    #expect(encoder.tableSize == 0)
    #expect(encoder.block([TestField(":method", "GET")]) == hex("20 3fe11f 82"))
  }

  @Test("a peer that allows more than this side spends, or 2³² − 1, changes nothing")
  func peerAllowsMore() {
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    encoder.setPeerMaximumTableSize(.max)
    #expect(encoder.block([TestField(":method", "GET")]) == hex("82"))
  }

  @Test("a side that spends less than 4096 says so in its first block")
  func smallTable() {
    var encoder = HPACKEncoder(maximumTableSize: 0)
    #expect(encoder.block([TestField(":method", "GET")]) == hex("20 82"))
    encoder.setPeerMaximumTableSize(65_536)
    #expect(encoder.block([TestField(":method", "GET")]) == hex("82"))
  }
}
