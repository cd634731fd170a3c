import Policy
import Primitives

extension RouteConfiguration {
  /// The header fields of requests that name clusters, each once.
  var clusterHeaders: [ByteString] {
    var headers = NameSet()
    func add(_ policies: [MirrorPolicy]) {
      for policy in policies where !policy.header.isEmpty { headers.insert(policy.header) }
    }
    add(mirrors)
    for host in virtualHosts {
      add(host.mirrors)
      for route in host.routes {
        guard case .forwarding(let shared) = route.action else { continue }
        let action = shared.value
        for cluster in action.clusters where !cluster.header.isEmpty {
          headers.insert(cluster.header)
        }
        add(action.mirrors)
      }
    }
    return headers.names
  }
}
