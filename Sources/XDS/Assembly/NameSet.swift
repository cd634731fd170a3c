import Primitives

/// Names in byte order, each once.
struct NameSet: Equatable, Sendable {
  private(set) var names: [ByteString] = []

  @inline(never)
  func contains(_ name: ByteString) -> Bool {
    let place = insertionPlace(name)
    return place < names.count && names[place] == name
  }

  @inline(never)
  mutating func insert(_ name: ByteString) {
    let place = insertionPlace(name)
    guard place == names.count || names[place] != name else { return }
    names.insert(name, at: place)
  }

  @inline(never)
  mutating func insert(_ name: ByteString?) {
    if let name { insert(name) }
  }

  @inline(never)
  mutating func insert(_ list: [ByteString]) {
    for name in list { insert(name) }
  }

  @inline(never)
  private func insertionPlace(_ name: ByteString) -> Int {
    var low = 0
    var high = names.count
    while low < high {
      let middle = (low + high) / 2
      if ByteString.precedes(names[middle], name) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
