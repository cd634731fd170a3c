import Primitives
import Testing

@testable import HPACK

@Suite("the decoder")
struct DecoderTests {
  @Test(
    "RFC 7541 §6: a block that breaks a rule is an error that names it",
    arguments: [
      ("80", HPACKError.invalidIndex), ("be", .invalidIndex), ("7e00", .invalidIndex),
      ("0f2f00", .invalidIndex), ("ff80808001", .invalidIndex),
      ("ffffffffff7f", .integerOverflow), ("ff8080808000", .integerOverflow),
      ("7f80808080808001", .integerOverflow), ("40ff", .truncated), ("ff", .truncated),
      ("ffff", .truncated), ("40", .truncated), ("400161", .truncated), ("4002 61", .truncated),
      ("0061", .truncated), ("0001610361", .truncated), ("44", .truncated),
      ("3fe21f", .sizeUpdateTooLarge), ("3fffffff7f", .integerOverflow),
      ("8220", .sizeUpdateNotAtStart),
      ("20823f01", .sizeUpdateNotAtStart), ("0081ff00", .huffmanPadding),
      ("0084fffffffc00", .huffmanEndOfString),
    ])
  func errors(block: String, error: HPACKError) {
    var decoder = HPACKDecoder()
    #expect(throws: error) { try decoder.fields(hex(block)) }
  }

  @Test("an empty block is an empty list")
  func empty() throws {
    var decoder = HPACKDecoder()
    #expect(try decoder.fields([]) == [])
  }

  @Test("RFC 7541 §4.4: a name may come from the very entry that its insertion evicts")
  func nameOfEvictedEntry() throws {
    var decoder = HPACKDecoder(tableSize: 64)
    let name = "0123456789abcdef"
    #expect(
      try decoder.fields(hex("4010") + Array(name.utf8) + hex("0161")) == [TestField(name, "a")])
    // Index 62 names it; the new entry of 32 + 16 + 9 needs its place.
    let block = hex("7e09") + Array("123456789".utf8)
    #expect(try decoder.fields(block) == [TestField(name, "123456789")])
    #expect(try decoder.fields(hex("be")) == [TestField(name, "123456789")])
    #expect(throws: HPACKError.invalidIndex) { try decoder.fields(hex("bf")) }
  }

  @Test("RFC 7541 §4.4: an entry larger than the table empties it, and is no error")
  func entryLargerThanTable() throws {
    var decoder = HPACKDecoder(tableSize: 64)
    _ = try decoder.fields(hex("400161 0162"))
    #expect(decoder.tableSize == 34)
    let value = String(repeating: "v", count: 40)
    #expect(
      try decoder.fields(hex("400161 28") + Array(value.utf8)) == [TestField("a", value)])
    #expect(decoder.tableSize == 0)
    #expect(throws: HPACKError.invalidIndex) { try decoder.fields(hex("be")) }
  }

  @Test("RFC 7541 §4.2, §4.3: size updates evict, may come twice, and may raise again")
  func sizeUpdates() throws {
    var decoder = HPACKDecoder()
    _ = try decoder.fields(hex("400161 0162 400163 0164"))
    #expect(decoder.tableSize == 68)
    #expect(try decoder.fields(hex("3f0f be")) == [TestField("c", "d")])
    #expect(decoder.tableSize == 34)
    #expect(try decoder.fields(hex("20 3fe11f 82")) == [TestField(":method", "GET")])
    #expect(decoder.tableSize == 0)
    _ = try decoder.fields(hex("400161 0162"))
    #expect(decoder.tableSize == 34)
  }

  @Test("RFC 7541 §4.2: after a lower limit the block must begin with an update to it or below")
  func lowerLimit() throws {
    var decoder = HPACKDecoder()
    decoder.setMaximumTableSize(100)
    #expect(throws: HPACKError.sizeUpdateMissing) { try decoder.fields(hex("82")) }
    decoder = HPACKDecoder()
    decoder.setMaximumTableSize(100)
    #expect(throws: HPACKError.sizeUpdateTooLarge) { try decoder.fields(hex("3f46 82")) }
    decoder = HPACKDecoder()
    decoder.setMaximumTableSize(100)
    #expect(try decoder.fields(hex("3f45 82")) == [TestField(":method", "GET")])
    #expect(try decoder.fields(hex("82")) == [TestField(":method", "GET")])
  }

  @Test("RFC 7541 §4.2: lowered and raised between two blocks, the smallest must be heard of")
  func smallestThenFinal() throws {
    var decoder = HPACKDecoder()
    decoder.setMaximumTableSize(0)
    decoder.setMaximumTableSize(4096)
    #expect(throws: HPACKError.sizeUpdateMissing) { try decoder.fields(hex("3fe11f 82")) }
    decoder = HPACKDecoder()
    decoder.setMaximumTableSize(0)
    decoder.setMaximumTableSize(4096)
    #expect(try decoder.fields(hex("20 3fe11f 82")) == [TestField(":method", "GET")])
  }

  @Test("RFC 9113 §6.5.2: a table above 4096 is used only when the peer says so")
  func largeTable() throws {
    var decoder = HPACKDecoder(tableSize: 8192)
    let value = [UInt8](repeating: 0x76, count: 4_500)
    let literal = hex("400161 7f95 22") + value
    #expect(try decoder.fields(literal) == [TestField([0x61], value)])
    #expect(decoder.tableSize == 0)
    #expect(try decoder.fields(hex("3fe13f") + literal) == [TestField([0x61], value)])
    #expect(decoder.tableSize == 4_533)
  }

  @Test("a list above its size limit is too large, and the table stays in step")
  func listTooLarge() throws {
    var decoder = HPACKDecoder(
      maximumTableSize: 4096, maximumListSize: 80, maximumFields: 100)
    var list = HeaderList()
    // 34 + 34 are within 80; a third is not. All three are in the table.
    let block = hex("400161 0161 400162 0162 400163 0163")
    #expect(try decoder.decode(block.span, into: &list) == .tooLarge)
    #expect(list.isEmpty)
    #expect(try decoder.fields(hex("be")) == [TestField("c", "c")])
    #expect(try decoder.fields(hex("c0")) == [TestField("a", "a")])
    #expect(try decoder.fields(hex("bfbe")) == [TestField("b", "b"), TestField("c", "c")])
  }

  @Test("the number of fields has a limit of its own, also for fields of no bytes")
  func tooManyFields() throws {
    var decoder = HPACKDecoder(
      maximumTableSize: 4096, maximumListSize: 1_000_000, maximumFields: 3)
    var list = HeaderList()
    #expect(try decoder.decode(hex("828282").span, into: &list) == .complete)
    #expect(try decoder.decode(hex("82828282").span, into: &list) == .tooLarge)
    #expect(try decoder.decode(hex("000000 000000 000000 000000").span, into: &list) == .tooLarge)
    #expect(try decoder.decode(hex("82").span, into: &list) == .complete)
  }

  @Test("an error behind the limit is still an error")
  func errorBehindTheLimit() {
    var decoder = HPACKDecoder(maximumTableSize: 4096, maximumListSize: 0, maximumFields: 0)
    var list = HeaderList()
    #expect(throws: HPACKError.invalidIndex) {
      try decoder.decode(hex("8282ff00").span, into: &list)
    }
  }

  @Test("a HPACK bomb is refused and grows nothing")
  func bomb() throws {
    var decoder = HPACKDecoder(
      maximumTableSize: 4096, maximumListSize: 16_384, maximumFields: 100)
    var list = HeaderList()
    // One entry of almost the whole table, and then 100,000 references to it: 400 MB.
    let value = [UInt8](repeating: 0x76, count: 4_000)
    let seed = hex("400161 7fa11e") + value
    #expect(try decoder.decode(seed.span, into: &list) == .complete)
    let bomb = [UInt8](repeating: 0xBE, count: 100_000)
    #expect(try decoder.decode(bomb.span, into: &list) == .tooLarge)
    #expect(list.bytes.capacity <= 2 * (16_384 + 4_096))
    // The name of a literal may come from the table, too.
    let names = Array(repeating: hex("0f2f00"), count: 50_000).flatMap { $0 }
    #expect(try decoder.decode(names.span, into: &list) == .tooLarge)
    #expect(list.bytes.capacity <= 2 * (16_384 + 4_096))
    #expect(try decoder.fields(hex("be")) == [TestField([0x61], value)])
  }

  @Test(
    "one literal larger than every limit is passed over, and empties the table it was meant for")
  func hugeLiteral() throws {
    var decoder = HPACKDecoder(maximumTableSize: 4096, maximumListSize: 8_192, maximumFields: 10)
    var list = HeaderList()
    let value = [UInt8](repeating: 0x30, count: 100_000)
    for codesStrings in [false, true] {
      var block = hex("400161 0162 400163")
      if codesStrings {
        encodeInteger(62_500, prefixBits: 7, pattern: 0x80, into: &block)
        HuffmanCode.shared.encode(
          value.span, count: HuffmanCode.shared.encodedCount(value.span), into: &block)
      } else {
        encodeInteger(value.count, prefixBits: 7, pattern: 0, into: &block)
        block += value
      }
      block += hex("400165 0166")
      #expect(try decoder.decode(block.span, into: &list) == .tooLarge)
      #expect(list.bytes.capacity < 20_000)
      #expect(try decoder.fields(hex("be")) == [TestField("e", "f")])
      #expect(decoder.tableSize == 34)
    }
  }

  @Test("a table of no bytes works: nothing is ever in it")
  func noTable() throws {
    for size in [0, 1, 31, 32, 33] {
      var decoder = HPACKDecoder(tableSize: size)
      #expect(try decoder.fields(hex("400161 0162 82"))?.count == 2)
      #expect(decoder.tableSize == 0)
      #expect(try decoder.fields(hex("4000 00")) == [TestField("", "")])
      #expect(decoder.tableSize == (size >= 32 ? 32 : 0))
    }
  }
}
