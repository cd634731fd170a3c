import Configuration
import Gateway
import NetworkingCore
import Platform
import Primitives

/// Joins the deterministic machine to the operating system: one thread, one loop, one fixed order a
/// turn. Nothing here decides anything about records.
final class Driver {
  var configuration: Configuration
  let options: Options
  var gateway: Gateway<FileStorage>
  let loop: EventLoop
  let resolver: Resolver
  let signals: SignalDescriptor
  var service = Service()
  var contexts: TLSContexts
  var policyTLS = PolicyTLS()
  var time: SystemClocks
  /// Both clocks as read at the start of this turn.
  var clocks: Clocks
  var standardError: StandardError

  var links: [UpstreamLink] = []
  var linksOpened: UInt32 = 0
  var lookups: [ResolutionID] = []
  var ports: [PortLink] = []
  let devices: DeviceWatcher
  var random: SplitMix64
  var broker: BrokerLink?
  var lastBrokerLookup = UInt64.max
  var subscriptions: SubscriptionFile
  var admin: AdminServer
  var readBuffer: [UInt8]

  /// Set by SIGTERM: when everything must be over.
  var stopAt: Instant?

  init(configuration: Configuration, options: Options) throws(StartError) {
    self.configuration = configuration
    self.options = options
    standardError = StandardError(threshold: configuration.log.severity)
    time = SystemClocks(floor: GatewayLimits.clockFloor)
    clocks = time.read()
    readBuffer = Array(repeating: 0, count: DriverLimits.readBytesMax)
    TLSMemory.limit(to: configuration.memoryLimit(.tls))
    contexts = TLSContexts()
    if let fault = contexts.load(configuration).first { throw fault }
    let storage = try Driver.openStorage(configuration)
    let seed: UInt64
    admin = AdminServer()
    do throws(SystemError) {
      seed = try RandomSeed.next()
      loop = try EventLoop()
      resolver = try Resolver()
      signals = try SignalDescriptor()
      devices = try DeviceWatcher()
      _ = try loop.register(
        resolver.descriptor, token: Token.resolver.packed, interest: .readable)
      _ = try loop.register(signals.descriptor, token: Token.signals.packed, interest: .readable)
      _ = try loop.register(devices.descriptor, token: Token.devices.packed, interest: .readable)
    } catch {
      throw StartError(error.description)
    }
    try admin.listen(configuration.admin, loop: loop)
    random = SplitMix64(seed: seed)
    subscriptions = SubscriptionFile(configuration.spool.directory)
    let policy = Driver.readPolicy(configuration, withCache: true)
    gateway = Gateway(
      configuration: configuration, storage: storage, files: policy.files, seed: random.next(),
      clocks: clocks)
    for fault in policy.faults { log(.error, fault.located(in: options.file)) }
    for line in contexts.complaints(at: clocks.wall) { log(.warning, line) }
    openPorts()
    let plan = try Driver.planBroker(configuration)
    try openBroker(plan, former: formerFilters(of: plan?.configuration))
  }

  private static func openStorage(
    _ configuration: Configuration
  ) throws(StartError) -> FileStorage {
    do throws(FileStorage.OpenError) {
      return try FileStorage(directory: configuration.spool.directory)
    } catch {
      throw StartError(
        "spool \(configuration.spool.directory.description): \(error.description)",
        key: ["spool", "directory"])
    }
  }

  // MARK: The loop

  func run() throws(StartError) {
    finishTurn()
    service.ready(gateway.statusLine(), now: clocks.now)
    log(.info, "spoked \(ProjectVersion.text.description) is ready")
    while !isOver {
      do throws(SystemError) {
        try loop.wait(until: nextDeadline())
      } catch {
        throw StartError(error.description)
      }
      clocks = time.read()
      while let ready = loop.nextReady() { dispatch(ready) }
      finishTurn()
    }
    closeUpstreams()
    gateway.close(clocks: time.read())
    carryOutActions()
  }

  private func dispatch(_ ready: Ready) {
    switch Token(packed: ready.token) {
    case .signals: takeSignals()
    case .resolver: takeResolutions()
    case .devices: devicesChanged()
    case .mqtt: brokerReady(ready)
    case .adminListener(let number): acceptAdmin(number)
    case .admin(let number): adminReady(number, ready)
    case .serial(let number): serialReady(Int(number), ready)
    case .upstream(let number): upstreamReady(number, ready)
    case nil: break
    }
  }

  private func finishTurn() {
    reopenPorts()
    countSerialErrors()
    serveBroker()
    noteMemory()
    gateway.finishTurn(clocks: clocks)
    while handOverRest() { gateway.finishTurn(clocks: clocks) }
    carryOutActions()
    endLingering()
    flushPorts()
    releaseBroker()
    serveAdmin()
    service.turned({ self.gateway.statusLine() }, now: clocks.now)
  }

  /// The lines of the ledger that are kept here.
  private func noteMemory() {
    gateway.noteMemory(.tls, used: TLSMemory.used, high: TLSMemory.high)
    gateway.noteMemory(.mqtt, used: broker?.memory ?? 0)
    gateway.noteMemory(.admin, used: admin.memory)
  }

  private func carryOutActions() {
    while let action = gateway.nextAction() {
      switch action {
      case .transport(let action): perform(action)
      case .log(let level, let message): log(level, message)
      case .writeCache(let bytes): writeCache(bytes)
      case .setCacheAside: setCacheAside()
      }
    }
  }

  private func nextDeadline() -> Instant? {
    var earliest = gateway.nextDeadline()
    func consider(_ deadline: Instant?) {
      guard let deadline else { return }
      earliest = min(earliest ?? deadline, deadline)
    }
    for port in ports {
      consider(port.retryAt)
      consider(port.countsAt)
    }
    for link in links { consider(link.lingerEnd) }
    consider(broker?.client.nextDeadline())
    consider(admin.nextDeadline)
    consider(service.nextDeadline)
    consider(stopAt)
    return earliest
  }

  func log(_ level: LogLevel, _ message: String) {
    standardError.log(level.severity, now: clocks.now, message)
  }

  // MARK: Signals

  private func takeSignals() {
    while let signal = signals.next() {
      switch signal {
      case .terminate, .interrupt: stop()
      case .hangUp: reload()
      case .user1: log(.info, gateway.statusLine())
      case .user2: gateway.commit(clocks: clocks)
      }
    }
  }

  /// No new input; what is on its way upstream may finish within the bound; then everything is
  /// written down.
  private func stop() {
    guard stopAt == nil else { return }
    stopAt = clocks.now + GatewayLimits.drainMax
    service.stopping(within: GatewayLimits.drainMax)
    log(.info, "stopping: requests under way may finish within 5 s")
    gateway.drain()
    closePorts()
    closeBroker()
  }

  private var isOver: Bool {
    guard let stopAt else { return false }
    return gateway.isDrained || clocks.now >= stopAt
  }
}

extension LogLevel {
  var severity: StandardError.Severity {
    switch self {
    case .error: .error
    case .warning: .warning
    case .info: .info
    case .debug: .debug
    }
  }
}

enum DriverLimits {
  /// One read of a descriptor.
  static let readBytesMax = 16_384
  /// Reads of one connection in one turn.
  static let readsPerTurnMax = 4
  /// How long a peer may take to end a connection that our side has ended, how much it may still say,
  /// and how many such connections there are.
  static let lingerMax = Interval.seconds(1)
  static let lingerBytesMax = 262_144
  static let lingeringMax = 4
}
