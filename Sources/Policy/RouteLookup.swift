import Primitives

/// What the snapshot says of one request.
public enum RouteDecision: Equatable, Sendable {
  case forward(RoutedRequest)
  /// Envoy's `route_not_found` cases.
  case noListener
  case noVirtualHost
  case noRoute
  /// The route's clusters have no weight, or none of them exists.
  case noCluster
}

/// The policy that a request carries from its routing to its end.
public struct RoutedRequest: Equatable, Sendable {
  /// An index into `PolicySnapshot.clusters` of the snapshot that routed it.
  public var cluster: Int
  public var timeout: Interval
  public var idleTimeout: Interval
  public var retryPolicy: RetryPolicy
}

extension PolicySnapshot {
  /// Routes one request. The weighted cluster is drawn here, once, not per retry.
  public func route(
    listener name: ByteString, authority: ByteString, path: ByteString,
    using random: inout SplitMix64
  ) -> RouteDecision {
    guard let listener = listeners.firstIndex(where: { $0.name == name }) else {
      return .noListener
    }
    let hosts = listeners[listener].routes.virtualHosts
    guard let host = virtualHost(of: authority, in: hosts) else { return .noVirtualHost }
    guard let route = hosts[host].routes.firstIndex(where: { $0.path.matches(path) }) else {
      return .noRoute
    }
    switch hosts[host].routes[route].action {
    case .forward(let action):
      guard let cluster = draw(action.clusters, using: &random) else { return .noCluster }
      return .forward(
        RoutedRequest(
          cluster: cluster, timeout: action.timeout, idleTimeout: action.idleTimeout,
          retryPolicy: action.retryPolicy ?? hosts[host].retryPolicy ?? .none))
    }
  }

  private func virtualHost(of authority: ByteString, in hosts: [VirtualHost]) -> Int? {
    var best: (host: Int, rank: DomainPattern.Rank)?
    for host in hosts.indices {
      for domain in hosts[host].domains {
        guard let rank = domain.rank(of: authority) else { continue }
        if let found = best, found.rank >= rank { continue }
        best = (host, rank)
      }
    }
    return best?.host
  }

  private func draw(_ shares: [WeightedCluster], using random: inout SplitMix64) -> Int? {
    var total: UInt64 = 0
    for share in shares { total += UInt64(share.weight) }
    guard total > 0 else { return nil }
    // A single cluster needs no draw, and takes none: the random sequence stays the retries'.
    var point = shares.count == 1 ? 0 : random.below(total)
    for share in shares {
      if point < UInt64(share.weight) {
        return clusters.indices.contains(share.cluster) ? share.cluster : nil
      }
      point -= UInt64(share.weight)
    }
    return nil
  }
}
