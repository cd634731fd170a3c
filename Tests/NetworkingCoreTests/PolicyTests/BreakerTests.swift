import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Breakers and budgets")
struct BreakerTests {
  /// Both listeners lead to the one cluster `up`, `urgent` with high priority.
  private func twoPriorities(_ change: (inout Cluster) -> Void) -> PolicySnapshot {
    var snapshot = Bench.fixed(change: change)
    var action = ForwardAction(clusters: [WeightedCluster(name: "up")])
    action.priority = .high
    let host = VirtualHost(
      name: "urgent", domains: [.any],
      routes: [Route(name: "urgent", path: .prefix("/"), action: .forward(action))])
    snapshot.listeners.append(
      Listener(
        name: "urgent", routes: RouteConfiguration(name: "urgent", virtualHosts: [host])))
    return snapshot
  }

  @Test(
    "item 79: each routing priority has breakers of its own; at the maximum the next is rejected")
  func priorities() {
    let bench = Bench(
      twoPriorities {
        $0.circuitBreakers.maxRequests = 2
        $0.highPriorityBreakers.maxRequests = 3
      })
    bench.submit()
    bench.onRequest = { _, _ in }
    for token in UInt64(1)...3 { bench.submit(token) }
    #expect(bench.results.map { $0.failure } == [nil, .overflow])
    #expect(bench.statistic("circuit_breakers.default.rq_open") == 1)
    #expect(bench.statistic("circuit_breakers.high.rq_open") == 0)
    for token in UInt64(11)...14 { bench.submit(token, listener: "urgent") }
    #expect(bench.results.map { $0.token } == [0, 3, 14])
    #expect(bench.statistic("circuit_breakers.high.rq_open") == 1)
    #expect(bench.statistic("upstream_rq_active") == 5)
    #expect(bench.statistic("upstream_rq_pending_overflow") == 2)
    for stream in bench.peer.order.dropFirst() { bench.peer.respond(stream, 200) }
    bench.run()
    #expect(bench.results.count == 8)
    #expect(bench.statistic("circuit_breakers.default.rq_open") == 0)
    bench.expectAtRest()
  }

  @Test(
    "items 60, 79: what a breaker rejects is a 503 that is never retried, whatever the policy says")
  func overflow() {
    let everything = RetryPolicy(
      conditions: RetryConditions(rawValue: .max), retries: 5, backOff: atOnce)
    for change: (inout Cluster) -> Void in [
      { $0.circuitBreakers.maxRequests = 0 }, { $0.circuitBreakers.maxPendingRequests = 0 },
      { $0.circuitBreakers.maxConnections = 0 },
    ] {
      let bench = Bench(Bench.fixed(retry: everything, change: change))
      bench.submit()
      bench.advance(.seconds(1))
      #expect(bench.results.map { $0.failure } == [.overflow])
      #expect(bench.results[0].attempts == 1)
      #expect(bench.results[0].retryEnd == .circuitBreaker)
      #expect(bench.results[0].localStatus == 503)
      #expect(bench.statistic("upstream_rq_pending_overflow") == 1)
      #expect(bench.statistic("upstream_rq_retry") == 0)
      bench.expectAtRest()
    }
  }

  @Test("item 79: a connection counts for the priority that wanted it, and serves both")
  func connections() {
    let bench = Bench(twoPriorities { $0.circuitBreakers.maxConnections = 0 })
    bench.submit(1)
    #expect(bench.results.map { $0.failure } == [.overflow])
    #expect(bench.statistic("upstream_cx_overflow") == 1)
    bench.submit(2, listener: "urgent")
    #expect(bench.results.last?.status == 200)
    bench.submit(3)
    #expect(bench.results.last?.status == 200)
    #expect(bench.connects.count == 1)
    #expect(bench.core.clusters[0].load[.high].connections == 1)
    #expect(bench.core.clusters[0].load[.default].connections == 0)
    bench.advance(.seconds(400))
    #expect(bench.core.clusters[0].load.total.connections == 0)
  }

  @Test("item 79: with fewer connections than endpoints, each endpoint has one in its turn")
  func connectionsTakeTurns() {
    let addresses = (1...4).map { SocketAddress(192, 0, 2, $0, port: 443) }
    let bench = Bench(
      Bench.fixed(addresses, retry: .none) { $0.circuitBreakers.maxConnections = 2 })
    for token in UInt64(1)...8 {
      bench.submit(token)
      #expect(bench.peers.count <= 2)
    }
    #expect(bench.results.map { $0.status } == [UInt16?](repeating: 200, count: 8))
    // At once: those that find all connections busy wait for them.
    bench.onRequest = { _, _ in }
    for token in UInt64(11)...14 { bench.submit(token) }
    #expect(bench.results.count == 8)
    bench.onRequest = { $0.respond($1, 200) }
    for peer in bench.allPeers where bench.peers[peer.id] === peer {
      for stream in peer.order { peer.respond(stream, 200) }
    }
    bench.run()
    #expect(bench.results.map { $0.status } == [UInt16?](repeating: 200, count: 12))
    bench.expectAtRest()
  }

  @Test(
    "item 79: the only connection that is allowed drains: what comes meanwhile waits for its end")
  func drainingConnection() {
    let bench = Bench(Bench.fixed(retry: .none) { $0.circuitBreakers.maxConnections = 1 })
    bench.onRequest = { _, _ in }
    bench.submit(1)
    let peer = bench.peer
    peer.http.shutDown()
    bench.run()
    bench.submit(2)
    #expect(bench.results.isEmpty)
    bench.onRequest = { $0.respond($1, 200) }
    peer.respond(1, 200)
    bench.run()
    #expect(bench.results.map { $0.status } == [200, 200])
    #expect(bench.connects.count == 2)
    bench.expectAtRest()
  }

  @Test("item 81: what is under way counts on across updates, and across removal and return")
  func updates() {
    let snapshot = Bench.fixed { $0.circuitBreakers.maxRequests = 2 }
    let bench = Bench(snapshot)
    bench.submit()
    bench.onRequest = { _, _ in }
    bench.submit(1)
    bench.submit(2)
    var changed = snapshot
    changed.clusters[0].connectTimeout = .seconds(9)
    changed.clusters[0].serviceName = "other"
    for other in [changed, PolicySnapshot(), snapshot] {
      bench.core.apply(other, now: bench.now)
      guard !other.listeners.isEmpty else { continue }
      bench.submit(3)
      #expect(bench.results.last?.failure == .overflow)
    }
    for stream in bench.peer.order.dropFirst() { bench.peer.respond(stream, 200) }
    bench.run()
    bench.onRequest = { $0.respond($1, 200) }
    bench.submit(4)
    #expect(bench.results.last?.status == 200)
    bench.expectAtRest()
  }

  @Test(
    "item 81: a lower limit rejects until there is room again, and nothing that runs is touched")
  func lowered() {
    let bench = Bench(Bench.fixed { $0.circuitBreakers.maxRequests = 4 })
    bench.submit()
    bench.onRequest = { _, _ in }
    for token in UInt64(1)...4 { bench.submit(token) }
    bench.core.apply(Bench.fixed { $0.circuitBreakers.maxRequests = 2 }, now: bench.now)
    let streams = bench.peer.order.dropFirst()
    for (answered, stream) in streams.enumerated() {
      bench.submit(UInt64(10 + answered))
      let isOpen = answered >= 3
      #expect(bench.results.last?.failure == (isOpen ? nil : .overflow))
      bench.peer.respond(stream, 200)
      bench.run()
    }
  }

  private func parked(
    _ count: Int, waiting: RetryPolicy, change: @escaping (inout Cluster) -> Void
  ) -> Bench {
    let bench = Bench(Bench.fixed(retry: waiting, timeout: .zero, change: change))
    bench.submit()
    bench.onRequest = { _, _ in }
    for token in 1...count { bench.submit(UInt64(token)) }
    bench.onRequest = { $0.respond($1, 200) }
    return bench
  }

  static let slow = RetryPolicy(
    conditions: [.reset], retries: 1,
    backOff: BackOff(base: .seconds(1_000), maximum: .seconds(1_000)))

  @Test(
    "items 64, 65: a budget counts those in back-off, so that it does not shrink as failures park")
  func budget() {
    // 50 % of what is under way, itself included, and never less than 3.
    let bench = parked(20, waiting: Self.slow) {
      $0.circuitBreakers.retryBudget = RetryBudget(basisPoints: 5_000)
    }
    // The stream of one after the other is reset: 20 under way, whichever way.
    for stream in bench.peer.order.dropFirst() {
      bench.peer.http.reset(stream, .internalError)
      bench.run()
    }
    // Of the n that are under way when one fails, half may be retries: those park until they are half
    // of all, and from there on one is refused for each that leaves.
    let refused = bench.results.dropFirst()
    #expect(bench.core.clusters[0].load[.default].waiting == 10)
    #expect(refused.count == 10)
    #expect(refused.allSatisfy { $0.failure == .reset && $0.retryEnd == .overflow })
    #expect(bench.statistic("upstream_rq_retry_overflow") == 10)
    #expect(bench.statistic("upstream_rq_retry") == 10)
    bench.advance(.seconds(1_000))
    #expect(bench.results.count == 21)
    bench.expectAtRest()
  }

  @Test("item 64: min_retry_concurrency, 20 % and 3, and its place of max_retries")
  func minimum() {
    let bench = parked(4, waiting: Self.slow) {
      $0.circuitBreakers.maxRetries = 0
      $0.circuitBreakers.retryBudget = RetryBudget()
    }
    bench.disconnect(bench.peer)
    #expect(bench.core.clusters[0].load[.default].retries == 3)
    #expect(bench.results.count == 2)
    #expect(bench.statistic("circuit_breakers.default.rq_retry_open") == 1)
  }

  @Test("item 65: a retry holds its place from its scheduling to the end of its attempt")
  func places() {
    let policy = RetryPolicy(
      conditions: [.serverError, .reset], retries: 9,
      backOff: BackOff(base: .milliseconds(10), maximum: .milliseconds(10)))
    let bench = Bench(Bench.fixed(retry: policy) { $0.circuitBreakers.maxRetries = 1 })
    var answers: [(ScriptedPeer, UInt32)] = []
    bench.onRequest = { answers.append(($0, $1)) }
    func load() -> ClusterLoad { bench.core.clusters[0].load[.default] }
    bench.submit(1)
    bench.submit(2)
    answers[0].0.respond(answers[0].1, 503)
    bench.run()
    #expect(load().retries == 1 && load().waiting == 1 && load().active == 1)
    // While one waits, the other is refused.
    answers[1].0.respond(answers[1].1, 503)
    bench.run()
    #expect(bench.results.map { $0.token } == [2])
    #expect(bench.results[0].retryEnd == .overflow)
    bench.advance(.milliseconds(10))
    #expect(load().retries == 1 && load().waiting == 0 && load().active == 1)
    // It fails again and takes its place again.
    answers[2].0.http.reset(answers[2].1, .internalError)
    bench.run()
    #expect(load().retries == 1 && load().waiting == 1)
    bench.advance(.milliseconds(10))
    answers[3].0.respond(answers[3].1, 200)
    bench.run()
    #expect(load().retries == 0)
    // Cancelled while it waits, it gives it back.
    let id = bench.submit(3)
    answers[4].0.respond(answers[4].1, 503)
    bench.run()
    #expect(load().retries == 1)
    bench.core.cancel(id!, now: bench.now)
    bench.run()
    #expect(load().retries == 0)
    bench.expectAtRest()
  }
}
