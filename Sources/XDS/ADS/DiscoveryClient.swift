import GRPC
import Primitives
import Protobuf

/// The client of an aggregated discovery service (ADS), of either transport. It does no I/O: stream
/// events, messages, subscriptions and time go in, actions come out. The messages are those of the
/// stream's `MessageDeframer`, with `DiscoveryLimits.messageBytesMax` as its limit.
///
///     receive ──▶ validate ⇄ submitVerdict, for each resource ──▶ send (ACK or NACK)
///             ──▶ applied ──▶ subscribe … resume ──▶ send (what is subscribed to now)
///
/// One response is processed at a time: the owner reads the next message when `isReady`, which bounds
/// memory and keeps endpoints from overtaking their clusters. Subscriptions that change while a
/// response is processed go out in one request when it is applied.
public struct DiscoveryClient: Sendable {
  public let settings: DiscoverySettings
  /// Every resource: its state, its value, its last error.
  public internal(set) var store: ResourceStore
  public internal(set) var counters = DiscoveryCounters()
  /// The same by type.
  var countersByType = [TypeCounters](repeating: TypeCounters(), count: ResourceType.count)
  /// What the control plane calls itself.
  public internal(set) var controlPlane = ByteString()
  /// The text of the last NACK.
  public internal(set) var lastRejection = ByteString()

  /// The last version that was accepted in full, and the server whose version it is.
  struct AcceptedVersion: Sendable {
    var version = ByteString()
    var server = 0
  }

  let node: [UInt8]
  var servers: [ServerStream]
  var wildcards = [Bool](repeating: false, count: ResourceType.count)
  var accepted = [AcceptedVersion](repeating: AcceptedVersion(), count: ResourceType.count)
  var processing: ResponseProcessing?
  /// What the owner is to be told; at most a few for each resource, because it drains them.
  var notices: [DiscoveryAction] = []
  var random: SplitMix64
  private var lastStream: UInt32 = 0
  /// Numbers the responses, so that an entry knows whether the newest one named it.
  var mark: UInt32 = 0
  /// Numbers the calls of `subscribe`, likewise.
  var wantedMark: UInt32 = 0

  public init(
    _ settings: DiscoverySettings, node: NodeIdentity, seed: UInt64,
    storeBytesMax: Int = DiscoveryLimits.storeBytesMax
  ) {
    precondition(
      settings.servers >= 1 && settings.servers <= DiscoveryLimits.serversMax,
      "discovery: a bit of a resource's entry stands for each server")
    self.settings = settings
    self.node = node.encoded(features: NodeIdentity.discoveryFeatures)
    servers = Array(repeating: ServerStream(), count: settings.servers)
    store = ResourceStore(bytesMax: storeBytesMax)
    random = SplitMix64(seed: seed)
  }

  /// Sets what all resources together may take. Those that are there stay, whatever it is.
  public mutating func limitStore(to bytes: Int) { store.bytesMax = bytes }

  /// The owner may pass the next message.
  public var isReady: Bool { processing == nil }

  /// A server answers: `control_plane.connected_state`.
  public var isConnected: Bool { servers.contains { $0.phase == .open && $0.hasAnswered } }

  /// The server whose answers are in force; nil: none answers.
  public var activeServer: Int? {
    servers.firstIndex { $0.phase == .open && $0.hasAnswered }
  }

  /// What happened to the resources of a type.
  public func typeCounters(_ type: ResourceType) -> TypeCounters {
    countersByType[Int(type.rawValue)]
  }

  /// The last version of a type that was accepted in full; empty: none.
  public func version(_ type: ResourceType) -> ByteString { accepted[Int(type.rawValue)].version }

  // MARK: Events

  /// Begins with the primary server.
  public mutating func start() {
    if servers[0].phase == .idle { servers[0].phase = .wanted }
  }

  /// Closes all streams, for good.
  public mutating func stop() {
    for server in servers.indices { close(server, then: .idle) }
  }

  /// The owner's stream can be written to.
  public mutating func streamOpened(_ stream: UInt32, now: Instant) {
    guard let server = server(of: stream), servers[server].phase == .opening else { return }
    servers[server].phase = .open
    servers[server].openedAt = now
    counters.streamsOpened += 1
    for index in servers[server].subscriptions.indices {
      servers[server].subscriptions[index].isChanged = true
    }
  }

  /// The stream ended, or could not be opened. The server's status is for the log alone: what the
  /// control plane says of itself is not what its clients' requests are answered with.
  public mutating func streamClosed(_ stream: UInt32, now: Instant) {
    guard let server = server(of: stream) else { return }
    lose(server, now: now)
  }

  /// The stream's `MessageDeframer` refused what came: the stream is closed, and opened again after a
  /// back-off, because the server would send the same once more.
  public mutating func messageRefused(_ stream: UInt32, now: Instant) {
    guard let server = server(of: stream) else { return }
    counters.malformed += 1
    abandon(server, now: now)
  }

  /// No request is made for the stream while the server does not read the one before: what changes
  /// meanwhile is in the next one.
  public mutating func setBlocked(_ stream: UInt32, _ isBlocked: Bool) {
    guard let server = server(of: stream) else { return }
    servers[server].isBlocked = isBlocked
  }

  /// Whether a message of the stream may be passed: the one before is in force and answered.
  func isReady(for stream: UInt32) -> Bool {
    guard isReady, let server = server(of: stream), servers[server].phase == .open else {
      return false
    }
    return !servers[server].subscriptions.contains { $0.answer != .none }
  }

  /// Waits no longer: the network has changed.
  public mutating func retryNow() {
    for server in servers.indices {
      if case .waiting = servers[server].phase { servers[server].phase = .wanted }
    }
  }

  /// When `handleTimeout` has something to do.
  public func nextDeadline() -> Instant? {
    var next: Instant?
    func consider(_ deadline: Instant?) {
      guard let deadline else { return }
      if let earlier = next, earlier <= deadline { return }
      next = deadline
    }
    for server in servers {
      if case .waiting(let until) = server.phase { consider(until) }
    }
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      for place in 0..<store.count(type) {
        consider(store[type, place].fetchDeadline)
        consider(store[type, place].expiry)
      }
    }
    return next
  }

  // MARK: Actions

  /// The next thing to do; nil: nothing until the next event.
  public mutating func nextAction(now: Instant) -> DiscoveryAction? {
    if !notices.isEmpty { return notices.removeFirst() }
    if let action = processing?.nextStep() { return action }
    for server in servers.indices where servers[server].closing != 0 {
      let stream = servers[server].closing
      servers[server].closing = 0
      return .close(stream: stream)
    }
    for server in servers.indices
    where servers[server].phase == .open && !servers[server].isBlocked {
      if let message = nextRequest(server, now: now) {
        return .send(stream: servers[server].stream, message: message)
      }
    }
    // After the answer, so that the server hears of it before what follows from it.
    if processing?.phase == .answering, let type = processing?.type {
      processing?.phase = .applied
      return .applied(type)
    }
    for server in servers.indices where servers[server].phase == .wanted {
      lastStream &+= 1
      servers[server].phase = .opening
      servers[server].stream = lastStream
      return .open(stream: lastStream, server: server)
    }
    return nil
  }

  /// What was accepted is in force.
  public mutating func resume() {
    guard let phase = processing?.phase else { return }
    precondition(phase == .applied, "discovery: resumed before `applied`")
    processing = nil
  }

  // MARK: Servers

  func server(of stream: UInt32) -> Int? {
    stream == 0 ? nil : servers.firstIndex { $0.stream == stream }
  }

  /// A response came: no server after this one is needed.
  mutating func noteAnswer(of server: Int) {
    guard !servers[server].hasAnswered else { return }
    servers[server].hasAnswered = true
    servers[server].isUnreachable = false
    for lower in servers.indices where lower > server {
      close(lower, then: .idle)
      servers[lower].isUnreachable = false
      servers[lower].backOff.reset()
    }
  }

  /// Ends a stream of our own accord, as one that answered nothing.
  mutating func abandon(_ server: Int, now: Instant) {
    servers[server].closing = servers[server].stream
    if servers[server].hasAnswered, !isQuick(server, now) { servers[server].backOff.reset() }
    servers[server].hasAnswered = false
    lose(server, now: now)
  }

  /// The stream ends soon after it was opened: several such are no accident.
  private func isQuick(_ server: Int, _ now: Instant) -> Bool {
    now - servers[server].openedAt < ServerStream.quickly
  }

  private mutating func lose(_ server: Int, now: Instant) {
    counters.streamsLost += 1
    let wasAnswered = servers[server].hasAnswered
    let isQuick = isQuick(server, now)
    servers[server].quickEnds = wasAnswered && isQuick ? servers[server].quickEnds + 1 : 0
    forget(server)
    if wasAnswered, !isQuick { servers[server].backOff.reset() }
    if wasAnswered, servers[server].quickEnds < ServerStream.quickEndsMax {
      servers[server].reset(to: .wanted)
      return
    }
    let delay = servers[server].backOff.delay(&random)
    servers[server].reset(to: .waiting(until: now + delay))
    if !wasAnswered {
      servers[server].isUnreachable = true
      notices.append(.unreachable(server: server))
    }
    fallBack()
  }

  private mutating func close(_ server: Int, then phase: ServerStream.Phase) {
    if servers[server].stream != 0 {
      servers[server].closing = servers[server].stream
      forget(server)
    }
    servers[server].reset(to: phase)
  }

  /// What was asked on the stream is asked no more.
  private mutating func forget(_ server: Int) {
    if processing?.server == server, processing?.phase != .applied {
      // What was accepted so far is in force, which the owner has yet to hear.
      processing?.phase = .answering
    }
    let bit = UInt8(1) << UInt8(server)
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      var place = store.count(type)
      while place > 0 {
        place -= 1
        guard store[type, place].asked & bit != 0 else { continue }
        store[type, place].asked &= ~bit
        // The time runs only while somebody can answer.
        if store[type, place].asked == 0 { store[type, place].fetchDeadline = nil }
        dropIfUnused(type, place)
      }
    }
  }

  /// Asks the next server, while those before it do not answer and something is missing. They are
  /// dialled all the same.
  mutating func fallBack() {
    for server in servers.indices.dropLast() {
      guard servers[server].isUnreachable, !servers[server].hasAnswered else { return }
      guard settings.fallsBackOnReachabilityOnly || isSomethingMissing else { return }
      if servers[server + 1].phase == .idle { servers[server + 1].phase = .wanted }
    }
  }

  private var isSomethingMissing: Bool {
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      var hasAny = false
      for place in 0..<store.count(type) {
        let entry = store[type, place]
        hasAny = hasAny || entry.hasValue
        if entry.isSubscribed, !entry.hasValue, entry.state != .doesNotExist { return true }
      }
      if wildcards[Int(raw)], !hasAny { return true }
    }
    return false
  }
}
