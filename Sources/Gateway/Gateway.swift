import Configuration
import HPACK
import Ingest
import NetworkingCore
import Policy
import Primitives
import Spool
import XDS

/// The whole daemon as one deterministic machine: bytes, messages and time go in; actions come out.
/// It owns no descriptor and reads no clock, so that a simulator runs exactly this code.
///
/// One loop turn, in this order:
///
///     receive…(…)  any number of times    bytes and messages that arrived
///     finishTurn   once                   results, time-outs, commit, new requests
///     nextAction   until nil              what the driver must do now
///     mayReleaseMQTT                      whether acknowledgements may leave
///
/// A record's way, one file a step, is in `spoked.docc/Architecture.md`.
public struct Gateway<Storage: SegmentStorage & ~Copyable>: ~Copyable {
  public private(set) var configuration: Configuration
  var spool: Spool<Storage>
  var core: NetworkingCore
  /// What is in force in the core.
  var policy = PolicySnapshot()
  /// Nil: all targets are hosts.
  var controlPlane: ControlPlane?
  var ports: [SerialInput]
  var topics: TopicMap
  var mqtt = MQTTInput()
  var acknowledgements = SourceAcknowledgements()
  var uplinks: [Uplink]
  /// Indices into `uplinks`: the streams of alarms.
  var alarms: [Int] = []
  /// How the other streams share the way to their target, one for each target.
  var shares: [LinkShare] = []
  /// The listener of each stream.
  var listeners: [ByteString]
  var actions = FixedQueue<GatewayAction>(capacity: GatewayLimits.actionsMax)
  /// Log lines that found `actions` full.
  var logLinesLost: UInt64 = 0
  var reports = ReportCounters()
  var ledger: MemoryLedger
  /// The stream with a large record that is the first to get what deliveries give back.
  var roomTurn: Int?
  var random: SplitMix64
  var clockSteps = ClockSteps()
  var draining = false
  /// That of the configuration, until `/logging` sets another one.
  public internal(set) var logLevel: LogLevel
  /// When the last turn was finished.
  var turnedAt: Instant
  let startedAt: Instant
  let startedWall: WallTime
  // What the next request is made of, kept for their storage.
  var headers = HeaderList()
  var body: [UInt8] = []

  /// Opens the spool and is ready to take records. Never fails: what is wrong with the disk, or with
  /// `files`, becomes a report, a counter and a log line.
  public init(
    configuration: Configuration, storage: consuming Storage, files: PolicyFiles = PolicyFiles(),
    seed: UInt64, clocks: Clocks
  ) {
    self.configuration = configuration
    logLevel = configuration.log
    random = SplitMix64(seed: seed)
    startedAt = clocks.now
    turnedAt = clocks.now
    startedWall = clocks.wall
    let limits = SpoolLimits(configuration)
    ledger = MemoryLedger(configuration)
    spool = Spool(
      opening: storage, limits: limits,
      streams: configuration.spoolStreams, seed: random.next(), clocks: clocks)
    if configuration.mqtt != nil {
      let stored = spool.recentTokens(ofEachClass: RecentMessages.storedMax)
      mqtt.recent = RecentMessages(stored: stored)
    }
    core = NetworkingCore(limits: CoreLimits(), seed: random.next())
    ports = configuration.serial.map { SerialInput($0) }
    topics = TopicMap(filters: configuration.mqtt?.subscriptions.map { $0.filter } ?? [])
    uplinks = []
    listeners = []
    arrangeUplinks()
    startClockSteps()
    report("restart", clocks: clocks) { json in
      json.member("version", ProjectVersion.text)
    }
    controlPlane = makeControlPlane(configuration, files, clocks: clocks)
    shareOutMemory()
    applyPolicy(now: clocks.now)
    takeSpoolReports(clocks: clocks)
    countRecovered()
  }

  /// One uplink a stream, and the order in which they are served.
  mutating func arrangeUplinks() {
    listeners = configuration.listenerNames
    uplinks = []
    for (index, stream) in configuration.streams.enumerated() {
      uplinks.append(
        Uplink(stream: index, configuration: stream, node: configuration.node.id))
      if stream.durability == .memory {
        uplinks[index].memory = MemoryRing(epoch: random.next())
      }
    }
    alarms = []
    shares = []
    for priority in UInt8(0)...3 {
      for (index, stream) in configuration.streams.enumerated()
      where stream.priority.rawValue == priority {
        if stream.priority == .alarm { alarms.append(index) } else { share(index) }
      }
    }
  }

  private mutating func share(_ index: Int) {
    for share in shares.indices where shares[share].listener == listeners[index] {
      return shares[share].flows.append(LinkShare.Flow(stream: index))
    }
    shares.append(LinkShare(listener: listeners[index], streams: [index]))
  }

  mutating func replace(configuration: Configuration) { self.configuration = configuration }

  // MARK: The turn

  /// Does everything that follows from what was received and from the time.
  public mutating func finishTurn(clocks: Clocks) {
    turnedAt = clocks.now
    noteClock(clocks)
    handleSerialTimeouts(clocks: clocks)
    core.setWall(isBeforeFloor(clocks) ? nil : clocks.wall, now: clocks.now)
    if let deadline = core.nextDeadline(), deadline <= clocks.now {
      core.handleTimeout(now: clocks.now)
    }
    serveControlPlane(clocks: clocks)
    finishRequests(clocks: clocks)
    if acknowledgements.isPressing(now: clocks.now), spool.mayPress(now: clocks.now) {
      spool.commit(clocks: clocks)
    } else {
      spool.commitIfDue(clocks: clocks)
    }
    if spool.isStranded { startOver(clocks: clocks) }
    for _ in 0..<GatewayLimits.roundsMax {
      takeSpoolReports(clocks: clocks)
      pumpAll(clocks: clocks)
      // A request that could not be sent at all has its result already.
      finishRequests(clocks: clocks)
      // What expired on the way out is counted and reported in the same turn.
      guard spool.hasReports else { break }
    }
    takeSpoolReports(clocks: clocks)
    settleSources()
    if draining, isIdle { closeLoadReports(clocks: clocks) }
    measureMemory()
  }

  mutating func settleSources() {
    for _ in 0..<acknowledgements.unacknowledged {
      guard let message = acknowledgements.takeOldest() else { break }
      if !isSafe(message) {
        acknowledgements.putBack(message)
      }
    }
    acknowledgements.settled()
    confirmReports()
  }

  private func isSafe(_ message: SourceAcknowledgements.Waiting) -> Bool {
    uplinks[message.stream].memory != nil
      || spool.isSafe(stream: message.stream, sequence: message.sequence)
  }

  /// The next thing to do; nil when the turn is over.
  public mutating func nextAction() -> GatewayAction? {
    if let action = actions.popFirst() { return action }
    if let action = core.nextAction() { return .transport(action) }
    return nil
  }

  /// When the machine must be called again at the latest; nil: not before something arrives.
  public func nextDeadline() -> Instant? {
    // A write or a connection that failed while the actions were carried out ended a request after
    // the turn had taken the results: it is not left to whatever wakes the daemon next.
    if core.hasResult { return turnedAt }
    // The log had no room for more of them.
    if !draining, hasRoomForReports, spool.hasReports { return turnedAt }
    var earliest = core.nextDeadline()
    func consider(_ deadline: Instant?) {
      guard let deadline else { return }
      earliest = min(earliest ?? deadline, deadline)
    }
    consider(spool.nextDeadline())
    if let plane = controlPlane {
      consider(plane.isTouched ? turnedAt : plane.deadline)
      consider(plane.partingEnds)
    }
    consider(acknowledgements.nextDeadline(now: turnedAt))
    consider(nextLossDeadline)
    for share in shares { consider(share.waitsUntil) }
    for port in ports { consider(nextSerialDeadline(port)) }
    for index in uplinks.indices { consider(uplinks.span[index].nextDeadline()) }
    for index in alarms { consider(uplinks.span[index].precedenceEnds(now: turnedAt)) }
    return earliest
  }

  func name(_ index: Int) -> String { configuration.streams[index].name.description }

  // MARK: Shutting down

  /// SIGTERM: no record is read from the spool any more; what is on its way may finish.
  public mutating func drain() { draining = true }

  /// Nothing is on its way upstream any more, nor could anything set out that is not on disk.
  public var isDrained: Bool { isIdle && !isParting }

  private var isIdle: Bool { !uplinks.contains { $0.hasRequest || $0.hasUnsentMemory } }

  /// Everything is on disk, exactly; what cannot be is reported.
  public mutating func close(clocks: Clocks) {
    for index in uplinks.indices {
      spool.rewind(stream: index)
      loseMemory(of: index, clocks: clocks)
    }
    for index in reports.losses.indices { reports.losses[index].dueAt = clocks.now }
    writeCache(now: clocks.now)
    // A disk that is back by now takes what it could not take before: in the next round. One operation of it
    // may fail meanwhile.
    for _ in 0..<3 {
      takeSpoolReports(clocks: clocks)
      spool.commit(clocks: clocks)
    }
    confirmReports()
    spool.close(clocks: clocks)
    if isDegraded { logUntold() }
  }

  mutating func log(_ level: LogLevel, _ message: String) {
    guard level <= logLevel else { return }
    if !actions.append(.log(level, message)) { logLinesLost += 1 }
  }
}
