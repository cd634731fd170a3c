import Configuration
import Ingest
import NetworkingCore
import Policy
import Primitives
import Spool
import XDS

/// SIGHUP: another configuration, while everything that is stored stays what it is.
extension Gateway where Storage: ~Copyable {
  /// Takes a valid configuration into force. False: the disk takes no writes at the moment, so that
  /// streams cannot be changed without losing what is in memory; nothing has changed.
  public mutating func reload(
    _ new: Configuration, files: PolicyFiles = PolicyFiles(), clocks: Clocks
  ) -> Bool {
    let old = configuration
    if new != configuration {
      guard takeStreams(new, clocks: clocks) else { return false }
      takePorts(new)
      // Another broker's message ids say nothing about this one's.
      if let mqtt = new.mqtt, old.mqtt?.isSameSession(as: mqtt) != true {
        self.mqtt.recent.sessionStarted()
      }
      topics = TopicMap(filters: new.mqtt?.subscriptions.map { $0.filter } ?? [])
      replace(configuration: new)
      let before = ledger
      ledger = MemoryLedger(new)
      ledger.goOn(from: before)
      keepScratch()
    }
    logLevel = new.log
    takeControlPlane(new, instead: old, files, clocks: clocks)
    shareOutMemory()
    applyPolicy(now: clocks.now)
    retryNow(clocks: clocks)
    return true
  }

  /// A configuration that is not valid changes nothing, and is reported.
  public mutating func reloadRejected(_ reason: String, clocks: Clocks) {
    report("config_rejected", clocks: clocks) { $0.member("reason", ByteString(reason)) }
  }

  /// Tables whose changes the running daemon cannot take over.
  public mutating func restartNeeded(for tables: [ByteString], clocks: Clocks) {
    for table in tables {
      log(.warning, "changes of \(table.description) take effect at the next start")
    }
    report("restart_needed", clocks: clocks) { json in
      json.key("tables")
      json.beginArray()
      for table in tables { json.string(table) }
      json.endArray()
    }
  }

  /// Holds and pauses end: a new secret or a new policy may have helped.
  mutating func retryNow(clocks: Clocks) {
    core.forgetFailures(now: clocks.now)
    controlPlane?.assembler.retryNow()
    controlPlane?.channel.load.retryNow()
    controlPlane?.isTouched = true
    for index in uplinks.indices { uplinks[index].endWaiting(now: clocks.now) }
  }

  /// Streams are matched by name. What is on its way is given up and read again from the spool: the
  /// upstream knows a repetition by its id.
  private mutating func takeStreams(_ new: Configuration, clocks: Clocks) -> Bool {
    guard new.streams != configuration.streams || new.node != configuration.node else {
      return true
    }
    for index in uplinks.indices { cancelRequests(of: index, now: clocks.now) }
    guard spool.reopen(streams: new.spoolStreams, clocks: clocks) else {
      // The requests were cancelled all the same; their records are read again.
      for index in uplinks.indices { giveBack(index) }
      return false
    }
    settleAll()
    confirmAllReports()
    for index in uplinks.indices where !new.keepsMemory(of: uplinks[index].configuration.name) {
      loseMemory(of: index, clocks: clocks)
    }
    let before = uplinks
    replace(configuration: new)
    arrangeUplinks()
    for old in before {
      let name = old.configuration.name
      guard let index = new.streams.firstIndex(where: { $0.name == name }) else { continue }
      uplinks[index].counters = old.counters
      uplinks[index].takeMemory(of: old)
    }
    // The stream that the reports go to has its new place by now.
    takeSpoolReports(clocks: clocks)
    roomTurn = nil
    startClockSteps()
    // A stream that is new here may have records from before.
    countRecovered()
    return true
  }

  /// What is stored is opened as by a start. What was taken while it could not be read, and is not
  /// delivered, is lost; reports name it, so that its sources need not keep it.
  mutating func startOver(clocks: Clocks) {
    for index in uplinks.indices {
      cancelRequests(of: index, now: clocks.now)
      giveBack(index)
    }
    spool.startOver(clocks: clocks)
    settleAll()
    reports.unsafe = []
    takeSpoolReports(clocks: clocks)
    countRecovered()
  }

  private mutating func cancelRequests(of index: Int, now: Instant) {
    for slot in uplinks[index].slots.indices {
      guard case .requesting(let id) = uplinks[index].slots[slot].phase else { continue }
      core.cancel(id, now: now)
      uplinks[index].slots[slot].phase = .ready
    }
  }

  /// What a stream has on its way is read again from the spool.
  mutating func giveBack(_ index: Int) {
    uplinks[index].giveBack()
    spool.rewind(stream: index)
  }

  /// After a reopening every record is on disk; the old stream numbers mean nothing any more.
  private mutating func settleAll() {
    while acknowledgements.takeOldest() != nil {}
    acknowledgements.settled()
    mqtt.recent.everythingIsSafe()
  }

  /// Ports are matched by name, to keep their counters; one that is as it was keeps the frame that it
  /// is in the middle of, too.
  private mutating func takePorts(_ new: Configuration) {
    // Not with `configuration`: where streams changed it is the new one by now.
    guard new.serial != ports.map({ $0.configuration }) else { return }
    var inputs: [SerialInput] = []
    for configuration in new.serial {
      let old = ports.first { $0.configuration.name == configuration.name }
      if var same = old, same.configuration.isSamePort(as: configuration) {
        same.configuration = configuration
        inputs.append(same)
        continue
      }
      var input = SerialInput(configuration)
      if let old { input.continueCounting(from: old) }
      inputs.append(input)
    }
    ports = inputs
  }
}

extension Configuration {
  fileprivate func keepsMemory(of name: ByteString) -> Bool {
    streams.contains { $0.name == name && $0.durability == .memory }
  }
}
