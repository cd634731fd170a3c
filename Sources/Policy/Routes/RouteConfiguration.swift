import Primitives

/// `envoy.config.route.v3.RouteConfiguration`.
public struct RouteConfiguration: Equatable, Sendable {
  public var name: ByteString
  public var virtualHosts: [VirtualHost] {
    didSet { domains = DomainIndex(virtualHosts) }
  }
  private(set) var domains: DomainIndex
  /// The port of a request's authority is not compared: domains do not have one then.
  public var ignoresPort = false
  /// Paths are compared up to their first `;`.
  public var ignoresPathParameters = false
  /// Its value stands in for the authority when a virtual host is chosen. Empty: none.
  public var hostHeader = ByteString()
  public var mutations = HeaderMutations()
  /// Of the levels of header mutation the most specific is applied last, instead of first.
  public var mostSpecificMutationsWin = false
  /// For virtual hosts without any.
  public var mirrors: [MirrorPolicy] = []
  /// What the control plane asked for and this client does not do, for a person.
  public var notApplied: [ByteString] = []

  public init(name: ByteString, virtualHosts: [VirtualHost]) {
    self.name = name
    self.virtualHosts = virtualHosts
    domains = DomainIndex(virtualHosts)
  }

  /// A domain that stands there more than once, in one virtual host or in two: the later of them.
  public var duplicateDomain: (host: Int, domain: ByteString)? {
    guard let place = domains.duplicate else { return nil }
    return (place.host, virtualHosts[place.host].domains[place.domain].text)
  }

  /// The clusters that it names, mirrors too, each once. Those that a header of the request names are
  /// not known before.
  public var clusterNames: [ByteString] {
    var names: [ByteString] = []
    func add(_ name: ByteString) {
      if !name.isEmpty, !names.contains(name) { names.append(name) }
    }
    for policy in mirrors { add(policy.cluster) }
    for host in virtualHosts {
      for policy in host.mirrors { add(policy.cluster) }
      for route in host.routes {
        guard case .forwarding(let shared) = route.action else { continue }
        let action = shared.value
        for cluster in action.clusters { add(cluster.name) }
        for policy in action.mirrors { add(policy.cluster) }
      }
    }
    return names
  }
}

/// `envoy.config.route.v3.VirtualHost`: chosen by the authority; there is no fall-through to another.
public struct VirtualHost: Equatable, Sendable {
  public var name: ByteString
  public var domains: [DomainPattern]
  /// The first that matches wins.
  public var routes: [Route] {
    didSet { paths = PathTable(routes) }
  }
  private(set) var paths: PathTable
  /// For the routes that have none of their own; a route's policy replaces it entirely.
  public var retryPolicy: RetryPolicy?
  /// `hedge_policy.hedge_on_per_try_timeout`, for routes without a hedge policy.
  public var hedgesOnPerTryTimeout = false
  /// For routes without any; they are not merged.
  public var mirrors: [MirrorPolicy] = []
  public var mutations = HeaderMutations()
  /// `include_request_attempt_count`: each attempt carries `x-envoy-attempt-count`.
  public var addsAttemptCount = false
  /// `include_is_timeout_retry_header`: a retry after a timeout carries `x-envoy-is-timeout-retry`.
  public var addsTimeoutRetryHeader = false
  /// `request_body_buffer_limit`, for routes without one: a larger body is not retried.
  public var bodyLimit: UInt64?

  public init(
    name: ByteString, domains: [DomainPattern], routes: [Route], retryPolicy: RetryPolicy? = nil
  ) {
    self.name = name
    self.domains = domains
    self.routes = routes
    paths = PathTable(routes)
    self.retryPolicy = retryPolicy
  }
}

/// `envoy.config.route.v3.Route` with its `RouteMatch`: all criteria that are there must hold.
public struct Route: Equatable, Sendable {
  public var name: ByteString
  public var path: PathMatcher
  public var headers: [HeaderMatcher] = []
  public var queryParameters: [QueryParameterMatcher] = []
  public var cookies: [CookieMatcher] = []
  /// Matches gRPC requests alone, which their content type tells.
  public var isForGRPC = false
  /// The share of the requests that it matches.
  public var fraction: RuntimeFraction?
  public var action: RouteAction
  public var mutations = HeaderMutations()
  /// `request_body_buffer_limit`; nil: that of the virtual host.
  public var bodyLimit: UInt64?

  public init(name: ByteString, path: PathMatcher, action: RouteAction) {
    self.name = name
    self.path = path
    self.action = action
  }
}

/// `envoy.config.core.v3.RuntimeFractionalPercent`.
public struct RuntimeFraction: Equatable, Sendable {
  public var defaultValue: FractionalPercent
  /// What RTDS says under this key replaces the default. Empty: nothing does.
  public var key: ByteString

  public init(_ defaultValue: FractionalPercent, key: ByteString = ByteString()) {
    self.defaultValue = defaultValue
    self.key = key
  }
}
