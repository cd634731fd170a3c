import Policy
import Primitives

/// What happened in one cluster since the last report, for whoever reports load to a control plane.
public struct ClusterTally: Equatable, Sendable {
  public var cluster: ByteString
  /// The EDS service name; empty: that of the cluster.
  public var service: ByteString
  public var localities: [LocalityTally]
  /// By category of `drop_overloads`; those without a change are left out.
  public var drops: [DropTally]
  /// Requests that a circuit breaker turned away.
  public var overflows: UInt64
  /// The cluster is gone with its last request: this is the last tally.
  public var isLast: Bool
}

/// Requests that a category has dropped.
public struct DropTally: Equatable, Sendable {
  public var category: ByteString
  public var count: UInt64
}

/// Attempts at the endpoints of one locality: XDS counts attempts, retries included, not requests.
public struct LocalityTally: Equatable, Sendable {
  public var locality: Locality
  public var priority: UInt32
  /// Streams that were opened.
  public var issued: UInt64 = 0
  /// Responses that are not 5xx, and of gRPC the status OK.
  public var succeeded: UInt64 = 0
  /// All other ends but those that this side chose: to cancel, or to prefer another attempt.
  public var failed: UInt64 = 0
  /// Attempts under way.
  public var active: UInt64 = 0

  var isNews: Bool { issued > 0 || succeeded > 0 || failed > 0 || active > 0 }
}

/// The counts of one cluster. Empty, and asked for nothing, unless its load is reported.
struct LoadTally: Sendable {
  var localities: [LocalityTally] = []
  /// Of each locality of the members: its place in `localities`, or -1. Empty: nothing was looked up
  /// since the members changed.
  var places: [Int16] = []
  var overflows: UInt64 = 0

  var isEmpty: Bool { localities.isEmpty && overflows == 0 }
}

/// How an attempt counts when it leaves its stream.
enum TallyEnd: UInt8 {
  /// Its response decides.
  case response
  /// A reset, a lost connection, a timeout.
  case failure
  /// Nobody's fault: cancelled, beaten by another attempt, or never looked at by the peer.
  case nothing
}

extension NetworkingCore {
  /// What happened since the last call, of all clusters whose load is reported. Attempts that ended
  /// before anybody asked count as well.
  public mutating func takeTallies() -> [ClusterTally] {
    var found = finalTallies
    finalTallies = []
    for slot in clusters.indices where clusters[slot].configuration.reportsLoad {
      guard clusters[slot].isUsed, let tally = takeTally(slot) else { continue }
      found.append(tally)
    }
    return found
  }

  /// Nil: there is nothing to say.
  private mutating func takeTally(_ slot: Int, isLast: Bool = false) -> ClusterTally? {
    var drops: [DropTally] = []
    for index in clusters[slot].drops.indices {
      let drop = clusters[slot].drops[index]
      if drop.count > drop.reported {
        drops.append(DropTally(category: drop.category, count: drop.count - drop.reported))
      }
      clusters[slot].drops[index].reported = drop.count
    }
    let tally = ClusterTally(
      cluster: clusters[slot].configuration.name,
      service: clusters[slot].configuration.serviceName,
      localities: clusters[slot].tally.localities, drops: drops,
      overflows: clusters[slot].tally.overflows, isLast: isLast)
    guard isLast || !drops.isEmpty || !clusters[slot].tally.isEmpty else { return nil }
    clusters[slot].tally.overflows = 0
    for index in clusters[slot].tally.localities.indices {
      clusters[slot].tally.localities[index].issued = 0
      clusters[slot].tally.localities[index].succeeded = 0
      clusters[slot].tally.localities[index].failed = 0
    }
    return tally
  }

  /// Whether there is a cluster that counts, or one that is gone and did.
  public var countsLoad: Bool {
    !finalTallies.isEmpty || clusters.contains { $0.isUsed && $0.configuration.reportsLoad }
  }

  /// The cluster begins or ends to count, or does so under another name from now on: attempts under way
  /// are counted no further.
  mutating func restartTally(_ slot: Int) {
    for request in requests.indices where requests[request].cluster == slot {
      requests[request].tallyPlace = -1
    }
    for index in clusters[slot].tally.localities.indices {
      clusters[slot].tally.localities[index].active = 0
    }
    keepTally(slot)
    clusters[slot].tally = LoadTally()
    for index in clusters[slot].drops.indices {
      clusters[slot].drops[index].reported = clusters[slot].drops[index].count
    }
  }

  /// The cluster is about to be forgotten.
  mutating func keepTally(_ slot: Int) {
    guard clusters[slot].configuration.reportsLoad,
      !clusters[slot].tally.isEmpty || !clusters[slot].drops.isEmpty,
      finalTallies.count < limits.clustersMax, let tally = takeTally(slot, isLast: true)
    else { return }
    finalTallies.append(tally)
  }

  /// A stream was opened for the request, of a cluster whose load is reported.
  mutating func tallyStart(_ request: Int) {
    let cluster = requests[request].cluster
    guard let place = tallyPlace(cluster, requests[request].endpoint) else { return }
    clusters[cluster].tally.localities[place].issued += 1
    clusters[cluster].tally.localities[place].active += 1
    requests[request].tallyPlace = Int16(place)
    requests[request].tallyEnd = .failure
  }

  /// The attempt left its stream.
  mutating func tallyFinish(_ request: Int) {
    let cluster = requests[request].cluster
    let place = Int(requests[request].tallyPlace)
    requests[request].tallyPlace = -1
    clusters[cluster].tally.localities[place].active -= 1
    let isSuccess: Bool
    switch requests[request].tallyEnd {
    case .nothing: return
    case .failure: isSuccess = false
    case .response:
      isSuccess = requests[request].status < 500 && (requests[request].grpcStatus ?? 0) == 0
    }
    if isSuccess {
      clusters[cluster].tally.localities[place].succeeded += 1
    } else {
      clusters[cluster].tally.localities[place].failed += 1
    }
  }

  private mutating func tallyPlace(_ cluster: Int, _ endpoint: UInt32) -> Int? {
    guard let state = clusters[cluster].endpoint(endpoint) else { return nil }
    let member = Int(clusters[cluster].endpoints[state].member)
    let localities = clusters[cluster].members.localities
    guard let index = localities.firstIndex(where: { $0.endpoints.contains(member) }) else {
      return nil
    }
    if clusters[cluster].tally.places.count != localities.count {
      clusters[cluster].tally.places = [Int16](repeating: -1, count: localities.count)
    }
    let known = Int(clusters[cluster].tally.places[index])
    if known >= 0 { return known }
    guard let place = makeTallyPlace(cluster, localities[index]) else { return nil }
    clusters[cluster].tally.places[index] = Int16(place)
    return place
  }

  /// Localities come and go: one without news gives its place up when there is no other.
  private mutating func makeTallyPlace(
    _ cluster: Int, _ members: LocalityEndpoints
  ) -> Int? {
    let fresh = LocalityTally(locality: members.locality, priority: members.priority)
    if let known = clusters[cluster].tally.localities.firstIndex(where: {
      $0.priority == fresh.priority && $0.locality == fresh.locality
    }) {
      return known
    }
    if clusters[cluster].tally.localities.count < tallyLocalitiesMax {
      clusters[cluster].tally.localities.append(fresh)
      return clusters[cluster].tally.localities.count - 1
    }
    guard let idle = clusters[cluster].tally.localities.firstIndex(where: { !$0.isNews }) else {
      return nil
    }
    for index in clusters[cluster].tally.places.indices
    where Int(clusters[cluster].tally.places[index]) == idle {
      clusters[cluster].tally.places[index] = -1
    }
    clusters[cluster].tally.localities[idle] = fresh
    return idle
  }
}

/// Localities of one cluster that are counted at once.
private let tallyLocalitiesMax = 64
