import Policy
import Primitives

/// Where a listener has its routes from.
public enum RouteSource: Equatable, Sendable {
  case inline(RouteConfiguration)
  /// The name of a resource of RDS.
  case named(ByteString)
}

/// `envoy.config.listener.v3.Listener` with an API listener, which is a client's kind: the HTTP connection
/// manager in it says where the routes are. Addresses and filter chains are a server's and ignored.
public struct ListenerResource: Equatable, Sendable {
  public var name: ByteString
  public var source: RouteSource
  /// `stream_idle_timeout`. Zero: off.
  public var idleTimeout = Interval.seconds(300)
  /// `common_http_protocol_options.max_stream_duration`. Zero: off.
  public var maxStreamDuration = Interval.zero
  /// What the control plane asked for and this client does not do, for a person.
  public var notApplied: [ByteString] = []

  public init(name: ByteString, source: RouteSource) {
    self.name = name
    self.source = source
  }

  /// A resource of LDS.
  public static func decode(_ bytes: Span<UInt8>) throws(ResourceRejection) -> ListenerResource {
    let reader = try ResourceReader(bytes)
    let name = try reader.text(1, "name")
    guard !name.isEmpty else { throw reader.rejection("name", "empty") }
    guard let api = try reader.message(19, "api_listener") else {
      throw reader.rejection(
        "api_listener", "missing: this client has no use for a server's listener")
    }
    let manager = try connectionManager(api)
    var decoder = RouteDecoder()
    try refuseServerSettings(manager)
    try decoder.filters(manager)
    var resource = ListenerResource(name: name, source: try source(manager))
    resource.idleTimeout =
      try manager.duration(24, "stream_idle_timeout") ?? resource.idleTimeout
    let common = try manager.message(35, "common_http_protocol_options")
    resource.maxStreamDuration = try common?.duration(4, "max_stream_duration") ?? .zero
    try decoder.notes.addPresent(
      manager,
      [
        (7, "tracing"), (13, "access_log"), (28, "request_timeout"), (38, "local_reply_config"),
      ])
    resource.notApplied = decoder.notes.all
    return resource
  }

  /// The listener with its routes.
  public func listener(routes: RouteConfiguration) -> Listener {
    Listener(
      name: name, routes: routes, idleTimeout: idleTimeout, maxStreamDuration: maxStreamDuration)
  }

  private static func connectionManager(
    _ api: ResourceReader
  ) throws(ResourceRejection) -> ResourceReader {
    guard let any = try api.any(1, "api_listener") else {
      throw api.rejection("api_listener", "missing")
    }
    if any.names(managerType) { return any.message }
    guard any.names(mobileManagerType) else {
      throw api.rejection("api_listener", "\(any.url) is not an HTTP connection manager")
    }
    guard let manager = try any.message.message(1, "config") else {
      throw any.message.rejection("config", "missing")
    }
    return manager
  }

  private static func source(_ manager: ResourceReader) throws(ResourceRejection) -> RouteSource {
    let members: [UInt32] = [3, 4, 31]
    switch try manager.member(members) {
    case 3:
      guard let rds = try manager.message(3, "rds", among: members) else { break }
      guard let source = try rds.message(1, "config_source") else {
        throw rds.rejection("config_source", "missing")
      }
      try source.requireAggregatedSource()
      let name = try rds.text(2, "route_config_name")
      guard !name.isEmpty else { throw rds.rejection("route_config_name", "empty") }
      return .named(name)
    case 4:
      guard let routes = try manager.message(4, "route_config", among: members) else { break }
      return .inline(try RouteConfiguration.decode(routes))
    case 31: throw manager.rejection("scoped_routes", "not supported")
    default: break
    }
    throw manager.rejection("", "neither rds nor route_config")
  }

  /// gRFC A41: they make sense for a proxy alone.
  private static func refuseServerSettings(
    _ manager: ResourceReader
  ) throws(ResourceRejection) {
    guard try manager.uint32(19) == 0 else {
      throw manager.rejection("xff_num_trusted_hops", "not 0")
    }
    if try manager.has(46) {
      throw manager.rejection("original_ip_detection_extensions", "not empty")
    }
  }
}

private let managerType: StaticString =
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
private let mobileManagerType: StaticString =
  "envoy.extensions.filters.network.http_connection_manager.v3.EnvoyMobileHttpConnectionManager"

extension RouteDecoder {
  /// `http_filters` (gRFC A39): names that are there and differ, the router once and last.
  mutating func filters(_ manager: ResourceReader) throws(ResourceRejection) {
    let filters = try manager.messages(5, "http_filters", limit: RouteLimits.filtersMax)
    guard !filters.isEmpty else { throw manager.rejection("http_filters", "empty") }
    var names: [ByteString] = []
    var routers = 0
    for (index, filter) in filters.enumerated() {
      let name = try filter.text(1, "name")
      guard !name.isEmpty else { throw filter.rejection("name", "empty") }
      guard !names.contains(name) else {
        throw filter.rejection("name", "\"\(name)\" stands twice")
      }
      names.append(name)
      guard try isRouter(filter) else { continue }
      routers += 1
      guard index == filters.count - 1 else {
        throw filter.rejection("", "the router is not the last filter")
      }
    }
    guard routers == 1 else {
      throw manager.rejection("http_filters", "the last is not the router")
    }
  }

  /// `HttpFilter`: 4 typed_config, 5 config_discovery, 6 is_optional, 7 disabled.
  private mutating func isRouter(_ filter: ResourceReader) throws(ResourceRejection) -> Bool {
    let isOptional = try filter.bool(6)
    let members: [UInt32] = [4, 5]
    guard try filter.member(members) == 4, let config = try filter.any(4, "typed_config") else {
      guard isOptional else { throw filter.rejection("typed_config", "missing") }
      notes.add(filter, "", "not applied, and optional: no typed_config")
      return false
    }
    if try HTTPFilter(config).isRouter { return true }
    // A filter that is off runs where a route turns it on again, which is for the route's decoder.
    if try filter.bool(7) { return false }
    try admit(config, isOptional: isOptional, filter)
    return false
  }
}
