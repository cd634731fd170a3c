import Primitives

/// Picks an endpoint of an assignment: priority, then locality, then endpoint. The priority is drawn;
/// the others take turns by weight. It keeps what turns need and nothing of the assignment, which is
/// passed to each call and must be the one that was adopted last.
public struct LoadBalancer: Sendable {
  /// What a pick came to.
  public enum OnPick: Equatable, Sendable {
    /// A place in the assignment's endpoints.
    case endpoint(Int)
    /// The control plane gave none that may be used: none at all, or none that is healthy and a panic
    /// changes nothing.
    case noneHealthy
    /// There are some, and the caller wants none of them now.
    case noneEligible
  }

  private var endpoints = SmoothRoundRobin()
  private var localities = SmoothRoundRobin()
  /// Of each locality.
  private var counts: [EndpointCounts] = []
  /// How the priorities share the requests.
  public private(set) var loads = PriorityLoads()
  /// It has adopted an assignment.
  public private(set) var isReady = false

  public init() {}

  /// Takes a new assignment. `previous[i]` is the place of endpoint `i` in the one before, nil if it is
  /// new; those that stay keep their turn.
  public mutating func adopt(
    _ assignment: Assignment, previous: [Int?], from old: Assignment, _ balancing: Balancing,
    using random: inout SplitMix64
  ) {
    precondition(
      previous.count == assignment.endpoints.count, "LoadBalancer: lists differ in length")
    endpoints.replace(previous: previous)
    localities.replace(
      previous: assignment.localities.map { now in
        old.localities.firstIndex {
          $0.priority == now.priority && $0.locality == now.locality
        }
      })
    counts = assignment.localities.map { locality in
      var counts = EndpointCounts()
      counts.add(assignment, locality.endpoints)
      return counts
    }
    loads = PriorityLoads(assignment, balancing)
    isReady = true
    let isNew = previous.allSatisfy { $0 == nil }
    if isNew { rotate(assignment, balancing, using: &random) }
  }

  /// Draws where the turns begin.
  private mutating func rotate(
    _ assignment: Assignment, _ balancing: Balancing, using random: inout SplitMix64
  ) {
    for priority in 0..<assignment.priorityCount {
      let group = assignment.localities(of: priority)
      for range in assignment.ranges(group, isSplit: balancing.weighsLocalities) {
        endpoints.rotate(in: range, using: &random) {
          let endpoint = assignment.endpoints[$0]
          return endpoint.health == .healthy ? Int64(endpoint.weight) : 0
        }
      }
      guard balancing.weighsLocalities else { continue }
      let counts = counts
      localities.rotate(in: group, using: &random) {
        weight(of: $0, assignment, counts[$0], .healthy)
      }
    }
  }

  /// The next endpoint. `isEligible` says whether the caller has a use for it now; what is not eligible
  /// loses no turn. When a priority that was drawn has no eligible endpoint the others are asked,
  /// in their order: an endpoint that cannot be reached is not what its control plane takes for
  /// healthy (gRPC A56 fails over as well).
  public mutating func pick(
    _ assignment: Assignment, _ balancing: Balancing, using random: inout SplitMix64,
    where isEligible: (Int) -> Bool
  ) -> OnPick {
    guard let drawn = draw(using: &random) else { return .noneHealthy }
    if balancing.failsInPanic, loads.isInPanic[drawn.priority] { return .noneHealthy }
    if let found = pick(drawn.priority, drawn.health, assignment, balancing, isEligible) {
      return .endpoint(found)
    }
    for health in [EndpointHealth.healthy, .degraded] {
      for priority in loads.healthy.indices {
        if let found = pick(priority, health, assignment, balancing, isEligible) {
          return .endpoint(found)
        }
      }
    }
    return isAnyUsable(assignment, balancing) ? .noneEligible : .noneHealthy
  }

  private func isAnyUsable(_ assignment: Assignment, _ balancing: Balancing) -> Bool {
    for (index, locality) in assignment.localities.enumerated() {
      if loads.isInPanic[Int(locality.priority)] {
        if !balancing.failsInPanic, !locality.endpoints.isEmpty { return true }
      } else if counts[index].isUsable {
        if !balancing.weighsLocalities || locality.weight > 0 { return true }
      }
    }
    return false
  }

  /// The priority for one request, and which of its endpoints. A single one takes no draw.
  private func draw(
    using random: inout SplitMix64
  ) -> (priority: Int, health: EndpointHealth)? {
    if let all = loads.healthy.firstIndex(of: 100) { return (all, .healthy) }
    if let all = loads.degraded.firstIndex(of: 100) { return (all, .degraded) }
    guard loads.healthy.contains(where: { $0 > 0 }) || loads.degraded.contains(where: { $0 > 0 })
    else { return nil }
    var point = UInt32(random.below(100))
    for priority in loads.healthy.indices {
      if point < loads.healthy[priority] { return (priority, .healthy) }
      point -= loads.healthy[priority]
    }
    for priority in loads.degraded.indices {
      if point < loads.degraded[priority] { return (priority, .degraded) }
      point -= loads.degraded[priority]
    }
    return nil
  }

  private mutating func pick(
    _ priority: Int, _ health: EndpointHealth, _ assignment: Assignment,
    _ balancing: Balancing, _ isEligible: (Int) -> Bool
  ) -> Int? {
    let group = assignment.localities(of: priority)
    guard let whole = assignment.ranges(group, isSplit: false).first else { return nil }
    if loads.isInPanic[priority] {
      guard !balancing.failsInPanic else { return nil }
      return next(whole, nil, assignment, isEligible)
    }
    guard balancing.weighsLocalities else {
      return next(whole, health, assignment, isEligible)
    }
    let counts = counts
    let locality = localities.next(in: group) { index in
      let weight = weight(of: index, assignment, counts[index], health)
      guard weight > 0 else { return 0 }
      let isServed = assignment.localities[index].endpoints.contains {
        assignment.endpoints[$0].health == health && isEligible($0)
      }
      return isServed ? weight : 0
    }
    guard let locality else { return nil }
    return next(assignment.localities[locality].endpoints, health, assignment, isEligible)
  }

  /// The next endpoint of a range; a nil health is any.
  private mutating func next(
    _ range: Range<Int>, _ health: EndpointHealth?, _ assignment: Assignment,
    _ isEligible: (Int) -> Bool
  ) -> Int? {
    endpoints.next(in: range) { index in
      if let health, assignment.endpoints[index].health != health { return 0 }
      return isEligible(index) ? Int64(assignment.endpoints[index].weight) : 0
    }
  }
}

/// A locality's weight times what it can take of it.
private func weight(
  of locality: Int, _ assignment: Assignment, _ counts: EndpointCounts, _ health: EndpointHealth
) -> Int64 {
  Int64(assignment.localities[locality].weight)
    * counts.availability(health, factor: UInt64(assignment.overprovisioning))
}

extension Assignment {
  /// The localities of a priority.
  func localities(of priority: Int) -> Range<Int> {
    guard let first = localities.firstIndex(where: { Int($0.priority) == priority }) else {
      return 0..<0
    }
    var end = first
    while end < localities.count, Int(localities[end].priority) == priority { end += 1 }
    return first..<end
  }

  /// The endpoints of some localities, each its own range or all one. They stand side by side.
  fileprivate func ranges(_ group: Range<Int>, isSplit: Bool) -> [Range<Int>] {
    guard let first = group.first, let last = group.last else { return [] }
    if isSplit { return localities[group].map { $0.endpoints } }
    return [localities[first].endpoints.lowerBound..<localities[last].endpoints.upperBound]
  }
}
