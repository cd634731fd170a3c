import Policy
import Primitives
import Testing

@testable import HTTP2
@testable import NetworkingCore

@Suite("Connections: how many, how long, how they are opened")
struct PooledConnectionTests {
  private func bare(_ change: (inout Cluster) -> Void = { _ in }) -> Bench {
    Bench(Bench.fixed(retry: .none, change: change))
  }

  @Test("max_requests_per_connection: a connection takes so many, then another one does")
  func requestsPerConnection() {
    let bench = bare { $0.http.maxRequestsPerConnection = 3 }
    for token in UInt64(1)...7 { bench.submit(token) }
    #expect(bench.results.count == 7)
    #expect(bench.allPeers.map { $0.order.count } == [3, 3, 1])
    #expect(bench.closes == 2)
    #expect(bench.statistic("upstream_cx_max_requests") == 2)
    #expect(bench.core.clusters[0].load[.default].connections == 1)
    // Those that are under way are finished.
    bench.onRequest = { _, _ in }
    bench.submit(8)
    bench.submit(9)
    let peer = bench.peer
    #expect(peer.order.count == 3)
    bench.onRequest = { $0.respond($1, 200) }
    bench.submit(10)
    #expect(bench.results.last?.token == 10)
    for stream in peer.order.suffix(2) { peer.respond(stream, 200) }
    bench.run()
    #expect(bench.results.count == 10)
    #expect(bench.closes == 3)
    bench.expectAtRest()
  }

  @Test(
    "max_connection_duration: an old connection finishes what it has, and is followed by another")
  func connectionDuration() {
    let bench = bare { $0.http.maxConnectionDuration = .seconds(60) }
    bench.submit(1)
    bench.advance(.seconds(59))
    bench.onRequest = { _, _ in }
    bench.submit(2)
    #expect(bench.connects.count == 1)
    bench.advance(.seconds(1))
    #expect(bench.statistic("upstream_cx_max_duration_reached") == 1)
    #expect(bench.closes == 0)
    let peer = bench.peer
    bench.onRequest = { $0.respond($1, 200) }
    bench.submit(3)
    #expect(bench.connects.count == 2)
    peer.respond(peer.order.last!, 200)
    bench.run()
    #expect(bench.closes == 1)
    #expect(bench.results.map { $0.token } == [1, 3, 2])
    // One that rests ends on the spot.
    bench.advance(.seconds(60))
    #expect(bench.closes == 2)
    bench.expectAtRest()
  }

  @Test("item 76: SETTINGS change the number of streams at any time, 0 means to wait")
  func streamLimits() {
    let bench = bare()
    bench.submit(0)
    bench.onRequest = { _, _ in }
    func allow(_ count: UInt8) {
      // SETTINGS_MAX_CONCURRENT_STREAMS
      let settings: [UInt8] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, count]
      bench.core.received(bench.peer.id, settings.span, now: bench.now)
      bench.run()
    }
    allow(2)
    for token in UInt64(1)...4 { bench.submit(token) }
    #expect(bench.statistic("upstream_rq_active") == 2)
    #expect(bench.statistic("upstream_rq_pending_active") == 2)
    allow(3)
    #expect(bench.statistic("upstream_rq_active") == 3)
    allow(0)
    for stream in bench.peer.order.dropFirst() { bench.peer.respond(stream, 200) }
    bench.run()
    #expect(bench.results.count == 4)
    #expect(bench.statistic("upstream_rq_active") == 0)
    #expect(bench.statistic("upstream_rq_pending_active") == 1)
    allow(1)
    #expect(bench.statistic("upstream_rq_active") == 1)
    bench.peer.respond(bench.peer.order.last!, 200)
    bench.run()
    #expect(bench.results.count == 5)
    bench.expectAtRest()
  }

  @Test("item 76: what waits for a stream gets another connection where more than one is allowed")
  func moreConnections() {
    let bench = bare { $0.connectionsPerEndpoint = 2 }
    bench.serverConfiguration.maxConcurrentStreams = 2
    bench.submit(0)
    bench.onRequest = { _, _ in }
    for token in UInt64(1)...6 { bench.submit(token) }
    #expect(bench.connects.count == 2)
    #expect(bench.statistic("upstream_rq_active") == 4)
    #expect(bench.statistic("upstream_rq_pending_active") == 2)
    let breaker = bare {
      $0.connectionsPerEndpoint = 2
      $0.circuitBreakers.maxConnections = 1
    }
    breaker.serverConfiguration.maxConcurrentStreams = 1
    breaker.submit(0)
    breaker.onRequest = { _, _ in }
    for token in UInt64(1)...3 { breaker.submit(token) }
    #expect(breaker.connects.count == 1)
    #expect(breaker.statistic("upstream_rq_pending_active") == 2)
  }

  @Test(
    "item 77: an endpoint that is removed loses its idle connections at once, its busy ones later")
  func removed() {
    let second = SocketAddress(192, 0, 2, 2, port: 443)
    let bench = Bench(Bench.fixed([Bench.address, second], retry: .none))
    for token in UInt64(1)...2 { bench.submit(token) }
    #expect(bench.connects.count == 2)
    bench.onRequest = { _, _ in }
    bench.submit(3)
    let busy = bench.allPeers.first { $0.order.count == 2 }!
    let idle = bench.allPeers.first { $0.order.count == 1 }!
    bench.core.apply(
      Bench.fixed([SocketAddress(192, 0, 2, 3, port: 443)], retry: .none), now: bench.now)
    bench.run()
    #expect(bench.peers[idle.id] == nil)
    #expect(bench.peers[busy.id] === busy)
    busy.respond(busy.order.last!, 200)
    bench.run()
    #expect(bench.results.map { $0.status } == [200, 200, 200])
    #expect(bench.peers[busy.id] == nil)
    bench.expectAtRest()
  }

  @Test("item 77: one that becomes unhealthy too; the busy are cut where the cluster wants it")
  func unhealthy() {
    let second = SocketAddress(192, 0, 2, 2, port: 443)
    func snapshot(_ isHealthy: Bool, cuts: Bool) -> PolicySnapshot {
      Bench.fixed(
        [], retry: RetryPolicy(conditions: [.reset], retries: 1, backOff: atOnce)
      ) {
        var first = Endpoint(address: Bench.address)
        first.health = isHealthy ? .healthy : .unhealthy
        $0.discovery = .endpoints(Assignment(endpoints: [first, Endpoint(address: second)]))
        $0.balancing.cutsUnhealthy = cuts
      }
    }
    for cuts in [false, true] {
      let bench = Bench(snapshot(true, cuts: cuts))
      for token in UInt64(1)...2 { bench.submit(token) }
      let first = bench.allPeers.first { $0.address == Bench.address }!
      bench.onRequest = { peer, stream in if peer !== first { peer.respond(stream, 200) } }
      for token in UInt64(3)...4 { bench.submit(token) }
      #expect(bench.results.count == 3)
      bench.core.apply(snapshot(false, cuts: cuts), now: bench.now)
      bench.run()
      #expect(bench.results.count == (cuts ? 4 : 3))
      bench.submit(5)
      #expect(bench.results.last?.status == 200)
      if !cuts {
        first.respond(first.order.last!, 200)
        bench.run()
      }
      #expect(bench.results.count == 5)
      #expect(bench.results.contains { $0.attempts == 2 } == cuts)
      #expect(bench.peers[first.id] == nil)
      #expect(bench.connects.count == 2)
      bench.expectAtRest()
    }
  }

  @Test("what a control plane says of HTTP/2 is what a connection is opened with")
  func options() {
    let bench = bare {
      $0.http.streamWindow = 65_535
      $0.http.headerTableSize = 1_024
      $0.http.maxResponseHeadersBytes = 8_192
      $0.http.maxConcurrentStreams = 2
    }
    bench.onRequest = { _, _ in }
    for token in UInt64(1)...3 { bench.submit(token) }
    #expect(bench.statistic("upstream_rq_active") == 2)
    let http = bench.core.connections[0].http[0].configuration
    #expect(http.initialWindowSize == 65_535 && http.headerTableSize == 1_024)
    #expect(http.maxHeaderListSize == 8_192)
  }
}
