import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Mirrors, hosts, and what attempts carry")
struct MirrorTests {
  static let shadowAddress = SocketAddress(192, 0, 2, 77, port: 443)

  /// `up` is mirrored to `shadow`.
  private func mirrored(
    suffix: Bool = true, retry: RetryPolicy = .none, bodyLimit: UInt64? = nil,
    change: (inout Cluster) -> Void = { _ in }
  ) -> PolicySnapshot {
    var mirror = MirrorPolicy(cluster: "shadow")
    mirror.appendsShadowSuffix = suffix
    var snapshot = Bench.fixed(
      retry: retry, route: { $0.mirrors = [mirror] }, host: { $0.bodyLimit = bodyLimit })
    var shadow = Bench.fixed([Self.shadowAddress], name: "shadow").clusters[0]
    change(&shadow)
    snapshot.clusters.append(shadow)
    return snapshot
  }

  private func shadow(_ bench: Bench) -> ScriptedPeer? {
    bench.allPeers.last { $0.address == Self.shadowAddress }
  }

  @Test(
    "request mirror: a copy goes to the other cluster, its authority marked, its answer ignored")
  func copy() throws {
    for (suffix, authority) in [(true, "up.example.com-shadow"), (false, "up.example.com")] {
      let bench = Bench(mirrored(suffix: suffix))
      bench.onRequest = { peer, stream in
        peer.respond(stream, peer.address == Self.shadowAddress ? 500 : 200)
      }
      let body = [UInt8](repeating: 7, count: 100_000)
      bench.submit(3, body: body, headers: [("x-a", "b")])
      #expect(bench.results.map { $0.status } == [200])
      let copy = try #require(shadow(bench)?.requests[1])
      #expect(copy.value(":authority") == authority)
      #expect(copy.value(":path") == "/v1/state")
      #expect(copy.value("x-a") == "b")
      #expect(copy.body == body)
      let original = try #require(bench.allPeers.first { $0.address == Bench.address })
      #expect(original.requests[1]?.value(":authority") == "up.example.com")
      #expect(bench.statistic("upstream_rq_total", cluster: "shadow") == 1)
      #expect(bench.statistic("upstream_rq_5xx", cluster: "shadow") == 1)
      #expect(bench.statistic("upstream_rq_total") == 1)
      bench.expectAtRest()
    }
  }

  @Test(
    "request mirror: one that is never answered delays nothing, and ends with the route's timeout")
  func silent() {
    let bench = Bench(mirrored())
    bench.onRequest = { peer, stream in
      if peer.address != Self.shadowAddress { peer.respond(stream, 200) }
    }
    let start = bench.now
    bench.submit()
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.now == start)
    #expect(bench.core.requestPool.used > 0, "the copy has its own memory")
    bench.advance(.seconds(15))
    #expect(bench.statistic("upstream_rq_timeout", cluster: "shadow") == 1)
    #expect(bench.results.count == 1)
    bench.expectAtRest()
  }

  @Test("request mirror: a mirror that cannot be reached is not retried, and a GOAWAY is survived")
  func unreachable() {
    let bench = Bench(
      mirrored(retry: RetryPolicy(conditions: [.serverError], retries: 3, backOff: atOnce)))
    bench.onConnect = { $0 == Self.shadowAddress ? .fail("refused") : .accept }
    bench.submit(1)
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.statistic("upstream_rq_retry", cluster: "shadow") == 0)
    bench.expectAtRest()
    bench.onConnect = { _ in .accept }
    bench.advance(.seconds(60))
    var refused = 0
    bench.onRequest = { peer, stream in
      guard peer.address == Self.shadowAddress, refused == 0 else {
        return peer.respond(stream, 200)
      }
      refused += 1
      peer.http.reset(stream, .refusedStream)
    }
    bench.submit(2)
    #expect(refused == 1)
    #expect(bench.statistic("upstream_rq_2xx", cluster: "shadow") == 1)
    bench.expectAtRest()
  }

  @Test("request mirror: without a place, memory or a small enough body it is left out and counted")
  func leftOut() {
    var limits = CoreLimits()
    limits.spareAttemptsMax = 1
    let bench = Bench(mirrored(), limits: limits)
    bench.onRequest = { peer, stream in
      if peer.address != Self.shadowAddress { peer.respond(stream, 200) }
    }
    bench.submit(1)
    bench.submit(2)
    #expect(bench.results.map { $0.status } == [200, 200])
    #expect(bench.statistic("upstream_rq_total", cluster: "shadow") == 1)
    #expect(bench.statistic("retry_or_shadow_abandoned") == 1)

    let poor = Bench(mirrored())
    poor.submit(1, body: [UInt8](repeating: 0, count: 300_000))
    #expect(poor.results.map { $0.status } == [200])
    #expect(shadow(poor) == nil)
    #expect(poor.statistic("retry_or_shadow_abandoned") == 1)
    poor.expectAtRest()

    let large = Bench(mirrored(bodyLimit: 10))
    large.submit(1, body: [UInt8](repeating: 0, count: 11))
    #expect(shadow(large) == nil)
    #expect(large.statistic("retry_or_shadow_abandoned") == 1)
    large.expectAtRest()
  }

  @Test("request mirror: a mirror's breaker and a removed mirror concern nobody else")
  func gone() {
    let bench = Bench(mirrored { $0.circuitBreakers.maxRequests = 0 })
    bench.submit(1)
    #expect(bench.results.map { $0.status } == [200])
    bench.expectAtRest()
    bench.core.apply(mirrored(), now: bench.now)
    bench.onRequest = { peer, stream in
      if peer.address != Self.shadowAddress { peer.respond(stream, 200) }
    }
    bench.submit(2)
    bench.core.apply(PolicySnapshot(), now: bench.now)
    #expect(bench.core.clusters.contains { $0.isUsed })
    bench.advance(.seconds(15))
    bench.run()
    #expect(bench.results.count == 2)
    #expect(!bench.core.clusters.contains { $0.isUsed })
    bench.expectAtRest()
  }

  @Test("item 67: x-envoy-attempt-count starts at 1 and replaces what the request had")
  func attemptCount() {
    let policy = RetryPolicy(conditions: [.serverError], retries: 2, backOff: atOnce)
    let bench = Bench(Bench.fixed(retry: policy, host: { $0.addsAttemptCount = true }))
    var refused = false
    bench.onRequest = { peer, stream in
      // A transparent retry is no attempt of its own.
      guard refused else {
        refused = true
        return peer.http.reset(stream, .refusedStream)
      }
      peer.respond(stream, 503)
    }
    bench.submit(headers: [("x-envoy-attempt-count", "99"), ("x-z", "1")])
    let seen = bench.peer.order.map { stream in
      bench.peer.requests[stream]!.headers.filter { $0.0 == "x-envoy-attempt-count" }.map { $0.1 }
    }
    #expect(seen == [["1"], ["1"], ["2"], ["3"]])
    #expect(bench.peer.order.allSatisfy { bench.peer.requests[$0]!.value("x-z") == "1" })
    bench.expectAtRest()
  }

  private func endpoints(_ count: UInt8) -> [SocketAddress] {
    (1...count).map { SocketAddress(192, 0, 2, $0, port: 443) }
  }

  @Test(
    "item 68: each retry picks again; with previous_hosts an endpoint that was tried is passed over"
  )
  func previousHosts() {
    for seed in UInt64(1)...20 {
      var policy = RetryPolicy(conditions: [.serverError], retries: 3, backOff: atOnce)
      policy.avoidsPreviousHosts = true
      policy.hostSelectionAttempts = 8
      let bench = Bench(Bench.fixed(endpoints(4), retry: policy), seed: seed)
      var visited: [SocketAddress] = []
      bench.onRequest = { peer, stream in
        visited.append(peer.address)
        peer.respond(stream, 503)
      }
      bench.submit()
      #expect(Set(visited) == Set(endpoints(4)), "seed \(seed): \(visited)")
      bench.expectAtRest()
    }
  }

  @Test(
    "item 68: when picking again is of no avail the last pick is taken; the request is not lost")
  func exhausted() {
    var policy = RetryPolicy(conditions: [.serverError], retries: 4, backOff: atOnce)
    policy.avoidsPreviousHosts = true
    let bench = Bench(Bench.fixed(endpoints(2), retry: policy))
    var visited: [SocketAddress] = []
    bench.onRequest = { peer, stream in
      visited.append(peer.address)
      peer.respond(stream, visited.count == 5 ? 200 : 503)
    }
    bench.submit()
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.results[0].attempts == 5)
    #expect(visited[0] != visited[1])
    var one = policy
    one.hostSelectionAttempts = .max
    let single = Bench(Bench.fixed(retry: one))
    single.onRequest = { $0.respond($1, 503) }
    single.submit()
    #expect(single.results.map { $0.attempts } == [5])
  }
}
