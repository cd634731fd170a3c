import Configuration
import NetworkingCore
import Primitives
import Spool

// The end of a request: its records are delivered, wait, are held, or are parked one by one.

extension Gateway where Storage: ~Copyable {
  @inline(never)
  mutating func finishRequests(clocks: Clocks) {
    while let result = core.nextResult() { finish(result, clocks: clocks) }
  }

  private mutating func finish(_ result: RequestResult, clocks: Clocks) {
    guard result.token & Self.callToken == 0 else { return finishCall(result, clocks: clocks) }
    let index = Int(result.token)
    guard index < uplinks.count, let slot = uplinks[index].slot(of: result.id) else { return }
    switch DeliveryOutcome.of(result, isCall: isCall(index)) {
    case .delivered:
      endHold(index, clocks: clocks)
      settleDelivered(index, slot, now: clocks.now)
      endOutage(of: listeners[index])
    case .transient(let retryAfter):
      waitToRetry(index, slot, retryAfter, result, now: clocks.now)
    case .hold(let status):
      hold(index, slot, status, result, clocks: clocks)
    case .rejected(let status):
      endHold(index, clocks: clocks)
      reject(index, slot, status, result, clocks: clocks)
    }
  }

  /// Its requests are gRPC calls.
  private func isCall(_ index: Int) -> Bool { configuration.streams[index].encoding == .grpc }

  private mutating func settleDelivered(_ index: Int, _ slot: Int, now: Instant) {
    for record in uplinks[index].slots[slot].part where !isMutated(.forgetDelivery) {
      let sequence = uplinks[index].slots[slot].batch.entries[record].sequence
      // What the spool does not know any more has been reported as dropped, and is not counted twice.
      if uplinks[index].slots[slot].isFromMemory
        || spool.acknowledge(stream: index, sequence: sequence, now: now)
      {
        uplinks[index].counters.delivered += 1
      }
    }
    uplinks[index].slots[slot].passPart()
  }

  /// The upstream answers again: who could not reach it need not wait any longer.
  private mutating func endOutage(of listener: ByteString) {
    for index in uplinks.indices where listeners[index] == listener {
      uplinks[index].endOutage()
    }
  }

  private mutating func waitToRetry(
    _ index: Int, _ slot: Int, _ retryAfter: Interval?, _ result: RequestResult, now: Instant
  ) {
    uplinks[index].counters.retried += 1
    uplinks[index].slots[slot].failures &+= 1
    let words = result.words(isCall: isCall(index))
    uplinks[index].lastFailure = ByteString(words)
    let failures = uplinks[index].slots[slot].failures
    let delay = DeliveryBackoff.delay(
      failures: failures, retryAfter: retryAfter, using: &random)
    if uplinks[index].hold == nil {
      uplinks[index].slots[slot].phase = .backingOff(until: now + delay)
      uplinks[index].slots[slot].isUnreachable = result.isUnreachable
    } else {
      // A probe that did not get through: the hold goes on, and its own interval is the pause.
      uplinks[index].slots[slot].phase = .ready
      uplinks[index].hold?.probeAt = now + max(delay, Uplink.probeInterval)
    }
    // The first failure and every power of two after it: a dead upstream must not fill the log.
    guard failures & (failures - 1) == 0 else { return }
    log(
      .warning,
      "stream \(name(index)): \(words), attempt \(failures); "
        + "next in \(delay.milliseconds) ms")
  }

  private mutating func hold(
    _ index: Int, _ slot: Int, _ status: UInt16, _ result: RequestResult, clocks: Clocks
  ) {
    let words = result.words(isCall: isCall(index))
    uplinks[index].lastFailure = ByteString(words)
    let isNew = uplinks[index].hold == nil
    uplinks[index].hold = Uplink.Hold(
      status: status, probeAt: clocks.now + Uplink.probeInterval)
    uplinks[index].slots[slot].phase = .ready
    guard isNew else { return }
    log(
      .warning,
      "stream \(name(index)): \(words); records are kept, probing every 30 s")
    let name = configuration.streams[index].name
    report("held", clocks: clocks) { json in
      json.member("stream", name)
      json.member(AnswerStatus.member(status), UInt64(status))
    }
  }

  private mutating func endHold(_ index: Int, clocks: Clocks) {
    guard let held = uplinks[index].hold else { return }
    uplinks[index].hold = nil
    let words = AnswerStatus.words(held.status)
    log(.info, "stream \(name(index)): upstream takes records again after \(words)")
  }

  /// One record is parked; of several it is not known which one the upstream does not take, and the
  /// first half goes again.
  private mutating func reject(
    _ index: Int, _ slot: Int, _ status: UInt16, _ result: RequestResult, clocks: Clocks
  ) {
    let part = uplinks[index].slots[slot].part
    // What is too large never gets as far as an upstream.
    let words =
      result.localStatus == 0
      ? "upstream answered \(AnswerStatus.words(status))" : "\(result.words): \(status)"
    uplinks[index].lastFailure = ByteString(words)
    guard part.count == 1 else {
      uplinks[index].counters.retried += 1
      uplinks[index].slots[slot].shorten(to: part.count / 2)
      uplinks[index].slots[slot].phase = .ready
      log(
        .info,
        "stream \(name(index)): \(words) to \(part.count) records; "
          + "they go again in halves")
      return
    }
    let sequence = uplinks[index].slots[slot].first
    log(
      .warning,
      "stream \(name(index)): \(words) to record \(sequence); it is parked")
    var record = SpooledRecord()
    uplinks[index].slots[slot].batch.copy(part.lowerBound, into: &record)
    if uplinks[index].slots[slot].isFromMemory {
      uplinks[index].counters.parked += 1
      spool.keepDeadLetter(stream: index, record: record, status: status, clocks: clocks)
      lose(
        stream: index, reason: .rejected, epoch: record.epoch, sequence: sequence,
        time: record.time, clocks: clocks)
    } else if spool.park(stream: index, record: record, status: status, clocks: clocks) {
      uplinks[index].counters.parked += 1
    }
    uplinks[index].slots[slot].passRecord()
  }

  // MARK: Expiry

  /// Drops what has outlived its time at the start of a delivery, and lets the part end before the
  /// next record that has.
  mutating func dropExpired(_ index: Int, _ slot: Int, clocks: Clocks) {
    guard configuration.streams[index].ttl > .zero else { return }
    while uplinks[index].slots[slot].phase == .ready {
      guard isExpired(index, slot, uplinks[index].slots[slot].start, clocks) else { break }
      dropFirst(index, slot, clocks: clocks)
    }
    guard uplinks[index].slots[slot].phase == .ready else { return }
    let part = uplinks[index].slots[slot].part
    for record in part where isExpired(index, slot, record, clocks) {
      return uplinks[index].slots[slot].shorten(to: record - part.lowerBound)
    }
  }

  private func isExpired(_ index: Int, _ slot: Int, _ record: Int, _ clocks: Clocks) -> Bool {
    let entry = uplinks[index].slots[slot].batch.entries[record]
    let ttl = configuration.streams[index].ttl
    let stamp = stamp(index, entry, clocks: clocks)
    let isComparable = (stamp.quality == .unsynced) == (clocks.quality == .unsynced)
    guard isComparable, stamp.time.nanoseconds > 0, !isBeforeFloor(clocks)
    else { return false }
    return stamp.time.nanoseconds + ttl.nanoseconds < clocks.wall.nanoseconds
  }

  private mutating func dropFirst(_ index: Int, _ slot: Int, clocks: Clocks) {
    let entry = uplinks[index].slots[slot].batch.entries[uplinks[index].slots[slot].start]
    if uplinks[index].slots[slot].isFromMemory {
      uplinks[index].counters.expired += 1
      lose(
        stream: index, reason: .expired, epoch: uplinks[index].slots[slot].batch.epoch,
        sequence: entry.sequence, time: entry.time, clocks: clocks)
    } else {
      spool.discard(
        stream: index, sequence: entry.sequence, reason: .expired, time: entry.time, clocks: clocks)
    }
    uplinks[index].slots[slot].passRecord()
  }

  // MARK: What is in memory only

  /// Records that are neither delivered nor dropped, wherever they are, and their payloads' bytes.
  func backlog(_ index: Int) -> (records: UInt64, bytes: UInt64) {
    var sum = spool.backlog(stream: index)
    guard let memory = uplinks[index].memory else { return sum }
    sum.records += UInt64(memory.count)
    sum.bytes += memory.payloadBytes
    let head = uplinks[index].heads[Lane.ordered.rawValue]
    if head.isLoaded, head.isFromMemory {
      sum.records += 1
      sum.bytes += UInt64(head.record.payload.count)
    }
    for slot in uplinks[index].slots.indices where uplinks[index].slots[slot].isFromMemory {
      let delivery = uplinks[index].slots[slot]
      sum.records += UInt64(delivery.remaining)
      for record in delivery.start..<delivery.batch.count {
        sum.bytes += UInt64(delivery.batch.entries[record].payload.count)
      }
    }
    return sum
  }

  /// What a stream has in memory only is gone with it.
  mutating func loseMemory(of index: Int, clocks: Clocks) {
    for slot in uplinks[index].slots.indices where uplinks[index].slots[slot].isFromMemory {
      let epoch = uplinks[index].slots[slot].batch.epoch
      for record in uplinks[index].slots[slot].start..<uplinks[index].slots[slot].batch.count {
        let entry = uplinks[index].slots[slot].batch.entries[record]
        loseFromMemory(index, epoch, entry.sequence, entry.time, clocks: clocks)
      }
      uplinks[index].slots[slot].clear()
    }
    let head = Lane.ordered.rawValue
    if uplinks[index].heads[head].isLoaded, uplinks[index].heads[head].isFromMemory {
      let record = uplinks[index].heads[head].record
      uplinks[index].heads[head].isLoaded = false
      loseFromMemory(index, record.epoch, record.sequence, record.time, clocks: clocks)
    }
    let epoch = uplinks[index].memory?.epoch ?? 0
    while let entry = uplinks[index].memory?.dropOldest() {
      loseFromMemory(index, epoch, entry.sequence, entry.time, clocks: clocks)
    }
  }

  @inline(never)
  private mutating func loseFromMemory(
    _ index: Int, _ epoch: UInt64, _ sequence: UInt64, _ time: WallTime, clocks: Clocks
  ) {
    uplinks[index].counters.dropped += 1
    lose(
      stream: index, reason: .memory, epoch: epoch, sequence: sequence, time: time, clocks: clocks)
  }

  /// What was there before this run counts, so that what came in is what left and what waits.
  mutating func countRecovered() {
    for index in uplinks.indices {
      let counters = uplinks[index].counters
      let known = counters.settled + backlog(index).records
      uplinks[index].counters.recovered = known - min(known, counters.recordsIn)
    }
  }
}
