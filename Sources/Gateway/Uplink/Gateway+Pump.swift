import Configuration
import HPACK
import NetworkingCore
import Primitives
import Spool

// Records are read into deliveries, and deliveries set out: alarms before all, then live records,
// then backlog, as `LinkShare` has it.

extension Gateway where Storage: ~Copyable {
  /// While an alarm is on its way nothing else sets out, but for a moment only, so that an alarm that
  /// nobody answers does not stop the rest.
  mutating func pumpAll(clocks: Clocks) {
    for index in uplinks.indices { uplinks[index].wake(now: clocks.now) }
    passRoomTurn(now: clocks.now)
    for index in alarms {
      sendAll(index, .live, clocks: clocks)
      sendAll(index, .ordered, clocks: clocks)
      uplinks[index].postponeProbe(now: clocks.now)
    }
    let isAlarm = alarmIsOnItsWay(now: clocks.now)
    for share in shares.indices {
      shares[share].waitsUntil = nil
      if isAlarm {
        for flow in shares[share].flows { uplinks[flow.stream].yield(now: clocks.now) }
      } else {
        pump(share, clocks: clocks)
      }
    }
  }

  private func alarmIsOnItsWay(now: Instant) -> Bool {
    for index in alarms where uplinks.span[index].precedes(now: now) { return true }
    return false
  }

  /// Sends whatever a lane may send.
  private mutating func sendAll(_ index: Int, _ lane: Lane, clocks: Clocks) {
    while let slot = prepare(index, lane, clocks: clocks) {
      guard submit(index, slot, clocks: clocks) else { return }
    }
  }

  // MARK: Sharing

  private mutating func pump(_ share: Int, clocks: Clocks) {
    // What is due to the backlog goes first: of few requests at once, live records would take each
    // that becomes free.
    sendBacklogs(share, isLiveWaiting: true, clocks: clocks)
    var isLiveWaiting = false
    for flow in shares[share].flows.indices {
      let index = shares[share].flows[flow].stream
      sendLive(share, index, .live, clocks: clocks)
      sendLive(share, index, .ordered, clocks: clocks)
      if isHungry(index, now: clocks.now) {
        isLiveWaiting = true
        let end = uplinks[index].sentAt + Uplink.precedence
        shares[share].waitsUntil = min(shares[share].waitsUntil ?? end, end)
      }
    }
    sendBacklogs(share, isLiveWaiting: isLiveWaiting, clocks: clocks)
    for flow in shares[share].flows.indices {
      uplinks[shares[share].flows[flow].stream].postponeProbe(now: clocks.now)
    }
  }

  private mutating func sendLive(_ share: Int, _ index: Int, _ lane: Lane, clocks: Clocks) {
    while let slot = prepare(index, lane, clocks: clocks), !uplinks[index].slots[slot].isBacklog {
      let bytes = uplinks[index].slots[slot].bodyBytes
      guard submit(index, slot, clocks: clocks) else { return }
      shares[share].sentLive(bytes: bytes)
    }
  }

  /// A live stream would send more, if it might: its requests are on their way, and have not been for
  /// long.
  private func isHungry(_ index: Int, now: Instant) -> Bool {
    guard uplinks.span[index].precedes(now: now), uplinks[index].hold == nil else { return false }
    var isLive = false
    for slot in uplinks[index].slots.indices where uplinks[index].slots[slot].isRequesting {
      if !uplinks[index].slots[slot].isBacklog { isLive = true }
    }
    return isLive && hasMoreLive(index)
  }

  private func hasMoreLive(_ index: Int) -> Bool {
    if let memory = uplinks[index].memory { return memory.count > 0 }
    for head in uplinks[index].heads where head.isLoaded && !head.record.isBacklog { return true }
    return spool.hasUnreadLive(stream: index)
  }

  /// The backlogs take turns until none has anything to send, or no more may be on its way.
  private mutating func sendBacklogs(_ share: Int, isLiveWaiting: Bool, clocks: Clocks) {
    var onTheWay = backlogOnTheWay(share)
    var idle = 0
    var isBlocked = false
    while idle < shares[share].flows.count, onTheWay < LinkShare.backlogBytesMax {
      let index = shares[share].flows[shares[share].turn].stream
      guard let slot = prepareBacklog(index, clocks: clocks) else {
        if !uplinks.span[index].maySend(now: clocks.now) { isBlocked = true }
        shares[share].skip()
        idle += 1
        continue
      }
      idle = 0
      isBlocked = false
      let bytes = uplinks[index].slots[slot].bodyBytes
      if isLiveWaiting, !shares[share].hasCredit(for: bytes) { return }
      guard shares[share].mayServe(bytes: bytes) else { continue }
      guard submit(index, slot, clocks: clocks) else { return }
      shares[share].served(bytes: bytes)
      if isLiveWaiting { shares[share].sentBesideLive(bytes: bytes) }
      onTheWay += bytes
    }
    if idle == shares[share].flows.count, !isBlocked { shares[share].forfeit() }
  }

  private mutating func prepareBacklog(_ index: Int, clocks: Clocks) -> Int? {
    guard let slot = prepare(index, .ordered, clocks: clocks),
      uplinks[index].slots[slot].isBacklog
    else { return nil }
    return slot
  }

  private func backlogOnTheWay(_ share: Int) -> Int {
    var sum = 0
    for flow in shares[share].flows {
      for slot in uplinks[flow.stream].slots.indices
      where uplinks[flow.stream].slots[slot].isRequesting
        && uplinks[flow.stream].slots[slot].isBacklog
      {
        sum += uplinks[flow.stream].slots[slot].bodyBytes
      }
    }
    return sum
  }

  // MARK: One delivery

  /// The delivery of a lane that can set out now, filled from the spool if need be.
  private mutating func prepare(_ index: Int, _ lane: Lane, clocks: Clocks) -> Int? {
    while uplinks.span[index].maySend(now: clocks.now) {
      var slot = uplinks.span[index].readySlot(lane)
      if slot == nil {
        guard let empty = uplinks.span[index].fillingSlot(lane) else { return nil }
        fill(index, empty, clocks: clocks)
        slot = empty
      }
      guard let slot, uplinks[index].slots[slot].phase == .ready else { return nil }
      dropExpired(index, slot, clocks: clocks)
      // Nothing is left of it: the next one.
      if uplinks[index].slots[slot].phase == .ready { return slot }
    }
    return nil
  }

  private mutating func fill(_ index: Int, _ slot: Int, clocks: Clocks) {
    let lane = uplinks[index].slots[slot].lane
    if spool.mustRewind(stream: index), !hasDelivery(of: index) { spool.rewind(stream: index) }
    var room = room(index, lane)
    while uplinks[index].slots[slot].batch.count < uplinks[index].recordsMax {
      guard load(index, lane, room: &room, clocks: clocks) else { break }
      let isWaiting = uplinks[index].heads[lane.rawValue].tooLongBytes > 0
      if isWaiting || !uplinks[index].takeHead(of: lane, into: slot, room: &room) {
        // It goes into the next one, or waits.
        if uplinks[index].slots[slot].batch.isEmpty { return }
        return uplinks[index].slots[slot].close()
      }
      if roomTurn == index { roomTurn = nil }
      if uplinks[index].pausedFailures > 0 {
        uplinks[index].slots[slot].failures = uplinks[index].pausedFailures
        uplinks[index].pausedFailures = 0
      }
    }
    guard !uplinks[index].slots[slot].batch.isEmpty else {
      // What it waited for has expired, or was dropped.
      if roomTurn == index, uplinks[index].heads[lane.rawValue].tooLongBytes == 0 {
        roomTurn = nil
      }
      return
    }
    let isFull = uplinks[index].slots[slot].batch.count >= uplinks[index].recordsMax
    if isFull || draining || uplinks.span[index].isDue(slot, now: clocks.now) {
      uplinks[index].slots[slot].close()
    } else {
      uplinks[index].slots[slot].phase = .filling
    }
  }

  /// Reads the next record of a lane, unless it is there already; one that is too long for the room that
  /// there is, and that can be made, stays where it is.
  private mutating func load(
    _ index: Int, _ lane: Lane, room: inout Int, clocks: Clocks
  ) -> Bool {
    let head = lane.rawValue
    if uplinks[index].heads[head].isLoaded { return !draining || uplinks[index].memory != nil }
    while true {
      // It is there twice for a moment: as the next one, and in its delivery.
      let most = max(room - MemoryNeeds.slack, 0) / 2
      // The spool would read and check a whole frame each time that it is asked.
      if uplinks[index].heads[head].tooLongBytes <= most {
        uplinks[index].heads[head].record.roomBytes = most
        let before = uplinks[index].heads[head].record.memoryBytes
        guard read(index, lane, clocks: clocks) else { return false }
        if uplinks[index].heads[head].tooLongBytes == 0 {
          uplinks[index].heads[head].isLoaded = true
          room -= uplinks[index].heads[head].record.memoryBytes - before
          return true
        }
      }
      guard makeRoom(index, lane, beyond: room) else { return true }
      room = self.room(index, lane)
    }
  }

  /// While draining only what would be lost is read.
  private mutating func read(_ index: Int, _ lane: Lane, clocks: Clocks) -> Bool {
    let head = lane.rawValue
    uplinks[index].heads[head].isFromMemory = false
    uplinks[index].heads[head].tooLongBytes = 0
    var isFound = false
    if !draining {
      switch lane {
      case .ordered:
        isFound = spool.next(
          stream: index, into: &uplinks[index].heads[head].record, clocks: clocks)
      case .live:
        let isIdle = uplinks[index].isIdle(.live)
        isFound = spool.nextLive(
          stream: index, into: &uplinks[index].heads[head].record, isIdle: isIdle, clocks: clocks)
      }
    }
    if isFound {
      uplinks[index].heads[head].tooLongBytes = uplinks[index].heads[head].record.tooLongBytes
      return true
    }
    return lane == .ordered && uplinks[index].loadFromMemory()
  }

  /// False: the core is at its limit; the delivery stays ready and is tried in a later turn.
  private mutating func submit(_ index: Int, _ slot: Int, clocks: Clocks) -> Bool {
    let now = clocks.now
    restamp(index, slot, clocks: clocks)
    uplinks[index].encode(slot, headers: &headers, body: &body)
    let stream = configuration.streams[index]
    let request = UpstreamRequest(
      listener: listeners[index], path: stream.path, authority: stream.authority,
      headers: headers, body: body, timeout: nil, token: UInt64(index))
    let taken = core.submit(request, now: now)
    keepScratch()
    guard let id = taken else { return false }
    uplinks[index].slots[slot].phase = .requesting(id)
    uplinks[index].sentAt = now
    return true
  }
}
