import HPACK
import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

/// A core, its network and its clock, all in memory. Time only moves when a test says so.
final class Bench {
  enum OnConnect {
    case accept
    case fail(String)
    case ignore
  }
  enum OnResolve {
    case addresses([SocketAddress], ttl: Interval?)
    case fail, ignore
  }

  var core: NetworkingCore
  var now = Instant(nanoseconds: 1_000_000_000)
  var peers: [ConnectionID: ScriptedPeer] = [:]
  /// All that ever were, in the order of their opening.
  var allPeers: [ScriptedPeer] = []
  var connecting: [ConnectionID: SocketAddress] = [:]
  var results: [RequestResult] = []
  var connects: [(at: Instant, address: SocketAddress, security: Security)] = []
  var resolves: [(at: Instant, id: ResolutionID, host: ByteString)] = []
  var closes = 0
  var events: [StreamEvent] = []
  /// By stream: what came of its response's body and was taken.
  var bodies: [RequestID: [UInt8]] = [:]

  var onConnect: (SocketAddress) -> OnConnect = { _ in .accept }
  var onResolve: (ByteString) -> OnResolve = { _ in
    .addresses([SocketAddress(192, 0, 2, 1, port: 443)], ttl: nil)
  }
  var onHeaders: (ScriptedPeer, UInt32) -> Void = { _, _ in }
  var onRequest: (ScriptedPeer, UInt32) -> Void = { peer, stream in peer.respond(stream, 200) }
  var serverConfiguration = HTTP2Configuration()
  /// What a long-lived stream takes of what waits, at most; 0: nothing.
  var reads = Int.max
  /// False: sockets are full, nothing that the core writes leaves.
  var takesOutput = true
  /// Bytes taken at once, on both ways.
  var segment = Int.max

  init(
    _ snapshot: PolicySnapshot = Bench.fixed(), limits: CoreLimits = CoreLimits(),
    seed: UInt64 = 1
  ) {
    core = NetworkingCore(limits: limits, seed: seed)
    core.apply(snapshot, now: now)
  }

  // MARK: Snapshots

  static let address = SocketAddress(192, 0, 2, 1, port: 443)

  /// One listener and one cluster, both `up`, with fixed endpoints.
  static func fixed(
    _ addresses: [SocketAddress] = [address], name: ByteString = "up",
    retry: RetryPolicy = RetryPolicy(conditions: [.reset, .connectFailure, .refusedStream]),
    timeout: Interval = .seconds(15), idleTimeout: Interval = .seconds(300),
    change: (inout Cluster) -> Void = { _ in },
    route: (inout ForwardAction) -> Void = { _ in }, host: (inout VirtualHost) -> Void = { _ in }
  ) -> PolicySnapshot {
    var cluster = Cluster(
      name: name,
      discovery: .endpoints(Assignment(endpoints: addresses.map { Endpoint(address: $0) })))
    change(&cluster)
    var action = ForwardAction(
      clusters: [WeightedCluster(name: name)], timeout: timeout,
      idleTimeout: idleTimeout, retryPolicy: retry)
    route(&action)
    var virtualHost = VirtualHost(
      name: name, domains: [.any],
      routes: [Route(name: name, path: .prefix("/"), action: .forward(action))])
    host(&virtualHost)
    return PolicySnapshot(
      listeners: [
        Listener(
          name: name, routes: RouteConfiguration(name: name, virtualHosts: [virtualHost]))
      ], clusters: [cluster])
  }

  static func named(
    kind: DNSDiscovery.Kind = .logical, change: (inout Cluster) -> Void = { _ in }
  ) -> PolicySnapshot {
    fixed { cluster in
      cluster.discovery = .dns(
        DNSDiscovery(host: "up.example.com", port: 443, kind: kind, refresh: .seconds(60)))
      change(&cluster)
    }
  }

  // MARK: Driving

  @discardableResult
  func submit(
    _ token: UInt64 = 0, body: [UInt8] = Array("hello".utf8), listener: ByteString = "up",
    path: ByteString = "/v1/state", headers: [(String, String)] = [], timeout: Interval? = nil
  ) -> RequestID? {
    var list = HeaderList()
    for (name, value) in headers { list.append(ByteString(name), ByteString(value)) }
    let request = UpstreamRequest(
      listener: listener, path: path, authority: "up.example.com", headers: list, body: body,
      timeout: timeout, token: token)
    let id = core.submit(request, now: now)
    run()
    return id
  }

  /// Exchanges bytes until nothing moves.
  func run() {
    for _ in 0..<10_000 {
      var isMoving = false
      while let action = core.nextAction() {
        isMoving = true
        perform(action)
      }
      for peer in allPeers where peers[peer.id] === peer {
        let bytes = peer.takeOutput()
        guard !bytes.isEmpty else { continue }
        isMoving = true
        deliver(bytes, to: peer.id)
      }
      while let event = core.nextStreamEvent() {
        isMoving = true
        events.append(event)
        if case .data(let id) = event { read(id) }
      }
      while let result = core.nextResult() { results.append(result) }
      if let deadline = core.nextDeadline(), deadline <= now {
        isMoving = true
        core.handleTimeout(now: now)
      }
      if !isMoving { return }
    }
    Issue.record("the core and its peers never come to rest")
  }

  /// Takes what waits on a stream, in pieces of at most `reads`.
  func read(_ id: RequestID) {
    var taken = 0
    repeat {
      taken = core.takeBody(id, now: now) { bytes in
        let count = min(bytes.count, reads)
        for index in 0..<count { bodies[id, default: []].append(bytes[index]) }
        return count
      }
    } while taken > 0
  }

  /// Opens a long-lived stream.
  func open(_ token: UInt64 = 100, path: ByteString = "/service/Stream") -> RequestID? {
    let request = UpstreamRequest(
      listener: "up", path: path, authority: "up.example.com", token: token)
    let id = core.openStream(request, now: now)
    run()
    return id
  }

  @discardableResult
  func send(_ id: RequestID, _ bytes: [UInt8]) -> Bool {
    let isTaken = core.send(id, bytes.span, now: now)
    run()
    return isTaken
  }

  private func deliver(_ bytes: [UInt8], to id: ConnectionID) {
    var start = 0
    while start < bytes.count {
      let end = start + min(segment, bytes.count - start)
      core.received(id, bytes.span.extracting(start..<end), now: now)
      start = end
    }
  }

  private func perform(_ action: TransportAction) {
    switch action {
    case .resolve(let id, let host, _):
      resolves.append((now, id, host))
      switch onResolve(host) {
      case .addresses(let addresses, let ttl):
        core.resolved(id, addresses, ttl: ttl, now: now)
      case .fail: core.resolutionFailed(id, now: now)
      case .ignore: break
      }
    case .connect(let id, let address, let security):
      connects.append((now, address, security))
      switch onConnect(address) {
      case .accept: accept(id, address)
      case .fail(let reason): core.connectionFailed(id, ByteString(reason), now: now)
      case .ignore: connecting[id] = address
      }
    case .flush(let id):
      flush(id)
    case .close(let id):
      closes += 1
      peers[id] = nil
      connecting[id] = nil
    }
  }

  func accept(_ id: ConnectionID, _ address: SocketAddress) {
    connecting[id] = nil
    let peer = ScriptedPeer(id, address, serverConfiguration, now: now)
    peers[id] = peer
    allPeers.append(peer)
    core.connected(id, now: now)
  }

  /// Takes what waits to be written for the peer.
  func flush(_ peer: ScriptedPeer) {
    flush(peer.id)
    run()
  }

  private func flush(_ id: ConnectionID) {
    guard takesOutput, let peer = peers[id] else { return }
    while true {
      var bytes: [UInt8] = []
      core.withOutput(id) { span in
        for index in 0..<min(span.count, segment) { bytes.append(span[index]) }
      }
      guard !bytes.isEmpty else { return }
      core.consumeOutput(id, bytes.count, now: now)
      peer.receive(bytes, now: now, onHeaders: onHeaders, onRequest: onRequest)
    }
  }

  /// The transport breaks.
  func disconnect(_ peer: ScriptedPeer, _ reason: ByteString = "connection reset by peer") {
    peers[peer.id] = nil
    core.disconnected(peer.id, reason, now: now)
    run()
  }

  /// Moves time, stopping at each deadline on the way.
  func advance(_ interval: Interval) {
    let end = now + interval
    for _ in 0..<100_000 {
      guard let deadline = core.nextDeadline(), deadline <= end else { break }
      now = max(now, deadline)
      core.handleTimeout(now: now)
      run()
    }
    now = end
    core.handleTimeout(now: now)
    run()
  }

  // MARK: Looking

  var peer: ScriptedPeer { allPeers[allPeers.count - 1] }

  /// Requests that reached a peer, each attempt of them.
  var arrivals: Int { allPeers.reduce(0) { $0 + $1.order.count } }

  func statistic(_ name: String, cluster: ByteString = "up") -> UInt64? {
    var found: UInt64?
    core.visitStatistics { owner, statistic, value, _ in
      if owner == cluster, statistic.description == name { found = value }
    }
    return found
  }

  /// The last requests of a cluster that did not succeed.
  func failed(_ cluster: ByteString = "up") -> [FailedRequest] {
    var found: [FailedRequest] = []
    core.visitFailedRequests { owner, request in if owner == cluster { found.append(request) } }
    return found
  }

  /// By name: how many connections and streams ended for what a peer did.
  func causes() -> [String: UInt64] {
    var found: [String: UInt64] = [:]
    core.visitCauses { name, value in found[name.description] = value }
    return found
  }

  /// Nothing of a request is left anywhere.
  func expectAtRest() {
    #expect(core.requestsUnderWay == 0)
    #expect(core.requestPool.used == 0)
    #expect(core.streamPool.used == 0)
    #expect(core.streamsInUse == 0)
    for cluster in core.clusters where cluster.isUsed {
      #expect(cluster.requests == 0)
      var load = cluster.load.total
      load.connections = 0
      #expect(load == ClusterLoad())
      #expect(cluster.pending.count == 0)
      #expect(cluster.tally.localities.allSatisfy { $0.active == 0 })
    }
    #expect(core.freeSpares.count == core.limits.spareAttemptsMax)
    for slot in core.connections {
      #expect(slot.streams.isEmpty)
      #expect(slot.unsentBodies == 0)
    }
  }
}

extension RequestResult {
  var status: UInt16? {
    if case .response(let status, _, _) = outcome { return status }
    return nil
  }
  var failure: FailureReason? {
    if case .failure(let reason) = outcome { return reason }
    return nil
  }
}
