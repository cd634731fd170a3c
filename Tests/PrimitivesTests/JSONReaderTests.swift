import Foundation
import Primitives
import Testing

@Suite("the JSON reader")
struct JSONReaderTests {
  private func parse(_ text: String) -> JSONValue? { JSONValue(parsing: Array(text.utf8).span) }

  @Test("a page of the daemon is read by its names")
  func page() throws {
    let page = try #require(
      parse(
        """
         { "pools" : [ {"name":"a", "limit":18446744073709551615, "full":false}, {"name":"b"} ],
           "a":1, "a":2, "none":null, "empty":{}, "list":[] }
        """))
    let pools = try #require(page["pools"]?.elements)
    #expect(pools.count == 2)
    #expect(pools[0]["name"] == .string("a"))
    #expect(pools[0]["limit"]?.unsigned == .max)
    #expect(pools[0]["full"]?.text == "false")
    #expect(pools[1]["limit"] == nil)
    #expect(page["a"]?.unsigned == 2)
    #expect(page["none"] == .null && page["empty"] == .object([]) && page["list"] == .array([]))
    #expect(page["x"]?["y"] == nil && page["a"]?.elements == [])
  }

  @Test(
    "strings are unescaped",
    arguments: [
      (#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{C}\n\r\t"), (#""\u00e9\u20AC""#, "é€"),
      (#""\ud83d\ude00""#, "😀"), (#""\ud83dx""#, "\u{FFFD}x"),
      (#""\ude00""#, "\u{FFFD}"), (#""\ud83d\u0041""#, "\u{FFFD}A"), (#""é""#, "é"),
    ])
  func strings(text: String, value: String) {
    #expect(parse(text) == .string(ByteString(value)))
  }

  @Test(
    "what is not JSON is nil",
    arguments: [
      "", " ", "{", "[", "\"", "{]", "[1,]", "{\"a\":}", "{\"a\" 1}", "{a:1}", "[1 2]", "nul",
      "truex", "01", "-", "1.", ".5", "1e", "+1", "1 2", "\"\\x\"", "\"\\u12g4\"", "\"\\u12\"",
      "\"\n\"", "{\"a\":1,}", "[,]", "\"\\", "\u{FEFF}1",
    ])
  func wrong(text: String) {
    #expect(parse(text) == nil)
  }

  @Test(
    "numbers are kept as they were written",
    arguments: ["0", "-0", "1.5e-3", "12345678901234567890123"])
  func numbers(text: String) {
    #expect(parse(text) == .number(ByteString(text)))
    if text != "0" { #expect(parse(text)?.unsigned == nil) }
  }

  @Test("depth is limited: a hostile page is nil, not a crash")
  func depth() {
    #expect(
      parse(String(repeating: "[", count: 31) + "1" + String(repeating: "]", count: 31)) != nil)
    #expect(
      parse(String(repeating: "[", count: 32) + "1" + String(repeating: "]", count: 32)) == nil)
    #expect(parse(String(repeating: "[{\"a\":", count: 100_000)) == nil)
  }

  @Test("a text cut at any offset is nil, and damaged ones agree with Foundation's parser")
  func damaged() {
    let text = Array(#"{"a":[1,-2.5e3,"x\u00e9\n",true,false,null,{"b":{}}],"c":""}"#.utf8)
    for end in 0..<text.count { #expect(JSONValue(parsing: text.span.extracting(0..<end)) == nil) }
    var random = SplitMix64(seed: 1)
    for _ in 0..<5_000 {
      var copy = text
      // Printable bytes: about what is not UTF-8 the two differ.
      copy[Int(random.below(UInt64(copy.count)))] = UInt8(0x20 + random.below(0x5F))
      let theirs = try? JSONSerialization.jsonObject(with: Data(copy), options: .fragmentsAllowed)
      let ours = JSONValue(parsing: copy.span)
      #expect((ours == nil) == (theirs == nil), "\(String(decoding: copy, as: UTF8.self))")
    }
  }
}
