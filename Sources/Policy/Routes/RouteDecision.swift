import Primitives

/// What routing may look at in a request.
public protocol RequestHead {
  /// `:method`.
  var method: ByteString { get }
  /// `:authority`.
  var authority: ByteString { get }
  /// `:path`, with its query.
  var path: ByteString { get }
  /// All values of the field, joined with `,`; nil: absent. The name is in lower case; the
  /// pseudo-header fields are asked for too.
  func value(of name: ByteString) -> ByteString?
}

/// What the snapshot says of one request.
public enum RouteDecision: Equatable, Sendable {
  case forward(RoutedRequest)
  /// The route answers itself.
  case respond(DirectResponse)
  /// Envoy's `route_not_found` cases.
  case noListener
  case noVirtualHost
  case noRoute
  /// The route leads to a cluster that the snapshot does not have. `status` is what Envoy would answer.
  case noCluster(status: UInt16, name: ByteString)
}

/// The answer of a route that forwards nothing.
public struct DirectResponse: Equatable, Sendable {
  public var status: UInt16
  /// Of a redirect; else empty.
  public var location: ByteString

  public init(status: UInt16, location: ByteString = ByteString()) {
    self.status = status
    self.location = location
  }
}

/// The policy that a request carries from its routing to its end.
public struct RoutedRequest: Equatable, Sendable {
  /// An index into `PolicySnapshot.clusters` of the snapshot that routed it.
  public var cluster: Int
  /// From the end of the request; zero: off, as the other two.
  public var timeout: Interval
  public var idleTimeout: Interval
  /// From the start of the request.
  public var maxStreamDuration = Interval.zero
  public var retryPolicy: RetryPolicy
  /// A per-try timeout starts another attempt beside the one that is slow.
  public var hedgesOnPerTryTimeout = false
  public var priority = RoutingPriority.default
  public var mirrors: [MirrorTarget] = []
  /// `x-envoy-attempt-count` is sent.
  public var addsAttemptCount = false
  /// `x-envoy-is-timeout-retry` is sent.
  public var addsTimeoutRetryHeader = false
  /// A larger body is not retried.
  public var bodyLimit: UInt64?
  /// Empty on the steady path, where nothing is allocated.
  public var rewrite = RequestRewrite()
}

extension RoutedRequest {
  public init(
    cluster: Int, timeout: Interval = .seconds(15), idleTimeout: Interval = .seconds(300),
    retryPolicy: RetryPolicy = .none
  ) {
    self.init(
      cluster: cluster, timeout: timeout, idleTimeout: idleTimeout, maxStreamDuration: .zero,
      retryPolicy: retryPolicy)
  }
}

/// Where a copy of a request goes. Its fraction is drawn already.
public struct MirrorTarget: Equatable, Sendable {
  /// An index into `PolicySnapshot.clusters`.
  public var cluster: Int
  public var appendsShadowSuffix: Bool

  public init(cluster: Int, appendsShadowSuffix: Bool = true) {
    self.cluster = cluster
    self.appendsShadowSuffix = appendsShadowSuffix
  }
}

/// What changes in a request before it is sent.
public struct RequestRewrite: Equatable, Sendable {
  public var path: ByteString?
  public var authority: ByteString?
  /// `auto_host_rewrite`: the authority becomes the name of the endpoint, if it has one.
  public var usesEndpointHostname = false
  /// A hostname of the endpoint that takes the authority's place puts the old one into
  /// `x-forwarded-host`. For `authority` that is among the mutations.
  public var appendsForwardedHost = false
  /// In the order in which they are applied.
  public var mutations: [HeaderMutation] = []

  public init() {}

  /// Nothing changes.
  public var isEmpty: Bool {
    path == nil && authority == nil && !usesEndpointHostname && mutations.isEmpty
  }
}
