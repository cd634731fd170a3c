import Policy
import Primitives

/// One endpoint of a cluster, for a page.
public struct EndpointReport: Sendable {
  public var address: SocketAddress
  /// Empty: none.
  public var hostname: ByteString
  public var weight: UInt32
  public var health: EndpointHealth
  public var isCanary: Bool
  public var locality: Locality
  public var priority: UInt32
  public var activeConnections: UInt64 = 0
  public var activeRequests: UInt64 = 0
  /// Failures in a row.
  public var failures: UInt64 = 0
}

extension NetworkingCore {
  /// The clusters of the present snapshot.
  public var clusterReports: [Cluster] {
    var found: [Cluster] = []
    for slot in clusters where slot.isUsed && slot.isCurrent { found.append(slot.configuration) }
    return found
  }

  /// Visits the endpoints of a cluster of the present snapshot: those that it was given, or those that
  /// its names were resolved to. `visit` answers whether it wants more.
  @inline(never)
  public func visitEndpoints(of name: ByteString, _ visit: (EndpointReport) -> Bool) {
    guard
      let slot = clusters.firstIndex(where: {
        $0.isUsed && $0.isCurrent && $0.configuration.name == name
      })
    else { return }
    let members = clusters[slot].members
    for locality in members.localities {
      for index in locality.endpoints {
        guard visit(report(slot, index, locality)) else { return }
      }
    }
  }

  private func report(
    _ cluster: Int, _ member: Int, _ locality: LocalityEndpoints
  ) -> EndpointReport {
    let members = clusters[cluster].members
    let endpoint = members.endpoints[member]
    var report = EndpointReport(
      address: endpoint.address, hostname: members.hostname(of: member), weight: endpoint.weight,
      health: endpoint.health, isCanary: members.details(of: member)?.isCanary ?? false,
      locality: locality.locality, priority: locality.priority)
    guard member < clusters[cluster].places.count else { return report }
    let place = Int(clusters[cluster].places[member])
    guard place > 0 else { return report }
    let state = clusters[cluster].endpoints[place - 1]
    report.failures = UInt64(state.failures)
    for slot in connections.indices
    where connections[slot].phase == .open && connections[slot].cluster == cluster
      && connections[slot].endpoint == state.id
    {
      report.activeConnections += 1
      report.activeRequests += UInt64(connections[slot].streams.count)
    }
    return report
  }
}
