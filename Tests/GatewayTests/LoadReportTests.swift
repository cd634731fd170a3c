import NetworkingCore
import Primitives
import TestSupport
import Testing
import XDS

@testable import Gateway

@Suite("Load reports of the whole gateway")
struct LoadReportTests {
  private static let configuration = ScriptedPlane.text(
    servers: "servers = ['http://10.9.0.1:18000']")

  /// A plane whose listener leads to cluster `a`, and a world under it.
  private static func world(
    _ cluster: [UInt8], response: [UInt8]? = ScriptedLoads.response(all: true, seconds: 10)
  ) -> (World, ScriptedPlane) {
    let plane = ScriptedPlane()
    plane.loads.response = response
    let start = Instant(nanoseconds: 0)
    plane.set(.listener, "ingest", PlaneResources.listener("ingest", to: .cluster("a")), now: start)
    plane.set(.cluster, "a", cluster, now: start)
    return (World(Self.configuration, plane: plane), plane)
  }

  private static func endpoint(_ zone: Int) -> SocketAddress {
    SocketAddress(10, 0, 0, UInt8(zone + 1), port: 80)
  }

  private func send(_ world: World, _ count: Int) {
    for number in 0..<count { world.serial("\(number)\n") }
  }

  /// Requests that arrived in the zone of an endpoint.
  private func arrived(_ world: World, _ zone: Int) -> UInt64 {
    UInt64(world.requests.count { $0.address == Self.endpoint(zone) })
  }

  @Test(
    "item 103: the stream is opened when a cluster asks, beside discovery, and begins with the node"
  )
  func opened() throws {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a", asks: false), response: nil)
    send(world, 3)
    world.advance(.seconds(60))
    #expect(plane.loads.streams == 0 && !world.countsLoad)
    #expect(!world.page("/config_dump").contains("load_reports"))
    plane.set(.cluster, "a", ScriptedPlane.reporting("a"), now: world.clocks.now)
    world.turn()
    #expect(plane.loads.streams == 1 && world.countsLoad)
    #expect(plane.loads.peer?.address == SocketAddress(10, 9, 0, 1, port: 18000))
    #expect(world.peers.count { $0.address.port == 18000 } == 1, "the same connection")
    let node = try #require(plane.loads.nodes.first)
    #expect(node.contains("board-1") && node.contains("envoy.lrs.supports_send_all_clusters"))
    // Nothing is reported until the server says what it wants.
    send(world, 2)
    world.advance(.seconds(100))
    #expect(plane.loads.reports.isEmpty)
    #expect(world.page("/config_dump").contains("\"load_reports\":{\"state\":\"asked\""))
    plane.loads.send(ScriptedLoads.response(["a"], seconds: 20), now: world.clocks.now)
    world.turn()
    send(world, 4)
    world.advance(.seconds(20))
    #expect(plane.loads.reports.count == 1)
    // What came before is of no meaning to it.
    #expect(plane.loads.reports[0].map { $0.locality("near").issued } == [4])
    #expect(plane.loads.reports[0][0].seconds == 20)
    let dump = world.page("/config_dump")
    #expect(dump.contains("\"state\":\"reporting\",\"interval_ms\":20000"))
    #expect(dump.contains("\"send_all_clusters\":false,\"clusters\":[\"a\"],\"reports\":1"))
    #expect(world.page("/stats").contains("load_reporter.requests: 2\nload_reporter.responses: 1"))
  }

  @Test("item 104: the sums are what arrived, by locality, whatever became of it")
  func sums() {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a", zones: ["near", "far"]))
    var random = SplitMix64(seed: 20)
    var failed: [SocketAddress: UInt64] = [:]
    world.answer = { request in
      guard random.below(4) == 0 else { return .status(200) }
      failed[request.address, default: 0] += 1
      return random.below(2) == 0 ? .status(503) : .reset
    }
    for _ in 0..<10 {
      send(world, 7)
      world.advance(.seconds(9))
    }
    world.advance(.seconds(600))
    #expect(world.counters(0).delivered == 70 && world.requests.count > 80)
    for (number, zone) in ["near", "far"].enumerated() {
      let sum = plane.loads.sum("a", zone)
      #expect(sum.issued == arrived(world, number) && sum.issued > 30)
      #expect(sum.failed == failed[Self.endpoint(number)])
      #expect(sum.succeeded == sum.issued - sum.failed && sum.active == 0)
    }
    // Quiet clusters and localities are left out; the request goes out all the same.
    #expect(plane.loads.reports.last == [])
  }

  @Test("item 104: requests in progress are a gauge; with them a locality is never left out")
  func gauge() {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a"))
    world.answerDelay = .seconds(12)
    send(world, 1)
    world.advance(.seconds(31))
    let found = plane.loads.reports.map { $0.first?.localities.first }
    #expect(found.map { $0?.issued } == [1, 0, nil])
    #expect(found.map { $0?.active } == [1, 0, nil])
    #expect(found.map { $0?.succeeded } == [0, 1, nil])
  }

  @Test("item 105: a later response changes the clusters and the interval")
  func laterResponse() {
    let (world, plane) = Self.world(
      ScriptedPlane.reporting("a"), response: ScriptedLoads.response(["b"], seconds: 10))
    send(world, 5)
    world.advance(.seconds(11))
    #expect(plane.loads.reports == [[]], "nobody asked for a")
    plane.loads.send(ScriptedLoads.response(all: true, seconds: 30), now: world.clocks.now)
    world.turn()
    send(world, 2)
    world.advance(.seconds(29))
    #expect(plane.loads.reports.count == 1)
    world.advance(.seconds(2))
    #expect(plane.loads.reports.count == 2)
    #expect(plane.loads.sum("a", "near").issued == 2)
    #expect(plane.loads.reports[1].map { $0.seconds } == [30])
  }

  @Test("item 105: a lost stream costs no counts; its reason is shown, and discovery goes on")
  func lost() {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a"))
    send(world, 3)
    world.advance(.seconds(10))
    plane.loads.end("12", now: world.clocks.now)
    world.turn()
    send(world, 4)
    #expect(world.page("/config_dump").contains("\"last_status\":\"UNIMPLEMENTED\""))
    world.advance(.seconds(3))
    #expect(plane.loads.streams == 2 && plane.streams == 1)
    world.advance(.seconds(20))
    #expect(plane.loads.sum("a", "near").issued == 7)
    #expect(world.page("/stats").contains("load_reporter.errors: 1"))
    // The whole server goes away and comes back.
    world.goDown()
    world.isUp = true
    world.advance(.seconds(5))
    send(world, 2)
    world.advance(.seconds(30))
    #expect(plane.loads.sum("a", "near").issued == 9)
  }

  @Test("items 82, 102: drops have their category, those of a breaker have none")
  func drops() {
    let (world, plane) = Self.world(
      ScriptedPlane.reporting("a", drops: [("lb", 30), ("throttle", 40)]))
    for _ in 0..<8 {
      send(world, 5)
      world.advance(.seconds(15))
    }
    world.advance(.seconds(600))
    #expect(world.counters(0).delivered == 40)
    let reports = plane.loads.reports.flatMap { $0 }
    let lb = reports.map { $0.drops["lb"] ?? 0 }.reduce(0, +)
    let throttle = reports.map { $0.drops["throttle"] ?? 0 }.reduce(0, +)
    let total = reports.map { $0.dropped }.reduce(0, +)
    #expect(lb > 5 && throttle > 5 && total == lb + throttle)
    #expect(world.page("/stats").contains("cluster.a.upstream_rq_drop_overload: \(total)\n"))
    #expect(plane.loads.sum("a", "near").issued == 40)

    plane.set(.cluster, "a", ScriptedPlane.reporting("a", breaker: 0), now: world.clocks.now)
    world.turn()
    plane.loads.reports = []
    send(world, 1)
    world.advance(.seconds(30))
    let overflows = plane.loads.reports.flatMap { $0 }
    #expect(overflows.map { $0.dropped }.reduce(0, +) > 0)
    #expect(overflows.allSatisfy { $0.drops.isEmpty && $0.localities.isEmpty })
  }

  @Test("item 32: the last cluster that asks is reported once more, then the stream ends")
  func removed() {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a"))
    send(world, 3)
    world.advance(.seconds(1))
    plane.set(.cluster, "a", ScriptedPlane.reporting("a", asks: false), now: world.clocks.now)
    world.turn()
    send(world, 3)
    world.advance(.seconds(1))
    #expect(plane.loads.reports.count == 1)
    #expect(plane.loads.sum("a", "near").issued == 3, "\(plane.loads.reports)")
    #expect(!world.countsLoad && !world.page("/config_dump").contains("load_reports"))
    world.advance(.seconds(100))
    #expect(plane.loads.streams == 1 && plane.loads.reports.count == 1)
    // It asks again: what was not asked for is not told.
    plane.set(.cluster, "a", ScriptedPlane.reporting("a"), now: world.clocks.now)
    world.turn()
    send(world, 2)
    world.advance(.seconds(11))
    #expect(plane.loads.streams == 2 && plane.loads.sum("a", "near").issued == 5)
  }

  @Test("the end of the process has a last report")
  func shutdown() {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a"))
    world.answerDelay = .seconds(2)
    send(world, 3)
    world.drain()
    world.turn()
    #expect(plane.loads.reports.isEmpty && !world.isDrained)
    world.advance(.milliseconds(2_500))
    #expect(
      plane.loads.reports.count == 1 && !world.isDrained, "the server has not ended the stream")
    world.advance(.seconds(1))
    #expect(world.isDrained, "and does not")
    let sum = plane.loads.sum("a", "near")
    #expect(sum.issued == arrived(world, 0) && sum.succeeded == sum.issued && sum.active == 0)
  }

  @Test("the end of the process waits until the server has heard the last report, not longer")
  func parting() {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a"))
    send(world, 1)
    world.advance(.seconds(1))
    world.drain()
    world.turn()
    #expect(plane.loads.reports.count == 1 && !world.isDrained)
    plane.loads.end("0", now: world.clocks.now)
    world.turn()
    #expect(world.isDrained)
    // Without reports there is nothing to wait for.
    let (other, _) = Self.world(ScriptedPlane.reporting("a", asks: false))
    other.drain()
    other.turn()
    #expect(other.isDrained)
  }

  @Test("SIGHUP: another client goes on with what the former one has counted")
  func reload() {
    let (world, plane) = Self.world(ScriptedPlane.reporting("a"))
    send(world, 3)
    let other = Self.configuration.replacing("board-1", with: "board-2")
    #expect(world.reload(other))
    world.turn()
    send(world, 2)
    world.advance(.seconds(11))
    #expect(plane.loads.streams == 2 && plane.loads.nodes.last?.contains("board-2") == true)
    #expect(plane.loads.sum("a", "near").issued == 5)
  }
}

extension World {
  var countsLoad: Bool { gateway.core.countsLoad }
  func drain() { gateway.drain() }
}
