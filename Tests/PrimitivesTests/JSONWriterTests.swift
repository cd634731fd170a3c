import Foundation
import Primitives
import Testing

@Suite("the JSON writer")
struct JSONWriterTests {
  private func text(_ write: (inout JSONWriter) -> Void) -> String {
    var json = JSONWriter()
    write(&json)
    #expect(json.isComplete)
    return String(decoding: json.bytes, as: UTF8.self)
  }

  @Test("objects and arrays in each other have their commas")
  func nesting() {
    let result = text { json in
      json.beginObject()
      json.key("pools")
      json.beginArray()
      for used in [1, 2] {
        json.beginObject()
        json.key("name")
        json.string(ByteString("p\(used)"))
        json.key("used")
        json.number(UInt64(used))
        json.endObject()
      }
      json.endArray()
      json.key("empty")
      json.beginArray()
      json.endArray()
      json.key("none")
      json.null()
      json.key("object")
      json.beginObject()
      json.endObject()
      json.endObject()
    }
    #expect(
      result
        == #"{"pools":[{"name":"p1","used":1},{"name":"p2","used":2}],"empty":[],"none":null,"object":{}}"#
    )
  }

  @Test("numbers are exact to both ends")
  func numbers() {
    let result = text { json in
      json.beginArray()
      json.number(UInt64.max)
      json.number(Int64.min)
      json.number(Int64.max)
      json.number(UInt64(0))
      json.number(Int64(-1))
      json.number(UInt64(10))
      json.bool(true)
      json.bool(false)
      json.endArray()
    }
    #expect(
      result
        == "[18446744073709551615,-9223372036854775808,9223372036854775807,0,-1,10,true,false]")
  }

  @Test("RFC 8259 §7: quotes, backslashes and control characters are escaped")
  func escapes() {
    let result = text { $0.string("a\"b\\c\n\r\t\u{0}\u{1F}\u{7F}/é€😀") }
    #expect(result == #""a\"b\\c\n\r\t\u0000\u001f"# + "\u{7F}/é€😀\"")
  }

  @Test(
    "what is not UTF-8 is replaced as Swift's own decoder replaces it",
    arguments: [
      [0x80], [0xC3], [0xC0, 0x80], [0xE2, 0x82], [0xE2, 0x82, 0x61], [0xED, 0xA0, 0x80],
      [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80], [0xE0, 0x80, 0x80], [0xFF, 0xFE],
      [0x61, 0xF0, 0x9F, 0x22, 0x62],
    ] as [[UInt8]])
  func notUTF8(bytes: [UInt8]) throws {
    let result = text { json in
      json.beginArray()
      json.string(bytes.span)
      json.endArray()
    }
    let parsed = try JSONSerialization.jsonObject(with: Data(result.utf8)) as? [String]
    #expect(parsed == [String(decoding: bytes, as: UTF8.self)])
  }

  @Test("any bytes as key and value come back from a parser that others wrote")
  func anyBytes() throws {
    var random = SplitMix64(seed: 8259)
    for _ in 0..<2_000 {
      let bytes = (0..<random.below(24)).map { _ in
        random.below(3) == 0 ? UInt8(random.below(256)) : UInt8(0x20 + random.below(0x60))
      }
      let result = text { json in
        json.beginObject()
        json.key(named: ByteString(bytes))
        json.string(bytes.span)
        json.endObject()
      }
      let parsed = try JSONSerialization.jsonObject(with: Data(result.utf8)) as? [String: String]
      let expected = String(decoding: bytes, as: UTF8.self)
      #expect(parsed == [expected: expected], "\(bytes)")
    }
  }

  @Test("a value that is JSON already is taken as it is, and storage is used again")
  func again() {
    var json = JSONWriter()
    json.beginArray()
    json.raw(Array("{\"a\":1}".utf8).span)
    json.raw(Array("2".utf8).span)
    json.endArray()
    #expect(String(decoding: json.bytes, as: UTF8.self) == "[{\"a\":1},2]")
    let capacity = json.bytes.capacity
    json.removeAll()
    #expect(!json.isComplete && json.bytes.isEmpty && json.bytes.capacity == capacity)
    json.string("x")
    #expect(json.isComplete && json.bytes == Array("\"x\"".utf8))
  }
}
