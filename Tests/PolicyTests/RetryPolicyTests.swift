import Primitives
import Testing

@testable import Policy

@Suite("Retry policies, breakers, balancing")
struct RetryPolicyTests {
  @Test("retry_on: words between commas, unknown ones ignored")
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
          + "deadline-exceeded,internal,resource-exhausted,unavailable"
      ).rawValue.nonzeroBitCount
        == 8)
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
  ]

  @Test(
    "each word retries exactly its outcomes",
    arguments: [
      ("5xx", [3, 4, 7, 8, 9, 10, 11]), ("gateway-error", [4, 7, 8, 9, 11]),
      ("reset", [7, 8, 11]), ("reset-before-request", [8]), ("connect-failure", [9]),
      ("envoy-ratelimited", [5]), ("retriable-4xx", [1]), ("refused-stream", [10]),
      ("retriable-status-codes", [2]), ("unavailable", [6]), ("cancelled", []), ("", []),
    ])
  func conditions(word: String, expected: [Int]) {
    let policy = RetryPolicy(
      conditions: RetryConditions(parsing: ByteString(word)), retriableStatusCodes: [429])
    let retried = Self.outcomes.indices.filter { policy.retries(Self.outcomes[$0]) }
    #expect(retried == expected)
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

  @Test("breakers: at the maximum the next one is rejected; 0 blocks all")
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

  @Test("a budget counts requests in back-off and the proposed retry; it replaces max_retries")
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
