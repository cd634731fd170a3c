import Primitives

@testable import Policy

/// A request as routing sees it.
struct Head: RequestHead {
  var method: ByteString = "POST"
  var authority: ByteString
  var path: ByteString
  var fields: [(name: ByteString, value: ByteString)] = []

  func value(of name: ByteString) -> ByteString? {
    if name == ":method" { return method }
    if name == ":authority" { return authority }
    if name == ":path" { return path }
    let values = fields.filter { $0.name == name }.map { $0.value.bytes }
    return values.isEmpty ? nil : ByteString([UInt8](values.joined(separator: [0x2C])))
  }
}

/// A snapshot with the listener `up` and the clusters `blue`, `green` and `red`.
func routing(
  _ hosts: [VirtualHost], _ change: (inout RouteConfiguration) -> Void = { _ in }
) -> PolicySnapshot {
  var routes = RouteConfiguration(name: "r", virtualHosts: hosts)
  change(&routes)
  return PolicySnapshot(
    listeners: [Listener(name: "up", routes: routes)],
    clusters: ["blue", "green", "red"].map {
      Cluster(name: $0, discovery: .endpoints(Assignment()))
    })
}

/// The same with one virtual host.
func routing(
  _ routes: [Route], _ change: (inout VirtualHost) -> Void = { _ in }
) -> PolicySnapshot {
  var host = VirtualHost(name: "v", domains: [.any], routes: routes)
  change(&host)
  return routing([host])
}

func forward(
  _ path: PathMatcher, to cluster: ByteString = "blue",
  _ change: (inout ForwardAction) -> Void = { _ in }
) -> Route {
  var action = ForwardAction(clusters: [WeightedCluster(name: cluster)])
  change(&action)
  return Route(name: cluster, path: path, action: .forward(action))
}

extension PolicySnapshot {
  /// What becomes of one request.
  func decision(
    _ path: ByteString, _ authority: ByteString = "a.com",
    _ fields: [(name: ByteString, value: ByteString)] = [], seed: UInt64 = 1
  ) -> RouteDecision {
    var random = SplitMix64(seed: seed)
    return route(
      listener: "up", head: Head(authority: authority, path: path, fields: fields), using: &random)
  }

  func routed(
    _ path: ByteString, _ authority: ByteString = "a.com",
    _ fields: [(name: ByteString, value: ByteString)] = [], seed: UInt64 = 1
  ) -> RoutedRequest? {
    if case .forward(let routed) = decision(path, authority, fields, seed: seed) { return routed }
    return nil
  }
}
