import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// The daemon's life: starts, turns as its driver makes them, ends of every kind.
extension World {
  // MARK: The turn

  func turn() {
    guard isAlive else { return }
    turns += 1
    if disk.isFrozen { return crashInTurn() }
    serveBroker()
    let clocks = clocks
    repeat {
      gateway.finishTurn(clocks: clocks)
      if disk.isFrozen { return crashInTurn() }
    } while handOverRest()
    observeTimeouts(clocks)
    carryOutActions()
    releaseBroker()
    guard isAlive else { return }
    if !gateway.isDegraded {
      promiseOld(at: now)
    }
    check()
    if isStopping, gateway.isDrained { finishStopping() }
    watchProgress()
  }

  private func promiseOld(at time: Instant) {
    ledger.promiseOld(
      run: run, now: time, sync: plan.syncInterval, spill: plan.commitInterval)
  }

  func carryOutActions() {
    while let action = gateway.nextAction() {
      switch action {
      case .transport(let action): perform(action)
      case .log(_, let message):
        trace.say(now, message)
        if message.utf8.elementsEqual("spool: storage works again".utf8) { ledger.diskIsBack() }
        read(line: message)
      case .writeCache(let bytes): policyCache = bytes
      case .setCacheAside: policyCache = nil
      }
    }
  }

  /// `stream NAME: COUNT records dropped, FIRST to LAST, reason REASON`
  private func read(line: String) {
    let words = Array(line.utf8).split(separator: 0x20)
    guard words.count == 10, ByteString(Array(words[4])) == "dropped,",
      let stream = reader.streams.firstIndex(of: ByteString(Array(words[1].dropLast()))),
      let first = reader.decimal(Array(words[5])),
      let last = reader.decimal(Array(words[7].dropLast()))
    else { return }
    ledger.giveUp(stream: stream, first, last, isWithoutDisk: gateway.isDegraded)
  }

  // MARK: What was taken

  /// Records of a stream got numbers: `hashes` are those of the payloads that were offered.
  @discardableResult
  func observe(_ stream: Int, _ hashes: [UInt64]) -> Range<Int> {
    if gateway.timesStartedOver != timesStartedOver {
      // The spool has begun anew, behind what it found on its disk.
      timesStartedOver = gateway.timesStartedOver
      for index in marks.indices where current.streams[index].durability != .memory {
        marks[index] = gateway.recoveredNumber(of: index)
      }
    }
    let number = gateway.lastNumber(of: stream)
    let before = marks[stream]
    // Of several records the first ones may have the epoch before.
    let formerEpoch = before.epoch
    marks[stream] = number
    let start = ledger.entries.count
    guard number.sequence > before.sequence else { return start..<start }
    let count = Int(number.sequence - before.sequence)
    for index in 0..<count {
      let key = RecordKey(
        stream: stream, epoch: number.epoch, sequence: before.sequence + UInt64(index) + 1)
      // Of several that were offered some were taken: which ones, only their delivery tells.
      let hash = count == hashes.count ? hashes[index] : 0
      _ = ledger.take(
        Entry(
          key: key, formerEpoch: formerEpoch, hash: hash, takenAt: now, run: run,
          durability: current.streams[stream].durability, isWithoutDisk: gateway.isDegraded,
          isAfterEnd: disk.isFrozen))
      trace.note(now, "taken", UInt64(stream), key.sequence, hash)
    }
    if stream != plan.reports { observe(plan.reports, []) }
    return start..<(start + count)
  }

  func baseline() {
    marks = plan.streams.indices.map { gateway.lastNumber(of: $0) }
  }

  // MARK: Starts

  func processStarted() {
    run += 1
    isAlive = true
    isStopping = false
    readUnsaid()
    timesStartedOver = 0
    marks = plan.streams.indices.map { gateway.recoveredNumber(of: $0) }
    for stream in plan.streams.indices { observe(stream, []) }
    trace.note(now, "started", UInt64(run), UInt64(disk.operations))
    for port in boards.indices {
      restartBoard(port)
      after(draw.interval(.milliseconds(1), .seconds(1)), .plug(port: port))
    }
    client = BrokerClient()
    connectBroker(after: .milliseconds(20))
    carryOutActions()
  }

  /// The last run may have been killed after its reports were on disk and before it wrote the same to its log. Those
  /// reports are there then, and what they name is given up although nobody said so.
  private func readUnsaid() {
    guard !unsaid.isEmpty else { return }
    let found = gateway.recoveredNumber(of: plan.reports)
    if found.sequence > marks[plan.reports].sequence {
      for line in unsaid { read(line: line) }
    }
    unsaid = []
  }

  func startProcess() {
    guard !isAlive else { return }
    applyDiskFaults()
    var files = PolicyFiles()
    files.cache = policyCache
    poolLimits = []
    gateway = Gateway(
      configuration: configuration, storage: CrashingStorage(disk), files: files,
      seed: draw.next(), clocks: clocks)
    processStarted()
    noteQuarantine()
  }

  // MARK: Ends

  /// SIGKILL or a power cut, between two turns.
  func crash(isPowerCut: Bool) {
    // What had to be written by now, whether the daemon woke up for it or not.
    if !gateway.isDegraded, !disk.isFrozen { promiseOld(at: now + (.zero - .milliseconds(100))) }
    loseMemory()
    isAlive = false
    // Whoever comes next reads what the kernel has, and nothing tells that the disk has it not.
    if disk.hasLies { wasDamaged = true }
    if disk.hasLostCursor { wasCursorLost = true }
    if isPowerCut {
      var random = SplitMix64(seed: draw.next())
      disk.cutPower(&random)
    } else {
      disk.kill()
    }
    trace.note(now, "crashed", isPowerCut ? 1 : 0, UInt64(disk.operations))
    leaveEverything()
    var pause = draw.scaled(.milliseconds(50), .seconds(120))
    if phase != .faults { pause = .seconds(1) }
    if isPowerCut { boot(after: pause) }
    after(pause, .start)
  }

  /// What was given up while the disk took no writes, and waits behind so many reports that not even the log has it,
  /// is gone with the rest.
  private func loseMemory() {
    for gap in gateway.untoldGaps where gateway.isDegraded {
      guard let stream = reader.streams.firstIndex(of: gap.stream) else { continue }
      ledger.giveUp(stream: stream, gap.first, gap.last, isWithoutDisk: true)
    }
    ledger.crash(run: run)
    hasCrashed = true
  }

  /// The monotonic clock begins anew; a board without a battery does not know the time either.
  private func boot(after pause: Interval) {
    bootOffset = (now + pause).nanoseconds - 1_000_000_000
    guard draw.chance(1, in: 3), phase == .faults else { return }
    counts.add(.clockUnsynced)
    loseTime(for: draw.interval(.seconds(1), .seconds(90)) + pause)
  }

  private func crashInTurn() {
    let isPowerCut = disk.freezesAtPowerCut
    counts.add(isPowerCut ? .powerCutInTurn : .killInTurn)
    while let action = gateway.nextAction() {
      if case .log(_, let message) = action { unsaid.append(message) }
    }
    crash(isPowerCut: isPowerCut)
  }

  /// The kernel closes what the process had.
  private func leaveEverything() {
    for wire in wires { closeByClient(wire) }
    loseBroker()
    for port in boards.indices { boards[port].isOpen = false }
  }

  /// SIGTERM.
  func stop() {
    guard isAlive, !isStopping else { return }
    isStopping = true
    gateway.drain()
    for port in boards.indices { boards[port].isOpen = false }
    closeBroker()
    after(.seconds(5), .closed(run: run))
    trace.note(now, "stopping")
  }

  /// Everything under way has ended, or 5 s are over.
  func finishStopping() {
    guard isAlive, isStopping else { return }
    gateway.close(clocks: clocks)
    if disk.isFrozen { return crashInTurn() }
    observe(plan.reports, [])
    carryOutActions()
    // What could not be written is gone, as after a crash; so is what was only in memory, but it is
    // named, if its report could be written.
    if gateway.isDegraded {
      loseMemory()
    } else {
      ledger.promiseAll(run: run)
    }
    isAlive = false
    disk.kill()
    leaveEverything()
    trace.note(now, "stopped", UInt64(disk.operations))
    after(draw.interval(.milliseconds(50), .seconds(10)), .start)
  }

  // MARK: Reloads

  /// SIGHUP, with the same files or with others.
  func reload(_ other: Plan) {
    guard isAlive, !isStopping else { return }
    let new = other.configuration
    observe(plan.reports, [])
    let isTaken = gateway.reload(new, clocks: clocks)
    guard !disk.isFrozen else { return }
    trace.note(now, "reloaded", isTaken ? 1 : 0)
    guard isTaken else {
      // While the disk takes no writes the epoch may change with each of these steps.
      observe(plan.reports, [])
      gateway.reloadRejected("the spool cannot be written", clocks: clocks)
      observe(plan.reports, [])
      return
    }
    current = other
    trace.say(now, other.text.description)
    configuration = new
    let reported = marks[plan.reports]
    baseline()
    // A directory that could not be read when it was opened again has other numbers.
    if reported.epoch == marks[plan.reports].epoch { marks[plan.reports] = reported }
    observe(plan.reports, [])
    ledger.restartOrder()
  }
}
