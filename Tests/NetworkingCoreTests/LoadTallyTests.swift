import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Attempts counted for load reports")
struct LoadTallyTests {
  private static func bench(
    _ retry: RetryPolicy = .none, hedges: Bool = false,
    change: (inout Cluster) -> Void = { _ in }
  ) -> Bench {
    Bench(
      Bench.fixed(
        retry: retry,
        change: {
          $0.reportsLoad = true
          $0.serviceName = "service"
          change(&$0)
        }, route: { $0.hedgesOnPerTryTimeout = hedges }))
  }

  /// Issued, succeeded, failed, active: of the only locality of the only tally.
  private func counts(_ bench: Bench) -> [UInt64] {
    let tallies = bench.core.takeTallies()
    #expect(tallies.count == 1)
    #expect(tallies.first?.localities.count == 1)
    guard let one = tallies.first?.localities.first else { return [] }
    return [one.issued, one.succeeded, one.failed, one.active]
  }

  @Test("a cluster whose load is not reported counts nothing")
  func off() {
    let bench = Bench()
    bench.submit(1)
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.core.clusters.allSatisfy { $0.tally.isEmpty })
    #expect(bench.core.takeTallies().isEmpty)
    bench.expectAtRest()
  }

  @Test(
    "item 104: success is no 5xx, and OK where there is a grpc-status",
    arguments: [
      (200, nil, true), (404, nil, true), (429, nil, true), (500, nil, false), (503, nil, false),
      (200, "0", true), (200, "14", false), (200, "4", false),
    ] as [(Int, String?, Bool)])
  func success(status: Int, grpcStatus: String?, isSuccess: Bool) {
    let bench = Self.bench()
    bench.onRequest = { peer, stream in
      if let grpcStatus {
        peer.respond(stream, status, body: [1], trailers: [("grpc-status", grpcStatus)])
      } else {
        peer.respond(stream, status)
      }
    }
    bench.submit()
    #expect(counts(bench) == [1, isSuccess ? 1 : 0, isSuccess ? 0 : 1, 0])
    bench.expectAtRest()
  }

  @Test("item 104: what was taken is not counted again; what is in progress is a gauge")
  func deltas() {
    let bench = Self.bench()
    #expect(bench.core.takeTallies().isEmpty)
    bench.submit(1)
    var open: [UInt32] = []
    bench.onRequest = { _, stream in open.append(stream) }
    bench.submit(2)
    bench.submit(3)
    let tally = bench.core.takeTallies().first
    #expect(tally?.cluster == "up")
    #expect(tally?.service == "service")
    #expect(tally?.isLast == false)
    #expect(tally?.localities.map { [$0.issued, $0.succeeded, $0.active] } == [[3, 1, 2]])
    #expect(counts(bench) == [0, 0, 0, 2])
    bench.peer.respond(open[0], 200)
    bench.run()
    #expect(counts(bench) == [0, 1, 0, 1])
    bench.peer.respond(open[1], 200)
    bench.run()
    bench.expectAtRest()
  }

  @Test("item 104: every attempt counts, retries included")
  func retries() {
    let bench = Self.bench(RetryPolicy(conditions: [.serverError], retries: 3))
    var calls = 0
    bench.onRequest = { peer, stream in
      calls += 1
      switch calls {
      case 1: peer.respond(stream, 503)
      case 2: peer.http.reset(stream, .internalError)
      default: peer.respond(stream, 200)
      }
    }
    bench.submit()
    bench.advance(.seconds(1))
    #expect(bench.results.map { $0.status } == [200])
    #expect(counts(bench) == [3, 1, 2, 0])
  }

  @Test("a timeout and a lost connection are failures; a connection that never was is no attempt")
  func failures() {
    let bench = Self.bench()
    bench.onRequest = { _, _ in }
    bench.submit(1)
    bench.advance(.seconds(20))
    bench.submit(2)
    bench.disconnect(bench.peer)
    #expect(bench.results.map { $0.failure } == [.timeout, .reset])
    #expect(counts(bench) == [2, 0, 2, 0])
    bench.onConnect = { _ in .fail("refused") }
    bench.submit(3)
    bench.advance(.seconds(1))
    #expect(bench.results.last?.failure == .connectFailure)
    #expect(counts(bench) == [0, 0, 0, 0])
    bench.expectAtRest()
  }

  @Test("what this side gives up is neither success nor failure")
  func cancelled() throws {
    let bench = Self.bench()
    bench.onRequest = { _, _ in }
    let id = try #require(bench.submit())
    bench.core.cancel(id, now: bench.now)
    bench.run()
    #expect(counts(bench) == [1, 0, 0, 0])
    bench.expectAtRest()
  }

  @Test("a stream that the peer did not process is issued twice and ends once")
  func replayed() {
    let bench = Self.bench()
    var calls = 0
    bench.onRequest = { peer, stream in
      calls += 1
      if calls == 1 {
        peer.http.reset(stream, .refusedStream)
      } else {
        peer.respond(stream, 200)
      }
    }
    bench.submit()
    #expect(bench.results.map { $0.status } == [200])
    #expect(counts(bench) == [2, 1, 0, 0])
  }

  @Test("of hedged attempts the one that is answered counts, whichever it is", arguments: 0..<2)
  func hedged(winner: Int) {
    let bench = Self.bench(
      RetryPolicy(conditions: [.serverError], retries: 1, perTryTimeout: .seconds(1)),
      hedges: true)
    var calls: [UInt32] = []
    bench.onRequest = { _, stream in calls.append(stream) }
    bench.submit()
    bench.advance(.seconds(2))
    #expect(calls.count == 2)
    #expect(counts(bench) == [2, 0, 0, 2])
    bench.peer.respond(calls[winner], 200)
    bench.run()
    #expect(bench.results.map { $0.status } == [200])
    #expect(counts(bench) == [0, 1, 0, 0])
    bench.expectAtRest()
  }

  @Test("each locality by its priority, and those that come and go within bounds")
  func localities() {
    func assignment(_ zones: [String]) -> Assignment {
      var assignment = Assignment()
      for (index, zone) in zones.enumerated() {
        assignment.append(
          LocalityEndpoints(
            locality: Locality(region: "eu", zone: ByteString(zone)), weight: 1),
          [Endpoint(address: BalancingTests.address(index + 1))])
      }
      return assignment
    }
    func snapshot(_ zones: [String]) -> PolicySnapshot {
      Bench.fixed(retry: .none) {
        $0.reportsLoad = true
        $0.discovery = .endpoints(assignment(zones))
      }
    }
    let bench = Bench(snapshot(["a", "b"]))
    for token in 0..<10 { bench.submit(UInt64(token)) }
    // The same ones in another order are the same.
    bench.core.apply(snapshot(["b", "a"]), now: bench.now)
    for token in 10..<20 { bench.submit(UInt64(token)) }
    let tally = bench.core.takeTallies().first
    #expect(tally?.localities.map { $0.locality.zone.description }.sorted() == ["a", "b"])
    #expect(tally?.localities.map { $0.issued }.reduce(0, +) == 20)
    #expect(tally?.localities.allSatisfy { $0.issued == $0.succeeded && $0.issued > 5 } == true)

    // Nobody asks: further ones have no place until there is one without news.
    for round in 0..<100 {
      bench.core.apply(snapshot(["z\(round)"]), now: bench.now)
      bench.submit(UInt64(100 + round))
    }
    #expect(bench.core.clusters[0].tally.localities.count == 64)
    #expect(bench.core.takeTallies()[0].localities.map { $0.issued }.reduce(0, +) == 64)
    bench.core.apply(snapshot(["new"]), now: bench.now)
    bench.submit(1_000)
    let last = bench.core.takeTallies()[0].localities.filter { $0.issued > 0 }
    #expect(last.map { $0.locality.zone } == ["new"])
    #expect(bench.core.clusters[0].tally.localities.count == 64)
    bench.expectAtRest()
  }

  @Test("item 102: drops are counted by category, those of breakers without")
  func drops() {
    var assignment = BalancingTests.priorities([[1]])
    assignment.drops = [
      DropOverload(category: "lb", share: FractionalPercent(numerator: 50))
    ]
    let bench = Self.bench {
      $0.discovery = .endpoints(assignment)
      $0.circuitBreakers.maxRequests = 1
    }
    bench.onRequest = { _, _ in }
    for token in 0..<100 { bench.submit(UInt64(token)) }
    let dropped = bench.results.count { $0.failure == .dropped }
    let overflown = bench.results.count { $0.failure == .overflow }
    #expect(dropped + overflown == 99)
    let tally = bench.core.takeTallies().first
    #expect(tally?.drops == [DropTally(category: "lb", count: UInt64(dropped))])
    #expect(tally?.overflows == UInt64(overflown))
    let next = bench.core.takeTallies().first
    #expect(next?.drops == [])
    #expect(next?.overflows == 0)
  }

  @Test("item 32: a cluster that is removed has its last tally when its last request has ended")
  func removed() {
    let bench = Self.bench()
    bench.submit(1)
    var open: [UInt32] = []
    bench.onRequest = { _, stream in open.append(stream) }
    bench.submit(2)
    bench.core.apply(PolicySnapshot(), now: bench.now)
    bench.run()
    let before = bench.core.takeTallies().first
    #expect(before?.isLast == false)
    #expect(before?.localities.map { [$0.issued, $0.succeeded, $0.active] } == [[2, 1, 1]])
    bench.peer.respond(open[0], 200)
    bench.run()
    bench.advance(.seconds(2))
    let last = bench.core.takeTallies()
    #expect(last.map { $0.isLast } == [true])
    #expect(last.first?.localities.map { [$0.issued, $0.succeeded, $0.active] } == [[0, 1, 0]])
    #expect(bench.core.takeTallies().isEmpty)
    bench.expectAtRest()
  }

  @Test(
    "a cluster that counts no more has a last tally; what follows is not told when it counts again")
  func switched() {
    func snapshot(reports: Bool, service: ByteString = "service") -> PolicySnapshot {
      var assignment = BalancingTests.priorities([[1]])
      assignment.drops = [
        DropOverload(category: "lb", share: FractionalPercent(numerator: 50))
      ]
      return Bench.fixed(retry: .none) {
        $0.reportsLoad = reports
        $0.serviceName = service
        $0.discovery = .endpoints(assignment)
      }
    }
    let bench = Bench(snapshot(reports: true))
    for token in 0..<20 { bench.submit(UInt64(token)) }
    var open: [UInt32] = []
    bench.onRequest = { _, stream in open.append(stream) }
    while open.isEmpty { bench.submit(20) }
    let drops = UInt64(bench.results.count { $0.failure == .dropped })
    bench.core.apply(snapshot(reports: false), now: bench.now)
    #expect(bench.core.countsLoad == true)
    let last = bench.core.takeTallies()
    #expect(last.map { $0.isLast } == [true] && !bench.core.countsLoad)
    #expect(last.first?.drops.map { $0.count } == [drops])
    #expect(last.first?.localities.map { $0.active } == [0])
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    for token in 100..<120 { bench.submit(UInt64(token)) }
    bench.core.apply(snapshot(reports: true), now: bench.now)
    #expect(bench.core.takeTallies().isEmpty)
    // The attempt that was under way is nobody's any more.
    bench.peer.respond(open[0], 200)
    bench.run()
    #expect(bench.core.takeTallies().isEmpty)
    for token in 200..<210 { bench.submit(UInt64(token)) }
    bench.core.apply(snapshot(reports: true, service: "other"), now: bench.now)
    for token in 300..<310 { bench.submit(UInt64(token)) }
    let both = bench.core.takeTallies()
    #expect(both.map { $0.service } == ["service", "other"])
    #expect(both.map { $0.isLast } == [true, false])
    #expect(
      both.allSatisfy { $0.localities.allSatisfy { $0.issued == $0.succeeded && $0.active == 0 } })
    #expect(both.allSatisfy { !$0.localities.isEmpty && !$0.drops.isEmpty })
    bench.expectAtRest()
  }

  @Test("long-lived streams count as long as they live")
  func streams() throws {
    let bench = Self.bench()
    let id = try #require(bench.open())
    #expect(counts(bench) == [1, 0, 0, 1])
    bench.peer.respond(1, 200, body: [1], trailers: [("grpc-status", "0")])
    bench.run()
    #expect(bench.bodies[id] == [1])
    #expect(counts(bench) == [0, 1, 0, 0])
    bench.expectAtRest()
  }
}
