import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Durations: of a try, of a stream, of a call")
struct DurationTests {
  private func perTry(
    _ perTry: Interval, idle: Interval = .zero, retries: UInt32 = 1,
    timeout: Interval = .seconds(15)
  ) -> Bench {
    var policy = RetryPolicy(
      conditions: [.reset], retries: retries, perTryTimeout: perTry, backOff: atOnce)
    policy.perTryIdleTimeout = idle
    return Bench(Bench.fixed(retry: policy, timeout: timeout))
  }

  @Test("item 57: a per-try timeout not below the route's is ignored; each try has its own")
  func ignored() {
    for (length, count) in [(4_999, 2), (5_000, 1), (6_000, 1)] {
      let bench = perTry(.milliseconds(Int64(length)), timeout: .seconds(5))
      let start = bench.now
      bench.onRequest = { _, _ in }
      bench.submit()
      bench.advance(.milliseconds(4_999))
      #expect(bench.results.isEmpty)
      bench.advance(.milliseconds(1))
      #expect(bench.results.map { $0.failure } == [.timeout])
      #expect(bench.results.map { $0.attempts } == [count])
      #expect(bench.results[0].retryEnd == .timeout)
      #expect(bench.results[0].localStatus == 504)
      #expect(bench.now - start == .seconds(5))
      bench.expectAtRest()
    }
    let bench = perTry(.seconds(2), retries: 2)
    bench.onRequest = { _, _ in }
    bench.submit()
    for (second, count) in [(1_999, 1), (1, 2), (1_999, 2), (1, 3), (1_999, 3)] {
      bench.advance(.milliseconds(Int64(second)))
      #expect(bench.arrivals == count)
    }
    bench.advance(.milliseconds(1))
    #expect(bench.results.map { $0.failure } == [.perTryTimeout])
    #expect(bench.results[0].localStatus == 504)
    #expect(bench.statistic("upstream_rq_per_try_timeout") == 3)
  }

  @Test("item 57: the clock of a try starts when the whole request is with a connection")
  func start() {
    let bench = perTry(.seconds(2))
    bench.onConnect = { _ in .ignore }
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.advance(.milliseconds(4_900))
    #expect(bench.results.isEmpty)
    let (id, address) = bench.connecting.first!
    bench.accept(id, address)
    bench.run()
    bench.advance(.milliseconds(1_999))
    #expect(bench.statistic("upstream_rq_per_try_timeout") == 0)
    bench.advance(.milliseconds(1))
    #expect(bench.statistic("upstream_rq_per_try_timeout") == 1)
  }

  @Test("item 57: without 5xx, gateway-error or reset a per-try timeout is the end")
  func unretried() {
    let policy = RetryPolicy(
      conditions: [.connectFailure, .refusedStream, .retriable4xx], retries: 3,
      perTryTimeout: .seconds(1), backOff: atOnce)
    let bench = Bench(Bench.fixed(retry: policy))
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.advance(.seconds(1))
    #expect(bench.results.map { $0.failure } == [.perTryTimeout])
    #expect(bench.results[0].retryEnd == .notRetriable)
  }

  @Test("item 57: per_try_idle_timeout retries a try that is silent, up to the response's headers")
  func idleBefore() {
    let bench = perTry(.zero, idle: .seconds(3))
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.advance(.milliseconds(2_999))
    #expect(bench.arrivals == 1)
    bench.advance(.milliseconds(1))
    #expect(bench.arrivals == 2)
    bench.advance(.seconds(3))
    #expect(bench.results.map { $0.failure } == [.perTryTimeout])
    #expect(bench.results[0].retryEnd == .limit)
    #expect(bench.statistic("upstream_rq_per_try_idle_timeout") == 2)
    #expect(
      bench.results[0].details.description
        == "upstream_per_try_idle_timeout: no progress in 3000 ms")
    bench.expectAtRest()
  }

  @Test("item 57: in the response's body each piece starts it again, and its expiry is the end")
  func idleWithin() {
    let bench = perTry(.zero, idle: .seconds(3), timeout: .zero)
    bench.onRequest = { peer, stream in peer.respond(stream, 200, end: false) }
    bench.submit()
    for _ in 0..<10 {
      bench.advance(.milliseconds(2_900))
      _ = try? bench.peer.http.submitData([1].span, on: 1, endStream: false, now: bench.now)
      bench.run()
    }
    bench.advance(.milliseconds(2_999))
    #expect(bench.results.isEmpty)
    bench.advance(.milliseconds(1))
    #expect(bench.results.map { $0.failure } == [.perTryTimeout])
    #expect(bench.results[0].attempts == 1)
    #expect(bench.results[0].retryEnd == .responseStarted)
    bench.expectAtRest()
  }

  @Test("items 56, 58, 67: max_stream_duration runs from the start: queueing, attempts and pauses")
  func streamDuration() {
    let policy = RetryPolicy(
      conditions: [.reset], retries: 100,
      backOff: BackOff(base: .milliseconds(900), maximum: .milliseconds(900)))
    func bench() -> Bench {
      Bench(
        Bench.fixed(
          retry: policy, timeout: .zero, route: { $0.streamDuration.maximum = .seconds(8) }))
    }
    // While it waits for a connection.
    let queued = bench()
    queued.onConnect = { _ in .ignore }
    // While its body goes.
    let uploading = bench()
    uploading.onHeaders = { peer, _ in peer.readsBodies = false }
    // While its response comes.
    let answered = bench()
    answered.onRequest = { peer, stream in peer.respond(stream, 200, end: false) }
    // While it is tried again and again.
    let retried = bench()
    retried.onRequest = { peer, stream in peer.http.reset(stream, .internalError) }
    for bench in [queued, uploading, answered, retried] {
      let start = bench.now
      bench.submit(body: [UInt8](repeating: 0, count: 70_000))
      bench.advance(.milliseconds(7_999))
      #expect(bench.results.isEmpty)
      bench.advance(.milliseconds(1))
      #expect(bench.results.map { $0.failure } == [.timeout])
      #expect(bench.results[0].localStatus == 504)
      #expect(bench.results[0].retryEnd == .timeout)
      #expect(
        bench.results[0].details.description
          == "max_duration_timeout: the request took longer than it may")
      #expect(bench.statistic("upstream_rq_max_duration_reached") == 1)
      #expect(bench.statistic("upstream_rq_timeout") == 0)
      #expect(bench.now - start == .seconds(8))
      bench.expectAtRest()
    }
  }

  @Test("item 58: without a duration of the route, that of the listener counts, then the cluster's")
  func otherDurations() {
    func end(_ snapshot: PolicySnapshot) -> Interval {
      let bench = Bench(snapshot)
      let start = bench.now
      bench.onRequest = { _, _ in }
      bench.submit()
      while bench.results.isEmpty, bench.now < start + .seconds(60) {
        bench.advance(.milliseconds(100))
      }
      return bench.now - start
    }
    var snapshot = Bench.fixed(timeout: .zero)
    snapshot.clusters[0].http.maxStreamDuration = .seconds(9)
    #expect(end(snapshot) == .seconds(9))
    snapshot.listeners[0].maxStreamDuration = .seconds(7)
    #expect(end(snapshot) == .seconds(7))
  }

  @Test(
    "item 58: a call's grpc-timeout counts from its start, and each attempt is told what is left")
  func grpcTimeout() {
    for (maximum, text, seconds, first): (Int64, String, Int64, String) in [
      (0, "10S", 10, "10000000u"), (6, "10S", 6, "6000000u"), (20, "10S", 10, "10000000u"),
    ] {
      let policy = RetryPolicy(
        conditions: [.unavailable], retries: 50,
        backOff: BackOff(base: .seconds(2), maximum: .seconds(2)))
      let bench = Bench(
        Bench.fixed(
          retry: policy, timeout: .zero,
          route: { $0.streamDuration.grpcTimeoutMaximum = .seconds(maximum) }))
      let start = bench.now
      bench.onRequest = { $0.respond($1, 200, [("grpc-status", "14")]) }
      bench.submit(
        headers: [("content-type", "application/grpc"), ("grpc-timeout", text)])
      while bench.results.isEmpty, bench.now < start + .seconds(60) {
        bench.advance(.milliseconds(100))
      }
      #expect(bench.now - start == .seconds(seconds))
      #expect(bench.results.map { $0.failure } == [.timeout])
      let told = bench.peer.order.map { bench.peer.requests[$0]!.value("grpc-timeout")! }
      #expect(told.first == first)
      #expect(told.count > 3)
      let numbers = told.map { Int($0.dropLast())! }
      #expect(numbers == numbers.sorted(by: >), "less is left with each attempt: \(told)")
    }
  }

  @Test("item 58: where the route does not look at grpc-timeout it goes out as it came")
  func grpcTimeoutUnread() {
    let bench = Bench()
    bench.submit(headers: [("grpc-timeout", "10S")])
    #expect(bench.peer.requests[1]?.value("grpc-timeout") == "10S")
  }

  @Test("items 56, 67: no progress for the stream idle timeout is a 504 of its own")
  func streamIdle() {
    let bench = Bench(Bench.fixed(timeout: .zero, idleTimeout: .seconds(20)))
    bench.onRequest = { peer, stream in peer.respond(stream, 200, end: false) }
    bench.submit()
    bench.advance(.seconds(19))
    _ = try? bench.peer.http.submitData([1].span, on: 1, endStream: false, now: bench.now)
    bench.run()
    bench.advance(.milliseconds(19_999))
    #expect(bench.results.isEmpty)
    bench.advance(.milliseconds(1))
    #expect(bench.results.map { $0.failure } == [.timeout])
    #expect(bench.results[0].localStatus == 504)
    bench.expectAtRest()
  }

  @Test("item 67: what Envoy would answer itself")
  func localStatus() {
    var snapshot = Bench.fixed()
    snapshot.listeners[0].routes.virtualHosts[0].routes[0].path = .prefix("/v1")
    snapshot.listeners[0].routes.virtualHosts[0].routes += [
      Route(
        name: "lost", path: .prefix("/lost"),
        action: .forward(
          {
            var action = ForwardAction(clusters: [WeightedCluster(name: "nowhere")])
            action.notFoundStatus = 500
            return action
          }())),
      Route(name: "teapot", path: .prefix("/teapot"), action: .respond(status: 418)),
    ]
    let bench = Bench(snapshot)
    bench.submit(1, path: "/v2")
    bench.submit(2, path: "/lost")
    bench.submit(3, path: "/teapot")
    bench.submit(4, listener: "nobody")
    #expect(bench.results.map { $0.localStatus } == [404, 500, 0, 404])
    #expect(bench.results.map { $0.failure } == [.noRoute, .noCluster, nil, .noListener])
    #expect(bench.results.allSatisfy { $0.retryEnd == .unrouted && $0.attempts == 0 })
    #expect(bench.results[2].status == 418)
    #expect(bench.results[2].details.description == "direct_response")
    #expect(bench.allPeers.isEmpty)
    bench.expectAtRest()
  }

  @Test("item 67: a redirect ends the request with its status, and says where it led")
  func redirect() {
    var snapshot = Bench.fixed()
    var action = RedirectAction()
    action.status = 308
    action.host = "other.example.com"
    snapshot.listeners[0].routes.virtualHosts[0].routes[0].action = .redirect(action)
    let bench = Bench(snapshot)
    bench.submit(path: "/v1/state?a=b")
    #expect(bench.results.map { $0.status } == [308])
    let details = bench.results[0].details.description
    #expect(details.hasPrefix("direct_response: location "), "\(details)")
    #expect(details.hasSuffix("://other.example.com/v1/state?a=b"), "\(details)")
    bench.expectAtRest()
  }
}
