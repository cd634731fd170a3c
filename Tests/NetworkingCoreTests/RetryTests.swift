import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Attempts, retries, back-off")
struct RetryTests {
  @Test("REFUSED_STREAM is replayed at once and counts as no attempt; then it is the policy's")
  func refused() {
    let bench = Bench()
    var left = 1
    bench.onRequest = { peer, stream in
      guard left > 0 else { return peer.respond(stream, 200) }
      left -= 1
      peer.http.reset(stream, .refusedStream)
    }
    bench.submit()
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.results[0].attempts == 1)
    #expect(bench.statistic("upstream_rq_retry") == 0)
    left = 2
    bench.submit()
    #expect(bench.results.count == 1)
    bench.advance(.milliseconds(25))
    #expect(bench.results.count == 2)
    #expect(bench.results[1].status == 200)
    #expect(bench.results[1].attempts == 2)
    #expect(bench.statistic("upstream_rq_retry") == 1)
    left = 9
    bench.submit()
    bench.advance(.milliseconds(25))
    #expect(bench.results[2].failure == .refused)
    bench.expectAtRest()
  }

  @Test("the time that a body had to go out ends with its attempt, not in the pause behind it")
  func sendingEndsWithAttempt() {
    var policy = RetryPolicy(conditions: [.serverError], retries: 1)
    policy.rateLimited = RateLimitedBackOff(resetHeaders: [.init(name: "retry-after")])
    let bench = Bench(Bench.fixed(retry: policy, timeout: .seconds(1)))
    bench.serverConfiguration.initialWindowSize = 0
    bench.onHeaders = { $0.respond($1, 503, [("retry-after", "30")]) }
    // The first request of a connection may use the default window.
    bench.submit(1, body: [])
    bench.submit(2, body: [UInt8](repeating: 7, count: 1_024))
    #expect(bench.results.count == 1 && bench.peer.order.count == 2)
    bench.onHeaders = { $0.respond($1, 200) }
    bench.advance(.seconds(50))
    #expect(bench.results.map { $0.status } == [503, 200])
    #expect(bench.results.last?.attempts == 2)
    bench.expectAtRest()
  }

  @Test("SETTINGS_MAX_HEADER_LIST_SIZE is advice: what is over it is not given up for good")
  func headerListAdvice() {
    let bench = Bench()
    bench.serverConfiguration.maxHeaderListSize = 400
    bench.submit(1)
    bench.submit(2, headers: [("x", String(repeating: "a", count: 300))])
    #expect(bench.results.last?.failure == .refused)
    #expect(bench.results.last?.details.description.contains("MAX_HEADER_LIST_SIZE") == true)
    bench.expectAtRest()
  }

  @Test("a reset is retried by the policy, after a back-off within its bounds")
  func reset() {
    let policy = RetryPolicy(conditions: [.reset], retries: 4)
    for seed in UInt64(1)...50 {
      let bench = Bench(Bench.fixed(retry: policy), seed: seed)
      var times: [Instant] = []
      bench.onRequest = { peer, stream in
        times.append(bench.now)
        peer.http.reset(stream, .internalError)
      }
      bench.submit()
      bench.advance(.seconds(5))
      #expect(bench.results.map { $0.failure } == [.reset], "seed \(seed)")
      #expect(bench.results[0].attempts == 5)
      for (retry, bound) in [25, 50, 100, 200].enumerated() {
        let delay = times[retry + 1] - times[retry]
        #expect(delay >= .zero && delay < .milliseconds(Int64(bound)), "seed \(seed)")
      }
      #expect(bench.statistic("upstream_rq_retry") == 4)
      #expect(bench.statistic("upstream_rq_retry_limit_exceeded") == 1)
      bench.expectAtRest()
    }
  }

  @Test("the back-off is uniform over its whole range")
  func spread() {
    var random = SplitMix64(seed: 4)
    let backOff = BackOff()
    for (number, bound) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (60, 250)] {
      var low = Interval.seconds(1)
      var high = Interval.zero
      for _ in 0..<2_000 {
        let delay = backOff.delay(UInt32(number), using: &random)
        low = min(low, delay)
        high = max(high, delay)
      }
      let limit = Interval.milliseconds(Int64(bound))
      #expect(low < Interval(nanoseconds: limit.nanoseconds / 50))
      #expect(high < limit && high > Interval(nanoseconds: limit.nanoseconds * 49 / 50))
    }
  }

  @Test("503 with 5xx is retried; the last answer is the result when retries are used up")
  func status() {
    let bench = Bench(Bench.fixed(retry: RetryPolicy(conditions: [.serverError], retries: 2)))
    var statuses = [503, 500, 200]
    bench.onRequest = { peer, stream in peer.respond(stream, statuses.removeFirst()) }
    bench.submit()
    bench.advance(.seconds(1))
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.results[0].attempts == 3)
    #expect(bench.statistic("upstream_rq_retry_success") == 1)
    #expect(bench.statistic("upstream_rq_5xx") == 2)
    statuses = [503, 503, 503]
    bench.submit()
    bench.advance(.seconds(1))
    #expect(bench.results.last?.status == 503)
    bench.expectAtRest()
  }

  @Test("a status that the policy does not name is the result at once")
  func unretried() {
    let bench = Bench()
    bench.onRequest = { peer, stream in peer.respond(stream, 503) }
    bench.submit()
    #expect(bench.results.map { $0.status } == [503])
    #expect(bench.results[0].attempts == 1)
  }

  @Test("a connection that drops fails all its streams, each is retried on the next one")
  func connectionDrop() {
    let bench = Bench()
    bench.onRequest = { _, _ in }
    for token in 1...3 { bench.submit(UInt64(token)) }
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    bench.disconnect(bench.peer)
    bench.advance(.milliseconds(25))
    #expect(bench.results.map { $0.status } == [200, 200, 200])
    #expect(Set(bench.results.map { $0.token }) == [1, 2, 3])
    #expect(bench.results.allSatisfy { $0.attempts == 2 })
    #expect(bench.connects.count == 2)
    bench.expectAtRest()
  }

  @Test("retries beyond the breaker are overflow: the failure before is the result")
  func retryOverflow() {
    let bench = Bench(Bench.fixed { $0.circuitBreakers.maxRetries = 2 })
    bench.onRequest = { _, _ in }
    for token in 1...5 { bench.submit(UInt64(token)) }
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    bench.disconnect(bench.peer)
    #expect(bench.results.map { $0.failure } == [.reset, .reset, .reset])
    #expect(bench.statistic("upstream_rq_retry_overflow") == 3)
    bench.advance(.seconds(1))
    #expect(bench.results.count == 5)
    bench.expectAtRest()
  }

  @Test("a connect failure is retried, then answered; then requests fail fast and attempts are few")
  func connectFailure() {
    let bench = Bench()
    bench.onConnect = { _ in .fail("connection refused") }
    bench.submit()
    bench.advance(.milliseconds(25))
    #expect(bench.results.map { $0.failure } == [.connectFailure])
    #expect(bench.results[0].attempts == 2)
    #expect(
      bench.results[0].details.description
        == "upstream_reset_before_response_started{connection_failure}: "
        + "connect 192.0.2.1:443: connection refused")
    #expect(bench.connects.count == 2)
    for second in 1...600 {
      bench.submit(UInt64(second))
      bench.advance(.seconds(1))
    }
    #expect(bench.results.count == 601)
    #expect(bench.results.allSatisfy { $0.failure == .connectFailure })
    // Mean wait 15 s once grown: about 40 in ten minutes.
    #expect(bench.connects.count < 90)
    #expect(bench.connects.count > 15)
    bench.onConnect = { _ in .accept }
    for _ in 0..<35 where bench.results.last?.status == nil {
      bench.submit()
      bench.advance(.seconds(1))
    }
    #expect(bench.results.last?.status == 200)
    bench.expectAtRest()
  }

  @Test("a failing endpoint is passed over while another works")
  func otherEndpoint() {
    let bad = SocketAddress(192, 0, 2, 9, port: 443)
    let bench = Bench(Bench.fixed([bad, Bench.address]))
    bench.onConnect = { $0 == bad ? .fail("no route to host") : .accept }
    for token in 0..<50 {
      bench.submit(UInt64(token))
      bench.advance(.milliseconds(30))
    }
    #expect(bench.results.count == 50)
    #expect(bench.results.allSatisfy { $0.status == 200 })
    #expect(bench.connects.count { $0.address == bad } < 10)
    #expect(bench.statistic("membership_healthy") == 1)
    bench.expectAtRest()
  }

  @Test("Retry-After: seconds, or a date against the response's own or against the wall clock")
  func retryAfter() {
    let bench = Bench()
    func answer(_ fields: [(String, String)]) -> Interval? {
      bench.onRequest = { peer, stream in peer.respond(stream, 429, fields) }
      bench.submit()
      if case .response(429, nil, let interval)? = bench.results.last?.outcome {
        return interval
      }
      return nil
    }
    let date = "Sun, 06 Nov 1994 08:49:37 GMT"
    #expect(answer([]) == nil)
    #expect(answer([("retry-after", "120")]) == .seconds(120))
    #expect(answer([("retry-after", "0")]) == .zero)
    #expect(answer([("retry-after", "soon")]) == nil)
    #expect(answer([("retry-after", "-1")]) == nil)
    #expect(answer([("retry-after", "99999999999999999999")]) == .seconds(4_294_967_295))
    #expect(
      answer([("date", "Sun, 06 Nov 1994 08:47:37 GMT"), ("retry-after", date)])
        == .seconds(120))
    #expect(
      answer([("date", "Sun Nov  6 08:49:07 1994"), ("retry-after", date)]) == .seconds(30))
    #expect(answer([("date", date), ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]) == .zero)
    #expect(answer([("retry-after", date)]) == nil)
    bench.core.setWall(
      WallTime(nanoseconds: (784_111_777 - 50) * 1_000_000_000), now: bench.now)
    bench.advance(.seconds(10))
    #expect(answer([("retry-after", date)]) == .seconds(40))
  }

  @Test("RFC 9110 §5.6.7: the three formats of a date, and what is none")
  func dates() {
    func parse(_ text: String) -> Int64? { HTTPDate.parse(Array(text.utf8)) }
    #expect(parse("Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777)
    #expect(parse("Sun Nov  6 08:49:37 1994") == 784_111_777)
    #expect(parse("Friday, 29-Feb-24 23:59:60 GMT") == 1_709_251_200)
    #expect(parse("Thu, 01 Jan 1970 00:00:00 GMT") == 0)
    #expect(parse("Tue, 19 Jan 2038 03:14:08 GMT") == 2_147_483_648)
    for text in [
      "", "Sun", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nvm 1994 08:49:37 GMT",
      "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
      "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 199999 08:49:37 GMT", ", - - - - -",
    ] {
      #expect(parse(text) == nil, "\(text)")
    }
  }
}
