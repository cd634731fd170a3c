import Primitives

extension PolicySnapshot {
  /// Routes one request. Cluster, mirrors and fractions are drawn here, once, not per retry.
  public func route(
    listener name: ByteString, head: borrowing some RequestHead, using random: inout SplitMix64
  ) -> RouteDecision {
    guard let listener = listener(named: name) else { return .noListener }
    let hosts = listeners[listener].routes.virtualHosts
    guard let host = virtualHost(of: head.authority, in: hosts) else { return .noVirtualHost }
    let path = head.path
    guard let route = hosts[host].routes.firstIndex(where: { $0.path.matches(path) }) else {
      return .noRoute
    }
    switch hosts[host].routes[route].action {
    case .forward(let action):
      guard let name = draw(action.clusters, using: &random), let cluster = cluster(named: name)
      else { return .noCluster(status: action.notFoundStatus, name: "") }
      return .forward(
        RoutedRequest(
          cluster: cluster, timeout: action.timeout,
          idleTimeout: action.idleTimeout ?? listeners[listener].idleTimeout,
          retryPolicy: action.retryPolicy ?? hosts[host].retryPolicy ?? clusters[cluster]
            .retryPolicy ?? .none))
    case .respond(let status): return .respond(DirectResponse(status: status))
    case .redirect(let action): return .respond(DirectResponse(status: action.status))
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

  private func draw(_ shares: [WeightedCluster], using random: inout SplitMix64) -> ByteString? {
    var total: UInt64 = 0
    for share in shares { total += UInt64(share.weight) }
    guard total > 0 else { return nil }
    // A single cluster needs no draw, and takes none: the random sequence stays the retries'.
    var point = shares.count == 1 ? 0 : random.below(total)
    for share in shares {
      if point < UInt64(share.weight) { return share.name }
      point -= UInt64(share.weight)
    }
    return nil
  }
}
