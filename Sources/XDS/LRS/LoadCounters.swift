import Primitives
import Protobuf

/// Bounds of load reports.
public enum LoadLimits {
  /// Clusters that are counted at once, removed ones included until their last report.
  public static let clustersMax = 64
  /// Localities of a cluster, by priority.
  public static let localitiesMax = 64
  /// Categories of drops of a cluster.
  public static let categoriesMax = 32
  /// Names of clusters that a server asks for; ones without a cluster yet included.
  public static let namesMax = 256
  /// A server that asks for reports more often gets them this often.
  public static let intervalMin = Interval.seconds(1)
}

/// Where requests are counted: a locality of a cluster. Good until the next event of the reporter.
public struct LoadPlace: Equatable, Sendable {
  let cluster: Int
  let locality: Int
}

/// One locality's requests; all but `inProgress` since the last report.
struct LocalityLoad: Equatable, Sendable {
  var region: ByteString
  var zone: ByteString
  var subZone: ByteString
  var priority: UInt32
  var succeeded: UInt64 = 0
  var failed: UInt64 = 0
  var issued: UInt64 = 0
  var inProgress: UInt64 = 0

  /// Whether a report mentions it.
  var isActive: Bool { issued > 0 || inProgress > 0 || succeeded > 0 || failed > 0 }

  mutating func clear() {
    succeeded = 0
    failed = 0
    issued = 0
  }
}

/// Requests that were dropped by one category of `drop_overloads`, since the last report.
struct DropLoad: Equatable, Sendable {
  var category: ByteString
  var count: UInt64
}

/// One cluster's load since its last report.
struct ClusterLoad: Sendable {
  let name: ByteString
  /// The EDS service name, if it is another one.
  let service: ByteString
  var localities: [LocalityLoad] = []
  var drops: [DropLoad] = []
  var dropped: UInt64 = 0
  var since: Instant
  /// The server asks for it.
  var isReported = false
  /// It goes after its last report.
  var isRemoved = false

  var isActive: Bool { dropped > 0 || localities.contains { $0.isActive } }

  mutating func clear(now: Instant) {
    since = now
    dropped = 0
    drops.removeAll()
    for index in localities.indices { localities[index].clear() }
  }

  /// `ClusterStats`: 1 cluster_name, 2 upstream_locality_stats, 3 total_dropped_requests,
  /// 4 load_report_interval, 5 dropped_requests, 6 cluster_service_name.
  func encode(into writer: inout WireWriter, now: Instant) {
    writer.text(1, name)
    for locality in localities where locality.isActive {
      writer.message(2) { locality.encode(into: &$0) }
    }
    if dropped > 0 { writer.varint(3, dropped) }
    let measured = (now - since).nanoseconds
    writer.message(4) { duration in
      duration.int64(1, measured / 1_000_000_000)
      duration.int64(2, measured % 1_000_000_000)
    }
    for drop in drops {
      writer.message(5) { fields in
        fields.text(1, drop.category)
        fields.varint(2, drop.count)
      }
    }
    writer.text(6, service)
  }
}

extension LocalityLoad {
  /// `UpstreamLocalityStats`: 1 locality, 2 successful, 3 in progress, 4 errors, 6 priority, 8 issued.
  fileprivate func encode(into writer: inout WireWriter) {
    writer.message(1) { $0.locality(region: region, zone: zone, subZone: subZone) }
    writer.varint(2, succeeded)
    writer.varint(3, inProgress)
    writer.varint(4, failed)
    if priority > 0 { writer.varint(6, UInt64(priority)) }
    writer.varint(8, issued)
  }
}
