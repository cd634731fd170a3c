import Primitives

/// Everything a control plane decided, as one immutable value: listeners → virtual hosts → routes →
/// weighted clusters → endpoints. A request is routed by the snapshot of the moment it is taken and
/// keeps what it found there; a new snapshot only concerns later requests. Static targets and an
/// xDS control plane produce the same kind of value.
public struct PolicySnapshot: Equatable, Sendable {
  public var listeners: [Listener]
  /// Routes refer to clusters by their place here.
  public var clusters: [Cluster]

  public init(listeners: [Listener] = [], clusters: [Cluster] = []) {
    self.listeners = listeners
    self.clusters = clusters
  }

  /// The place of the cluster with this name.
  public func cluster(named name: ByteString) -> Int? {
    clusters.firstIndex { $0.name == name }
  }
}

/// What a request names (`xds:///NAME`), with the route configuration that it leads to.
public struct Listener: Equatable, Sendable {
  public var name: ByteString
  public var routes: RouteConfiguration

  public init(name: ByteString, routes: RouteConfiguration) {
    self.name = name
    self.routes = routes
  }
}

/// `envoy.config.route.v3.RouteConfiguration`.
public struct RouteConfiguration: Equatable, Sendable {
  public var name: ByteString
  public var virtualHosts: [VirtualHost]

  public init(name: ByteString, virtualHosts: [VirtualHost]) {
    self.name = name
    self.virtualHosts = virtualHosts
  }
}

/// `envoy.config.route.v3.VirtualHost`: chosen by the authority; there is no fall-through to another.
public struct VirtualHost: Equatable, Sendable {
  public var name: ByteString
  public var domains: [DomainPattern]
  /// The first that matches wins.
  public var routes: [Route]
  /// For the routes that have none of their own; a route's policy replaces it entirely.
  public var retryPolicy: RetryPolicy?

  public init(
    name: ByteString, domains: [DomainPattern], routes: [Route], retryPolicy: RetryPolicy? = nil
  ) {
    self.name = name
    self.domains = domains
    self.routes = routes
    self.retryPolicy = retryPolicy
  }
}

/// `envoy.config.route.v3.Route`.
public struct Route: Equatable, Sendable {
  public var name: ByteString
  public var path: PathMatcher
  public var action: RouteAction

  public init(name: ByteString, path: PathMatcher, action: RouteAction) {
    self.name = name
    self.path = path
    self.action = action
  }
}

/// What happens to a request that a route matched.
public enum RouteAction: Equatable, Sendable {
  case forward(ForwardAction)
}

/// `envoy.config.route.v3.RouteAction`.
public struct ForwardAction: Equatable, Sendable {
  /// One is drawn for a request, by weight, and kept for its retries.
  public var clusters: [WeightedCluster]
  /// From the end of the request to the end of the response, over all attempts and their back-off.
  /// Zero: off.
  public var timeout: Interval
  /// The longest time without any progress of a request, while it waits or while its body is sent:
  /// what bounds a long upload, which `timeout` does not. Zero: off.
  public var idleTimeout: Interval
  /// Nil: that of the virtual host, and without that no retries.
  public var retryPolicy: RetryPolicy?

  public init(
    clusters: [WeightedCluster], timeout: Interval = .seconds(15),
    idleTimeout: Interval = .seconds(300), retryPolicy: RetryPolicy? = nil
  ) {
    self.clusters = clusters
    self.timeout = timeout
    self.idleTimeout = idleTimeout
    self.retryPolicy = retryPolicy
  }
}

/// A cluster and its share of a route's requests.
public struct WeightedCluster: Equatable, Sendable {
  /// An index into `PolicySnapshot.clusters`.
  public var cluster: Int
  /// 0: never picked.
  public var weight: UInt32

  public init(cluster: Int, weight: UInt32 = 1) {
    self.cluster = cluster
    self.weight = weight
  }
}
