import Primitives

/// The dynamic table (RFC 7541 §2.3.2, §4): a ring of entries whose bytes lie in a ring of bytes.
/// Both are allocated once, for the largest size that the table may ever have.
struct DynamicTable: Sendable {
  private struct Entry: Sendable {
    /// Where the name begins in the ring of bytes; the value follows it.
    var start: UInt32 = 0
    var nameCount: UInt32 = 0
    var valueCount: UInt32 = 0
    var nameHash: UInt32 = 0
    var fieldHash: UInt32 = 0
  }

  /// RFC 7541 §4.1: what an entry counts beside its bytes.
  static let overhead = 32
  /// How many entries, newest first, a search looks at: all of a table of the default size.
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
    entries[newest] = Entry(
      start: UInt32(tail), nameCount: UInt32(name.count), valueCount: UInt32(value.count),
      nameHash: nameHash, fieldHash: fieldHash)
    count += 1
    size += Self.overhead + length
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

  /// The newest entry with this name and value, else the newest one with this name.
  func find(
    name: Span<UInt8>, value: Span<UInt8>, nameHash: UInt32, fieldHash: UInt32
  ) -> (name: Int?, field: Int?) {
    let entries = entries.span
    var named: Int?
    var place = newest
    for index in 0..<min(count, Self.searchMax) {
      // Of most entries, including those of other values under this name, no more than the hashes is read.
      if entries[place].nameHash == nameHash {
        let entry = entries[place]
        if entry.fieldHash == fieldHash, equals(entry.start, entry.nameCount, name) {
          let start = UInt32(wrap(Int(entry.start) + Int(entry.nameCount)))
          if equals(start, entry.valueCount, value) { return (index, index) }
        }
        if named == nil, equals(entry.start, entry.nameCount, name) { named = index }
      }
      place = place == 0 ? entries.count - 1 : place - 1
    }
    return (named, nil)
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
    var position = tail
    for index in text.indices {
      bytes[position] = text[index]
      position = position + 1 == bytes.count ? 0 : position + 1
    }
    tail = position
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
