/// Doubly linked lists through a table of slots: a slot stands in one list at most, and moving it
/// allocates nothing.
struct SlotLinks: Sendable {
  fileprivate var next: [Int32]
  fileprivate var previous: [Int32]

  init(count: Int) {
    next = [Int32](repeating: -1, count: count)
    previous = next
  }
}

/// One such list, first in first out, with removal from anywhere.
struct SlotList: Sendable {
  private var head: Int32 = -1
  private var tail: Int32 = -1
  private(set) var count = 0

  var first: Int? { head < 0 ? nil : Int(head) }

  mutating func append(_ slot: Int, _ links: inout SlotLinks) {
    links.next[slot] = -1
    links.previous[slot] = tail
    if tail < 0 { head = Int32(slot) } else { links.next[Int(tail)] = Int32(slot) }
    tail = Int32(slot)
    count += 1
  }

  mutating func remove(_ slot: Int, _ links: inout SlotLinks) {
    precondition(count > 0, "SlotList: removed from an empty list")
    let before = links.previous[slot]
    let after = links.next[slot]
    if before < 0 { head = after } else { links.next[Int(before)] = after }
    if after < 0 { tail = before } else { links.previous[Int(after)] = before }
    count -= 1
  }

  /// `other`, which stands in no list, takes the place of `slot`.
  mutating func replace(_ slot: Int, with other: Int, _ links: inout SlotLinks) {
    let before = links.previous[slot]
    let after = links.next[slot]
    links.previous[other] = before
    links.next[other] = after
    if before < 0 { head = Int32(other) } else { links.next[Int(before)] = Int32(other) }
    if after < 0 { tail = Int32(other) } else { links.previous[Int(after)] = Int32(other) }
  }

  mutating func popFirst(_ links: inout SlotLinks) -> Int? {
    guard let slot = first else { return nil }
    remove(slot, &links)
    return slot
  }
}
