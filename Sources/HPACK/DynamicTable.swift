import Primitives

/// The dynamic table (RFC 7541 §2.3.2, §4): a ring of entries whose bytes lie in a ring of bytes.
/// Both are allocated once, for the largest size that the table may ever have.
struct DynamicTable: Sendable {
  private struct Entry: Sendable {
    /// Where the name begins in the ring of bytes; the value follows it.
    var start: UInt32 = 0
    var nameCount: UInt32 = 0
    var valueCount: UInt32 = 0
    var names = Link()
    var fields = Link()
  }

  /// Entries whose hashes share a bucket are a chain, newest first. There are as many buckets as entries, and
  /// an entry's place keeps the head of one, whatever entry is there. An entry is told by the number of its
  /// insertion: one that is evicted needs no unlinking, for it is too old, and so is all that is behind it.
  private struct Link: Sendable {
    /// The newest entry of the bucket that is kept here.
    var head: UInt16 = 0
    /// The next older entry in the chain of the entry that is here.
    var older: UInt16 = 0
  }

  /// RFC 7541 §4.1: what an entry counts beside its bytes.
  static let overhead = 32
  /// How many entries of a chain a search looks at: it ends, too, where a number that has come round again
  /// closes a circle.
  static let searchMax = 128

  /// The largest size it was allocated for.
  let capacity: Int
  /// The maximum size in force (§4.2).
  private(set) var limit: Int
  /// Bytes and overhead of all entries.
  private(set) var size = 0
  private(set) var count = 0

  private var entries: [Entry]
  private var bytes: [UInt8]
  /// Where in `entries` the newest one is, and where in `bytes` the next one goes.
  private var newest = 0
  private var tail = 0
  /// The number of the newest entry.
  private var number: UInt16 = 0

  init(capacity: Int) {
    self.capacity = capacity
    limit = capacity
    entries = Array(repeating: Entry(), count: capacity / Self.overhead)
    // A single entry without a peer: every byte but its own overhead.
    bytes = Array(repeating: 0, count: max(0, capacity - Self.overhead))
  }

  /// Bytes of both rings.
  var memory: Int { bytes.count + entries.count * MemoryLayout<Entry>.stride }

  /// Changes the maximum size in force, evicting what no longer fits (§4.3).
  mutating func resize(to newLimit: Int) {
    precondition(newLimit <= capacity, "HPACK: a table larger than its storage")
    limit = newLimit
    evict(until: newLimit)
  }

  /// Empties it: what inserting an entry larger than the table does (§4.4).
  mutating func removeAll() { evict(until: 0) }

  /// Adds an entry, evicting the oldest ones. One that does not fit at all leaves the table empty.
  mutating func insert(
    name: Span<UInt8>, value: Span<UInt8>, nameHash: UInt32 = 0, fieldHash: UInt32 = 0
  ) {
    let length = name.count + value.count
    guard length <= limit - Self.overhead else { return removeAll() }
    evict(until: limit - Self.overhead - length)
    newest = newest + 1 == entries.count ? 0 : newest + 1
    number &+= 1
    count += 1
    size += Self.overhead + length
    entries[newest].start = UInt32(tail)
    entries[newest].nameCount = UInt32(name.count)
    entries[newest].valueCount = UInt32(value.count)
    let (named, same) = (bucket(nameHash), bucket(fieldHash))
    entries[newest].names.older = entries[named].names.head
    entries[named].names.head = number
    entries[newest].fields.older = entries[same].fields.head
    entries[same].fields.head = number
    write(name)
    write(value)
  }

  /// Appends the name of entry `index` (0 is the newest) to `output`.
  func appendName(_ index: Int, to output: inout [UInt8]) {
    let entry = entry(index)
    append(from: Int(entry.start), count: Int(entry.nameCount), to: &output)
  }

  /// Appends the name and the value behind it; answers the length of the name.
  func append(_ index: Int, to output: inout [UInt8]) -> Int {
    let entry = entry(index)
    append(from: Int(entry.start), count: Int(entry.nameCount + entry.valueCount), to: &output)
    return Int(entry.nameCount)
  }

  /// The newest entry with this name.
  func find(name: Span<UInt8>, hash: UInt32) -> Int? {
    guard count > 0 else { return nil }
    var number = entries[bucket(hash)].names.head
    for _ in 0..<Self.searchMax {
      guard let index = index(number) else { break }
      let entry = entry(index)
      if equals(entry.start, entry.nameCount, name) { return index }
      number = entry.names.older
    }
    return nil
  }

  /// The newest entry with this name and value.
  func find(name: Span<UInt8>, value: Span<UInt8>, hash: UInt32) -> Int? {
    guard count > 0 else { return nil }
    var number = entries[bucket(hash)].fields.head
    for _ in 0..<Self.searchMax {
      guard let index = index(number) else { break }
      let entry = entry(index)
      let middle = UInt32(wrap(Int(entry.start) + Int(entry.nameCount)))
      if equals(middle, entry.valueCount, value), equals(entry.start, entry.nameCount, name) {
        return index
      }
      number = entry.fields.older
    }
    return nil
  }

  /// The entry with this number; nil when it has been evicted.
  private func index(_ number: UInt16) -> Int? {
    let index = Int(self.number &- number)
    return index < count ? index : nil
  }

  private func bucket(_ hash: UInt32) -> Int {
    Int((UInt64(hash) * UInt64(entries.count)) >> 32)
  }

  private func entry(_ index: Int) -> Entry {
    precondition(index >= 0 && index < count, "HPACK: no such entry")
    return entries[position(index)]
  }

  /// Where in `entries` entry `index` is.
  private func position(_ index: Int) -> Int {
    newest >= index ? newest - index : newest - index + entries.count
  }

  private func wrap(_ position: Int) -> Int {
    position >= bytes.count ? position - bytes.count : position
  }

  /// The bytes of evicted entries need no clearing: nothing refers to them any more.
  private mutating func evict(until newSize: Int) {
    while size > newSize {
      let oldest = entry(count - 1)
      size -= Self.overhead + Int(oldest.nameCount) + Int(oldest.valueCount)
      count -= 1
    }
  }

  private mutating func write(_ text: Span<UInt8>) {
    let straight = min(text.count, bytes.count - tail)
    bytes.replace(from: tail, with: text.extracting(first: straight))
    bytes.replace(from: 0, with: text.extracting(straight..<text.count))
    tail = wrap(tail + text.count)
  }

  private func append(from start: Int, count: Int, to output: inout [UInt8]) {
    let straight = min(count, bytes.count - start)
    output.append(contentsOf: bytes.span.extracting(start..<(start + straight)))
    if straight < count {
      output.append(contentsOf: bytes.span.extracting(0..<(count - straight)))
    }
  }

  private func equals(_ start: UInt32, _ count: UInt32, _ text: Span<UInt8>) -> Bool {
    guard Int(count) == text.count else { return false }
    var position = Int(start)
    if position + text.count <= bytes.count {
      return equal(bytes.span.extracting(position..<position + text.count), text)
    }
    for index in text.indices {
      guard bytes[position] == text[index] else { return false }
      position = position + 1 == bytes.count ? 0 : position + 1
    }
    return true
  }
}
