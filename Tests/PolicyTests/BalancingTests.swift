import Primitives
import Testing

@testable import Policy

@Suite("Balancing over priorities, localities and endpoints")
struct BalancingTests {
  /// Endpoints of one priority: how many are healthy, degraded, unhealthy.
  struct Hosts {
    var healthy = 0
    var degraded = 0
    var unhealthy = 0
  }

  static func assignment(_ priorities: [Hosts], factor: UInt32 = 140) -> Assignment {
    var assignment = Assignment()
    assignment.overprovisioning = factor
    for (priority, hosts) in priorities.enumerated() {
      var members: [Endpoint] = []
      let healths =
        [EndpointHealth](repeating: .healthy, count: hosts.healthy)
        + [EndpointHealth](repeating: .degraded, count: hosts.degraded)
        + [EndpointHealth](repeating: .unhealthy, count: hosts.unhealthy)
      for health in healths {
        members.append(endpoint(priority, members.count, health: health))
      }
      assignment.append(LocalityEndpoints(priority: UInt32(priority), weight: 1), members)
    }
    return assignment
  }

  static func endpoint(
    _ group: Int, _ number: Int, weight: UInt32 = 1, health: EndpointHealth = .healthy
  ) -> Endpoint {
    Endpoint(
      address: SocketAddress(10, UInt8(group), UInt8(number / 250), UInt8(number % 250), port: 1),
      weight: weight, health: health)
  }

  static func loads(_ priorities: [Hosts], _ panic: UInt32 = 50) -> PriorityLoads {
    var balancing = Balancing()
    balancing.panicThreshold = panic
    return PriorityLoads(assignment(priorities), balancing)
  }

  static func ready(
    _ assignment: Assignment, _ balancing: Balancing = Balancing(),
    using random: inout SplitMix64
  ) -> LoadBalancer {
    var balancer = LoadBalancer()
    balancer.adopt(
      assignment, previous: [Int?](repeating: nil, count: assignment.endpoints.count),
      from: Assignment(), balancing, using: &random)
    return balancer
  }

  @Test(
    "item 83: over-provisioning and spill-over to the next priority",
    arguments: [
      (72, 100, [100, 0]), (71, 100, [99, 1]), (50, 100, [70, 30]), (25, 25, [50, 50]),
      (0, 100, [0, 100]), (100, 100, [100, 0]),
    ])
  func overprovisioning(first: Int, second: Int, expected: [UInt32]) {
    let loads = Self.loads(
      [
        Hosts(healthy: first, unhealthy: 100 - first),
        Hosts(healthy: second, unhealthy: 100 - second),
      ], 0)
    #expect(loads.healthy == expected)
    #expect(loads.degraded == [0, 0])
  }

  @Test("item 83: 1 of 2 hosts leaves 70 %, 2 of 3 leave 93 %; healths of 20 and 30 make 40 and 60")
  func examples() {
    let full = Hosts(healthy: 1)
    #expect(Self.loads([Hosts(healthy: 1, unhealthy: 1), full]).healthy == [70, 30])
    #expect(Self.loads([Hosts(healthy: 2, unhealthy: 1), full]).healthy == [93, 7])
    // 20 % and 30 % after over-provisioning: 1 of 5 and 3 of 10 with a factor of 100.
    var balancing = Balancing()
    balancing.panicThreshold = 0
    let assignment = Self.assignment(
      [Hosts(healthy: 1, unhealthy: 4), Hosts(healthy: 3, unhealthy: 7)], factor: 100)
    #expect(PriorityLoads(assignment, balancing).healthy == [40, 60])
  }

  @Test("item 83: what is lost in rounding goes to the first priority that takes anything")
  func rounding() {
    let third = Hosts(healthy: 1, unhealthy: 5)
    // 23 % each of 69: 33 + 33 + 33, and 1 for the first.
    let loads = Self.loads([Hosts(unhealthy: 3), third, third, third], 0)
    #expect(loads.healthy == [0, 34, 33, 33])
  }

  @Test("item 83: degraded endpoints take what the healthy ones of all priorities cannot")
  func degraded() {
    let loads = Self.loads([
      Hosts(healthy: 1, degraded: 1, unhealthy: 2), Hosts(healthy: 1, unhealthy: 3),
    ])
    // Healthy 35 and 35, degraded 35: together 105, so the first take theirs and it takes the rest.
    #expect(loads.healthy == [35, 35])
    #expect(loads.degraded == [30, 0])
    #expect(loads.isInPanic == [false, false])
    let alone = Self.loads([Hosts(degraded: 2)])
    #expect(alone.healthy == [0])
    #expect(alone.degraded == [100])
  }

  @Test("item 84: panic is each priority's own, and only while the others cannot take over")
  func panic() {
    // 1 of 10 in P0, all of P1: P1 takes it, nobody panics.
    let covered = Self.loads([Hosts(healthy: 1, unhealthy: 9), Hosts(healthy: 2)])
    #expect(covered.isInPanic == [false, false])
    #expect(covered.healthy == [14, 86])
    let half = Self.loads([
      Hosts(healthy: 1, unhealthy: 9), Hosts(healthy: 6, unhealthy: 4),
    ])
    #expect(half.isInPanic == [true, false])
    // 14 of 98, rounded down, and 1 for the first.
    #expect(half.healthy == [15, 85])
  }

  @Test("item 84: when all priorities panic the endpoints' numbers decide; 0 switches panic off")
  func totalPanic() {
    let loads = Self.loads([Hosts(unhealthy: 3), Hosts(unhealthy: 1)])
    #expect(loads.isInPanic == [true, true])
    #expect(loads.healthy == [75, 25])
    let off = Self.loads([Hosts(unhealthy: 3), Hosts(unhealthy: 1)], 0)
    #expect(off.isInPanic == [false, false])
    #expect(off.healthy == [0, 0])
    var random = SplitMix64(seed: 1)
    var balancing = Balancing()
    balancing.panicThreshold = 0
    let assignment = Self.assignment([Hosts(unhealthy: 3)])
    var balancer = Self.ready(assignment, balancing, using: &random)
    #expect(
      balancer.pick(assignment, balancing, using: &random) { _ in true } == .noneHealthy)
    balancing = Balancing()
    balancing.failsInPanic = true
    balancer = Self.ready(assignment, balancing, using: &random)
    #expect(
      balancer.pick(assignment, balancing, using: &random) { _ in true } == .noneHealthy)
    balancing.failsInPanic = false
    balancer = Self.ready(assignment, balancing, using: &random)
    #expect(
      balancer.pick(assignment, balancing, using: &random) { _ in true } != .noneHealthy)
  }

  @Test("item 34: an assignment without endpoints is valid, and nobody is picked")
  func empty() {
    var random = SplitMix64(seed: 1)
    for assignment in [Assignment(), Self.assignment([Hosts(), Hosts()])] {
      var balancer = Self.ready(assignment, using: &random)
      let pick = balancer.pick(assignment, Balancing(), using: &random) { _ in true }
      #expect(pick == .noneHealthy)
    }
  }

  @Test("health by weight counts weights, not endpoints")
  func weighed() {
    var assignment = Assignment()
    assignment.append(
      LocalityEndpoints(priority: 0, weight: 1),
      [
        Self.endpoint(0, 0, weight: 1), Self.endpoint(0, 1, weight: 9, health: .unhealthy),
      ])
    assignment.append(LocalityEndpoints(priority: 1, weight: 1), [Self.endpoint(1, 0)])
    #expect(PriorityLoads(assignment, Balancing()).healthy == [70, 30])
    assignment.weighsHealth = true
    #expect(PriorityLoads(assignment, Balancing()).healthy == [14, 86])
    assignment.overprovisioning = .max
    #expect(PriorityLoads(assignment, Balancing()).healthy == [100, 0])
  }

  @Test(
    "priorities are drawn by their shares; the unhealthy are never picked", arguments: [1, 2, 3])
  func draws(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let assignment = Self.assignment([Hosts(healthy: 1, unhealthy: 1), Hosts(healthy: 1)])
    var balancer = Self.ready(assignment, using: &random)
    var counts = [0, 0, 0]
    for _ in 0..<10_000 {
      guard
        case .endpoint(let place) = balancer.pick(
          assignment, Balancing(), using: &random, where: { _ in true })
      else { return #expect(Bool(false)) }
      counts[place] += 1
    }
    #expect(counts[1] == 0)
    #expect(abs(counts[0] - 7_000) < 200, "seed \(seed)")
  }

  @Test("item 86: localities by weight times availability, endpoints by theirs within a locality")
  func localities() {
    var random = SplitMix64(seed: 5)
    var assignment = Assignment()
    let east = LocalityEndpoints(locality: Locality(region: "east"), weight: 1)
    let west = LocalityEndpoints(locality: Locality(region: "west"), weight: 2)
    assignment.append(
      east, [Self.endpoint(0, 0, weight: 3), Self.endpoint(0, 1), Self.endpoint(0, 2)])
    assignment.append(
      west,
      [
        Self.endpoint(1, 0), Self.endpoint(1, 1, health: .unhealthy),
      ])
    assignment.append(
      LocalityEndpoints(locality: Locality(region: "void"), weight: 0), [Self.endpoint(2, 0)])
    var balancing = Balancing()
    balancing.weighsLocalities = true
    // Half of the west is gone: 2 × 70 % against 1.
    #expect(share(assignment, balancing, 2_400, &random) == [600, 200, 200, 1_400, 0, 0])
    // Without locality weights all are one, and the weight of a locality means nothing.
    #expect(share(assignment, Balancing(), 700, &random) == [300, 100, 100, 100, 0, 100])
  }

  private func share(
    _ assignment: Assignment, _ balancing: Balancing, _ picks: Int,
    _ random: inout SplitMix64
  ) -> [Int] {
    var balancer = Self.ready(assignment, balancing, using: &random)
    var counts = [Int](repeating: 0, count: assignment.endpoints.count)
    for _ in 0..<picks {
      let pick = balancer.pick(assignment, balancing, using: &random) { _ in true }
      if case .endpoint(let place) = pick { counts[place] += 1 }
    }
    return counts
  }

  @Test(
    "items 86, 92: who is not eligible is passed over: in the locality, the priority, altogether")
  func eligibility() {
    var random = SplitMix64(seed: 5)
    var assignment = Assignment()
    for (group, priority) in [(0, UInt32(0)), (1, 0), (2, 1)] {
      assignment.append(
        LocalityEndpoints(
          locality: Locality(zone: ByteString("z\(group)")), priority: priority, weight: 1),
        [Self.endpoint(group, 0), Self.endpoint(group, 1)])
    }
    for weighs in [false, true] {
      var balancing = Balancing()
      balancing.weighsLocalities = weighs
      var balancer = Self.ready(assignment, balancing, using: &random)
      for (refused, expected) in [
        (Set([0]), Set([1, 2, 3])), ([0, 1], [2, 3]), ([0, 1, 2, 3], [4, 5]),
        ([0, 1, 2, 3, 4], [5]), ([0, 1, 2, 3, 4, 5], []),
      ] {
        var picked: Set<Int> = []
        for _ in 0..<12 {
          let pick = balancer.pick(assignment, balancing, using: &random) {
            !refused.contains($0)
          }
          switch pick {
          case .endpoint(let place): picked.insert(place)
          case .noneHealthy: Issue.record("they are healthy")
          case .noneEligible: #expect(expected.isEmpty)
          }
        }
        #expect(picked == expected)
      }
    }
  }

  @Test("item 88: smooth weighted round robin spreads 5, 1, 1 as a a b a c a a")
  func smooth() {
    var random = SplitMix64(seed: 3)
    let weights: [Int64] = [5, 1, 1]
    var balancer = SmoothRoundRobin()
    #expect(balancer.next(in: 0..<0) { _ in 1 } == nil)
    balancer.replace(previous: [nil, nil, nil])
    balancer.rotate(in: 0..<3, using: &random) { weights[$0] }
    let picks = (0..<14).map { _ in balancer.next(in: 0..<3) { weights[$0] }! }
    // The start is drawn, so the cycle is some rotation of the sequence.
    let cycle = [0, 0, 1, 0, 2, 0, 0]
    let rotations = (0..<7).map { Array(cycle[$0...] + cycle[..<$0]) }
    #expect(rotations.contains(Array(picks[..<7])))
    #expect(picks[..<7] == picks[7...])
  }

  @Test("item 88: the start is drawn: clients that were given the same do not begin with the same")
  func starts() {
    let assignment = Self.assignment([Hosts(healthy: 10)])
    var firsts: Set<Int> = []
    for seed in 0..<100 {
      var random = SplitMix64(seed: UInt64(seed))
      var balancer = Self.ready(assignment, using: &random)
      let pick = balancer.pick(assignment, Balancing(), using: &random) { _ in true }
      if case .endpoint(let place) = pick { firsts.insert(place) }
    }
    #expect(firsts == Set(0..<10))
  }

  @Test(
    "items 33, 92: updates keep the turn: over any run nobody is picked twice more than another")
  func rotation() {
    var random = SplitMix64(seed: 8)
    var assignment = Self.assignment([Hosts(healthy: 8)])
    var balancer = Self.ready(assignment, using: &random)
    var counts: [SocketAddress: Int] = [:]
    for _ in 0..<80 {
      // The control plane repeats itself, in another order.
      var shuffled = Assignment()
      shuffled.append(
        LocalityEndpoints(weight: 1), assignment.endpoints.shuffled(using: &random))
      balancer.adopt(
        shuffled, previous: shuffled.places(in: assignment, comparingNames: false),
        from: assignment, Balancing(), using: &random)
      assignment = shuffled
      let pick = balancer.pick(assignment, Balancing(), using: &random) { _ in true }
      if case .endpoint(let place) = pick {
        counts[assignment.endpoints[place].address, default: 0] += 1
      }
    }
    #expect(counts.count == 8)
    for count in counts.values { #expect(abs(count - 10) <= 1) }
  }

  @Test("weights are exact over any run, whatever they are", arguments: [1, 2, 3, 4, 5])
  func exact(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let weights = (0..<6).map { _ in UInt32(random.below(20) + 1) }
    var assignment = Assignment()
    assignment.append(
      LocalityEndpoints(weight: 1),
      weights.enumerated().map { Self.endpoint(0, $0, weight: $1) })
    var total = 0
    for weight in weights { total += Int(weight) }
    let expected = weights.map { Int($0) * 3 }
    #expect(share(assignment, Balancing(), total * 3, &random) == expected, "seed \(seed)")
  }

  @Test("item 102: drops are exact shares of a million, none and all without a draw")
  func drops() {
    var random = SplitMix64(seed: 1)
    let next = { (random: SplitMix64) in
      var random = random
      return random.next()
    }
    let before = next(random)
    #expect(!FractionalPercent(numerator: 0).draw(using: &random))
    #expect(FractionalPercent(numerator: 250).draw(using: &random))
    #expect(next(random) == before)
    #expect(FractionalPercent(numerator: 60).perMillion == 600_000)
    #expect(FractionalPercent(numerator: .max, denominator: .million).perMillion == 1_000_000)
    let share = FractionalPercent(numerator: 1_234, denominator: .tenThousand)
    let hits = (0..<100_000).count { _ in share.draw(using: &random) }
    #expect(abs(hits - 12_340) < 400)
  }

  @Test("an endpoint takes 32 octets: 64 clusters of 256 are half a mebibyte")
  func size() {
    #expect(MemoryLayout<SocketAddress>.stride == 24)
    #expect(MemoryLayout<Endpoint>.stride == 32)
  }
}
