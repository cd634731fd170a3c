import Primitives

/// The words of `retry_on`.
public struct RetryConditions: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Any 5xx, or no response at all.
  public static let serverError = RetryConditions(rawValue: 1 << 0)
  /// 502, 503, 504.
  public static let gatewayError = RetryConditions(rawValue: 1 << 1)
  /// No response: disconnect, reset, per-try timeout.
  public static let reset = RetryConditions(rawValue: 1 << 2)
  /// Disconnect before the request's headers were sent.
  public static let resetBeforeRequest = RetryConditions(rawValue: 1 << 3)
  public static let connectFailure = RetryConditions(rawValue: 1 << 4)
  public static let envoyRateLimited = RetryConditions(rawValue: 1 << 5)
  /// 409 alone.
  public static let retriable4xx = RetryConditions(rawValue: 1 << 6)
  public static let refusedStream = RetryConditions(rawValue: 1 << 7)
  public static let retriableStatusCodes = RetryConditions(rawValue: 1 << 8)
  /// gRPC: `grpc-status` in the response's headers, not in trailers.
  public static let cancelled = RetryConditions(rawValue: 1 << 9)
  public static let deadlineExceeded = RetryConditions(rawValue: 1 << 10)
  public static let `internal` = RetryConditions(rawValue: 1 << 11)
  public static let resourceExhausted = RetryConditions(rawValue: 1 << 12)
  public static let unavailable = RetryConditions(rawValue: 1 << 13)
  public static let retriableHeaders = RetryConditions(rawValue: 1 << 14)

  /// The words of a comma-separated list; spaces around a word and unknown words are ignored, and so
  /// is `http3-post-connect-failure`: no connection here is one of HTTP/3.
  public init(parsing text: ByteString) {
    self = []
    var start = 0
    let bytes = text.bytes
    for end in 0...bytes.count where end == bytes.count || bytes[end] == UInt8(ascii: ",") {
      var low = start
      var high = end
      while low < high, bytes[low] == UInt8(ascii: " ") { low += 1 }
      while high > low, bytes[high - 1] == UInt8(ascii: " ") { high -= 1 }
      insert(RetryConditions.word(ByteString(copying: bytes.span.extracting(low..<high))))
      start = end + 1
    }
  }

  private static func word(_ word: ByteString) -> RetryConditions {
    for (name, condition) in words where name == word { return condition }
    return []
  }

  private static let words: [(ByteString, RetryConditions)] = [
    ("5xx", .serverError), ("gateway-error", .gatewayError), ("reset", .reset),
    ("reset-before-request", .resetBeforeRequest), ("connect-failure", .connectFailure),
    ("envoy-ratelimited", .envoyRateLimited), ("retriable-4xx", .retriable4xx),
    ("refused-stream", .refusedStream), ("retriable-status-codes", .retriableStatusCodes),
    ("retriable-headers", .retriableHeaders), ("cancelled", .cancelled),
    ("deadline-exceeded", .deadlineExceeded),
    ("internal", .internal), ("resource-exhausted", .resourceExhausted),
    ("unavailable", .unavailable),
  ]
}

/// How one attempt ended, as far as a retry policy is concerned.
public enum AttemptOutcome: Equatable, Sendable {
  /// The response's headers. `grpcStatus` only if it stands in them, not in trailers.
  /// `isRateLimited`: they have `x-envoy-ratelimited`; `hasRetriableHeader`: one of
  /// `retriable_headers` matches them.
  case response(
    status: UInt16, grpcStatus: UInt16?, isRateLimited: Bool, hasRetriableHeader: Bool = false)
  /// The stream or the connection ended without response headers.
  case reset
  /// As `reset`, and nothing of the request had left.
  case resetBeforeRequest
  case connectFailure
  /// REFUSED_STREAM, or above GOAWAY's last stream: not processed by the peer.
  case refused
  /// No response headers in time; the per-try idle timeout too.
  case perTryTimeout
}

/// `envoy.config.route.v3.RetryPolicy`. What few policies have stands aside, so that a request that
/// carries its policy along copies little.
public struct RetryPolicy: Equatable, Sendable {
  public var conditions: RetryConditions
  /// Attempts are one more than this.
  public var retries: UInt32
  /// From the end of the request to the response's headers. Zero: off.
  public var perTryTimeout: Interval
  /// Nil: that of the runtime (`upstream.base_retry_backoff_ms`, 25 ms, at most ten times that).
  public var backOff: BackOff?
  /// At most one.
  private var details: [Details] = []

  private struct Details: Equatable, Sendable {
    var perTryIdleTimeout = Interval.zero
    var retriableStatusCodes: [UInt16] = []
    var retriableHeaders: [HeaderMatcher] = []
    var retriableRequestHeaders: [HeaderMatcher] = []
    var avoidsPreviousHosts = false
    var hostSelectionAttempts: UInt32 = 1
    var rateLimited: RateLimitedBackOff?
  }

  public init(
    conditions: RetryConditions, retries: UInt32 = 1, perTryTimeout: Interval = .zero,
    retriableStatusCodes: [UInt16] = [], backOff: BackOff? = nil
  ) {
    self.conditions = conditions
    self.retries = retries
    self.perTryTimeout = perTryTimeout
    self.backOff = backOff
    if !retriableStatusCodes.isEmpty { self.retriableStatusCodes = retriableStatusCodes }
  }

  /// No retries.
  public static let none = RetryPolicy(conditions: [], retries: 0)

  /// It has nothing of what follows.
  @inline(__always)
  public var isPlain: Bool { details.isEmpty }

  /// The longest silence of one attempt after the request was sent, in its response's body too. Zero:
  /// off.
  public var perTryIdleTimeout: Interval {
    get { details.first?.perTryIdleTimeout ?? .zero }
    set { change { $0.perTryIdleTimeout = newValue } }
  }
  public var retriableStatusCodes: [UInt16] {
    get { details.first?.retriableStatusCodes ?? [] }
    set { change { $0.retriableStatusCodes = newValue } }
  }
  /// One that matches is enough, for `retriable-headers`.
  public var retriableHeaders: [HeaderMatcher] {
    get { details.first?.retriableHeaders ?? [] }
    set { change { $0.retriableHeaders = newValue } }
  }
  /// If there are any, only requests that one of them matches are retried.
  public var retriableRequestHeaders: [HeaderMatcher] {
    get { details.first?.retriableRequestHeaders ?? [] }
    set { change { $0.retriableRequestHeaders = newValue } }
  }
  /// `envoy.retry_host_predicates.previous_hosts`: an endpoint that was tried is picked again only when
  /// `hostSelectionAttempts` further picks are of no avail.
  public var avoidsPreviousHosts: Bool {
    get { details.first?.avoidsPreviousHosts ?? false }
    set { change { $0.avoidsPreviousHosts = newValue } }
  }
  /// `host_selection_retry_max_attempts`.
  public var hostSelectionAttempts: UInt32 {
    get { details.first?.hostSelectionAttempts ?? 1 }
    set { change { $0.hostSelectionAttempts = newValue } }
  }
  public var rateLimited: RateLimitedBackOff? {
    get { details.first?.rateLimited }
    set { change { $0.rateLimited = newValue } }
  }

  private mutating func change(_ body: (inout Details) -> Void) {
    if details.isEmpty { details.append(Details()) }
    body(&details[0])
  }

  /// Whether `outcome` is one that the policy retries; how many retries are left is not its concern.
  public func retries(_ outcome: AttemptOutcome) -> Bool {
    switch outcome {
    case .response(let status, let grpcStatus, let isRateLimited, let hasRetriableHeader):
      if isRateLimited { return conditions.contains(.envoyRateLimited) }
      if hasRetriableHeader, conditions.contains(.retriableHeaders) { return true }
      return retries(status: status) || retries(grpcStatus: grpcStatus)
    // For Envoy no response is a 503 or a 504 of its own, which `5xx` and `gateway-error` cover, and
    // `reset` is each way of having none.
    case .reset, .perTryTimeout:
      return !conditions.isDisjoint(with: RetryPolicy.noResponse)
    case .resetBeforeRequest:
      return !conditions.isDisjoint(with: RetryPolicy.noResponse.union(.resetBeforeRequest))
    case .connectFailure:
      return !conditions.isDisjoint(
        with: RetryPolicy.noResponse.union([.connectFailure, .resetBeforeRequest]))
    case .refused:
      return !conditions.isDisjoint(with: RetryPolicy.noResponse.union(.refusedStream))
    }
  }

  private static let noResponse: RetryConditions = [.serverError, .gatewayError, .reset]

  private func retries(status: UInt16) -> Bool {
    if conditions.contains(.serverError), (500...599).contains(status) { return true }
    if conditions.contains(.gatewayError), (502...504).contains(status) { return true }
    if conditions.contains(.retriable4xx), status == 409 { return true }
    guard conditions.contains(.retriableStatusCodes) else { return false }
    return retriableStatusCodes.contains(status)
  }

  private func retries(grpcStatus: UInt16?) -> Bool {
    switch grpcStatus {
    case 1: return conditions.contains(.cancelled)
    case 4: return conditions.contains(.deadlineExceeded)
    case 8: return conditions.contains(.resourceExhausted)
    case 13: return conditions.contains(.internal)
    case 14: return conditions.contains(.unavailable)
    default: return false
    }
  }
}
