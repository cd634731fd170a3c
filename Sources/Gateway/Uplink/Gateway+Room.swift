import Configuration
import Primitives
import Spool

// The records that are on their way share one pool of `[memory] budget`. Where it does not hold all that
// the streams may have, a part of it is certain to each lane, and the rest is for whoever comes first: a
// batch that finds no room for another record leaves without it, and a record that is larger than a
// lane's part waits for its turn. What waits for an upstream that is away makes room: the spool has it.

extension Gateway where Storage: ~Copyable {
  /// What a lane may add to what it holds, in bytes.
  mutating func room(_ index: Int, _ lane: Lane) -> Int {
    guard let lanes = ledger.lanes else { return .max }
    let room = roomLeft(index, lane, lanes)
    guard room < lanes.certain else { return room }
    // What it has kept of earlier deliveries.
    uplinks[index].releaseMemory()
    return roomLeft(index, lane, lanes)
  }

  @inline(never)
  private func roomLeft(
    _ index: Int, _ lane: Lane, _ lanes: (certain: Int, common: Int)
  ) -> Int {
    // Through the span, which lends what a subscript of the array copies.
    let uplinks = uplinks.span
    let held = uplinks[index].heldBytes(lane)
    let own = max(lanes.certain, held.all) - held.withoutPromise
    if let turn = roomTurn, turn != index { return own }
    var common = lanes.common
    for other in uplinks.indices {
      common -= max(uplinks[other].heldBytes(.ordered).all - lanes.certain, 0)
      common -= max(uplinks[other].heldBytes(.live).all - lanes.certain, 0)
    }
    return own + max(common, 0)
  }

  /// The next record of a lane that has nothing on its way is too large for the room that there is. True:
  /// there may be more now.
  mutating func makeRoom(_ index: Int, _ lane: Lane, beyond room: Int) -> Bool {
    guard let lanes = ledger.lanes, !uplinks.span[index].isUsed(lane) else { return false }
    let turn = roomTurn ?? index
    roomTurn = turn
    guard turn == index else { return false }
    for other in uplinks.indices { uplinks[other].releaseMemory() }
    if roomLeft(index, lane, lanes) > room { return true }
    for other in uplinks.indices where other != index && spool.mayRewind(stream: other) {
      guard uplinks[other].pauseInstead() else { continue }
      giveBack(other)
      return makeRoom(index, lane, beyond: room)
    }
    return false
  }

  /// The stream whose turn it is has what it waited for, or cannot take it now.
  mutating func passRoomTurn(now: Instant) {
    guard let turn = roomTurn else { return }
    if turn >= uplinks.count || !uplinks.span[turn].maySend(now: now) { roomTurn = nil }
  }
}

extension Uplink {
  /// What a lane holds, with and without the room that its next record has been promised in a delivery.
  fileprivate func heldBytes(_ lane: Lane) -> (all: Int, withoutPromise: Int) {
    let head = lane.rawValue
    var sum = heads[head].record.memoryBytes
    for index in slots.indices where slots[index].lane == lane { sum += slots[index].memoryBytes }
    return (sum + (heads[head].isLoaded ? heads[head].record.byteCount : 0), sum)
  }

  /// Empty deliveries give their memory back.
  fileprivate mutating func releaseMemory() {
    for index in slots.indices { slots[index].releaseMemory() }
    for index in heads.indices where !heads[index].isLoaded { heads[index].record.releaseMemory() }
  }

  /// All that it has on its way is in the spool and waits for an upstream that could not be reached: it
  /// waits as long without holding it.
  fileprivate mutating func pauseInstead() -> Bool {
    var end: Instant?
    for index in slots.indices where slots[index].phase != .empty {
      guard !slots[index].isFromMemory else { return false }
      switch slots[index].phase {
      case .requesting: return false
      case .backingOff(let until):
        guard slots[index].isUnreachable else { return false }
        end = max(end ?? until, until)
        pausedFailures = slots[index].failures
      case .empty, .filling, .ready: break
      }
    }
    guard let end else { return false }
    pausedUntil = end
    return true
  }
}
