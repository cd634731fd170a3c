import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Pauses between attempts")
struct BackOffTests {
  /// The pauses before the retries of one request.
  private func pauses(
    _ bench: Bench, _ fields: [[(String, String)]] = [[]], status: Int = 503
  ) -> [Interval] {
    var times: [Instant] = []
    bench.onRequest = { peer, stream in
      let answer = fields[min(times.count, fields.count - 1)]
      times.append(bench.now)
      peer.respond(stream, status, answer)
    }
    bench.submit()
    bench.advance(.seconds(500))
    return zip(times.dropFirst(), times).map { $0 - $1 }
  }

  @Test(
    "items 55, 62: 25 ms unless the runtime or the policy says otherwise, ten times that at most")
  func base() {
    func longest(_ backOff: BackOff?, _ runtime: Runtime) -> [Interval] {
      var longest = [Interval](repeating: .zero, count: 8)
      let policy = RetryPolicy(conditions: [.serverError], retries: 8, backOff: backOff)
      for seed in UInt64(1)...300 {
        var snapshot = Bench.fixed(retry: policy, timeout: .zero)
        snapshot.runtime = runtime
        for (index, pause) in pauses(Bench(snapshot, seed: seed)).enumerated() {
          longest[index] = max(longest[index], pause)
        }
      }
      return longest
    }
    func expect(_ found: [Interval], below bounds: [Int64], _ what: String) {
      for (pause, bound) in zip(found, bounds) {
        #expect(pause < .milliseconds(bound), "\(what)")
        #expect(pause.nanoseconds > bound * 800_000, "\(what)")
      }
    }
    let runtime = Runtime(layers: [
      RuntimeLayer(
        name: "r",
        entries: [RuntimeEntry(key: "upstream.base_retry_backoff_ms", value: .number(100))])
    ])
    expect(longest(nil, Runtime()), below: [25, 50, 100, 200, 250, 250, 250, 250], "default")
    expect(longest(nil, runtime), below: [100, 200, 400, 800, 1000, 1000], "runtime")
    let policy = BackOff(base: .milliseconds(10), maximum: .milliseconds(35))
    expect(longest(policy, runtime), below: [10, 20, 35, 35], "policy")
  }

  private func rateLimited(
    _ headers: [RateLimitedBackOff.ResetHeader], maximum: Interval = .seconds(300),
    timeout: Interval = .zero, idleTimeout: Interval = .zero
  ) -> Bench {
    var policy = RetryPolicy(
      conditions: [.serverError, .retriable4xx], retries: 1,
      backOff: BackOff(base: .milliseconds(25), maximum: .milliseconds(25)))
    policy.rateLimited = RateLimitedBackOff(resetHeaders: headers, maximum: maximum)
    return Bench(
      Bench.fixed(retry: policy, timeout: timeout, idleTimeout: idleTimeout), seed: 7)
  }

  @Test(
    "item 63: the first reset header with a usable value gives the pause, half of it more at most")
  func resetHeaders() {
    let headers: [RateLimitedBackOff.ResetHeader] = [
      .init(name: "retry-after"), .init(name: "x-reset", format: .unixTimestamp),
    ]
    // 1994-11-06 08:49:37
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT")
    let cases: [([(String, String)], Int64?)] = [
      ([("retry-after", "10")], 10), ([("retry-after", "300")], 300),
      ([("retry-after", "301")], nil), ([("retry-after", "0")], nil),
      ([("retry-after", "soon")], nil), ([("retry-after", "-5")], nil),
      ([("retry-after", "99999999999999999999")], nil),
      ([("retry-after", "301"), ("x-reset", "784111787"), date], 10),
      ([("x-reset", "784111787"), date, ("retry-after", "20")], 20),
      ([("x-reset", "784111777"), date], nil), ([("x-reset", "784111776"), date], nil),
      ([("x-reset", "784111787")], nil), ([], nil),
      ([("x-reset", "784111787"), ("date", "Fri, 31 Dec 9999 23:59:59 GMT")], nil),
    ]
    for (fields, seconds) in cases {
      let bench = rateLimited(headers)
      let pause = pauses(bench, [fields])[0]
      if let seconds {
        #expect(pause >= .seconds(seconds) && pause < .milliseconds(seconds * 1_500), "\(fields)")
        #expect(bench.statistic("upstream_rq_retry_backoff_ratelimited") == 1)
        #expect(bench.statistic("upstream_rq_retry_backoff_exponential") == 0)
      } else {
        #expect(pause < .milliseconds(25), "\(fields)")
        #expect(bench.statistic("upstream_rq_retry_backoff_ratelimited") == 0)
        #expect(bench.statistic("upstream_rq_retry_backoff_exponential") == 1)
      }
      bench.expectAtRest()
    }
  }

  @Test(
    "item 63: a time is measured by the wall clock, if that is trusted and the response has no date"
  )
  func wallClock() {
    let bench = rateLimited([.init(name: "x-reset", format: .unixTimestamp)])
    bench.core.setWall(WallTime(nanoseconds: 784_111_700_000_000_000), now: bench.now)
    bench.advance(.seconds(7))
    let pause = pauses(bench, [[("x-reset", "784111737")]])[0]
    #expect(pause >= .seconds(30) && pause < .seconds(45))
  }

  @Test("item 63: without rate_limited_retry_back_off, Retry-After does not lengthen the pause")
  func ignored() {
    let bench = Bench(Bench.fixed(retry: RetryPolicy(conditions: [.serverError], retries: 1)))
    #expect(pauses(bench, [[("retry-after", "10")]])[0] < .milliseconds(25))
    #expect(
      bench.results.map { $0.outcome }
        == [.response(status: 503, grpcStatus: nil, retryAfter: .seconds(10))])
  }

  @Test("item 63: a pause that the route's timeouts do not allow is none: the answer is the result")
  func tooLate() {
    let header = RateLimitedBackOff.ResetHeader(name: "retry-after")
    for bench in [
      rateLimited([header], timeout: .seconds(15)),
      rateLimited([header], idleTimeout: .seconds(15)),
    ] {
      bench.onRequest = { $0.respond($1, 503, [("retry-after", "15")]) }
      bench.submit()
      #expect(bench.results.map { $0.status } == [503])
      #expect(bench.results[0].retryEnd == .tooLate)
      #expect(bench.statistic("upstream_rq_retry") == 0)
      bench.expectAtRest()
    }
  }

  @Test("item 55: upstream.use_retry switches retries off, or to a share")
  func useRetry() {
    func retried(_ percent: Double) -> Int {
      var snapshot = Bench.fixed(
        retry: RetryPolicy(conditions: [.serverError], retries: 1, backOff: atOnce))
      snapshot.runtime = Runtime(layers: [
        RuntimeLayer(
          name: "r", entries: [RuntimeEntry(key: "upstream.use_retry", value: .number(percent))])
      ])
      let bench = Bench(snapshot, seed: 5)
      bench.onRequest = { $0.respond($1, 503) }
      for token in UInt64(0)..<400 { bench.submit(token) }
      bench.expectAtRest()
      #expect(
        bench.results.allSatisfy { $0.retryEnd == ($0.attempts == 2 ? .limit : .disabled) })
      return bench.results.count { $0.attempts == 2 }
    }
    #expect(retried(0) == 0)
    #expect(retried(100) == 400)
    #expect((60...140).contains(retried(25)))
  }

  @Test("item 55: upstream.maintenance_mode of a cluster answers 503 without an attempt")
  func maintenance() {
    var snapshot = Bench.fixed()
    let second = Bench.fixed(name: "two")
    snapshot.listeners += second.listeners
    snapshot.clusters += second.clusters
    let bench = Bench(snapshot)
    bench.submit(1)
    snapshot.runtime = Runtime(layers: [
      RuntimeLayer(
        name: "r",
        entries: [RuntimeEntry(key: "upstream.maintenance_mode.up", value: .number(100))])
    ])
    bench.core.apply(snapshot, now: bench.now)
    bench.submit(2)
    bench.submit(3, listener: "two")
    #expect(bench.results.map { $0.status } == [200, nil, 200])
    #expect(bench.results[1].failure == .overflow)
    #expect(bench.results[1].localStatus == 503)
    #expect(bench.results[1].attempts == 0)
    #expect(bench.results[1].retryEnd == .maintenance)
    #expect(bench.results[1].details.description == "maintenance_mode: up")
    #expect(bench.statistic("upstream_rq_maintenance_mode") == 1)
    snapshot.runtime = Runtime()
    bench.core.apply(snapshot, now: bench.now)
    bench.submit(4)
    #expect(bench.results.last?.status == 200)
    bench.expectAtRest()
  }
}
