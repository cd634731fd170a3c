import Policy
import Primitives

/// Why a request that did not succeed was not retried, or not once more.
public enum RetryEnd: UInt8, Equatable, Sendable {
  /// It succeeded.
  case none
  /// It never had a cluster: its listener or its route is missing, or the route answers by itself.
  case unrouted
  /// Neither its route nor its virtual host nor its cluster has a retry policy.
  case noPolicy
  /// Its policy does not name what happened.
  case notRetriable
  /// Its policy's `num_retries` are used up.
  case limit
  /// The cluster's `max_retries` or retry budget is used up.
  case overflow
  /// None of the policy's `retriable_request_headers` matches it.
  case requestHeaders
  /// Its body is larger than what is kept for retries.
  case bodyTooLarge
  /// `upstream.use_retry` in the runtime.
  case disabled
  /// Its time was over: the route's timeout, the stream's duration, or no progress for too long.
  case timeout
  /// The upstream asks for a longer pause than the route's timeout has left.
  case tooLate
  /// The upstream's answer had begun.
  case responseStarted
  /// A circuit breaker let it not even start.
  case circuitBreaker
  /// The cluster has no endpoint for it.
  case noEndpoint
  /// `upstream.maintenance_mode` in the runtime.
  case maintenance
  /// The control plane wants a share of the requests dropped.
  case dropped
  /// It does not fit through any connection.
  case tooLarge
  case cancelled

  /// A word for a page or a log line.
  public var name: StaticString {
    switch self {
    case .none: "none"
    case .unrouted: "unrouted"
    case .noPolicy: "no_policy"
    case .notRetriable: "not_retriable"
    case .limit: "limit"
    case .overflow: "overflow"
    case .requestHeaders: "request_headers"
    case .bodyTooLarge: "body_too_large"
    case .disabled: "disabled"
    case .timeout: "timeout"
    case .tooLate: "too_late"
    case .responseStarted: "response_started"
    case .circuitBreaker: "circuit_breaker"
    case .noEndpoint: "no_endpoint"
    case .maintenance: "maintenance"
    case .dropped: "dropped"
    case .tooLarge: "too_large"
    case .cancelled: "cancelled"
    }
  }
}

/// One request that did not succeed, for a page.
public struct FailedRequest: Equatable, Sendable {
  public var at: Instant
  /// The caller's own.
  public var token: UInt64
  public var outcome: RequestResult.Outcome
  public var attempts: Int
  public var retryEnd: RetryEnd
  /// As in the result, its beginning.
  public var details: ByteString
}

/// The last few of one cluster.
struct FailedRequests: Sendable {
  private var entries: [FailedRequest] = []
  /// Where the next one goes once the ring is full.
  private var oldest = 0

  mutating func append(_ entry: FailedRequest) {
    var entry = entry
    if entry.details.count > failureTextBytesMax {
      entry.details.bytes.removeLast(entry.details.count - failureTextBytesMax)
    }
    if entries.count < failedRequestsMax {
      entries.append(entry)
    } else {
      entries[oldest] = entry
      oldest = (oldest + 1) % failedRequestsMax
    }
  }

  /// Oldest first.
  func visit(_ body: (FailedRequest) -> Void) {
    for index in entries.indices { body(entries[(oldest + index) % entries.count]) }
  }
}

extension NetworkingCore {
  /// Visits the last requests of each cluster that did not succeed, a cluster's oldest first.
  public func visitFailedRequests(
    _ visit: (_ cluster: ByteString, _ request: FailedRequest) -> Void
  ) {
    for slot in clusters where slot.isUsed {
      slot.failed.visit { visit(slot.configuration.name, $0) }
    }
  }
}

/// Failed requests that are remembered of one cluster: the clusters together have some 100 KiB of them.
private let failedRequestsMax = 8
/// What is kept of the words about one.
private let failureTextBytesMax = 160
