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

/// A place among the endpoints of a cluster; good as long as the core is left alone.
public struct EndpointReports {
  let cluster: Int
  var locality = 0
  var endpoint = 0

  init(cluster: Int) { self.cluster = cluster }
}

extension NetworkingCore {
  /// The clusters of the present snapshot.
  public var clusterReports: [Cluster] {
    var found: [Cluster] = []
    for index in clusters.indices where clusters[index].isUsed && clusters[index].isCurrent {
      found.append(clusters[index].configuration)
    }
    return found
  }

  /// The endpoints of a cluster of the present snapshot: those that it was given, or those that its names
  /// were resolved to. One after the other, because there may be many.
  public func endpointReports(of name: ByteString) -> EndpointReports {
    let slot = clusters.firstIndex { $0.isUsed && $0.isCurrent && $0.configuration.name == name }
    return EndpointReports(cluster: slot ?? clusters.count)
  }

  /// The next one; nil behind the last.
  @inline(never)
  public func next(_ place: inout EndpointReports) -> EndpointReport? {
    guard place.cluster < clusters.count else { return nil }
    let localities = clusters[place.cluster].members.localities
    while place.locality < localities.count {
      let locality = localities[place.locality]
      if place.endpoint < locality.endpoints.count {
        place.endpoint += 1
        return report(place.cluster, locality.endpoints[place.endpoint - 1], locality)
      }
      place.locality += 1
      place.endpoint = 0
    }
    return nil
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
