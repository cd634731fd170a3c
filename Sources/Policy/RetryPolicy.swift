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

  /// The words of a comma-separated list; spaces around a word and unknown words are ignored.
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
    ("cancelled", .cancelled), ("deadline-exceeded", .deadlineExceeded),
    ("internal", .internal), ("resource-exhausted", .resourceExhausted),
    ("unavailable", .unavailable),
  ]
}

/// How one attempt ended, as far as a retry policy is concerned.
public enum AttemptOutcome: Equatable, Sendable {
  /// The response's headers. `grpcStatus` only if it stands in them (a trailers-only response).
  case response(status: UInt16, grpcStatus: UInt16?, isRateLimited: Bool)
  /// The stream or the connection ended without response headers.
  case reset
  /// As `reset`, and nothing of the request had left.
  case resetBeforeRequest
  case connectFailure
  /// REFUSED_STREAM, or above GOAWAY's last stream: not processed by the peer.
  case refused
  case perTryTimeout
}

/// `envoy.config.route.v3.RetryPolicy`.
public struct RetryPolicy: Equatable, Sendable {
  public var conditions: RetryConditions
  /// Attempts are one more than this.
  public var retries: UInt32
  /// From the end of the request to the response's headers. Zero: off.
  public var perTryTimeout: Interval
  public var retriableStatusCodes: [UInt16]
  public var backOff: BackOff

  public init(
    conditions: RetryConditions, retries: UInt32 = 1, perTryTimeout: Interval = .zero,
    retriableStatusCodes: [UInt16] = [], backOff: BackOff = BackOff()
  ) {
    self.conditions = conditions
    self.retries = retries
    self.perTryTimeout = perTryTimeout
    self.retriableStatusCodes = retriableStatusCodes
    self.backOff = backOff
  }

  /// No retries.
  public static let none = RetryPolicy(conditions: [], retries: 0)

  /// Whether `outcome` is one that the policy retries; how many retries are left is not its concern.
  public func retries(_ outcome: AttemptOutcome) -> Bool {
    switch outcome {
    case .response(let status, let grpcStatus, let isRateLimited):
      if isRateLimited { return conditions.contains(.envoyRateLimited) }
      return retries(status: status) || retries(grpcStatus: grpcStatus)
    // `gateway-error` covers a missing response too: Envoy answers one with 503 or 504 itself.
    case .reset, .perTryTimeout:
      return !conditions.isDisjoint(with: [.serverError, .gatewayError, .reset])
    case .resetBeforeRequest:
      return !conditions.isDisjoint(
        with: [.serverError, .gatewayError, .reset, .resetBeforeRequest])
    case .connectFailure:
      return !conditions.isDisjoint(with: [.serverError, .gatewayError, .connectFailure])
    case .refused:
      return !conditions.isDisjoint(with: [.serverError, .refusedStream])
    }
  }

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

/// Exponential back-off with full jitter: uniform over [0, min(base · 2ⁿ⁻¹, maximum)).
public struct BackOff: Equatable, Sendable {
  public var base: Interval
  public var maximum: Interval

  public init(base: Interval = .milliseconds(25), maximum: Interval = .milliseconds(250)) {
    self.base = base
    self.maximum = maximum
  }

  /// The exclusive bound of the delay before retry `number`, which counts from 1.
  public func bound(_ number: UInt32) -> Interval {
    let shift = min(number == 0 ? 0 : number - 1, 40)
    let (grown, overflow) = base.nanoseconds.multipliedReportingOverflow(by: Int64(1) << shift)
    return overflow ? maximum : min(Interval(nanoseconds: grown), maximum)
  }

  /// A random delay before retry `number`, uniform below `bound(number)`; zero when that is zero.
  public func delay(_ number: UInt32, using random: inout SplitMix64) -> Interval {
    let bound = max(self.bound(number).nanoseconds, 0)
    return Interval(nanoseconds: Int64(random.below(UInt64(bound))))
  }
}
