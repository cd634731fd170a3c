import Primitives

/// Everything a control plane decided, as one immutable value: listeners → virtual hosts → routes →
/// weighted clusters → endpoints. A request is routed by the snapshot of the moment it is taken and
/// keeps what it found there; a new snapshot only concerns later requests. Static targets and an
/// xDS control plane produce the same kind of value.
public struct PolicySnapshot: Equatable, Sendable {
  public var listeners: [Listener]
  /// Routes refer to them by name; a routed request carries the place.
  public var clusters: [Cluster]
  /// What RTDS says, all layers merged.
  public var runtime: Runtime

  public init(
    listeners: [Listener] = [], clusters: [Cluster] = [], runtime: Runtime = Runtime()
  ) {
    self.listeners = listeners
    self.clusters = clusters
    self.runtime = runtime
  }

  /// The place of the cluster with this name.
  public func cluster(named name: ByteString) -> Int? {
    for index in clusters.indices where clusters[index].name == name { return index }
    return nil
  }

  /// The place of the listener with this name.
  public func listener(named name: ByteString) -> Int? {
    for index in listeners.indices where listeners[index].name == name { return index }
    return nil
  }
}

/// What a request names (`xds:///NAME`), with the route configuration that it leads to.
public struct Listener: Equatable, Sendable {
  public var name: ByteString
  public var routes: RouteConfiguration
  /// `stream_idle_timeout`, for routes without one of their own. Zero: off.
  public var idleTimeout: Interval
  /// `common_http_protocol_options.max_stream_duration`, for routes without one. Zero: off.
  public var maxStreamDuration: Interval

  public init(
    name: ByteString, routes: RouteConfiguration, idleTimeout: Interval = .seconds(300),
    maxStreamDuration: Interval = .zero
  ) {
    self.name = name
    self.routes = routes
    self.idleTimeout = idleTimeout
    self.maxStreamDuration = maxStreamDuration
  }
}
