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
    sortedPlace(names.count) { ByteString.precedes(names[$0], name) }
  }
}
