import Configuration

// `[memory] budget` holds one delivery of each lane of each stream for certain. Where it does not hold
// all that `in_flight` allows, the streams share what is left for the further ones, and one that finds
// no room has fewer requests at once.

extension Gateway where Storage: ~Copyable {
  /// Whether an empty delivery may be filled.
  mutating func mayFill(_ index: Int, _ slot: Int) -> Bool {
    guard let shared = ledger.sharedBytes, uplinks[index].slots[slot].phase == .empty else {
      return true
    }
    if furtherBytes(with: index, slot) <= shared { return true }
    for other in uplinks.indices { uplinks[other].releaseMemory() }
    return furtherBytes(with: index, slot) <= shared
      || !uplinks[index].isUsed(uplinks[index].slots[slot].lane)
  }

  /// What deliveries hold, or may come to hold, beyond the first of their lanes, when that one is
  /// filled, too.
  private func furtherBytes(with index: Int, _ slot: Int) -> Int {
    var sum = 0
    for other in uplinks.indices {
      sum += uplinks[other].furtherBytes(with: other == index ? slot : nil)
    }
    return sum
  }
}

extension Uplink {
  /// A delivery of the lane is filled already.
  func isUsed(_ lane: Lane) -> Bool {
    for index in slots.indices where slots[index].lane == lane {
      if slots[index].phase != .empty { return true }
    }
    return false
  }

  /// A delivery that is being filled may become full; an empty one still has what it was filled with.
  fileprivate func furtherBytes(with slot: Int?) -> Int {
    let delivery = MemoryNeeds.delivery(configuration)
    var ordered = 0
    var live = 0
    for index in slots.indices {
      let isEmpty = slots[index].phase == .empty && index != slot
      let bytes = isEmpty ? slots[index].memoryBytes : delivery
      if slots[index].lane == .live { live += bytes } else { ordered += bytes }
    }
    return max(ordered - delivery, 0) + max(live - delivery, 0)
  }

  /// Empty deliveries give their memory back.
  fileprivate mutating func releaseMemory() {
    for index in slots.indices { slots[index].releaseMemory() }
  }
}
