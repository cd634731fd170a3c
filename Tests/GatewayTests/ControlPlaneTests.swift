import Configuration
import NetworkingCore
import Policy
import Primitives
import TestSupport
import Testing
import XDS

@testable import Gateway

@Suite("Streams that a control plane steers")
struct ControlPlaneTests {
  private static let server = SocketAddress(10, 0, 0, 1, port: 18000)

  /// A plane that has everything, one that has nothing.
  private static func plane(port: UInt64 = 80) -> ScriptedPlane {
    let plane = ScriptedPlane()
    plane.set(
      .listener, "ingest", PlaneResources.listener("ingest", to: .cluster("a")),
      now: Instant(nanoseconds: 0))
    plane.set(.cluster, "a", ScriptedPlane.cluster("a", port: port), now: Instant(nanoseconds: 0))
    return plane
  }

  /// Another cluster for the listener, which is still to come.
  private static let successor = PlaneResources.listener("ingest", to: .cluster("b"))

  /// A daemon that has the plane's policy in its cache, and to which another resource came since.
  private static func changed(
    _ type: ResourceType, _ name: String, _ resource: [UInt8]
  ) -> (ScriptedPlane, World) {
    let plane = plane()
    let world = World(ScriptedPlane.text(), plane: plane)
    world.advance(.seconds(3))
    plane.set(type, name, resource, now: world.clocks.now)
    world.turn()
    return (plane, world)
  }

  /// A start without the server, from the last cache.
  private static func offline(_ world: World) -> World {
    var files = PolicyFiles()
    files.cache = world.caches.last
    let offline = World(ScriptedPlane.text(), files: files)
    offline.reaches = { $0 != server }
    return offline
  }

  @Test("records wait for the first policy, and nothing is tried before")
  func firstPolicy() {
    let plane = ScriptedPlane()
    let world = World(ScriptedPlane.text(), plane: plane)
    world.serial("one\ntwo\n")
    world.advance(.seconds(60))
    #expect(world.requests.isEmpty && world.counters(0).retried == 0)
    #expect(world.backlog(0) == 2)
    plane.set(
      .listener, "ingest", PlaneResources.listener("ingest", to: .cluster("a")),
      now: world.clocks.now)
    world.turn()
    #expect(world.requests.isEmpty, "its cluster is not there yet")
    plane.set(.cluster, "a", ScriptedPlane.cluster("a", port: 80), now: world.clocks.now)
    world.turn()
    #expect(world.requests.map { $0.text } == ["one", "two"])
    #expect(world.requests.allSatisfy { $0[":authority"] == "ingest" })
    #expect(world.counters(0).delivered == 2 && world.counters(0).retried == 0)
  }

  @Test("DESIGN §5: a listener that is deleted keeps the records; one that comes again takes them")
  func deletion() {
    let plane = Self.plane()
    let world = World(ScriptedPlane.text(), plane: plane)
    world.serial("one\n")
    #expect(world.requests.count == 1)
    plane.remove(.listener, "ingest", now: world.clocks.now)
    world.turn()
    world.serial("two\n")
    world.advance(.seconds(120))
    #expect(world.requests.count == 1 && world.backlog(0) == 1)
    plane.set(
      .listener, "ingest", PlaneResources.listener("ingest", to: .cluster("a")),
      now: world.clocks.now)
    world.turn()
    #expect(world.requests.map { $0.text } == ["one", "two"])
  }

  @Test("DESIGN §4: a hold ends at once when the stream's policy changes, and not for another's")
  func hold() {
    let plane = Self.plane()
    let world = World(ScriptedPlane.text(), plane: plane)
    world.answer = { _ in .status(403) }
    world.serial("one\n")
    #expect(world.heldStatus(0) == 403 && world.requests.count == 1)
    world.answer = { _ in .status(200) }
    world.advance(.seconds(5))
    #expect(world.requests.count == 1)
    plane.set(.cluster, "a", ScriptedPlane.cluster("a", port: 81), now: world.clocks.now)
    world.turn()
    #expect(world.requests.count == 2 && world.heldStatus(0) == nil)
  }

  @Test("a route that answers itself with 404 holds the stream, and says who answered")
  func directResponse() {
    let plane = ScriptedPlane()
    plane.set(
      .listener, "ingest", PlaneResources.listener("ingest", to: .status(404)),
      now: Instant(nanoseconds: 0))
    let world = World(ScriptedPlane.text(), plane: plane)
    world.serial("one\n")
    #expect(world.heldStatus(0) == 404 && world.requests.isEmpty)
    #expect(world.log.contains { $0.contains("the route answers 404") })
  }

  @Test("a cache is written soon after the first policy, and carries a start without the server")
  func cache() {
    let world = World(ScriptedPlane.text(), plane: Self.plane())
    world.serial("one\n")
    #expect(world.requests.count == 1 && world.caches.isEmpty)
    world.advance(.seconds(3))
    #expect(world.caches.count == 1)
    let offline = Self.offline(world)
    offline.serial("two\n")
    #expect(offline.requests.map { $0.text } == ["two"])
    #expect(offline.page("/config_dump").contains("\"source\":\"cache\""))
    // What comes after a while changes nothing.
    offline.advance(.seconds(300))
    offline.serial("three\n")
    #expect(offline.requests.map { $0.text } == ["two", "three"])
  }

  @Test(
    "a change right before the end is in the cache, too; one that changes nothing is not written")
  func lastWrite() {
    let (_, world) = Self.changed(.cluster, "a", ScriptedPlane.cluster("a", port: 81))
    world.close()
    #expect(world.caches.count == 2 && world.caches[0] != world.caches[1])
    let other = World(ScriptedPlane.text(), plane: Self.plane())
    other.advance(.seconds(3))
    other.close()
    #expect(other.caches.count == 1)
  }

  @Test("SIGHUP: a change that was to be written is written after it")
  func lastWriteAfterReload() {
    let (_, world) = Self.changed(.cluster, "a", ScriptedPlane.cluster("a", port: 81))
    #expect(world.reload(ScriptedPlane.text(servers: "servers = ['http://10.0.0.7:18000']")))
    world.turn()
    world.close()
    #expect(world.caches.count == 2 && world.caches[0] != world.caches[1])
  }

  @Test("SIGHUP: another directory for the cache gets one soon")
  func otherCacheDirectory() {
    let world = World(ScriptedPlane.text(), plane: Self.plane())
    world.advance(.seconds(3))
    let moved = "servers = ['http://10.0.0.1:18000']\ncache = '/var/other'"
    #expect(world.reload(ScriptedPlane.text(servers: moved)))
    world.advance(.seconds(3))
    #expect(world.caches.count == 2 && world.caches[0] == world.caches[1])
    #expect(world.reload(ScriptedPlane.text(servers: moved)))
    world.advance(.seconds(1_000))
    #expect(world.caches.count == 2)
  }

  @Test("a cache that there was no place for among a turn's actions is written later")
  func fullQueue() {
    let (_, world) = Self.changed(.cluster, "a", ScriptedPlane.cluster("a", port: 81))
    world.clocks.now = world.clocks.now + .seconds(900)
    for _ in 0..<GatewayLimits.actionsMax { world.gateway.log(.error, "something") }
    world.turn()
    #expect(world.caches.count == 1)
    world.advance(.seconds(1_000))
    #expect(world.caches.count == 2)
  }

  @Test("the cache is what was in force, not what was still to come when the power went")
  func incompleteIsNotCached() {
    let (_, world) = Self.changed(.listener, "ingest", Self.successor)
    world.goDown()
    world.advance(.seconds(1_000))
    #expect(world.caches.count == 1)
    world.close()
    #expect(world.caches.count == 1)
    let offline = Self.offline(world)
    offline.serial("one\n")
    #expect(offline.requests.map { $0.text } == ["one"])
  }

  @Test("once what was to come is whole, the cache has it")
  func completeIsCached() {
    let (plane, world) = Self.changed(.listener, "ingest", Self.successor)
    plane.set(.cluster, "b", ScriptedPlane.cluster("b", port: 80), now: world.clocks.now)
    world.turn()
    world.close()
    #expect(world.caches.count == 2)
  }

  @Test("a corrupt cache is set aside, reported and counted, and costs nothing else")
  func corruptCache() {
    var files = PolicyFiles()
    files.cache = Array("SPKXDS".utf8) + [0, 1] + [UInt8](repeating: 7, count: 100)
    let world = World(
      ScriptedPlane.text(
        "[[stream]]\nname = 'health'\ntarget = 'http://10.0.0.2'\npath = '/h'\n"
          + "[reports]\nstream = 'health'"),
      files: files, plane: Self.plane())
    #expect(world.cachesSetAside == 1)
    world.serial("one\n")
    #expect(world.requests.contains { $0.text == "one" })
    #expect(world.requests.contains { $0.text.hasPrefix("{\"cache_corrupt\"") })
    #expect(world.page("/stats").contains("spoke.xds.corrupt_files: 1"))
  }

  @Test("files alone are a policy; what is wrong with them is said")
  func files() {
    var files = PolicyFiles()
    files.resources = [
      ("/r/10.pb", ScriptedPlane.file(.cluster, [ScriptedPlane.cluster("a", port: 80)])),
      (
        "/r/20.pb",
        ScriptedPlane.file(.listener, [PlaneResources.listener("ingest", to: .cluster("a"))])
      ),
      ("/r/30.pb", [0xFF]),
    ]
    let world = World(ScriptedPlane.text(servers: "resources = '/r'"), files: files)
    world.serial("one\n")
    #expect(world.requests.map { $0.text } == ["one"])
    #expect(world.log.contains { $0.hasPrefix("/r/30.pb: not a DiscoveryResponse") })
    #expect(world.page("/config_dump").contains("\"source\":\"static\""))
    // SIGHUP with other files: the new ones hold.
    files.resources[0].bytes = ScriptedPlane.file(
      .cluster, [ScriptedPlane.cluster("a", port: 99)])
    #expect(world.reload(ScriptedPlane.text(servers: "resources = '/r'"), files))
    world.turn()
    #expect(world.page("/clusters").contains("a::10.0.0.9:99::weight::1"))
  }

  @Test("a refused resource is reported once, with its field, and shown with its error")
  func refused() {
    let plane = Self.plane()
    let world = World(
      ScriptedPlane.text(
        "[[stream]]\nname = 'health'\ntarget = 'http://10.0.0.2'\npath = '/h'\n"
          + "[reports]\nstream = 'health'"),
      plane: plane)
    for _ in 0..<3 {
      plane.set(
        .cluster, "a", ScriptedPlane.cluster("a", port: 80, type: 4), now: world.clocks.now)
      world.turn()
    }
    #expect(plane.refusals.count == 3)
    let reports = world.requests.filter { $0.text.hasPrefix("{\"resource_rejected\"") }
    // Each push had a version of its own.
    #expect(reports.count == 3)
    #expect(reports[0].text.contains("\"name\":\"a\""))
    let dump = world.page("/config_dump")
    #expect(dump.contains("\"state\":\"NACKED\"") && dump.contains("\"error\":{\"version\":\"5\""))
    #expect(world.page("/stats").contains("cluster_manager.cds.update_rejected: 3"))
    world.serial("one\n")
    #expect(world.requests.contains { $0.text == "one" })
  }

  @Test("SIGHUP: another server is asked, and what the former one said stays until then")
  func otherServer() {
    let world = World(ScriptedPlane.text(), plane: Self.plane())
    world.serial("one\n")
    world.reaches = { $0.port == 80 }
    #expect(world.reload(ScriptedPlane.text(servers: "servers = ['http://10.0.0.7:18000']")))
    world.advance(.seconds(60))
    world.serial("two\n")
    #expect(world.requests.map { $0.text } == ["one", "two"])
    let plane = Self.plane(port: 80)
    world.plane = plane
    world.reaches = { _ in true }
    world.advance(.seconds(200))
    #expect(plane.streams == 1)
    #expect(!world.page("/config_dump").contains("\"source\":\"cache\""))
    // And without a table there is no control plane any more.
    let host = ScriptedPlane.text().replacing("xds:///ingest", with: "http://10.0.0.3")
      .replacing("[xds]\nservers = ['http://10.0.0.1:18000']\nruntime = []\n", with: "")
    #expect(world.reload(host))
    world.serial("three\n")
    #expect(world.requests.last?[":authority"] == "10.0.0.3")
    #expect(world.page("/config_dump").contains("\"configured\":false"))
  }

  @Test("the way of a request is explained, down to the endpoints")
  func explanation() {
    let world = World(ScriptedPlane.text(), plane: Self.plane())
    let page = world.page("/route", [("authority", "ingest"), ("path", "/v1/state")])
    #expect(page.hasPrefix("listener ingest: "))
    #expect(page.contains("endpoints of a: 1\n  10.0.0.9:80: priority 0, weight 1, healthy"))
    #expect(world.page("/route", [("path", "/")]) == "usage: /route?authority=NAME&path=/PATH\n")
  }
}

extension World {
  func page(_ path: String, _ query: [(String, String)] = []) -> String {
    let parameters = query.map {
      AdminRequest.Parameter(name: ByteString($0.0), value: ByteString($0.1))
    }
    let request = AdminRequest(method: .get, path: ByteString(path), query: parameters)
    return String(decoding: gateway.answer(request, clocks: clocks).body, as: UTF8.self)
  }

  func reload(_ text: String, _ files: PolicyFiles) -> Bool {
    gateway.reload(World.configuration(text), files: files, clocks: clocks)
  }

  /// The end of the process, in order.
  func close() {
    gateway.close(clocks: clocks)
    while let action = gateway.nextAction() {
      if case .writeCache(let file) = action { caches.append(file) }
    }
  }
}
