import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

/// Random faults in virtual time: whatever happens, each request that was taken ends exactly once,
/// and what it used is given back.
@Suite("Any fault, one result")
struct FaultTests {
  @Test("seeded faults of every kind", arguments: UInt64(1)...30)
  func faults(seed: UInt64) {
    let storm = Storm(seed: seed)
    for _ in 0..<300 { storm.step() }
    storm.calm()
    let tokens = storm.bench.results.map { $0.token }
    #expect(tokens.count == storm.taken.count, "seed \(seed)")
    #expect(Set(tokens) == storm.taken, "seed \(seed)")
    storm.bench.expectAtRest()
    let limits = storm.bench.core.limits
    let streamPool = storm.bench.core.streamPool
    #expect(storm.bench.core.requestPool.high <= limits.requestBytesMax)
    #expect(streamPool.high <= streamPool.limit)
    #expect(storm.bench.core.retainedBytes <= limits.requestBytesMax)
  }

  @Test("the same seed gives the same run")
  func deterministic() {
    func run() -> [RequestResult] {
      let storm = Storm(seed: 77)
      for _ in 0..<300 { storm.step() }
      storm.calm()
      return storm.bench.results
    }
    #expect(run() == run())
  }
}

/// Plays the faults.
final class Storm {
  let bench: Bench
  var random: SplitMix64
  var taken: Set<UInt64> = []
  private var ids: [RequestID] = []
  private var streams: [RequestID] = []
  private var token: UInt64 = 0

  private static let addresses = (1...3).map { SocketAddress(192, 0, 2, UInt8($0), port: 443) }

  init(seed: UInt64) {
    random = SplitMix64(seed: seed)
    var limits = CoreLimits()
    limits.connectionsMax = 3
    limits.requestsMax = 16
    limits.requestBytesMax = 200_000
    limits.outputBytesMax = 16_384
    bench = Bench(Storm.snapshot(0), limits: limits, seed: seed)
    bench.segment = [1, 7, 100, 5_000, Int.max][Int(seed % 5)]
    bench.serverConfiguration.maxConcurrentStreams = 1 + UInt32(seed % 7)
    bench.serverConfiguration.initialWindowSize = [100, 5_000, 65_535][Int(seed % 3)]
    bench.onConnect = { [unowned self] _ in
      switch random.below(10) {
      case 0, 1: .fail("refused")
      case 2: .ignore
      default: .accept
      }
    }
    bench.onResolve = { [unowned self] _ in
      switch random.below(5) {
      case 0: .fail
      case 1: .ignore
      default:
        .addresses(
          Array(Storm.addresses.prefix(Int(1 + random.below(3)))),
          ttl: .seconds(Int64(random.below(60))))
      }
    }
    bench.onHeaders = { [unowned self] peer, stream in
      peer.readsBodies = random.below(20) != 0
      if random.below(30) == 0 { peer.respond(stream, 413) }
    }
    bench.onRequest = { [unowned self] peer, stream in answer(peer, stream) }
  }

  /// Three shapes of policy: fixed endpoints, a strict name, a logical one.
  static func snapshot(_ kind: UInt64) -> PolicySnapshot {
    let policy = RetryPolicy(
      conditions: [.serverError, .reset, .connectFailure, .refusedStream], retries: 2,
      perTryTimeout: kind == 1 ? .seconds(3) : .zero)
    return Bench.fixed(addresses, retry: policy, idleTimeout: .seconds(20)) { cluster in
      cluster.idleTimeout = .seconds(10)
      cluster.reportsLoad = true
      cluster.connectionsPerEndpoint = kind == 2 ? 2 : 1
      cluster.circuitBreakers.maxPendingRequests = 8
      guard kind > 0 else { return }
      cluster.discovery = .dns(
        DNSDiscovery(
          host: "up.example.com", port: 443, kind: kind == 1 ? .strict : .logical))
    }
  }

  private func answer(_ peer: ScriptedPeer, _ stream: UInt32) {
    switch random.below(12) {
    case 0: peer.http.reset(stream, .refusedStream)
    case 1: peer.http.reset(stream, .internalError)
    case 2: peer.respond(stream, 503)
    case 3: peer.respond(stream, 200, body: [1, 2, 3], end: false)
    case 4: break
    case 5:
      peer.respond(stream, 200, body: [1], end: false)
      peer.http.reset(stream, .cancel)
    case 6: peer.http.shutDown()
    default: peer.respond(stream, 200, body: [1, 2], trailers: [("grpc-status", "0")])
    }
  }

  func step() {
    switch random.below(20) {
    case 0...6: submit()
    case 7: cancel()
    case 8: if let peer = anyPeer() { bench.disconnect(peer) }
    case 9: anyPeer()?.http.shutDown()
    case 10: anyPeer()?.isSilent = true
    case 11: garbage()
    case 12: bench.core.apply(Storm.snapshot(random.below(3)), now: bench.now)
    case 13: replaceByNothing()
    case 14: lateConnect()
    case 15: open()
    case 16...18: talk()
    default: bench.advance(.milliseconds(Int64(random.below(6_000))))
    }
    bench.run()
    bench.advance(.milliseconds(Int64(random.below(50))))
  }

  private func submit() {
    token += 1
    // Byte by byte is slow: small bodies there.
    let size = bench.segment < 100 ? 300 : 20_000
    let body = [UInt8](repeating: 7, count: Int(random.below(4)) * Int(random.below(UInt64(size))))
    if let id = bench.submit(token, body: body, timeout: .seconds(Int64(random.below(20)))) {
      taken.insert(token)
      ids.append(id)
    }
  }

  private func open() {
    token += 1
    if let id = bench.open(token) {
      taken.insert(token)
      ids.append(id)
      streams.append(id)
    }
  }

  /// Something happens on one of the streams, most of them ended long ago.
  private func talk() {
    guard let id = streams.suffix(6).randomElement(using: &random) else { return }
    bench.reads = Int(random.below(3)) * 700
    switch random.below(6) {
    case 0: bench.core.finishSending(id, now: bench.now)
    case 1: bench.read(id)
    case 2: if let peer = anyPeer(), let last = peer.order.last { peer.say(last, [1, 2, 3]) }
    default:
      bench.send(id, [UInt8](repeating: 9, count: Int(random.below(2_000))))
    }
  }

  private func cancel() {
    guard !ids.isEmpty else { return }
    bench.core.cancel(ids[Int(random.below(UInt64(ids.count)))], now: bench.now)
  }

  private func anyPeer() -> ScriptedPeer? {
    let open = bench.allPeers.filter { bench.peers[$0.id] === $0 }
    return open.isEmpty ? nil : open[Int(random.below(UInt64(open.count)))]
  }

  private func garbage() {
    guard let peer = anyPeer() else { return }
    let bytes = (0..<random.below(40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    bench.core.received(peer.id, bytes.span, now: bench.now)
  }

  private func replaceByNothing() {
    bench.core.apply(PolicySnapshot(), now: bench.now)
    bench.run()
    bench.core.apply(Storm.snapshot(random.below(3)), now: bench.now)
  }

  /// In the order of their opening: a dictionary's own order differs from run to run.
  private func lateConnect() {
    let waiting = bench.connecting.keys.min { $0.rawValue < $1.rawValue }
    guard let id = waiting, let address = bench.connecting[id] else { return }
    bench.accept(id, address)
  }

  /// No more faults: everything that is under way comes to its end, by answers or by timeouts.
  func calm() {
    bench.onConnect = { _ in .accept }
    bench.onResolve = { _ in .addresses([Storm.addresses[0]], ttl: nil) }
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    bench.onHeaders = { peer, _ in peer.readsBodies = true }
    bench.run()
    bench.advance(.seconds(200))
    // Streams have no timeout.
    for id in streams { bench.core.cancel(id, now: bench.now) }
    bench.run()
  }
}
