import Configuration
import HPACK
import Ingest
import NetworkingCore
import Policy
import Primitives
import Spool

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
  var ports: [SerialInput]
  var topics: TopicMap
  var mqtt = MQTTInput()
  var acknowledgements = SourceAcknowledgements()
  var uplinks: [Uplink]
  /// Indices into `uplinks`, the most urgent class first.
  var urgency: [Int]
  /// The listener of each stream.
  var listeners: [ByteString]
  var actions = FixedQueue<GatewayAction>(capacity: GatewayLimits.actionsMax)
  /// Log lines that found `actions` full.
  var logLinesLost: UInt64 = 0
  var reports = ReportCounters()
  var ledger: MemoryLedger
  var random: SplitMix64
  var draining = false
  /// When the last turn was finished.
  var turnedAt: Instant
  let startedAt: Instant
  let startedWall: WallTime
  // What the next request is made of, kept for their storage.
  private var batch = RecordBatch()
  private var headers = HeaderList()
  private var body: [UInt8] = []

  /// Opens the spool and is ready to take records. Never fails: what is wrong with the disk becomes
  /// a report, a counter and a log line.
  public init(
    configuration: Configuration, storage: consuming Storage, seed: UInt64, clocks: Clocks
  ) {
    self.configuration = configuration
    random = SplitMix64(seed: seed)
    startedAt = clocks.now
    turnedAt = clocks.now
    startedWall = clocks.wall
    let limits = SpoolLimits(configuration)
    ledger = MemoryLedger(configuration, spool: limits)
    spool = Spool(
      opening: storage, limits: limits,
      streams: configuration.spoolStreams, seed: random.next(), clocks: clocks)
    if configuration.mqtt != nil {
      let stored = spool.recentTokens(ofEachClass: RecentMessages.capacity)
      mqtt.recent = RecentMessages(stored: stored)
    }
    core = NetworkingCore(limits: CoreLimits(), seed: random.next())
    core.apply(configuration.directSnapshot, now: clocks.now)
    ports = configuration.serial.map { SerialInput($0) }
    topics = TopicMap(filters: configuration.mqtt?.subscriptions.map { $0.filter } ?? [])
    uplinks = []
    urgency = []
    listeners = []
    arrangeUplinks()
    report("restart", clocks: clocks) { json in
      json.member("version", ProjectVersion.text)
    }
  }

  /// One uplink a stream, and the order in which they are served.
  mutating func arrangeUplinks() {
    listeners = configuration.listenerNames
    uplinks = []
    for (index, stream) in configuration.streams.enumerated() {
      uplinks.append(
        Uplink(stream: index, configuration: stream, node: configuration.node.id))
    }
    urgency = []
    for priority in UInt8(0)...3 {
      for (index, stream) in configuration.streams.enumerated()
      where stream.priority.rawValue == priority {
        urgency.append(index)
      }
    }
  }

  mutating func replace(configuration: Configuration) { self.configuration = configuration }

  // MARK: The turn

  /// Does everything that follows from what was received and from the time.
  public mutating func finishTurn(clocks: Clocks) {
    turnedAt = clocks.now
    handleSerialTimeouts(clocks: clocks)
    core.setWall(clocks.wall, now: clocks.now)
    if let deadline = core.nextDeadline(), deadline <= clocks.now {
      core.handleTimeout(now: clocks.now)
    }
    while let result = core.nextResult() { finish(result, clocks: clocks) }
    if acknowledgements.isPressing(now: clocks.now) {
      spool.commit(clocks: clocks)
    } else {
      spool.commitIfDue(clocks: clocks)
    }
    takeSpoolReports(clocks: clocks)
    pumpAll(clocks: clocks)
    // A request that could not be sent at all has its result already.
    while let result = core.nextResult() { finish(result, clocks: clocks) }
    settleSources()
    measureMemory()
  }

  mutating func settleSources() {
    for _ in 0..<acknowledgements.unacknowledged {
      guard let message = acknowledgements.takeOldest() else { break }
      if !spool.isSafe(stream: message.stream, sequence: message.sequence) {
        acknowledgements.putBack(message)
      }
    }
    acknowledgements.settled()
  }

  /// The next thing to do; nil when the turn is over.
  public mutating func nextAction() -> GatewayAction? {
    if let action = actions.popFirst() { return action }
    if let action = core.nextAction() { return .transport(action) }
    return nil
  }

  /// When the machine must be called again at the latest; nil: not before something arrives.
  public func nextDeadline() -> Instant? {
    var earliest = core.nextDeadline()
    func consider(_ deadline: Instant?) {
      guard let deadline else { return }
      earliest = min(earliest ?? deadline, deadline)
    }
    consider(spool.nextDeadline())
    consider(acknowledgements.nextDeadline())
    consider(nextRefusalDeadline)
    for port in ports { consider(nextSerialDeadline(port)) }
    for uplink in uplinks {
      consider(uplink.nextDeadline())
      if uplink.configuration.priority == .alarm { consider(uplink.precedenceEnds(now: turnedAt)) }
    }
    return earliest
  }

  // MARK: Uplinks

  /// Alarms go before all: while one is on its way, nothing else sets out, but for a moment only, so
  /// that an alarm that nobody answers does not stop the rest.
  private mutating func pumpAll(clocks: Clocks) {
    for index in urgency {
      if configuration.streams[index].priority != .alarm, alarmIsOnItsWay(now: clocks.now) {
        uplinks[index].yield(now: clocks.now)
      } else {
        pump(index, clocks: clocks)
      }
    }
  }

  private func alarmIsOnItsWay(now: Instant) -> Bool {
    for uplink in uplinks
    where uplink.configuration.priority == .alarm && uplink.precedes(now: now) { return true }
    return false
  }

  /// Fills the free slots of a stream from the spool and submits what is ready.
  mutating func pump(_ index: Int, clocks: Clocks) {
    uplinks[index].wakeBackoffs(now: clocks.now)
    for slot in uplinks[index].slots.indices {
      guard uplinks[index].maySend(now: clocks.now) else { return }
      if uplinks[index].slots[slot].phase == .empty, !draining {
        if spool.next(stream: index, into: &uplinks[index].slots[slot].record, clocks: clocks) {
          uplinks[index].slots[slot].phase = .ready
        }
      }
      guard uplinks[index].slots[slot].phase == .ready else { continue }
      if isExpired(uplinks[index].slots[slot].record, index, clocks) {
        drop(index, slot, .expired, clocks: clocks)
        continue
      }
      submit(index, slot, now: clocks.now)
    }
    uplinks[index].postponeProbe(now: clocks.now)
  }

  private func isExpired(_ record: borrowing SpooledRecord, _ index: Int, _ clocks: Clocks) -> Bool
  {
    let ttl = configuration.streams[index].ttl
    let isComparable = (record.quality == .unsynced) == (clocks.quality == .unsynced)
    guard ttl > .zero, isComparable, record.time.nanoseconds > 0,
      clocks.wall >= GatewayLimits.clockFloor
    else { return false }
    return record.time.nanoseconds + ttl.nanoseconds < clocks.wall.nanoseconds
  }

  private mutating func submit(_ index: Int, _ slot: Int, now: Instant) {
    let stream = configuration.streams[index]
    batch.removeAll()
    batch.append(uplinks[index].slots[slot].record)
    uplinks[index].encoder.encode(batch, 0..<1, headers: &headers, body: &body)
    let request = UpstreamRequest(
      listener: listeners[index], path: stream.path, authority: stream.authority, headers: headers,
      body: body, timeout: nil, token: UInt64(index))
    // Nil: the core is at its limit; the record stays ready and is tried in a later turn.
    guard let id = core.submit(request, now: now) else { return }
    uplinks[index].slots[slot].phase = .requesting(id)
    uplinks[index].sentAt = now
  }

  /// The end of a request: the record is delivered, waits, is held or is parked.
  private mutating func finish(_ result: RequestResult, clocks: Clocks) {
    let index = Int(result.token)
    guard index < uplinks.count, let slot = uplinks[index].slot(of: result.id) else { return }
    let sequence = uplinks[index].slots[slot].record.sequence
    let isCall = configuration.streams[index].encoding == .grpc
    switch DeliveryOutcome.of(result.outcome, retriesConflict: false, isCall: isCall) {
    case .delivered:
      endHold(index, clocks: clocks)
      spool.acknowledge(stream: index, sequence: sequence, now: clocks.now)
      endOutage(of: listeners[index])
      uplinks[index].counters.delivered += 1
      uplinks[index].slots[slot].clear()
    case .transient(let retryAfter):
      waitToRetry(index, slot, retryAfter, result, now: clocks.now)
    case .hold(let status):
      hold(index, slot, status, clocks: clocks)
    case .rejected(let status):
      endHold(index, clocks: clocks)
      park(index, slot, status, clocks: clocks)
    }
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
    uplinks[index].lastFailure = ByteString(result.words)
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
      "stream \(name(index)): \(result.words), attempt \(failures); "
        + "next in \(delay.milliseconds) ms")
  }

  private mutating func hold(_ index: Int, _ slot: Int, _ status: UInt16, clocks: Clocks) {
    let isNew = uplinks[index].hold == nil
    uplinks[index].hold = Uplink.Hold(
      status: status, probeAt: clocks.now + Uplink.probeInterval)
    uplinks[index].slots[slot].phase = .ready
    guard isNew else { return }
    log(
      .warning,
      "stream \(name(index)): upstream answered \(AnswerStatus.words(status)); records are kept, "
        + "probing every 30 s")
    let name = configuration.streams[index].name
    report("held", clocks: clocks) { json in
      json.member("stream", name)
      json.member(AnswerStatus.member(status), UInt64(status))
    }
  }

  private mutating func endHold(_ index: Int, clocks: Clocks) {
    guard let held = uplinks[index].hold else { return }
    uplinks[index].hold = nil
    log(
      .info,
      "stream \(name(index)): upstream takes records again after \(AnswerStatus.words(held.status))"
    )
  }

  private mutating func park(_ index: Int, _ slot: Int, _ status: UInt16, clocks: Clocks) {
    uplinks[index].counters.parked += 1
    let sequence = uplinks[index].slots[slot].record.sequence
    log(
      .warning,
      "stream \(name(index)): upstream answered \(AnswerStatus.words(status)) to record "
        + "\(sequence); it is parked")
    spool.park(stream: index, sequence: sequence, status: status, clocks: clocks)
    uplinks[index].slots[slot].clear()
  }

  private mutating func drop(_ index: Int, _ slot: Int, _ reason: DropReason, clocks: Clocks) {
    let sequence = uplinks[index].slots[slot].record.sequence
    spool.discard(stream: index, sequence: sequence, reason: reason, clocks: clocks)
    uplinks[index].slots[slot].clear()
  }

  func name(_ index: Int) -> String { configuration.streams[index].name.description }

  // MARK: Shutting down

  /// SIGTERM: no record is read from the spool any more; what is on its way may finish.
  public mutating func drain() { draining = true }

  /// Nothing is on its way upstream any more.
  public var isDrained: Bool { uplinks.allSatisfy { !$0.hasRequest } }

  /// Everything is on disk, exactly.
  public mutating func close(clocks: Clocks) {
    takeSpoolReports(clocks: clocks)
    spool.close(clocks: clocks)
  }

  mutating func log(_ level: LogLevel, _ message: String) {
    guard level <= configuration.log else { return }
    if !actions.append(.log(level, message)) { logLinesLost += 1 }
  }
}
