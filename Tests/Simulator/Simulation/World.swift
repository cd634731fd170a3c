import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// The whole daemon in a world made of faults: its upstreams, its broker, its boards, its disk and its
/// clocks, all in one process and out of one seed. Time jumps to whatever happens next.
final class World {
  enum Phase { case faults, draining, over }

  let plan: Plan
  /// The plan in force, which a reload may have changed, and its configuration.
  var current: Plan
  var configuration: Configuration
  let disk = CrashingDisk()
  let limits: SpoolLimits
  var gateway: Gateway<CrashingStorage>

  var now = Instant(nanoseconds: 1_000_000_000)
  /// What the gateway's monotonic clock is behind: it begins anew with each boot.
  var bootOffset: UInt64 = 0
  var wallOffset: Int64 = 0
  var quality = ClockQuality.synced

  var timeline = Timeline()
  var phase = Phase.faults
  var faultsEnd: Instant
  var draw: Draw
  var trace = Trace()
  var counts = FaultCounts()
  var ledger: Ledger
  let reader: RequestReader
  var complaints: [String] = []

  // The process.
  var isAlive = false
  var isStopping = false
  var run = 0
  /// By stream: the last number that was seen to be given out.
  var marks: [RecordNumber] = []
  var timesStartedOver: UInt32 = 0
  /// Log lines of the turn in which the process was killed.
  var unsaid: [String] = []
  var idleTurns = 0
  var turns = 0
  var checkedOperations = 0
  /// The largest limit that each pool of this run of the daemon has had.
  var poolLimits: [Int] = []

  // The control plane, and what the daemon keeps of it on its own disk.
  var plane: Plane?
  var policyCache: [UInt8]?

  // Upstreams.
  var wires: [Wire] = []
  var wiresOpened = 0
  var hosts: [HostState]

  // Sources.
  var boards: [Board] = []
  var broker = Broker()
  var client = BrokerClient()
  var made: [UInt64]

  // What is broken now, by kind: the number of the fault, so that an earlier one's end does not mend it.
  var broken: [Int]
  var isOut: [Bool]
  var fullAt = UInt64.max
  var readOnlyError = false
  var wasDamaged = false
  var wasQuarantined = false
  /// A crash came between the end of a cursor that was not to be synced again and the next one.
  var wasCursorLost = false
  /// A crash happened since the spool was last closed in order.
  var hasCrashed = false
  // In the second phase: the least that was ever left, and when that was reached.
  var least = UInt64.max
  /// Everything was drained once, and the daemon was stopped and started again.
  var hasEndedInOrder = false
  var progressedAt = Instant(nanoseconds: 0)

  init(seed: UInt64, hours: Interval?, print: ((ByteString) -> Void)? = nil) {
    plan = Plan(seed: seed, hours: hours)
    current = plan
    configuration = plan.configuration
    limits = SpoolLimits(configuration)
    draw = plan.draw
    ledger = Ledger(streams: plan.streams.count)
    reader = RequestReader(streams: plan.streams.map { $0.name })
    hosts = plan.hosts.map { _ in HostState() }
    if let host = plan.plane?.host { plane = Plane(streams: plan.streams, hosts: host) }
    made = plan.sources.map { _ in 0 }
    broken = FaultKind.allCases.map { _ in 0 }
    isOut = FaultKind.allCases.map { _ in false }
    faultsEnd = Instant(nanoseconds: 1_000_000_000) + plan.duration
    trace.print = print
    if plan.isUnsyncedAtStart { quality = .unsynced }
    let clocks = Clocks(
      now: Instant(nanoseconds: 1_000_000_000), wall: WallTime(nanoseconds: World.epoch),
      quality: quality)
    gateway = Gateway(
      configuration: configuration, storage: CrashingStorage(disk), seed: draw.next(),
      clocks: clocks)
    makeBoards()
    trace.say(now, plan.text.description)
    processStarted()
    schedule()
  }

  /// The longest take some ten thousand.
  static let turnsMax = 2_000_000

  /// 2027-01-15T08:00:00Z.
  static let epoch: Int64 = 1_800_000_000 * 1_000_000_000

  // MARK: Time

  /// What the daemon reads.
  var clocks: Clocks {
    Clocks(
      now: Instant(nanoseconds: now.nanoseconds - bootOffset),
      wall: WallTime(nanoseconds: World.epoch + Int64(now.nanoseconds) + wallOffset),
      quality: quality)
  }

  func after(_ interval: Interval, _ happening: Happening) {
    timeline.add(happening, at: now + interval)
  }

  private func schedule() {
    for index in plan.sources.indices {
      after(draw.wait(plan.sources[index].every), .emit(source: index))
    }
    for kind in FaultKind.scheduled {
      if let mean = plan.faults.mean(kind) { after(draw.wait(mean), .fault(kind)) }
    }
  }

  /// Runs until everything is drained, or something is wrong.
  func play() {
    while phase != .over, complaints.isEmpty {
      if turns > World.turnsMax { complain("it takes more turns than any world should") }
      guard advance() else {
        complain("nothing is to happen any more")
        return
      }
    }
    if complaints.isEmpty { judge() }
  }

  private func advance() -> Bool {
    var next = timeline.next
    var isDeadline = false
    if isAlive, let deadline = gateway.nextDeadline() {
      let at = Instant(nanoseconds: deadline.nanoseconds + bootOffset)
      if next.map({ at <= $0 }) ?? true {
        next = at
        isDeadline = true
      }
    }
    if isBrokerReadable {
      next = now
      isDeadline = false
    }
    if let end = phaseEnd, next.map({ $0 > end }) ?? true {
      now = max(now, end)
      endPhase()
      return true
    }
    guard let next else { return false }
    countIdle(isDeadline && next <= now)
    now = max(now, next)
    while let happening = timeline.pop(due: now) { happen(happening) }
    turn()
    return true
  }

  /// A deadline that is not later after its turn would keep a real loop spinning.
  private func countIdle(_ isOverdue: Bool) {
    idleTurns = isOverdue ? idleTurns + 1 : 0
    if idleTurns > 0 { now = now + .microseconds(1) }
    if idleTurns > 100 { complain("the daemon spins: a deadline stays in the past") }
  }

  private func happen(_ happening: Happening) {
    switch happening {
    case .emit(let source): emit(source)
    case .line(let port, let run): if run == self.run, isAlive { lineDelivers(port) }
    case .plug(let port): plug(port)
    case .fault(let kind): strike(kind)
    case .mended(let kind, let number): mend(kind, number)
    case .start: startProcess()
    case .closed(let run): if run == self.run { finishStopping() }
    case .resolved(let id, let host, let isFound, let run):
      if run == self.run, isAlive { resolved(id, host, isFound) }
    case .connected(let wire): connected(wire)
    case .handshaken(let wire): handshaken(wire)
    case .connectFailed(let wire): connectFailed(wire)
    case .toServer(let wire): arriveAtServer(wire)
    case .toClient(let wire): arriveAtClient(wire)
    case .serverReads(let wire): arriveAtServer(wire)
    case .answer(let wire, let stream, let answer): give(answer, wire, stream)
    case .serverCloses(let wire): serverCloses(wire)
    case .brokerUp: brokerUp()
    case .mqttConnected(let link): mqttConnected(link)
    case .mqttMessage(let link, let message, let id): mqttArrived(link, message, id)
    case .mqttAcknowledged(let link, let id): mqttAcknowledged(link, id)
    }
  }

  func complain(_ words: String) {
    trace.say(now, words)
    if complaints.count < 8 { complaints.append(words) }
  }
}
