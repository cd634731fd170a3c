import Primitives

/// Writes header blocks (RFC 7541 §6). What it remembers is decided by each field's `indexing`, and:
///
/// - credentials are never indexed, whatever the caller says: `authorization`,
///   `proxy-authorization`, and a `cookie` so short that guessing it by probing is cheap (§7.1.3);
/// - a field that would take most of the table is not inserted: it would evict all others;
/// - a `.no` field whose name is in neither table is inserted once, so that from then on its name
///   costs an octet. Its value is not looked for.
public struct HPACKEncoder: Sendable {
  private var table: DynamicTable
  /// The size that the peer's decoder believes in: the last one written to a block.
  private var signalled = HPACKLimits.initialTableSize
  /// The smallest size since the last block, when it changed (§4.2).
  private var smallest: Int?
  /// Off only to reproduce the examples of RFC 7541 that do without.
  let codesStrings: Bool

  /// `maximumTableSize` is the memory that this side spends; the peer may allow less. The peer's
  /// limit is 4096 until `setPeerMaximumTableSize` says otherwise.
  public init(maximumTableSize: Int) {
    self.init(maximumTableSize: maximumTableSize, codesStrings: true)
  }

  init(maximumTableSize: Int, codesStrings: Bool) {
    precondition(maximumTableSize >= 0, "HPACK: a negative table size")
    table = DynamicTable(capacity: maximumTableSize)
    self.codesStrings = codesStrings
    setPeerMaximumTableSize(UInt32(HPACKLimits.initialTableSize))
  }

  /// The peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins with the update it calls for.
  public mutating func setPeerMaximumTableSize(_ bytes: UInt32) {
    // Compared as UInt32: the peer's value may not fit into a 32-bit Int.
    let size = bytes < UInt32(clamping: table.capacity) ? Int(bytes) : table.capacity
    table.resize(to: size)
    smallest = min(smallest ?? size, size)
  }

  /// Appends the block of `list` to `block`.
  public mutating func encode(_ list: HeaderList, into block: inout [UInt8]) {
    encodeSizeUpdates(into: &block)
    let bytes = list.bytes.span
    for index in list.fields.indices {
      let field = list.fields[index]
      encode(
        name: bytes.extracting(field.name), value: bytes.extracting(field.value),
        indexing: field.indexing, into: &block)
    }
  }

  /// Bytes that it holds for its whole life.
  public var memory: Int { table.memory }

  /// The dynamic table's size as RFC 7541 §4.1 counts it.
  public var tableSize: Int { table.size }

  /// §4.2: the smallest size of the interval first, because the peer must evict down to it, and then
  /// the final one.
  private mutating func encodeSizeUpdates(into block: inout [UInt8]) {
    guard let smallest else { return }
    self.smallest = nil
    if smallest < signalled, smallest < table.limit {
      encodeInteger(smallest, prefixBits: 5, pattern: 0x20, into: &block)
      signalled = smallest
    }
    if table.limit != signalled {
      encodeInteger(table.limit, prefixBits: 5, pattern: 0x20, into: &block)
      signalled = table.limit
    }
  }

  private mutating func encode(
    name: Span<UInt8>, value: Span<UInt8>, indexing: HeaderList.Indexing,
    into block: inout [UInt8]
  ) {
    let nameHash = hash(name)
    let known = StaticTable.shared.find(name: name, nameHash: nameHash, value: value)
    let indexing = Self.policy(known.name, value: value, asked: indexing)
    if known.field != 0, indexing != .never {
      return encodeInteger(known.field, prefixBits: 7, pattern: 0x80, into: &block)
    }
    guard indexing == .yes else {
      let index = known.name != 0 ? known.name : dynamicName(name, nameHash)
      let seeds = indexing == .no && index == 0 && fits(name, value)
      if seeds { table.insert(name: name, value: value, nameHash: nameHash) }
      let form: Literal = seeds ? .incremental : indexing == .never ? .never : .plain
      return encode(form, index: index, name: name, value: value, into: &block)
    }
    let fieldHash = hash(value, from: nameHash)
    if let field = table.find(name: name, value: value, hash: fieldHash) {
      return encodeInteger(
        field + StaticTable.count + 1, prefixBits: 7, pattern: 0x80, into: &block)
    }
    let index = known.name != 0 ? known.name : dynamicName(name, nameHash)
    let inserts = fits(name, value)
    if inserts {
      table.insert(name: name, value: value, nameHash: nameHash, fieldHash: fieldHash)
    }
    encode(inserts ? .incremental : .plain, index: index, name: name, value: value, into: &block)
  }

  /// The index of a name in the dynamic table, as the wire counts it; 0 for none.
  private func dynamicName(_ name: Span<UInt8>, _ nameHash: UInt32) -> Int {
    guard let entry = table.find(name: name, hash: nameHash) else { return 0 }
    return entry + StaticTable.count + 1
  }

  /// An entry may take up to three quarters of the table.
  private func fits(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    name.count + value.count + DynamicTable.overhead <= table.limit / 4 * 3
  }

  private static func policy(
    _ staticName: Int, value: Span<UInt8>, asked: HeaderList.Indexing
  ) -> HeaderList.Indexing {
    switch staticName {
    case StaticIndex.authorization, StaticIndex.proxyAuthorization: return .never
    case StaticIndex.cookie where value.count < HPACKLimits.shortCookie: return .never
    case StaticIndex.contentLength where asked == .yes: return .no
    default: return asked
    }
  }

  /// The three literal representations (§6.2).
  private enum Literal {
    case incremental, plain, never
  }

  private func encode(
    _ form: Literal, index: Int, name: Span<UInt8>, value: Span<UInt8>,
    into block: inout [UInt8]
  ) {
    switch form {
    case .incremental: encodeInteger(index, prefixBits: 6, pattern: 0x40, into: &block)
    case .plain: encodeInteger(index, prefixBits: 4, pattern: 0x00, into: &block)
    case .never: encodeInteger(index, prefixBits: 4, pattern: 0x10, into: &block)
    }
    if index == 0 { encodeString(name, into: &block) }
    encodeString(value, into: &block)
  }

  /// §5.2: Huffman-coded when that is shorter.
  private func encodeString(_ text: Span<UInt8>, into block: inout [UInt8]) {
    let coded = HuffmanCode.shared.encodedCount(text)
    if codesStrings, coded < text.count {
      encodeInteger(coded, prefixBits: 7, pattern: 0x80, into: &block)
      HuffmanCode.shared.encode(text, count: coded, into: &block)
    } else {
      encodeInteger(text.count, prefixBits: 7, pattern: 0x00, into: &block)
      block.append(contentsOf: text)
    }
  }
}

/// Names of the static table that the encoder's policy is about.
private enum StaticIndex {
  static let authorization = 23
  static let contentLength = 28
  static let cookie = 32
  static let proxyAuthorization = 49
}
