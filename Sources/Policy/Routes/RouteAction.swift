import Primitives

/// What happens to a request that a route matched.
public enum RouteAction: Equatable, Sendable {
  case forwarding(Shared<ForwardAction>)
  case redirect(RedirectAction)
  /// `direct_response`: the request ends with this status, nothing is sent.
  case respond(status: UInt16)

  /// `forwarding` with an action of its own.
  public static func forward(_ action: ForwardAction) -> RouteAction {
    .forwarding(Shared(action))
  }
}

/// `envoy.config.route.v3.RouteAction`.
public struct ForwardAction: Equatable, Sendable {
  /// One is drawn for a request, by weight, and kept for its retries. A route with `cluster` or
  /// `cluster_header` has one.
  public var clusters: [WeightedCluster]
  /// `PREFIX.NAME` is the runtime key that replaces the weight of the cluster `NAME`. Empty: nothing
  /// does.
  public var runtimeKeyPrefix = ByteString()
  /// A number in this header stands in for the random draw of the cluster. Empty: none.
  public var randomHeader = ByteString()
  /// `cluster_not_found_response_code`.
  public var notFoundStatus: UInt16 = 503
  /// From the end of the request to the end of the response, over all attempts and their back-off.
  /// Zero: off.
  public var timeout: Interval
  /// The longest time without any progress of a request, while it waits or while its body is sent:
  /// what bounds a long upload, which `timeout` does not. Zero: off. Nil: that of the listener.
  public var idleTimeout: Interval?
  public var streamDuration = StreamDuration()
  /// Nil: that of the virtual host, then that of the cluster, and without that no retries.
  public var retryPolicy: RetryPolicy?
  /// Nil: what the virtual host says.
  public var hedgesOnPerTryTimeout: Bool?
  public var priority = RoutingPriority.default
  /// None: those of the virtual host, or of the route configuration.
  public var mirrors: [MirrorPolicy] = []
  public var pathRewrite = PathRewrite.none
  public var hostRewrite = HostRewrite.none
  /// A rewritten host goes into `x-forwarded-host`.
  public var appendsForwardedHost = false

  public init(
    clusters: [WeightedCluster], timeout: Interval = .seconds(15),
    idleTimeout: Interval? = nil, retryPolicy: RetryPolicy? = nil
  ) {
    self.clusters = clusters
    self.timeout = timeout
    self.idleTimeout = idleTimeout
    self.retryPolicy = retryPolicy
  }
}

/// `envoy.config.core.v3.RoutingPriority`: which circuit breakers count.
public enum RoutingPriority: UInt8, Sendable {
  case `default` = 0
  case high = 1
}

/// `envoy.config.route.v3.WeightedCluster.ClusterWeight`: a cluster and its share of a route's requests.
public struct WeightedCluster: Equatable, Sendable {
  /// Empty: the request's field `header` names it.
  public var name: ByteString
  public var header = ByteString()
  /// 0: never picked.
  public var weight: UInt32
  public var mutations = HeaderMutations()
  /// `host_rewrite_literal`: replaces the route's. Empty: none.
  public var hostRewrite = ByteString()

  public init(name: ByteString, weight: UInt32 = 1) {
    self.name = name
    self.weight = weight
  }

  /// A cluster that the request's field `header` names.
  public init(header: ByteString, weight: UInt32 = 1) {
    self.init(name: ByteString(), weight: weight)
    self.header = header
  }
}

/// `envoy.config.route.v3.RouteAction.MaxStreamDuration`: from the request's start to its end, over all
/// attempts.
public struct StreamDuration: Equatable, Sendable {
  /// Zero: off. Nil: that of the listener.
  public var maximum: Interval?
  /// A request's `grpc-timeout` takes the place of `maximum`, at most this; zero: without a bound. Nil:
  /// the field is not looked at.
  public var grpcTimeoutMaximum: Interval?
  /// Is taken off a `grpc-timeout`, so that the answer comes before the client gives up.
  public var grpcTimeoutOffset = Interval.zero

  public init() {}
}

/// `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`: a copy of the request goes to another
/// cluster, whose answer nobody waits for.
public struct MirrorPolicy: Equatable, Sendable {
  /// Empty: the request's field `header` names it.
  public var cluster: ByteString
  public var header = ByteString()
  public var fraction = RuntimeFraction(FractionalPercent(numerator: 100))
  /// The authority of the copy ends in `-shadow`.
  public var appendsShadowSuffix = true

  public init(cluster: ByteString) { self.cluster = cluster }
}

/// How the path of a forwarded request is changed; its query stays.
public enum PathRewrite: Equatable, Sendable {
  case none
  /// What the route's path matched is replaced: a prefix, a whole path, or what a regular expression
  /// matched, which is all of it.
  case prefix(ByteString)
  /// All matches in the path are replaced.
  case regex(RegexSubstitution)
}

/// How the authority of a forwarded request is changed.
public enum HostRewrite: Equatable, Sendable {
  case none
  case literal(ByteString)
  /// The name of the endpoint that was chosen.
  case endpoint
  /// The value of a header of the request.
  case header(ByteString)
  /// The path, without its query, after a substitution.
  case path(RegexSubstitution)
}

/// `envoy.config.route.v3.RedirectAction`: the request ends with a 3xx and a `location`. What is empty or
/// zero stays as it is in the request.
public struct RedirectAction: Equatable, Sendable {
  /// What becomes of the path.
  public enum Path: Equatable, Sendable {
    case keep
    /// Replaced; its own query, if it has one, replaces the request's.
    case whole(ByteString)
    /// What the route's path matched is replaced.
    case prefix(ByteString)
    case regex(RegexSubstitution)
  }

  public var status: UInt16 = 301
  public var scheme = ByteString()
  public var isHTTPS = false
  public var host = ByteString()
  public var port: UInt16 = 0
  public var path = Path.keep
  public var stripsQuery = false

  public init() {}
}
