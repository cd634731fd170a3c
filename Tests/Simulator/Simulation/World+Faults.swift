import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// What goes wrong by itself, and how it is mended.
extension World {
  func strike(_ kind: FaultKind) {
    guard phase == .faults, let mean = plan.faults.mean(kind) else { return }
    after(draw.wait(mean), .fault(kind))
    let isDone: Bool
    switch kind {
    case .linkReset, .linkSilent, .linkStalled, .goAway: isDone = strikeLink(kind)
    case .outage, .answersError, .answersHold, .answersNothing: isDone = strikeHost(kind)
    case .brokerCut, .brokerDown, .sessionLost: isDone = strikeBroker(kind)
    case .planeMoves, .planeRemoves, .planeRefused: isDone = strikePlane(kind)
    case .hangUp:
      isDone = !boards.isEmpty
      if isDone { hangUp(draw.below(boards.count)) }
    case .diskWriteError, .diskReadError, .diskSyncError, .diskFull, .diskReadOnly, .bitFlip,
      .diskOperationError, .diskGone:
      isDone = strikeDisk(kind)
    case .kill, .killInTurn, .powerCut, .powerCutInTurn, .restart, .reload, .reloadOther,
      .reloadRejected:
      // Those in the middle of a turn are counted when they come about.
      isDone = strikeProcess(kind)
    default: isDone = strikeClock(kind)
    }
    guard isDone else { return }
    counts.add(kind)
    trace.note(now, "fault", UInt64(kind.rawValue))
    trace.say(now, ByteString(Array(text: kind.name)).description)
  }

  /// Works again after a while, unless it was broken anew meanwhile.
  func breakFor(_ kind: FaultKind, _ low: Interval, _ high: Interval) {
    broken[Int(kind.rawValue)] += 1
    after(draw.scaled(low, high), .mended(kind, number: broken[Int(kind.rawValue)]))
  }

  func isBroken(_ kind: FaultKind) -> Bool { isOut[Int(kind.rawValue)] }

  func mend(_ kind: FaultKind, _ number: Int) {
    guard broken[Int(kind.rawValue)] == number else { return }
    isOut[Int(kind.rawValue)] = false
    switch kind {
    case .outage: for host in hosts.indices { hosts[host].isDown = false }
    case .answersError, .answersHold, .answersNothing:
      for host in hosts.indices { hosts[host].mode = .healthy }
      pushAll()
    case .planeRemoves, .planeRefused: mendPlane()
    case .clockUnsynced: findTime()
    case .brokerDown: brokerUp()
    default: applyDiskFaults()
    }
    trace.note(now, "mended", UInt64(kind.rawValue))
  }

  /// From here on everything works.
  func mendAll() {
    for index in broken.indices {
      broken[index] += 1
      isOut[index] = false
    }
    for host in hosts.indices { hosts[host] = HostState() }
    for wire in wires { wire.stalledUntil = now }
    disk.thaw()
    disk.failAt = nil
    applyDiskFaults()
    brokerUp()
    findTime()
    for wire in wires { arriveAtServer(wire.number) }
    mendPlane()
  }

  // MARK: Links and upstreams

  private func strikeLink(_ kind: FaultKind) -> Bool {
    let open = wires.filter { $0.isOpen && !$0.isClosedByClient && !$0.isSilent }
    guard !open.isEmpty else { return false }
    let wire = draw.pick(open)
    switch kind {
    case .linkReset: reset(wire, "connection reset by peer")
    case .linkSilent: wire.isSilent = true
    case .linkStalled: wire.stalledUntil = now + draw.scaled(.milliseconds(200), .seconds(60))
    default:
      if draw.chance(1, in: 2) { wire.machine.announceShutDown() } else { wire.machine.shutDown() }
      sendToClient(wire)
    }
    return true
  }

  private func strikeHost(_ kind: FaultKind) -> Bool {
    let host = draw.below(hosts.count)
    switch kind {
    case .answersError: hosts[host].mode = .error
    case .answersHold: hosts[host].mode = .hold
    case .answersNothing: hosts[host].mode = .silence
    default:
      hosts[host].isDown = true
      for wire in wires where wire.host == host { reset(wire, "connection reset by peer") }
    }
    let longest = Interval(nanoseconds: plan.duration.nanoseconds / 4)
    breakFor(kind, .seconds(1), max(longest, .seconds(2)))
    return true
  }

  private func strikeBroker(_ kind: FaultKind) -> Bool {
    guard broker.links > 0 else { return false }
    cutBroker("connection reset by peer")
    switch kind {
    case .brokerDown:
      broker.isUp = false
      breakFor(kind, .milliseconds(500), .seconds(120))
    case .sessionLost:
      // Killed without its database: what it had for the daemon is gone.
      broker.hasSession = false
      broker.queue = []
      broker.inFlight = []
      broker.lastID = 0
    default: break
    }
    return true
  }

  // MARK: The disk

  private func strikeDisk(_ kind: FaultKind) -> Bool {
    switch kind {
    case .bitFlip:
      var random = SplitMix64(seed: draw.next())
      guard disk.flipBit(&random) else { return false }
      wasDamaged = true
    case .diskOperationError:
      let error: StorageError = draw.pick([.failed(5), .failed(5), .full, .readOnly])
      disk.failAt = (disk.operations + 1 + draw.below(40), error)
      disk.shortWrite = shortWrite()
      // A read that fails is taken for damage in the end.
      wasDamaged = true
    default:
      isOut[Int(kind.rawValue)] = true
      if kind == .diskReadError { wasDamaged = true }
      fullAt = disk.totalBytes + UInt64(draw.below(16_384))
      readOnlyError = draw.chance(1, in: 2)
      applyDiskFaults()
      breakFor(kind, .milliseconds(1), .seconds(180))
    }
    return true
  }

  private func shortWrite() -> Int {
    guard chance(.shortWrite) else { return 0 }
    return draw.range(1...255)
  }

  /// What is broken now, once more: a new process finds it so, too.
  func applyDiskFaults() {
    disk.failing = [:]
    disk.shortWrite = 0
    disk.capacity = isBroken(.diskFull) ? fullAt : .max
    if isBroken(.diskWriteError) {
      disk.failing[.write] = .failed(5)
      disk.shortWrite = shortWrite()
    }
    if isBroken(.diskSyncError) { disk.failing[.sync] = .failed(5) }
    if isBroken(.diskReadError) {
      disk.failing[.read] = .failed(5)
      if readOnlyError { disk.failing[.list] = .failed(5) }
    }
    if isBroken(.diskGone) {
      for operation in CrashingDisk.Operation.allCases { disk.failing[operation] = .missing }
    }
    guard isBroken(.diskReadOnly) else { return }
    for operation: CrashingDisk.Operation in [
      .write, .create, .truncate, .remove, .replace, .quarantine, .syncDirectory,
    ] {
      disk.failing[operation] = .readOnly
    }
  }

  // MARK: The process

  private func strikeProcess(_ kind: FaultKind) -> Bool {
    guard isAlive else { return false }
    switch kind {
    case .kill: crash(isPowerCut: false)
    case .powerCut: crash(isPowerCut: true)
    case .killInTurn, .powerCutInTurn:
      disk.freeze(
        at: disk.operations + 1 + draw.below(draw.pick([4, 40, 400])),
        isPowerCut: kind == .powerCutInTurn)
      return false
    case .restart: stop()
    case .reload: reload(current)
    case .reloadOther: reload(plan.other(&draw))
    default: gateway.reloadRejected("not valid", clocks: clocks)
    }
    return true
  }

  // MARK: The clock

  private func strikeClock(_ kind: FaultKind) -> Bool {
    let step = draw.scaled(.milliseconds(100), .seconds(7_200)).nanoseconds
    switch kind {
    case .clockAhead: wallOffset += step
    case .clockBack: wallOffset -= step
    default: loseTime(for: draw.scaled(.seconds(1), .seconds(300)))
    }
    return true
  }

  /// The clock shows 1970, and its kernel says that nobody disciplines it.
  func loseTime(for interval: Interval) {
    quality = .unsynced
    if draw.chance(1, in: 2) { wallOffset = -World.epoch }
    broken[Int(FaultKind.clockUnsynced.rawValue)] += 1
    let number = broken[Int(FaultKind.clockUnsynced.rawValue)]
    after(interval, .mended(.clockUnsynced, number: number))
  }

  private func findTime() {
    quality = .synced
    wallOffset = max(wallOffset, 0)
  }
}

extension Array where Element == UInt8 {
  init(text: StaticString) {
    self = []
    append(text: text)
  }
}
