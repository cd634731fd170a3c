import Policy
import Primitives

/// Makes a policy out of resources. It owns the client of the control plane, subscribes to what is
/// needed, from the listeners on, and puts together an immutable snapshot whenever everything that the
/// snapshot refers to is there. No I/O.
///
///     listeners ─▶ LDS ─▶ RDS ─▶ CDS ─▶ EDS, SDS        layers ─▶ RTDS
///
/// Make before break (gRFC A74). What is in force is kept apart from what came last: a listener or a
/// route configuration goes into force once all its clusters have been in force or are known not to
/// exist, a cluster once its endpoints and secrets are there or known not to exist. Until then the
/// former one stays, and both are subscribed to. What is needed is computed from scratch each time;
/// nothing is counted up and down.
public struct PolicyAssembler: Sendable {
  /// Events of streams go straight to it; what it asks for comes out of `nextAction` here.
  public var client: DiscoveryClient
  public internal(set) var settings: AssemblerSettings
  /// What is in force.
  public internal(set) var snapshot = PolicySnapshot()
  public internal(set) var counters = AssemblerCounters()

  /// A listener as it is in force. It and the next one never change, and are shared.
  final class ListenerInForce: Sendable {
    let listener: Listener
    /// Nil: the routes stood in the listener.
    let routesName: ByteString?
    let clusters: [ByteString]

    init(_ listener: Listener, routesName: ByteString?, clusters: [ByteString]) {
      self.listener = listener
      self.routesName = routesName
      self.clusters = clusters
    }
  }

  /// A cluster as it is in force.
  final class ClusterInForce: Sendable {
    let cluster: Cluster
    let endpointsName: ByteString?
    let secretNames: [ByteString]

    init(_ cluster: Cluster, endpointsName: ByteString?, secretNames: [ByteString]) {
      self.cluster = cluster
      self.endpointsName = endpointsName
      self.secretNames = secretNames
    }
  }

  var decoded = DecodedStore()
  /// In the order of the names, as everything here.
  var listeners: [ListenerInForce] = []
  var clusters: [ClusterInForce] = []
  /// Listeners that have never been in force, and since when something of them is there.
  var beginnings: [(name: ByteString, since: Instant)] = []
  var subscribed = WantedNames()
  /// What the store had left when there was none for a name; nil: all are asked for.
  var roomRefused: Int?
  /// The clusters of what came last, whether it is in force or not.
  var expected = NameSet()
  /// Something in force has a successor that is not whole yet.
  public internal(set) var isBehind = false
  /// Something came or went since the last assembly.
  var isStale = true
  var notices: [AssemblerAction] = []
  /// No server is asked: what no file has will never come.
  let hasServers: Bool
  let tlsFault: TLSFault

  /// What is wrong with a certificate, its key or roots, which only a TLS library can tell; nil: nothing.
  public typealias TLSFault = @Sendable (TLSPart) -> ByteString?

  /// `hasServers`: false when all resources are in files.
  public init(
    client: DiscoveryClient, settings: AssemblerSettings, hasServers: Bool,
    tlsFault: @escaping TLSFault = { _ in nil }
  ) {
    self.client = client
    self.settings = settings
    self.hasServers = hasServers
    self.tlsFault = tlsFault
  }

  /// Connects to the control plane.
  public mutating func start() {
    if hasServers { client.start() }
  }

  /// Waits no longer for a server: the network has changed.
  public mutating func retryNow() { client.retryNow() }

  /// Other listeners, layers or reserved names.
  public mutating func change(_ settings: AssemblerSettings) {
    guard settings != self.settings else { return }
    self.settings = settings
    isStale = true
  }

  /// Begins with what another one had in force, until there is something newer.
  public mutating func inherit(_ other: PolicyAssembler) {
    listeners = other.listeners
    clusters = other.clusters
    snapshot = other.snapshot
    counters = other.counters
  }

  /// When `handleTimeout` has something to do.
  public func nextDeadline() -> Instant? {
    var next = client.nextDeadline()
    guard client.settings.fetchTimeout > .zero, !client.isConnected else { return next }
    for beginning in beginnings {
      let deadline = beginning.since + client.settings.fetchTimeout
      next = min(next ?? deadline, deadline)
    }
    return next
  }

  /// A deadline has passed.
  public mutating func handleTimeout(now: Instant) {
    client.handleTimeout(now: now)
    for beginning in beginnings where isOverdue(beginning, now: now) { isStale = true }
  }

  /// While a server answers, each resource has its own time.
  func isOverdue(_ beginning: (name: ByteString, since: Instant), now: Instant) -> Bool {
    let timeout = client.settings.fetchTimeout
    return timeout > .zero && !client.isConnected && beginning.since + timeout <= now
  }

  /// The next thing to do; nil: nothing until the next event.
  public mutating func nextAction(now: Instant) -> AssemblerAction? {
    while true {
      if !notices.isEmpty { return notices.removeFirst() }
      while let action = client.nextAction(now: now) {
        if let action = take(action, now: now) { return action }
      }
      if let roomRefused, client.store.room > roomRefused { isStale = true }
      if isStale { assemble(now: now) } else if notices.isEmpty { return nil }
    }
  }

  private mutating func take(_ action: DiscoveryAction, now: Instant) -> AssemblerAction? {
    switch action {
    case .open(let stream, let server): return .open(stream: stream, server: server)
    case .send(let stream, let message): return .send(stream: stream, message: message)
    case .close(let stream): return .close(stream: stream)
    case .unreachable(let server): return .unreachable(server: server)
    case .validate:
      validate()
    case .applied:
      assemble(now: now)
      client.resume()
    case .available(let type, let name):
      adopt(type, name)
    case .removed(let type, let name):
      isStale = true
      // It may be there again by now.
      if client.store.entry(type, name)?.hasValue != true { decoded.remove(type, name) }
      return .removed(type, name)
    case .failed(let type, let name):
      isStale = true
      return .failed(type, name)
    }
    return nil
  }
}

/// What happened, counted.
public struct AssemblerCounters: Equatable, Sendable {
  /// Snapshots that were put in force.
  public internal(set) var snapshots: UInt64 = 0
  /// Listeners that went into force without all of their clusters, because their time was up.
  public internal(set) var incomplete: UInt64 = 0
}

/// The names that are asked for.
struct WantedNames: Equatable, Sendable {
  var types: [NameSet] = Array(repeating: NameSet(), count: ResourceType.count)

  subscript(type: ResourceType) -> NameSet {
    get { types[Int(type.rawValue)] }
    _modify { yield &types[Int(type.rawValue)] }
  }
}
