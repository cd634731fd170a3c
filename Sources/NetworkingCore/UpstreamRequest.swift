import HPACK
import Primitives

/// A request for the core. The core copies what it needs: the value can be reused for the next one.
public struct UpstreamRequest: Sendable {
  /// The listener that routes it: the name behind `xds:///`, or `HOST_PORT` of a static target.
  public var listener: ByteString
  public var method: ByteString
  public var path: ByteString
  /// Picks the virtual host.
  public var authority: ByteString
  /// Without pseudo-header fields; names in lower case. The core adds nothing to them.
  public var headers: HeaderList
  public var body: [UInt8]
  /// Replaces the route's timeout. Zero: off.
  public var timeout: Interval?
  /// The caller's own, handed back with the result.
  public var token: UInt64

  /// Made once: a literal would be an allocation in every request.
  public static let post: ByteString = "POST"

  public init(
    listener: ByteString, method: ByteString = post, path: ByteString, authority: ByteString,
    headers: HeaderList = HeaderList(), body: [UInt8] = [], timeout: Interval? = nil,
    token: UInt64 = 0
  ) {
    self.listener = listener
    self.method = method
    self.path = path
    self.authority = authority
    self.headers = headers
    self.body = body
    self.timeout = timeout
    self.token = token
  }
}

/// Names a request from `submit` until its result was taken; never used twice.
public struct RequestID: Hashable, Sendable {
  public let rawValue: UInt64
  init(slot: Int, generation: UInt32) { rawValue = UInt64(generation) << 32 | UInt64(slot) }
  var slot: Int { Int(rawValue & 0xFFFF_FFFF) }
  var generation: UInt32 { UInt32(rawValue >> 32) }
}

/// How a request ended. Each request ends exactly once.
public struct RequestResult: Equatable, Sendable {
  /// A complete response of any status, or the reason why there is none.
  public enum Outcome: Equatable, Sendable {
    /// A complete response. `grpcStatus` is that of its trailers, or of its headers when there are no
    /// others. `retryAfter` is what the upstream asked for.
    case response(status: UInt16, grpcStatus: UInt16?, retryAfter: Interval?)
    case failure(FailureReason)
  }

  public var id: RequestID
  public var token: UInt64
  public var outcome: Outcome
  /// Attempts that the retry policy counts; 0 when none was made.
  public var attempts: Int
  /// For a person: Envoy's response code detail where there is one, then what happened. Of a response
  /// it is the beginning of its `grpc-message` as it was sent, percent-encoded; else empty.
  public var details: ByteString
  /// After a connect failure: when the core will try the endpoint again at the earliest. A request
  /// before that fails at once.
  public var reconnectAfter: Interval?
  /// Why there was no retry, or no further one.
  public var retryEnd: RetryEnd
  /// The status that Envoy would answer in place of a response; 0 when there is one.
  public var localStatus: UInt16
}

extension NetworkingCore {
  func localStatus(_ slot: Int) -> UInt16 {
    guard case .failure(let reason) = requests[slot].outcome else { return 0 }
    switch reason {
    case .noListener, .noRoute: return 404
    // `cluster_not_found_response_code`
    case .noCluster: return requests[slot].status
    case .timeout, .perTryTimeout: return 504
    case .protocolError, .responseTooLarge: return 502
    case .requestTooLarge: return 413
    case .noHealthyUpstream, .resolutionFailed, .dropped, .overflow, .connectFailure, .reset,
      .refused,
      .cancelled:
      return 503
    }
  }
}

/// Why there is no response.
public enum FailureReason: UInt8, Equatable, Sendable {
  /// The snapshot has no listener of that name.
  case noListener
  /// No virtual host or no route matches (Envoy: 404).
  case noRoute
  /// The route leads to a cluster that does not exist (Envoy: 503).
  case noCluster
  /// The cluster has no endpoint: the control plane gave none.
  case noHealthyUpstream
  /// The control plane wants a share of the requests dropped (Envoy: 503 with
  /// `x-envoy-drop-overload`). Not retried.
  case dropped
  /// The cluster's name could not be resolved, now or before.
  case resolutionFailed
  /// A circuit breaker, a limit of the core, or maintenance.
  case overflow
  /// TCP or TLS could not be established.
  case connectFailure
  /// The stream or the connection ended before the response did.
  case reset
  /// The peer did not process the request, again and again, or its SETTINGS say that it will not.
  case refused
  /// The route's timeout, the stream's duration, or no progress for its idle timeout.
  case timeout
  case perTryTimeout
  /// The peer broke HTTP/2 or sent a response that is none.
  case protocolError
  case responseTooLarge
  /// Larger than the core's limits: it never goes out as it is.
  case requestTooLarge
  case cancelled
}
