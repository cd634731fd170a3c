import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// What must hold after every turn, and at the end.
extension World {
  func check() {
    let underWay = gateway.requestsUnderWay
    if underWay.inCore != underWay.inUplinks, !underWay.hasResult {
      complain("requests: \(underWay.inCore) are under way, \(underWay.inUplinks) are waited for")
    }
    for (place, pool) in gateway.memoryPools.enumerated() {
      // A reload may make a pool smaller than it was once full. What is on its way and in memory only stays then,
      // and nothing comes to it.
      if place == poolLimits.count { poolLimits.append(0) }
      let isOfUplinks = place == MemoryPool.uplinks.rawValue
      let limit = pool.limit + (isOfUplinks ? gateway.keptBeyondLimit : 0)
      let most = max(poolLimits[place], limit)
      poolLimits[place] = most
      guard pool.used > limit || pool.high > most else { continue }
      complain(
        "memory: \(pool.name) uses \(pool.used) bytes of \(limit), \(pool.high) of \(most) at most"
      )
    }
    if disk.syncedAfterFailure { complain("a sync was tried again after it had failed") }
    guard disk.operations != checkedOperations else { return }
    checkedOperations = disk.operations
    if disk.totalBytes > limits.totalBytes {
      complain("the disk holds \(disk.totalBytes) bytes, the limit is \(limits.totalBytes)")
    }
  }

  func noteQuarantine() {
    if disk.quarantined.count > 0 { wasQuarantined = true }
  }

  // MARK: Phases

  /// When this phase is over at the latest.
  var phaseEnd: Instant? {
    switch phase {
    case .faults: faultsEnd
    case .draining: progressedAt + patience
    case .over: nil
    }
  }

  /// Nothing may stand still for longer: the longest `Retry-After`, a back-off of 5 min, a name's.
  private var patience: Interval { .seconds(1_200 + Int64(plan.retryAfterMax)) }

  func endPhase() {
    switch phase {
    case .faults:
      phase = .draining
      trace.note(now, "mended all")
      mendAll()
      progressedAt = now
      least = .max
    case .draining: complain("no progress: \(remaining)")
    case .over: break
    }
  }

  /// What is still to be delivered, for the failure.
  private var remaining: String {
    guard isAlive else { return "the process is not there" }
    var words = ""
    for stream in plan.streams.indices {
      let records = gateway.backlogRecords(of: stream)
      if records > 0 { words += "stream \(stream) has \(records) records; " }
    }
    words += "\(client.socket.count) messages not read, \(client.ring.count) not taken, "
    words += "\(client.withheld.count) not acknowledged, "
    for pool in gateway.memoryPools where pool.used * 2 > pool.limit {
      words += "\(pool.name) \(pool.used) of \(pool.limit) bytes, "
    }
    return words + "\(broker.queue.count + broker.inFlight.count) messages at the broker, "
      + "\(gateway.requestsUnderWay.inCore) requests, degraded \(gateway.isDegraded ? 1 : 0), "
      + gateway.leftOver
  }

  /// In the second phase: how far it is, and whether it is over.
  func watchProgress() {
    guard phase == .draining, isAlive, !isStopping else { return }
    // Without its directory a process does not count what is there, which takes its time afterwards.
    guard !gateway.isDegraded else {
      least = .max
      return
    }
    var left = UInt64(broker.queue.count + broker.inFlight.count + client.withheld.count)
    for stream in plan.streams.indices { left += gateway.backlogRecords(of: stream) }
    for board in boards { left += UInt64(board.line.count) }
    if left < least {
      least = left
      progressedAt = now
    }
    let underWay = gateway.requestsUnderWay.inCore - gateway.openStreams
    guard left == 0, underWay == 0, !hasTwins else { return }
    if hasEndedInOrder { phase = .over } else { endInOrder() }
  }

  /// When the directory came back to a process that had begun without it, what was on its way is read again,
  /// behind what was on disk: the one that comes first leaves the other behind, a delivery that waits for its
  /// next attempt and has nothing that is not delivered. Numbers as high begin in such a process only.
  private var hasTwins: Bool {
    plan.streams.indices.contains { marks[$0].sequence >= 1 << 40 && gateway.hasDelivery(of: $0) }
  }

  /// Nothing is left anywhere, an orderly end leaves nothing behind, and the next start finds nothing but
  /// reports that the end itself made. They are delivered, too.
  private func endInOrder() {
    let words = gateway.leftOver
    if !words.utf8.isEmpty { complain("left behind: \(words)") }
    stop()
    turn()
    // Reports that the stop itself made are on disk by now.
    if isAlive { finishStopping() }
    for wire in wires { forget(wire.number) }
    let before = disk.operations
    startProcess()
    for stream in plan.streams.indices where stream != plan.reports {
      let records = gateway.backlogRecords(of: stream)
      if records > 0 { complain("after an orderly end stream \(stream) has \(records) records") }
    }
    trace.note(now, "ended in order", UInt64(disk.operations - before))
    hasEndedInOrder = true
    progressedAt = now
    least = .max
  }

  // MARK: The judgement

  func judge() {
    let areReportsLost = !ledger.isComplete(stream: plan.reports)
    for entry in ledger.entries {
      guard let words = ledger.complaint(entry, wasDamaged: wasDamaged) else { continue }
      if wasDamaged, !entry.isPromised { continue }
      if isNameLost(of: entry) { continue }
      // Its report was made, and is one of the reports that were lost themselves: each of those is a record
      // that must be named like all others.
      if areReportsLost, entry.isGivenUp, entry.named.isEmpty, entry.namedPerhaps.isEmpty {
        continue
      }
      complain(
        "stream \(entry.key.stream), record \(entry.key.sequence) of run \(entry.run): \(words)")
    }
    for message in broker.messages where message.isAcknowledged && message.entries.count > 1 {
      judge(message, areReportsLost: areReportsLost)
    }
    for key in ledger.outOfOrder {
      complain("stream \(key.stream), record \(key.sequence): out of order")
    }
  }

  /// Nobody can name it any more. It was given up, which was told in memory and in the cursor only, and both
  /// are gone; or its frame was the last one, and damage made it look like one that was never whole; or a file was
  /// put aside, and only its number is known.
  private func isNameLost(of entry: Entry) -> Bool {
    wasQuarantined && entry.isNumberNamed
      || wasCursorLost && (entry.isGivenUp || entry.isRefused || ledger.wasLent(entry))
      || disk.hasDamagedEnd
        && ledger.isLast(entry, epochNow: gateway.lastNumber(of: entry.key.stream).epoch)
  }

  /// Of the records that were made of a message one must have been kept.
  private func judge(_ message: PublishedMessage, areReportsLost: Bool) {
    for place in message.entries {
      var entry = ledger.entries[place]
      if entry.durability == .memory { return }
      entry.isPromised = true
      entry.isForgiven = entry.isReportLost
      if ledger.complaint(entry, wasDamaged: wasDamaged) == nil { return }
      if (areReportsLost && entry.isGivenUp) || isNameLost(of: entry) { return }
    }
    let entry = ledger.entries[message.entries[0]]
    complain(
      "stream \(entry.key.stream), record \(entry.key.sequence): its message was acknowledged, "
        + "and none of \(message.entries.count) records of it was kept")
  }
}
