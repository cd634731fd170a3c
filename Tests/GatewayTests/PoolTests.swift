import Configuration
import Primitives
import Protobuf
import Spool
import TestSupport
import Testing
import XDS

@testable import Gateway

extension World {
  var unfitPools: [String] {
    gateway.pools().filter { $0.high > $0.limit }.map { "\($0.name): \($0.high) of \($0.limit)" }
  }
  var connectionsInUse: Int { gateway.core.connectionsInUse }
  var connectionsMax: Int { gateway.core.connectionsMax }
  /// Of how many streams the next record is known, and found no room in a delivery.
  var streamsWithoutRoom: Int {
    gateway.uplinks.count { $0.heads.contains { $0.tooLongBytes > 0 } }
  }
  func limitConnections(to count: Int) { gateway.core.connectionsMax = count }
  var pageBytesMax: Int { gateway.pageBytesMax }
  var sequencesDropped: UInt64 { gateway.uplinks.reduce(0) { $0 + $1.counters.dropped } }
  func answer(_ path: ByteString, room: Int) -> AdminPage {
    gateway.answer(AdminRequest(method: .get, path: path), room: room, clocks: clocks)
  }
}

/// A stream fed over MQTT, at this budget.
private func one(_ durability: String, budget: String = "6MiB", more: String = "") -> String {
  """
  [node]
  id = "scooter-1"
  [memory]
  budget = "\(budget)"
  [mqtt]
  broker = "mqtt://127.0.0.1"
  [[mqtt.subscribe]]
  filter = "s/#"
  stream = "s"
  [[stream]]
  name = "s"
  target = "http://192.0.2.1:443"
  path = "/v1/s"
  durability = "\(durability)"
  \(more)
  """
}

/// Streams t2 to t9 besides, each for a host of its number.
private func eightMore(more: String = "", host: (Int) -> String) -> String {
  var text = ""
  for number in 2...9 {
    text += """

      [[mqtt.subscribe]]
      filter = "t\(number)"
      stream = "t\(number)"
      [[stream]]
      name = "t\(number)"
      target = "http://\(host(number)):443"
      path = "/v1/t\(number)"
      durability = "sync"
      \(more)
      """
  }
  return text
}

private func large(_ number: Int) -> String {
  "\(number) " + String(repeating: "x", count: 3_000)
}

/// Each is driven beyond what it may hold. The answer is always one of: nothing more is taken from the
/// source, the oldest is dropped with a report, a later time, a refusal with its reason.
@Suite("What every pool answers when it is full")
struct PoolTests {
  @Test("spool: a disk that takes nothing leaves sync records with the broker")
  func spoolOfSync() {
    let world = World(one("sync"))
    world.goDown()
    world.disk.failing = [.write: .failed(5), .create: .failed(5)]
    var taken = 0
    for number in 0..<400 where world.publish("s/1", large(number), id: UInt16(number + 1)) {
      taken += 1
    }
    #expect(taken < 10, "the broker keeps what cannot be made safe")
    #expect(world.unfitPools == [])
    world.disk.failing = [:]
    world.isUp = true
    world.advance(.seconds(400))
    #expect(world.counters(0).delivered == UInt64(taken))
    #expect(world.sequencesDropped == 0)
  }

  @Test("spool: a disk that takes nothing costs spill records their oldest, with a report")
  func spoolOfSpill() {
    let world = World(
      one(
        "spill",
        more: """
          [[stream]]
          name = "health"
          target = "http://192.0.2.1:443"
          path = "/health"
          [reports]
          stream = "health"
          """))
    world.goDown()
    world.disk.failing = [.write: .failed(5), .create: .failed(5)]
    for number in 0..<600 { world.publish("s/1", large(number), qos: 0) }
    #expect(world.counters(0).recordsIn == 600)
    #expect(world.counters(0).dropped > 400)
    #expect(world.unfitPools == [])
    world.disk.failing = [:]
    world.isUp = true
    world.advance(.seconds(900))
    #expect(world.counters(0).delivered + world.counters(0).dropped == 600)
    #expect(
      world.delivered("/health").contains { $0.text.contains(#""reason":"memory""#) })
    #expect(world.unfitPools == [])
  }

  @Test("a disk that takes no writes is asked once a second at most, however many messages wait")
  func pressedDisk() {
    let world = World(one("spill"))
    world.goDown()
    world.disk.failing = [.sync: .failed(5)]
    for number in 0..<40 { world.publish("s/1", large(number), id: UInt16(number + 1)) }
    let before = world.disk.operations
    for _ in 0..<100 { world.advance(.milliseconds(1)) }
    #expect(world.disk.operations - before < 40)
    world.disk.failing = [:]
    world.advance(.milliseconds(1_100))
    world.publish("s/1", large(40), qos: 0)
    #expect(!world.isDegraded, "it is asked before the minute is over, because the broker waits")
  }

  @Test("serial: a line without an end is cut at what a frame may be, and counted")
  func serial() {
    let world = World(
      one("memory")
        + """

        [[serial]]
        name = "ecu"
        device = "/dev/ttyS1"
        baud = 921600
        framing = "line"
        stream = "s"
        """)
    let piece = String(repeating: "z", count: 16_384)
    for _ in 0..<128 { world.serial(piece) }
    world.serial("\nwhole\n")
    world.advance(.seconds(1))
    #expect(world.badFrames > 0)
    #expect(world.delivered("/v1/s").last?.text == "whole")
    #expect(world.unfitPools == [])
  }

  @Test("memory: the oldest of a memory stream make room")
  func memory() {
    let world = World(one("memory"))
    world.goDown()
    for number in 0..<300 { world.publish("s/1", large(number)) }
    #expect(world.counters(0).dropped > 200)
    #expect(world.unfitPools == [])
  }

  @Test("requests: what does not fit waits for its turn")
  func requests() {
    let keys =
      "in_flight = 32\nencoding = \"protobuf\"\nbatch = { records = 40, bytes = \"64KiB\" }"
    let world = World(one("sync", budget: "64MiB", more: keys))
    world.answer = { _ in .silence }
    var waits = false
    for number in 0..<900 {
      world.publish("s/1", large(number), id: UInt16(number + 1))
      if number % 20 == 19 { world.advance(.milliseconds(60)) }
      waits = waits || world.pool("requests").map { $0.limit - $0.used < 66_000 } ?? false
    }
    #expect(waits, "the pool was full")
    #expect(world.unfitPools == [])
    world.answer = { _ in .status(200) }
    world.advance(.seconds(900))
    #expect(world.counters(0).delivered == 900)
  }

  @Test("uplinks: a record for which there is no room stays in the spool until there is")
  func uplinks() {
    let text =
      one("sync", budget: "4MiB", more: "in_flight = 8")
      + eightMore(more: "in_flight = 8") { _ in "192.0.2.1" }
    let world = World(text)
    world.answer = { _ in .silence }
    let payload = String(repeating: "p", count: 60_000)
    var refused = 0
    for round in 0..<4 {
      for number in 2...9 {
        let id = UInt16(round * 10 + number)
        #expect(world.publish("t\(number)", "\(round) " + payload, id: id))
        world.advance(.milliseconds(60))
        refused = max(refused, world.streamsWithoutRoom)
      }
    }
    #expect(refused > 0, "the pool was full")
    let pool = world.pool("uplinks")
    #expect(pool.map { $0.high > $0.limit / 2 } == true, "\(String(describing: pool))")
    #expect(world.unfitPools == [])
    world.answer = { _ in .status(200) }
    world.advance(.seconds(3_600))
    for stream in 1...8 { #expect(world.counters(stream).delivered == 4, "stream \(stream)") }
    #expect(world.sequencesDropped == 0)
    #expect(world.streamsWithoutRoom == 0)
    #expect(world.unfitPools == [])
  }

  @Test("connections: more targets than there is room for take turns")
  func connections() {
    let world = World(one("sync") + eightMore { "192.0.2.\($0)" })
    #expect(world.connectionsMax == 8)
    world.limitConnections(to: 3)
    for round in 0..<5 {
      for number in 2...9 {
        world.publish("t\(number)", "\(round)", id: UInt16(round * 10 + number))
      }
      world.advance(.seconds(1))
      #expect(world.connectionsInUse <= world.connectionsMax)
    }
    world.advance(.seconds(600))
    for stream in 1...8 { #expect(world.counters(stream).delivered == 5, "stream \(stream)") }
    #expect(world.unfitPools == [])
  }

  @Test("connections: what one holds is bounded, whatever is sent over it")
  func oneConnection() {
    let world = World(one("sync"))
    world.answer = { _ in
      .status(200, (0..<60).map { ("x-\($0)", String(repeating: "v", count: 200)) })
    }
    for number in 0..<40 {
      world.publish(
        "s/" + String(repeating: "t", count: 20_000), large(number), id: UInt16(number + 1))
    }
    world.advance(.seconds(60))
    #expect(world.counters(0).delivered == 40)
    #expect(
      world.pool("connections").map {
        $0.high <= MemoryNeeds.connectionBytes + MemoryNeeds.headersBytes
      } == true,
      "\(String(describing: world.pool("connections")))")
  }

  @Test("admin: a page that is too long is refused, and so is one for which others leave no room")
  func admin() {
    let world = World(one("sync"))
    #expect(world.answer("/stats", room: .max).status == 200)
    let refused = world.answer("/stats", room: 100)
    #expect(refused.status == 503)
    #expect(String(decoding: refused.body, as: UTF8.self).contains("no room"))
    #expect(world.pageBytesMax < world.pool("admin")?.limit ?? 0)
  }

  @Test(
    "noted by the driver: tls, mqtt and admin are lines like the others, and keep their high water")
  func noted() {
    let world = World(one("sync"))
    world.gateway.noteMemory(.tls, used: 1_000, high: 5_000)
    world.gateway.noteMemory(.tls, used: 2_000)
    #expect(world.pool("tls").map { [$0.used, $0.high] } == [2_000, 5_000])
    #expect(world.reload(one("sync", budget: "7MiB")))
    #expect(world.pool("tls")?.high == 5_000)
    let page = String(decoding: world.answer("/memory", room: .max).body, as: UTF8.self)
    for pool in MemoryPool.all { #expect(page.contains(#""name":"\#(pool.name)""#)) }
    #expect(world.stat("spoke.memory.tls.high") == 5_000)
  }
}

private func steered(budget: String) -> String {
  ScriptedPlane.text().replacingFirst("[xds]", "[memory]\nbudget = \"\(budget)\"\n[xds]")
}

@Suite("What a control plane's pools answer when they are full")
struct ControlPlanePoolTests {
  private func plane() -> ScriptedPlane {
    let plane = ScriptedPlane()
    let start = Instant(nanoseconds: 0)
    plane.set(.listener, "ingest", PlaneResources.listener("ingest", to: .cluster("a")), now: start)
    plane.set(.cluster, "a", ScriptedPlane.cluster("a", port: 80), now: start)
    return plane
  }

  /// The resource with a field that nobody knows, so many bytes long.
  private func fat(_ resource: [UInt8], _ bytes: Int) -> [UInt8] {
    var writer = WireWriter()
    let padding = [UInt8](repeating: 0x61, count: bytes)
    writer.bytes(900, padding.span)
    return resource + writer.bytes
  }

  @Test("resources: one that does not fit is refused by name, and what was there stays in force")
  func resources() throws {
    let plane = plane()
    let world = World(steered(budget: "5MiB"), plane: plane)
    let limit = try #require(world.pool("resources")).limit
    let message = try #require(world.pool("discovery")).limit - MemoryNeeds.sentMessageBytes
    // Each fits a message, and both together do not fit the store.
    let bytes = message - 1_000
    #expect(2 * bytes > limit && bytes < limit)
    plane.set(
      .listener, "ingest", fat(PlaneResources.listener("ingest", to: .cluster("a")), bytes),
      now: world.clocks.now)
    world.advance(.seconds(1))
    #expect(plane.refusals.isEmpty)
    let cluster = fat(ScriptedPlane.cluster("a", port: 81), bytes)
    plane.set(.cluster, "a", cluster, now: world.clocks.now)
    world.advance(.seconds(1))
    #expect(plane.refusals.count == 1, "\(plane.refusals)")
    #expect(world.page("/config_dump").contains("\"state\":\"NACKED\""))
    #expect(world.unfitPools == [])
    world.serial("one\n")
    world.advance(.seconds(5))
    #expect(world.requests.map { $0.text } == ["one"])
    #expect(world.page("/clusters").contains("10.0.0.9:80"))
  }

  @Test("discovery: a message that is too long ends the stream before anything of it is kept")
  func discovery() throws {
    let plane = plane()
    let world = World(steered(budget: "5MiB"), plane: plane)
    world.serial("one\n")
    #expect(world.requests.count == 1)
    let limit = try #require(world.pool("discovery")).limit
    plane.set(
      .cluster, "a", fat(ScriptedPlane.cluster("a", port: 81), limit), now: world.clocks.now)
    world.advance(.seconds(30))
    #expect(plane.streams > 1, "another stream is tried")
    #expect(world.log.contains { $0.contains("a message is longer than the limit") })
    #expect(world.unfitPools == [])
    world.serial("two\n")
    #expect(world.requests.map { $0.text } == ["one", "two"], "the policy before holds")
    plane.set(.cluster, "a", ScriptedPlane.cluster("a", port: 82), now: world.clocks.now)
    world.advance(.seconds(300))
    #expect(world.page("/clusters").contains("10.0.0.9:82"))
  }
}
