import Primitives

@testable import HPACK

/// Hexadecimal digits, with any white space between them.
func hex(_ text: String) -> [UInt8] {
  let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
}

/// A field as tests write it.
struct TestField: Equatable, CustomStringConvertible {
  var name: [UInt8]
  var value: [UInt8]
  var indexing: HeaderList.Indexing = .yes

  init(_ name: String, _ value: String, _ indexing: HeaderList.Indexing = .yes) {
    self.init(Array(name.utf8), Array(value.utf8), indexing)
  }

  init(_ name: [UInt8], _ value: [UInt8], _ indexing: HeaderList.Indexing = .yes) {
    self.name = name
    self.value = value
    self.indexing = indexing
  }

  var description: String {
    "\(ByteString(name).description): \(ByteString(value).description) (\(indexing))"
  }
}

extension HeaderList {
  init(_ fields: [TestField]) {
    self.init()
    for field in fields {
      append(name: field.name.span, value: field.value.span, indexing: field.indexing)
    }
  }

  var testFields: [TestField] {
    fields.indices.map { TestField(name($0).bytes, value($0).bytes, fields[$0].indexing) }
  }
}

extension HPACKDecoder {
  /// A decoder whose limits no ordinary test meets.
  init(tableSize: Int = 4096) {
    self.init(maximumTableSize: tableSize, maximumListSize: 65_536, maximumFields: 1_000)
  }

  mutating func fields(_ block: [UInt8]) throws(HPACKError) -> [TestField]? {
    var list = HeaderList()
    return try decode(block.span, into: &list) == .complete ? list.testFields : nil
  }
}

extension HPACKEncoder {
  mutating func block(_ fields: [TestField]) -> [UInt8] {
    var block: [UInt8] = []
    encode(HeaderList(fields), into: &block)
    return block
  }
}
