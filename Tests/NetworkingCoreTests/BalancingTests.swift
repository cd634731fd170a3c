import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Endpoints chosen for requests")
struct BalancingTests {
  static func address(_ number: Int) -> SocketAddress {
    SocketAddress(192, 0, 2, UInt8(number), port: 443)
  }

  static func snapshot(_ assignment: Assignment, name: ByteString = "up") -> PolicySnapshot {
    Bench.fixed(name: name, retry: .none) { $0.discovery = .endpoints(assignment) }
  }

  static func priorities(_ groups: [[Int]]) -> Assignment {
    var assignment = Assignment()
    for (priority, group) in groups.enumerated() {
      assignment.append(
        LocalityEndpoints(priority: UInt32(priority), weight: 1),
        group.map { Endpoint(address: address($0)) })
    }
    return assignment
  }

  @Test("requests take turns over the endpoints, one connection each")
  func turns() {
    let bench = Bench(Self.snapshot(Self.priorities([[1, 2, 3]])))
    for token in 0..<9 { bench.submit(UInt64(token)) }
    #expect(bench.results.count == 9)
    #expect(Set(bench.connects.map { $0.address }) == Set([1, 2, 3].map(Self.address)))
    #expect(bench.connects.count == 3)
    for peer in bench.allPeers { #expect(peer.order.count == 3) }
    bench.expectAtRest()
  }

  @Test("item 92: an EDS that says nothing new resets neither turn, connections nor failures")
  func update() {
    let bench = Bench(Self.snapshot(Self.priorities([[1, 2, 3, 4]])))
    for round in 0..<40 {
      bench.submit(UInt64(round))
      bench.core.apply(
        Self.snapshot(Self.priorities([round % 2 == 0 ? [4, 3, 2, 1] : [1, 2, 3, 4]])),
        now: bench.now)
      bench.run()
    }
    #expect(bench.connects.count == 4)
    #expect(bench.closes == 0)
    for peer in bench.allPeers { #expect(abs(peer.order.count - 10) <= 1) }
  }

  @Test(
    "item 85: endpoints that cannot be reached are passed over; those of the next priority serve")
  func failover() {
    let bench = Bench(Self.snapshot(Self.priorities([[1, 2], [3]])))
    bench.onConnect = { $0 == Self.address(3) ? .accept : .fail("refused") }
    // The first failure of an endpoint is forgiven, the second keeps it out for a while.
    for token in 0..<6 { bench.submit(UInt64(token)) }
    #expect(bench.results.last?.status == 200)
    #expect(bench.peer.address == Self.address(3))
    #expect(bench.statistic("membership_healthy") == 1)
    #expect(bench.statistic("membership_total") == 3)
    // It is not what the control plane calls unhealthy: as soon as it may be tried again it is.
    bench.onConnect = { _ in .accept }
    bench.advance(.seconds(31))
    for token in 6..<10 { bench.submit(UInt64(token)) }
    #expect(bench.peer.address != Self.address(3))
    bench.expectAtRest()
  }

  @Test("an endpoint that was called unhealthy while a request waits is not picked again (item 92)")
  func health() {
    let bench = Bench(Self.snapshot(Self.priorities([[1, 2]])))
    bench.submit(0)
    bench.submit(1)
    var assignment = Assignment()
    assignment.append(
      LocalityEndpoints(weight: 1),
      [
        Endpoint(address: Self.address(1), health: .unhealthy),
        Endpoint(address: Self.address(2)),
      ])
    bench.core.apply(Self.snapshot(assignment), now: bench.now)
    for token in 2..<8 { bench.submit(UInt64(token)) }
    let counts = bench.allPeers.map { ($0.address, $0.order.count) }
    for (address, count) in counts {
      #expect(count == (address == Self.address(1) ? 1 : 7))
    }
  }

  @Test("item 84: all unhealthy is a panic, which uses all; without one there is nobody")
  func panic() {
    var assignment = Assignment()
    assignment.append(
      LocalityEndpoints(weight: 1),
      [Endpoint(address: Self.address(1), health: .unhealthy)])
    let bench = Bench(Self.snapshot(assignment))
    bench.submit(0)
    #expect(bench.results.last?.status == 200)
    var snapshot = Self.snapshot(assignment)
    snapshot.clusters[0].balancing.panicThreshold = 0
    bench.core.apply(snapshot, now: bench.now)
    bench.submit(1)
    #expect(bench.results.last?.failure == .noHealthyUpstream)
  }

  @Test("previous hosts: those tried before are passed over, as often as the policy wants")
  func avoiding() {
    let bench = Bench(Self.snapshot(Self.priorities([[1, 2, 3]])))
    func pick(_ tried: [UInt32], picks: Int) -> UInt32 {
      guard case .endpoint(let index) = bench.core.chooseEndpoint(0, avoiding: tried, picks: picks)
      else { return 0 }
      return bench.core.clusters[0].endpoints[index].id
    }
    let all = (0..<3).map { _ in pick([], picks: 0) }
    #expect(Set(all).count == 3)
    for _ in 0..<9 {
      #expect(pick([all[0], all[1]], picks: 3) == all[2])
      #expect(pick([all[0]], picks: 3) != all[0])
    }
    // Everyone was tried: then anyone will do.
    #expect(all.contains(pick(all, picks: 5)))
  }

  @Test(
    "item 102: drops come first, are counted by category, neither retried nor the breakers' business"
  )
  func drops() {
    var assignment = Self.priorities([[1]])
    assignment.drops = [
      DropOverload(category: "lb", share: FractionalPercent(numerator: 60)),
      DropOverload(category: "throttle", share: FractionalPercent(numerator: 50)),
    ]
    var snapshot = Bench.fixed(retry: RetryPolicy(conditions: [.serverError], retries: 3)) {
      $0.discovery = .endpoints(assignment)
      $0.reportsLoad = true
    }
    let bench = Bench(snapshot)
    for token in 0..<2_000 { bench.submit(UInt64(token)) }
    let passed = bench.results.count { $0.status == 200 }
    let dropped = bench.results.count { $0.failure == .dropped && $0.attempts == 0 }
    #expect(passed + dropped == 2_000)
    #expect(abs(passed - 400) < 80)
    var counts: [ByteString: UInt64] = [:]
    for drop in bench.core.takeTallies().flatMap({ $0.drops }) {
      counts[drop.category] = drop.count
    }
    #expect(counts["lb", default: 0] + counts["throttle", default: 0] == UInt64(dropped))
    #expect(abs(Int(counts["lb", default: 0]) - 1_200) < 100)
    #expect(bench.statistic("upstream_rq_drop_overload") == UInt64(dropped))
    #expect(bench.statistic("upstream_rq_pending_overflow") == 0)
    #expect(
      bench.results.first { $0.failure == .dropped }?.details.description.hasPrefix(
        "drop_overload: ") == true)
    // All of it, and with nobody to send to: the drop comes first.
    assignment = Assignment()
    assignment.drops = [
      DropOverload(category: "lb", share: FractionalPercent(numerator: 100))
    ]
    snapshot.clusters[0].discovery = .endpoints(assignment)
    bench.core.apply(snapshot, now: bench.now)
    bench.submit()
    #expect(bench.results.last?.failure == .dropped)
    bench.expectAtRest()
  }

  @Test(
    "64 clusters of 256 endpoints: a new snapshot shares their memory, unused ones keep no state")
  func scale() {
    var snapshot = PolicySnapshot()
    for number in 0..<64 {
      var assignment = Assignment()
      assignment.append(
        LocalityEndpoints(weight: 1),
        (0..<256).map {
          Endpoint(address: SocketAddress(10, UInt8(number), 0, UInt8($0), port: 443))
        })
      let one = Self.snapshot(assignment, name: ByteString("c\(number)"))
      snapshot.clusters.append(one.clusters[0])
      var listener = one.listeners[0]
      listener.routes.virtualHosts[0].routes[0].action = .forward(
        ForwardAction(clusters: [WeightedCluster(name: ByteString("c\(number)"))]))
      snapshot.listeners.append(listener)
    }
    let bench = Bench(snapshot)
    #expect(bench.core.clustersLeftOut == 0)
    bench.submit(1, listener: "c7")
    #expect(bench.results.map { $0.status } == [200])
    /// Whether the core has no other copy, so that a comparison need not look at every endpoint.
    func isShared(_ number: Int, _ snapshot: PolicySnapshot) -> Bool {
      guard case .endpoints(let assignment) = snapshot.clusters[number].discovery else {
        return false
      }
      return bench.core.clusters[number].members.endpoints.withUnsafeBufferPointer { mine in
        assignment.endpoints.withUnsafeBufferPointer { $0.baseAddress == mine.baseAddress }
      }
    }
    for (number, slot) in bench.core.clusters.enumerated() {
      #expect(slot.members.endpoints.count == 256)
      #expect(slot.places.count == (number == 7 ? 256 : 0))
      #expect(slot.endpoints.count == (number == 7 ? 1 : 0))
      #expect(isShared(number, snapshot))
    }
    // One cluster's endpoints change; the others stay where they are.
    var changed = snapshot
    changed.clusters[7].discovery = .endpoints(Self.priorities([[1]]))
    bench.core.apply(changed, now: bench.now)
    for number in 0..<64 { #expect(isShared(number, changed)) }
    bench.run()
    #expect(bench.core.clusters[7].members.endpoints.count == 1)
    #expect(bench.closes == 1)
  }
}
