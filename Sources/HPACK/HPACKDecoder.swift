// Header blocks (RFC 7541 §6). A block is a sequence of representations, told apart by the first bits:
//
//    1xxxxxxx  indexed field                    index in 7 bits
//    01xxxxxx  literal, added to the table      name's index in 6 bits, or 0 and the name; the value
//    001xxxxx  dynamic table size update        size in 5 bits; only before the first field (§4.2)
//    0000xxxx  literal, not added               name's index in 4 bits, or 0 and the name; the value
//    0001xxxx  literal, never indexed           the same
//
// A string is `H` (Huffman) and its length in 7 bits, and that many octets (§5.2). Index 1 to 61 are
// the static table, 62 is the newest entry of the dynamic table (§2.3.3).

import Primitives

/// Reads header blocks. Whatever a block says, it never holds more than the list's limit and one
/// field no larger than the limit or the table.
public struct HPACKDecoder: Sendable {
  /// What became of a block.
  public enum Outcome: Sendable, Equatable {
    case complete
    /// The list is above a limit and was left empty. The table is in step with the peer's: the
    /// stream is in error, not the connection.
    case tooLarge
  }

  private var table: DynamicTable
  /// What the peer may set by a size update: this side's SETTINGS_HEADER_TABLE_SIZE.
  private var allowed: Int
  /// This side lowered the limit: the next block must begin with an update to no more than this.
  private var shrink: Int?
  private let maximumListSize: Int
  private let maximumFields: Int

  /// The table has `maximumTableSize` in force from the first block on, or the initial 4096 of HTTP/2
  /// if that is less (the peer may then enlarge it). Whoever announces less than 4096 in its SETTINGS
  /// starts with 4096 and calls `setMaximumTableSize` when the peer has acknowledged.
  /// The list's size counts as RFC 9113 §6.5.2 says, 32 for every field.
  public init(maximumTableSize: Int, maximumListSize: Int, maximumFields: Int) {
    precondition(
      maximumTableSize >= 0 && maximumListSize >= 0 && maximumFields >= 0,
      "HPACK: a negative limit")
    table = DynamicTable(capacity: maximumTableSize)
    table.resize(to: min(maximumTableSize, HPACKLimits.initialTableSize))
    allowed = maximumTableSize
    self.maximumListSize = maximumListSize
    self.maximumFields = maximumFields
  }

  /// The peer has acknowledged this SETTINGS_HEADER_TABLE_SIZE, at most the size of the initialiser.
  public mutating func setMaximumTableSize(_ bytes: Int) {
    precondition(bytes <= table.capacity, "HPACK: a table larger than its storage")
    allowed = bytes
    if bytes < shrink ?? table.limit { shrink = bytes }
  }

  /// Bytes that it holds for its whole life.
  public var memory: Int { table.memory }

  /// The dynamic table's size as RFC 7541 §4.1 counts it.
  public var tableSize: Int { table.size }

  /// Decodes one whole block into `list`, replacing what it held.
  public mutating func decode(
    _ block: Span<UInt8>, into list: inout HeaderList
  ) throws(HPACKError) -> Outcome {
    list.removeAll()
    var offset = 0
    try decodeSizeUpdates(block, &offset)
    var tooLarge = false
    // What the block itself spells out is paid for by its length.
    var work = 2 * block.count + HPACKLimits.workFactor * max(maximumListSize, table.capacity)
    while offset < block.count {
      let first = block[offset]
      if first & 0x80 != 0 {
        let index = try decodeInteger(block, &offset, prefixBits: 7)
        try takeIndexed(index, keep: !tooLarge, into: &list)
      } else if first & 0xE0 == 0x20 {
        throw .sizeUpdateNotAtStart
      } else {
        let start = list.bytes.count
        let isOver = try takeLiteral(block, &offset, keep: !tooLarge, into: &list)
        work -= list.bytes.count - start
        guard work >= 0 else { throw .tooMuchWork }
        tooLarge = tooLarge || isOver
      }
      if tooLarge || list.size > maximumListSize || list.count > maximumFields {
        tooLarge = true
        list.removeAll()
      }
    }
    return tooLarge ? .tooLarge : .complete
  }

  private mutating func decodeSizeUpdates(
    _ block: Span<UInt8>, _ offset: inout Int
  ) throws(HPACKError) {
    while offset < block.count, block[offset] & 0xE0 == 0x20 {
      let size = try decodeInteger(block, &offset, prefixBits: 5)
      guard size <= allowed else { throw .sizeUpdateTooLarge }
      table.resize(to: size)
      if let bound = shrink, size <= bound { shrink = nil }
    }
    if shrink != nil, offset < block.count { throw .sizeUpdateMissing }
  }

  /// `keep` is false when the list is too large already: then only the index is checked.
  private func takeIndexed(
    _ index: Int, keep: Bool, into list: inout HeaderList
  ) throws(HPACKError) {
    guard index != 0, index <= StaticTable.count + table.count else { throw .invalidIndex }
    guard keep else { return }
    let start = list.bytes.count
    let middle = start + appendField(index, to: &list.bytes)
    list.fields.append(
      HeaderList.Field(
        name: start..<middle, value: middle..<list.bytes.count, indexing: .yes))
  }

  /// Whether the field alone is above every limit, so that its bytes were not kept. `keep` is false
  /// when the list is too large already: then a field matters only if it goes into the table.
  private mutating func takeLiteral(
    _ block: Span<UInt8>, _ offset: inout Int, keep: Bool, into list: inout HeaderList
  ) throws(HPACKError) -> Bool {
    let first = block[offset]
    let adds = first & 0x40 != 0
    let never = !adds && first & 0x10 != 0
    let index = try decodeInteger(block, &offset, prefixBits: adds ? 6 : 4)
    guard index <= StaticTable.count + table.count else { throw .invalidIndex }

    // More than both limits: neither the list nor the table can take it, so its bytes do not matter.
    let room = max(maximumListSize, table.capacity)
    let start = list.bytes.count
    var nameCount = 0
    if index == 0 {
      nameCount = try decodeString(block, &offset, into: &list.bytes, limit: room)
    } else if keep || adds {
      appendName(index, to: &list.bytes)
      nameCount = list.bytes.count - start
    }
    let middle = list.bytes.count
    let valueCount = try decodeString(
      block, &offset, into: &list.bytes, limit: max(0, room - nameCount))
    if nameCount + valueCount > room {
      if adds { table.removeAll() }
      return true
    }
    if adds {
      let bytes = list.bytes.span
      table.insert(
        name: bytes.extracting(start..<middle),
        value: bytes.extracting(middle..<list.bytes.count))
    }
    list.fields.append(
      HeaderList.Field(
        name: start..<middle, value: middle..<list.bytes.count,
        indexing: adds ? .yes : never ? .never : .no))
    return false
  }

  /// The length of the string; of a longer one than `limit`, only the beginning is kept.
  private func decodeString(
    _ block: Span<UInt8>, _ offset: inout Int, into bytes: inout [UInt8], limit: Int
  ) throws(HPACKError) -> Int {
    guard offset < block.count else { throw .truncated }
    let coded = block[offset] & 0x80 != 0
    let length = try decodeInteger(block, &offset, prefixBits: 7)
    guard length <= block.count - offset else { throw .truncated }
    let text = block.extracting(offset..<(offset + length))
    offset += length
    if coded { return try HuffmanCode.shared.decode(text, into: &bytes, limit: limit) }
    bytes.append(contentsOf: text.extracting(first: limit))
    return length
  }

  private func appendName(_ index: Int, to bytes: inout [UInt8]) {
    if index > StaticTable.count {
      return table.appendName(index - StaticTable.count - 1, to: &bytes)
    }
    let list = StaticTable.shared.list
    bytes.append(contentsOf: list.bytes.span.extracting(list.fields[index - 1].name))
  }

  /// The name and the value, which lie side by side in either table; answers the length of the name.
  private func appendField(_ index: Int, to bytes: inout [UInt8]) -> Int {
    if index > StaticTable.count {
      return table.append(index - StaticTable.count - 1, to: &bytes)
    }
    let list = StaticTable.shared.list
    let field = list.fields[index - 1]
    let range = field.name.lowerBound..<field.value.upperBound
    bytes.append(contentsOf: list.bytes.span.extracting(range))
    return field.name.count
  }
}
