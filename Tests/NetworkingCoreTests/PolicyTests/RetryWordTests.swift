import Policy
import Primitives
import Testing

@testable import NetworkingCore

/// Retries without a pause, so that a test needs no clock.
let atOnce = BackOff(base: .zero, maximum: .zero)

@Suite("What is retried, and what is not")
struct RetryWordTests {
  /// Attempts at an upstream that always answers like this.
  private func attempts(
    _ words: ByteString, codes: [UInt16] = [], _ answer: @escaping (ScriptedPeer, UInt32) -> Void
  ) -> RequestResult {
    let policy = RetryPolicy(
      conditions: RetryConditions(parsing: words), retries: 2, retriableStatusCodes: codes,
      backOff: atOnce)
    let bench = Bench(Bench.fixed(retry: policy))
    bench.onRequest = answer
    bench.submit()
    bench.expectAtRest()
    #expect(bench.results.count == 1)
    return bench.results[0]
  }

  static let statuses: [(words: ByteString, retried: [Int])] = [
    ("5xx", [500, 502, 503, 504, 599]), ("gateway-error", [502, 503, 504]),
    ("retriable-4xx", [409]), ("retriable-status-codes", [418, 502]), ("reset", []),
    ("connect-failure", []), ("refused-stream,reset-before-request", []), ("", []),
    ("http3-post-connect-failure,nonsense", []),
    ("gateway-error, retriable-4xx", [409, 502, 503, 504]),
  ]

  @Test("item 59: a status is retried by the words that name it", arguments: statuses)
  func status(words: ByteString, retried: [Int]) {
    for status in [200, 204, 302, 400, 409, 418, 429, 500, 502, 503, 504, 599] {
      let result = attempts(words, codes: [418, 502]) { peer, stream in
        peer.respond(stream, status)
      }
      #expect(result.status == UInt16(status))
      #expect(result.attempts == (retried.contains(status) ? 3 : 1), "\(words) \(status)")
      let isGood = (200...299).contains(status)
      let expected: RetryEnd =
        isGood
        ? .none
        : retried.contains(status)
          ? .limit
          : RetryConditions(parsing: words).isEmpty ? .noPolicy : .notRetriable
      #expect(result.retryEnd == expected, "\(words) \(status)")
    }
  }

  @Test(
    "item 59: a reset, of the stream or with its connection, is for 5xx, gateway-error and reset")
  func reset() {
    for (words, count): (ByteString, Int) in [
      ("5xx", 3), ("gateway-error", 3), ("reset", 3), ("reset-before-request", 1),
      ("connect-failure,refused-stream,retriable-4xx,retriable-headers", 1), ("", 1),
    ] {
      let result = attempts(words) { $0.http.reset($1, .internalError) }
      #expect(result.attempts == count, "\(words)")
      #expect(result.failure == .reset)
      #expect(result.localStatus == 503)
    }
  }

  @Test("item 59: a connection that cannot be made is for all of those, and for connect-failure")
  func connectFailure() {
    for (words, count): (ByteString, Int) in [
      ("connect-failure", 2), ("5xx", 2), ("gateway-error", 2), ("reset", 2),
      ("reset-before-request", 2), ("refused-stream,retriable-4xx", 1), ("", 1),
    ] {
      let policy = RetryPolicy(
        conditions: RetryConditions(parsing: words), retries: 1, backOff: atOnce)
      let bench = Bench(Bench.fixed(retry: policy))
      bench.onConnect = { _ in .fail("connection refused") }
      bench.submit()
      #expect(bench.results.map { $0.attempts } == [count], "\(words)")
      #expect(bench.results[0].failure == .connectFailure)
      bench.expectAtRest()
    }
  }

  @Test("item 59: reset-before-request is for a connection that took nothing of the request")
  func resetBeforeRequest() {
    let policy = RetryPolicy(
      conditions: [.resetBeforeRequest], retries: 1, backOff: atOnce)
    let bench = Bench(Bench.fixed(retry: policy))
    bench.submit()
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.disconnect(bench.peer)
    #expect(bench.results.last?.attempts == 1)
    #expect(bench.results.last?.retryEnd == .notRetriable)
    bench.expectAtRest()
  }

  @Test("items 59, 66: grpc-status is looked at in headers, not in trailers")
  func grpcStatus() {
    for (word, status): (ByteString, Int) in [
      ("cancelled", 1), ("deadline-exceeded", 4), ("resource-exhausted", 8), ("internal", 13),
      ("unavailable", 14),
    ] {
      for other in 0...16 {
        let field = [("grpc-status", "\(other)")]
        let bare = attempts(word) { $0.respond($1, 200, field) }
        #expect(bare.attempts == (other == status ? 3 : 1), "\(word) \(other)")
        #expect(bare.outcome == .response(status: 200, grpcStatus: UInt16(other), retryAfter: nil))
        let trailing = attempts(word) { $0.respond($1, 200, trailers: field) }
        #expect(trailing.attempts == 1)
        #expect(trailing.retryEnd == (other == 0 ? .none : .notRetriable))
      }
    }
  }

  @Test("items 59, 66: retriable-headers are matched against the response, whatever its status")
  func retriableHeaders() {
    var policy = RetryPolicy(conditions: [.retriableHeaders], retries: 1, backOff: atOnce)
    policy.retriableHeaders = [
      HeaderMatcher(name: "x-never", pattern: .text(StringMatcher(.exact("yes")))),
      HeaderMatcher(name: "x-again", pattern: .range(start: 1, end: 10)),
    ]
    for (field, count) in [
      (("x-again", "9"), 2), (("x-again", "10"), 1), (("x-never", "yes"), 2),
      (("x-never", "no"), 1),
      (("x-other", "9"), 1),
    ] {
      let bench = Bench(Bench.fixed(retry: policy))
      bench.onRequest = { $0.respond($1, 200, [field]) }
      bench.submit()
      #expect(bench.results.map { $0.attempts } == [count], "\(field)")
      policy.conditions = [.serverError]
      bench.core.apply(Bench.fixed(retry: policy), now: bench.now)
      bench.submit()
      #expect(bench.results.last?.attempts == 1, "the list without the word")
      policy.conditions = [.retriableHeaders]
    }
  }

  @Test("item 60: x-envoy-ratelimited stops retries, unless the policy has envoy-ratelimited")
  func rateLimited() {
    let field = [("x-envoy-ratelimited", "true")]
    let stopped = attempts("5xx,gateway-error,retriable-status-codes", codes: [429]) {
      $0.respond($1, 503, field)
    }
    #expect(stopped.attempts == 1)
    #expect(stopped.retryEnd == .notRetriable)
    #expect(attempts("envoy-ratelimited") { $0.respond($1, 429, field) }.attempts == 3)
    #expect(attempts("envoy-ratelimited") { $0.respond($1, 429) }.attempts == 1)
    #expect(
      attempts("5xx") { $0.respond($1, 503, [("x-envoy-overloaded", "true")]) }.attempts == 3)
  }

  @Test("item 61: num_retries counts retries; none, and the request is sent once")
  func limit() {
    for retries in [UInt32(0), 1, 2, 7] {
      let bench = Bench(
        Bench.fixed(
          retry: RetryPolicy(conditions: [.serverError], retries: retries, backOff: atOnce)))
      bench.onRequest = { $0.respond($1, 500) }
      bench.submit(headers: [("x-envoy-max-retries", "3")])
      #expect(bench.results.map { $0.attempts } == [Int(retries) + 1])
      #expect(bench.results[0].retryEnd == .limit)
      #expect(bench.statistic("upstream_rq_retry") == UInt64(retries))
      #expect(bench.statistic("upstream_rq_retry_limit_exceeded") == 1)
    }
  }

  @Test("item 66: retriable_request_headers decide whether a request is retried at all")
  func requestHeaders() {
    var policy = RetryPolicy(conditions: [.serverError], retries: 1, backOff: atOnce)
    policy.retriableRequestHeaders = [
      HeaderMatcher(name: "x-idempotent"),
      HeaderMatcher(name: ":method", pattern: .text(StringMatcher(.exact("GET")))),
    ]
    let bench = Bench(Bench.fixed(retry: policy))
    bench.onRequest = { $0.respond($1, 500) }
    bench.submit()
    bench.submit(headers: [("x-idempotent", "")])
    #expect(bench.results.map { $0.attempts } == [1, 2])
    #expect(bench.results.map { $0.retryEnd } == [.requestHeaders, .limit])
  }

  @Test("item 66: a body over request_body_buffer_limit is sent once, and that is counted")
  func bodyLimit() {
    let policy = RetryPolicy(conditions: [.serverError], retries: 1, backOff: atOnce)
    let bench = Bench(Bench.fixed(retry: policy, host: { $0.bodyLimit = 100 }))
    bench.onRequest = { $0.respond($1, 500) }
    bench.submit(1, body: [UInt8](repeating: 1, count: 100))
    bench.submit(2, body: [UInt8](repeating: 1, count: 101))
    #expect(bench.results.map { $0.attempts } == [2, 1])
    #expect(bench.results.map { $0.retryEnd } == [.limit, .bodyTooLarge])
    #expect(bench.statistic("retry_or_shadow_abandoned") == 1)
    bench.core.apply(Bench.fixed(retry: .none, host: { $0.bodyLimit = 100 }), now: bench.now)
    bench.submit(3, body: [UInt8](repeating: 1, count: 101))
    #expect(bench.results.last?.retryEnd == .noPolicy)
    #expect(bench.statistic("retry_or_shadow_abandoned") == 1, "nothing was to be kept")
  }

  @Test("item 66: once the response has begun, its end is the request's")
  func begun() {
    let policy = RetryPolicy(conditions: [.serverError, .reset], retries: 3, backOff: atOnce)
    let bench = Bench(Bench.fixed(retry: policy))
    bench.onRequest = { peer, stream in
      peer.respond(stream, 200, end: false)
      peer.http.reset(stream, .internalError)
    }
    bench.submit()
    #expect(bench.results.map { $0.failure } == [.reset])
    #expect(bench.results[0].attempts == 1)
    #expect(bench.results[0].retryEnd == .responseStarted)
    // An informational response is none.
    var calls = 0
    bench.onRequest = { peer, stream in
      calls += 1
      guard calls < 3 else { return peer.respond(stream, 200) }
      try? peer.http.submitHeaders(
        peer.list([(":status", "103")]), on: stream, endStream: false, now: .zero)
      peer.http.reset(stream, .internalError)
    }
    bench.submit()
    #expect(bench.results.last?.status == 200)
    #expect(bench.results.last?.attempts == 3)
    bench.expectAtRest()
  }

  @Test("the last requests of a cluster that did not succeed are there to be seen, with the reason")
  func failed() {
    let policy = RetryPolicy(conditions: [.serverError], retries: 1, backOff: atOnce)
    let bench = Bench(Bench.fixed(retry: policy))
    bench.submit(0)
    #expect(bench.failed().isEmpty)
    bench.onRequest = { $0.respond($1, 500) }
    for token in UInt64(1)...20 {
      bench.advance(.seconds(1))
      bench.submit(token)
    }
    #expect(bench.failed().map { $0.token } == Array(13...20))
    #expect(bench.failed().allSatisfy { $0.retryEnd == .limit && $0.attempts == 2 })
    #expect(bench.failed().last?.at == bench.now)
    #expect(bench.failed().last?.outcome == bench.results.last?.outcome)
    let long = String(repeating: "x", count: 5_000)
    bench.onConnect = { _ in .fail(long) }
    bench.disconnect(bench.peer)
    bench.submit(21)
    #expect(bench.failed().count == 8)
    #expect(bench.failed().last?.details.count == 160)
    #expect(bench.failed().last?.retryEnd.name.description == "limit")
  }
}
