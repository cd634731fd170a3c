/// How the requests of a cluster are spread over its priorities: Envoy's "priority levels",
/// "degraded endpoints" and "panic threshold" (`load_balancer_impl.cc`), in whole percent.
public struct PriorityLoads: Equatable, Sendable {
  /// What falls to a priority's healthy endpoints, and to its degraded ones. All of them together are
  /// 100, or 0 when there is nobody to send to.
  public internal(set) var healthy: [UInt32] = []
  public internal(set) var degraded: [UInt32] = []
  /// All endpoints of the priority are used.
  public internal(set) var isInPanic: [Bool] = []

  /// Nobody to send to.
  public init() {}

  public init(_ assignment: Assignment, _ balancing: Balancing) {
    var counts = [EndpointCounts](
      repeating: EndpointCounts(), count: assignment.priorityCount)
    for locality in assignment.localities {
      counts[Int(locality.priority)].add(assignment, locality.endpoints)
    }
    self.init(counts, assignment, balancing)
  }

  private init(_ counts: [EndpointCounts], _ assignment: Assignment, _ balancing: Balancing) {
    let factor = UInt64(assignment.overprovisioning)
    let byWeight = assignment.weighsHealth
    let healthyShares = counts.map { $0.share(.healthy, factor: factor, byWeight: byWeight) }
    let degradedShares = counts.map { $0.share(.degraded, factor: factor, byWeight: byWeight) }
    let total = min(sum(healthyShares) + sum(degradedShares), 100)
    healthy = [UInt32](repeating: 0, count: counts.count)
    degraded = healthy
    isInPanic = counts.map { total < 100 && $0.isInPanic(balancing.panicThreshold) }
    if isInPanic.allSatisfy({ $0 }) {
      spreadByNumber(counts)
    } else if total > 0 {
      spread(healthyShares, degradedShares, total)
    }
  }

  /// Healthy endpoints take what they can, then degraded ones; what is lost in rounding goes to the
  /// first that takes anything.
  private mutating func spread(
    _ healthyShares: [UInt32], _ degradedShares: [UInt32], _ total: UInt32
  ) {
    var rest: UInt32 = 100
    for index in healthyShares.indices {
      healthy[index] = min(rest, healthyShares[index] * 100 / total)
      rest -= healthy[index]
    }
    for index in degradedShares.indices {
      degraded[index] = min(rest, degradedShares[index] * 100 / total)
      rest -= degraded[index]
    }
    if let first = healthyShares.firstIndex(where: { $0 > 0 }) {
      healthy[first] += rest
    } else if let first = degradedShares.firstIndex(where: { $0 > 0 }) {
      degraded[first] += rest
    }
  }

  /// Every priority is in panic: their endpoints' numbers decide.
  private mutating func spreadByNumber(_ counts: [EndpointCounts]) {
    var all: UInt32 = 0
    for count in counts { all += count.total }
    guard all > 0 else { return }
    var rest: UInt32 = 100
    for index in counts.indices {
      healthy[index] = 100 * counts[index].total / all
      rest -= healthy[index]
    }
    if let first = counts.firstIndex(where: { $0.total > 0 }) { healthy[first] += rest }
  }
}

/// The endpoints of a priority or of a locality, by what the control plane says of them.
struct EndpointCounts: Sendable {
  var total: UInt32 = 0
  private var healthy: UInt32 = 0
  private var degraded: UInt32 = 0
  private var totalWeight: UInt64 = 0
  private var healthyWeight: UInt64 = 0
  private var degradedWeight: UInt64 = 0

  mutating func add(_ assignment: Assignment, _ range: Range<Int>) {
    for index in range {
      let weight = UInt64(assignment.endpoints[index].weight)
      total += 1
      totalWeight += weight
      switch assignment.endpoints[index].health {
      case .healthy:
        healthy += 1
        healthyWeight += weight
      case .degraded:
        degraded += 1
        degradedWeight += weight
      case .unhealthy:
        break
      }
    }
  }

  /// What they can take, in percent of the whole: min(100, factor · available ÷ all).
  func share(_ health: EndpointHealth, factor: UInt64, byWeight: Bool) -> UInt32 {
    let isHealthy = health == .healthy
    let count = UInt64(isHealthy ? healthy : degraded)
    let part = byWeight ? (isHealthy ? healthyWeight : degradedWeight) : count
    let whole = byWeight ? totalWeight : UInt64(total)
    return UInt32(scaled(part, of: whole, factor: factor, most: 100))
  }

  /// The same of a locality, by number, in hundredths of a percent.
  func availability(_ health: EndpointHealth, factor: UInt64) -> Int64 {
    let count = UInt64(health == .healthy ? healthy : degraded)
    return Int64(scaled(count * 100, of: UInt64(total), factor: factor, most: 10_000))
  }

  /// One of them may be picked without a panic.
  var isUsable: Bool { healthy > 0 || degraded > 0 }

  /// So few are of use that all are used. A priority without endpoints is, too.
  func isInPanic(_ threshold: UInt32) -> Bool {
    threshold > 0
      && (total == 0
        || UInt64(healthy + degraded) * 100 < UInt64(threshold) * UInt64(total))
  }

  private func scaled(
    _ part: UInt64, of whole: UInt64, factor: UInt64, most: UInt64
  ) -> UInt64 {
    guard whole > 0 else { return 0 }
    let (product, overflow) = part.multipliedReportingOverflow(by: factor)
    return overflow ? most : min(product / whole, most)
  }
}

private func sum(_ shares: [UInt32]) -> UInt32 {
  var total: UInt32 = 0
  for share in shares { total += share }
  return total
}
