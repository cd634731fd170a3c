import Primitives
import Testing

@testable import Policy

@Suite("Retry policies, breakers, balancing")
struct RetryPolicyTests {
  @Test("item 59: retry_on, words between commas, unknown ones ignored")
  func words() {
    #expect(RetryConditions(parsing: "5xx") == .serverError)
    #expect(
      RetryConditions(parsing: "reset,connect-failure,refused-stream")
        == [.reset, .connectFailure, .refusedStream])
    #expect(
      RetryConditions(parsing: " gateway-error , http3-post-connect-failure,, retriable-4xx ")
        == [.gatewayError, .retriable4xx])
    #expect(
      RetryConditions(
        parsing: "retriable-status-codes,envoy-ratelimited,reset-before-request,cancelled,"
          + "deadline-exceeded,internal,resource-exhausted,unavailable,retriable-headers"
      ).rawValue.nonzeroBitCount
        == 9)
    #expect(RetryConditions(parsing: "") == [])
    #expect(RetryConditions(parsing: "5XX,resets") == [])
  }

  static let outcomes: [AttemptOutcome] = [
    .response(status: 200, grpcStatus: nil, isRateLimited: false),
    .response(status: 409, grpcStatus: nil, isRateLimited: false),
    .response(status: 429, grpcStatus: nil, isRateLimited: false),
    .response(status: 500, grpcStatus: nil, isRateLimited: false),
    .response(status: 503, grpcStatus: nil, isRateLimited: false),
    .response(status: 503, grpcStatus: nil, isRateLimited: true),
    .response(status: 200, grpcStatus: 14, isRateLimited: false),
    .reset, .resetBeforeRequest, .connectFailure, .refused, .perTryTimeout,
    .response(status: 404, grpcStatus: nil, isRateLimited: false, hasRetriableHeader: true),
    .response(status: 200, grpcStatus: 1, isRateLimited: false),
    .response(status: 200, grpcStatus: 4, isRateLimited: false),
    .response(status: 200, grpcStatus: 8, isRateLimited: false),
    .response(status: 200, grpcStatus: 13, isRateLimited: false),
    .response(
      status: 503, grpcStatus: 14, isRateLimited: true, hasRetriableHeader: true),
  ]

  @Test(
    "items 59, 60: each word retries exactly its outcomes",
    arguments: [
      ("5xx", [3, 4, 7, 8, 9, 10, 11]), ("gateway-error", [4, 7, 8, 9, 10, 11]),
      ("reset", [7, 8, 9, 10, 11]), ("reset-before-request", [8, 9]), ("connect-failure", [9]),
      ("envoy-ratelimited", [5, 17]), ("retriable-4xx", [1]), ("refused-stream", [10]),
      ("retriable-status-codes", [2]), ("unavailable", [6]), ("cancelled", [13]),
      ("deadline-exceeded", [14]), ("resource-exhausted", [15]), ("internal", [16]),
      ("retriable-headers", [12]), ("http3-post-connect-failure", []), ("", []),
    ])
  func conditions(word: String, expected: [Int]) {
    let policy = RetryPolicy(
      conditions: RetryConditions(parsing: ByteString(word)), retriableStatusCodes: [429])
    let retried = Self.outcomes.indices.filter { policy.retries(Self.outcomes[$0]) }
    #expect(retried == expected)
  }

  @Test("what few policies have stands aside, and two policies that say the same are equal")
  func details() {
    var policy = RetryPolicy(conditions: [.reset])
    #expect(policy.retriableStatusCodes.isEmpty && policy.retriableHeaders.isEmpty)
    #expect(policy.retriableRequestHeaders.isEmpty && policy.rateLimited == nil)
    #expect(policy.perTryIdleTimeout == .zero && !policy.avoidsPreviousHosts)
    #expect(policy.hostSelectionAttempts == 1 && policy.backOff == nil)
    policy.perTryIdleTimeout = .seconds(1)
    policy.retriableHeaders = [HeaderMatcher(name: "x-again")]
    policy.retriableRequestHeaders = [HeaderMatcher(name: "x-safe")]
    policy.avoidsPreviousHosts = true
    policy.hostSelectionAttempts = 5
    policy.rateLimited = RateLimitedBackOff(resetHeaders: [.init(name: "retry-after")])
    var other = policy
    #expect(other == policy)
    other.hostSelectionAttempts = 4
    #expect(other != policy && policy.hostSelectionAttempts == 5)
    #expect(MemoryLayout<RetryPolicy>.size <= 48)
  }

  @Test("item 63: a rate-limited delay is the interval and up to half of it more")
  func rateLimited() {
    var random = SplitMix64(seed: 12)
    let policy = RateLimitedBackOff(resetHeaders: [])
    #expect(policy.maximum == .seconds(300))
    #expect(policy.accepts(.milliseconds(1)) && policy.accepts(.seconds(300)))
    #expect(!policy.accepts(Interval(nanoseconds: 999_999)) && !policy.accepts(.zero))
    #expect(!policy.accepts(.seconds(-1)) && !policy.accepts(.milliseconds(300_001)))
    var low = Interval.seconds(99)
    var high = Interval.zero
    for _ in 0..<2_000 {
      let delay = RateLimitedBackOff.delay(.seconds(10), using: &random)
      low = min(low, delay)
      high = max(high, delay)
    }
    #expect(low >= .seconds(10) && low < .milliseconds(10_050))
    #expect(high < .seconds(15) && high > .milliseconds(14_950))
  }

  @Test("the back-off's bound is min(base · 2ⁿ⁻¹, maximum), and never overflows")
  func bounds() {
    let backOff = BackOff()
    #expect(
      (1...6).map { backOff.bound($0).milliseconds } == [25, 50, 100, 200, 250, 250])
    #expect(backOff.bound(.max) == .milliseconds(250))
    let large = BackOff(base: .seconds(1_000_000), maximum: .seconds(2_000_000))
    #expect(large.bound(40) == .seconds(2_000_000))
    var random = SplitMix64(seed: 1)
    let none = BackOff(base: .zero, maximum: .zero)
    #expect(none.delay(3, using: &random) == .zero)
  }

  @Test("items 79, 80: at a breaker's maximum the next one is rejected; 0 blocks all")
  func breakers() {
    var load = ClusterLoad()
    let breakers = CircuitBreakers(
      maxConnections: 1, maxPendingRequests: 0, maxRequests: 2, maxRetries: 1)
    #expect(breakers.allowsConnection(load) && breakers.allowsRequest(load))
    #expect(!breakers.allowsPending(load) && breakers.allowsRetry(load))
    load.connections = 1
    load.active = 1
    load.retries = 1
    #expect(!breakers.allowsConnection(load) && breakers.allowsRequest(load))
    #expect(!breakers.allowsRetry(load))
    load.active = 2
    #expect(!breakers.allowsRequest(load))
    let standard = CircuitBreakers()
    #expect(standard.maxConnections == 1024 && standard.maxPendingRequests == 1024)
    #expect(standard.maxRequests == 1024 && standard.maxRetries == 3)
  }

  @Test(
    "item 64: a budget counts requests in back-off and the proposed retry; it replaces max_retries")
  func budget() {
    let budget = RetryBudget(basisPoints: 2_000, minimumConcurrency: 3)
    var load = ClusterLoad()
    #expect(budget.retries(for: load) == 3)
    load.waiting = 50
    load.active = 40
    load.pending = 9
    #expect(budget.retries(for: load) == 20)
    load.retries = 19
    let breakers = CircuitBreakers(maxRetries: 0, retryBudget: budget)
    #expect(breakers.allowsRetry(load))
    load.retries = 20
    #expect(!breakers.allowsRetry(load))
    load.active = .max
    #expect(RetryBudget(basisPoints: 10_000).retries(for: load) == .max)
  }
}
