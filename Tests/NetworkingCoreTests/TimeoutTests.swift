import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Timeouts")
struct TimeoutTests {
  @Test("the route's timeout runs from the end of the request, ends it, and is not retried")
  func route() {
    let bench = Bench(
      Bench.fixed(retry: RetryPolicy(conditions: [.serverError, .reset], retries: 3)))
    bench.onConnect = { _ in .ignore }
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.advance(.seconds(4))
    let (id, address) = bench.connecting.first!
    bench.accept(id, address)
    bench.run()
    bench.advance(.milliseconds(14_999))
    #expect(bench.results.isEmpty)
    bench.advance(.milliseconds(1))
    #expect(bench.results.map { $0.failure } == [.timeout])
    #expect(
      bench.results[0].details.description
        == "upstream_response_timeout: no complete response in 15000 ms")
    #expect(bench.statistic("upstream_rq_timeout") == 1)
    #expect(bench.statistic("upstream_rq_retry") == 0)
    #expect(bench.peer.events.contains(.reset(stream: 1, code: .cancel, origin: .peer)))
    bench.expectAtRest()
  }

  @Test("on a slow link the route's timeout runs from when the last byte has left: seed 20927")
  func slowLink() {
    expectClockFromTheLastByte { bench in
      bench.advance(.seconds(20))
      #expect(bench.results.count == 1)
    }
  }

  @Test("nor does it run from when the core was last told the time")
  func slowLinkAlone() {
    expectClockFromTheLastByte { $0.now = $0.now + .seconds(14) }
  }

  private func expectClockFromTheLastByte(whileItWaits pass: (Bench) -> Void) {
    let bench = Bench()
    bench.submit(1)
    #expect(bench.results.map { $0.token } == [1])
    bench.onRequest = { _, _ in }
    bench.takesOutput = false
    bench.submit(2, body: Array(repeating: 7, count: 4_000))
    pass(bench)
    bench.takesOutput = true
    bench.flush(bench.peer)
    bench.advance(.milliseconds(14_999))
    #expect(bench.results.count == 1)
    bench.advance(.milliseconds(1))
    #expect(bench.results.last?.failure == .timeout)
    bench.expectAtRest()
  }

  @Test("the route's timeout covers all attempts and the back-off between them")
  func allAttempts() {
    let backOff = BackOff(base: .seconds(4), maximum: .seconds(4))
    let bench = Bench(
      Bench.fixed(
        retry: RetryPolicy(conditions: [.reset], retries: 1_000, backOff: backOff)))
    let start = bench.now
    bench.onRequest = { peer, stream in peer.http.reset(stream, .internalError) }
    bench.submit()
    while bench.results.isEmpty, bench.now < start + .seconds(60) {
      bench.advance(.milliseconds(100))
    }
    #expect(bench.now == start + .seconds(15))
    #expect(bench.results.map { $0.failure } == [.timeout])
    #expect(bench.results[0].attempts > 2)
    bench.expectAtRest()
  }

  @Test("the request's own timeout replaces the route's; zero switches it off")
  func own() {
    let bench = Bench()
    bench.onRequest = { _, _ in }
    bench.submit(1, timeout: .seconds(3))
    bench.submit(2, timeout: .zero)
    bench.advance(.seconds(3))
    #expect(bench.results.map { $0.token } == [1])
    bench.advance(.seconds(100))
    #expect(bench.results.count == 1)
  }

  @Test("a response that trickles ends with the route's timeout, whatever has come")
  func trickle() {
    let bench = Bench()
    bench.onRequest = { peer, stream in peer.respond(stream, 200, end: false) }
    bench.submit()
    for _ in 0..<14 {
      bench.advance(.seconds(1))
      _ = try? bench.peer.http.submitData([1].span, on: 1, endStream: false, now: bench.now)
      bench.run()
    }
    #expect(bench.results.isEmpty)
    bench.advance(.seconds(1))
    #expect(bench.results.map { $0.failure } == [.timeout])
  }

  @Test("per-try timeout: each attempt has its own, it ends with the response's headers")
  func perTry() {
    let policy = RetryPolicy(
      conditions: [.reset], retries: 1, perTryTimeout: .seconds(2))
    let bench = Bench(Bench.fixed(retry: policy))
    var calls = 0
    bench.onRequest = { peer, stream in
      calls += 1
      if calls == 2 { peer.respond(stream, 200, end: false) }
    }
    bench.submit()
    bench.advance(.milliseconds(1_999))
    #expect(calls == 1)
    bench.advance(.milliseconds(26))
    #expect(calls == 2)
    bench.advance(.seconds(5))
    #expect(bench.results.isEmpty)
    #expect(bench.statistic("upstream_rq_per_try_timeout") == 1)
    let last = bench.peer.order.last!
    _ = try? bench.peer.http.submitData([1].span, on: last, endStream: true, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.results[0].attempts == 2)
  }

  @Test("per-try timeouts that use up the retries are the failure")
  func perTryEnd() {
    let policy = RetryPolicy(
      conditions: [.gatewayError], retries: 2, perTryTimeout: .seconds(2))
    let bench = Bench(Bench.fixed(retry: policy))
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.advance(.seconds(10))
    #expect(bench.results.map { $0.failure } == [.perTryTimeout])
    #expect(bench.results[0].attempts == 3)
    bench.expectAtRest()
  }

  @Test("a peer that falls silent is not given new requests after the first timeout")
  func silent() {
    let bench = Bench()
    bench.submit(1)
    bench.peer.isSilent = true
    bench.advance(.seconds(1))
    bench.submit(2)
    bench.submit(3)
    bench.advance(.seconds(15))
    #expect(bench.results.map { $0.failure } == [nil, .timeout, .timeout])
    #expect(bench.closes == 1)
    bench.submit(4)
    #expect(bench.results.last?.status == 200)
    #expect(bench.connects.count == 2)
    bench.expectAtRest()
  }

  @Test("a slow answer on a connection that is alive is no reason to leave it")
  func slow() {
    let bench = Bench()
    var slow: UInt32 = 0
    bench.onRequest = { _, stream in slow = stream }
    bench.submit(1)
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    bench.advance(.seconds(1))
    bench.submit(2)
    bench.advance(.seconds(15))
    #expect(bench.results.map { $0.token } == [2, 1])
    #expect(slow == 1)
    bench.submit(3)
    #expect(bench.connects.count == 1)
  }

  @Test("no progress for the idle timeout ends a request that waits or uploads")
  func idle() {
    var snapshot = Bench.fixed()
    let action = ForwardAction(
      clusters: [WeightedCluster(name: "up")], timeout: .zero, idleTimeout: .seconds(60),
      retryPolicy: nil)
    snapshot.listeners[0].routes.virtualHosts[0].routes[0].action = .forward(action)
    let bench = Bench(snapshot)
    bench.serverConfiguration.initialWindowSize = 10
    bench.serverConfiguration.maxConcurrentStreams = 1
    bench.onHeaders = { peer, _ in peer.readsBodies = false }
    bench.submit(0)
    bench.submit(1, body: [UInt8](repeating: 1, count: 100))
    bench.submit(2)
    bench.advance(.milliseconds(59_999))
    #expect(bench.results.map { $0.token } == [0])
    bench.advance(.milliseconds(1))
    #expect(bench.results.map { $0.token } == [0, 1, 2])
    #expect(
      bench.results[1].details.description == "stream_idle_timeout: no progress in 60000 ms")
    bench.expectAtRest()
  }
}
