import Policy
import Primitives
import Testing

@testable import XDS

@Suite("Policy: caches, files, bounds, any order")
struct AssemblerSourcesTests {
  /// What a world has learnt, as a file.
  private func cache(of world: AssemblerWorld) -> [UInt8] {
    ResourceCache.encode(world.assembler.client.store)
  }

  @Test("a cached policy is in force before anybody answers, and until the server has its own")
  func cached() throws {
    let before = AssemblerWorld(layers: ["runtime"])
    try before.begin()
    try before.serve(.runtime, [Encode.runtime("runtime", [("k", 7)])])
    let world = AssemblerWorld(layers: ["runtime"])
    #expect(try world.assembler.client.loadCache(cache(of: before)) == 0)
    try world.drain()
    // The runtime layer needs nothing else, and comes first.
    #expect(world.routed() == ["a"] && world.ports("a") == [1] && world.applied <= 2)
    #expect(world.assembler.snapshot.runtime.value(of: "k") == .number(7))
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "b")])
    #expect(world.routed() == ["a"], "the new cluster is not there yet")
    try world.serve(.cluster, [Encode.cluster("b")])
    try world.serve(.endpoints, [Encode.endpoints("b", [2])])
    #expect(world.routed() == ["b"])
  }

  @Test("a cache with gaps is in force after the time that a server would have had")
  func gaps() throws {
    let before = AssemblerWorld()
    try before.begin()
    try before.serve(
      .routeConfiguration, [Encode.routes("r", [("/b", [("b", 1)]), ("/", [("a", 1)])])])
    try before.advance(.seconds(16))
    #expect(before.routed() == ["b", "a"])
    let world = AssemblerWorld()
    #expect(try world.assembler.client.loadCache(cache(of: before)) == 0)
    world.assembler.start()
    try world.drain()
    #expect(world.routed() == nil)
    // Nobody answers: the stream cannot be opened.
    try world.lose()
    try world.advance(.seconds(16))
    #expect(world.routed() == ["b", "a"] && world.ports("a") == [1] && world.clusters == ["a"])
    #expect(world.assembler.counters.incomplete == 1)
  }

  @Test("a cached resource that is of no use is asked for, and named")
  func uselessCache() throws {
    let before = AssemblerWorld()
    try before.begin()
    var file = cache(of: before)
    // One letter of the filter's type URL: the listener is refused, the checksum is made to hold.
    let text = Array("http.router.v3.Router".utf8)
    let place = try #require(file.indices.first { file[$0...].starts(with: text) })
    file[place] = UInt8(ascii: "x")
    let checksum = CRC32C.of(file.span.extracting(16..<file.count))
    for byte in 0..<4 { file[12 + byte] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * byte)) }
    let world = AssemblerWorld()
    #expect(try world.assembler.client.loadCache(file) == 0)
    try world.connect()
    #expect(world.failed == ["l"] && world.routed() == nil)
    #expect(world.asked(.listener) == ["l"])
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    // What else the cache had is used at once.
    #expect(world.routed() == ["a"] && world.ports("a") == [1])
  }

  @Test("files alone: what no file has does not exist, and nothing is waited for")
  func files() throws {
    let world = AssemblerWorld(hasServers: false)
    let wall = world.wall
    for (type, value) in [
      (ResourceType.listener, Encode.listener("l", routes: "r")),
      (.routeConfiguration, Encode.routes("r", [("/b", [("b", 1)]), ("/", [("a", 1)])])),
      (.cluster, Encode.cluster("a")), (.endpoints, Encode.endpoints("a", [5])),
    ] {
      let file = Plane.response(type, version: "f", nonce: "", [value])
      #expect(try world.assembler.client.loadStatic(file, wall: wall) == 0)
    }
    world.assembler.start()
    try world.drain()
    #expect(world.routed() == ["b", "a"] && world.ports("a") == [5] && world.opened == [])
    #expect(world.applied == 1)
  }

  @Test("a resource with a time to live leaves the policy with it")
  func timeToLive() throws {
    let world = AssemblerWorld()
    try world.begin()
    let wrapper = Plane.wrapper(
      .endpoints, "a", version: "t", value: Encode.endpoints("a", [6]), ttl: 30)
    let any = Plane.any("envoy.service.discovery.v3.Resource", wrapper)
    world.assembler.client.receive(
      Plane.response(.endpoints, version: "t", nonce: "t", raw: [any]),
      stream: world.opened.last ?? 0,
      clocks: Clocks(now: world.now, wall: world.wall, quality: .synced))
    try world.drain()
    #expect(world.ports("a") == [6])
    try world.advance(.seconds(31))
    #expect(world.ports("a") == [], "item 21: the former endpoints are not restored")
  }

  @Test("one listener's wait is not another's")
  func twoListeners() throws {
    let world = AssemblerWorld(listeners: ["l", "m"])
    try world.connect()
    try world.serve(
      .listener,
      [
        Encode.listener("l", inline: Encode.routes("x", to: "a")),
        Encode.listener("m", inline: Encode.routes("y", to: "b")),
      ])
    try world.serve(.cluster, [Encode.staticCluster("a", port: 1), Encode.cluster("b")])
    #expect(world.routed("l") == ["a"] && world.routed("m") == nil)
    try world.serve(.endpoints, [Encode.endpoints("b", [2])])
    #expect(world.routed("l") == ["a"] && world.routed("m") == ["b"])
    // One that is not wanted any more leaves with what belongs to it alone.
    var settings = world.assembler.settings
    settings.listeners = ["l"]
    world.assembler.change(settings)
    try world.drain()
    #expect(world.routed("m") == nil && world.clusters == ["a"])
    #expect(world.asked(.listener) == ["l"] && world.asked(.endpoints) == [])
  }

  @Test("64 clusters are in force, the 65th is refused by name; 64 others can replace them")
  func clusterBound() throws {
    func shares(_ prefix: String, _ count: Int) -> [(String, UInt64)] {
      (0..<count).map { ("\(prefix)\($0)", 1) }
    }
    let world = AssemblerWorld()
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(
      .routeConfiguration,
      [Encode.routes("r", [("/a", shares("a", 40)), ("/", shares("b", 25))])])
    let all = shares("a", 40) + shares("b", 25)
    world.sent = []
    try world.serve(.cluster, all.map { Encode.staticCluster($0.0, port: 80) })
    let text = try #require(world.sent.last { $0.type == .cluster }?.rejection)
    #expect(text.hasSuffix(": there are 64 clusters already"))
    #expect(world.clusters.count == 64 && world.routed()?.count == 65)
    try world.serve(
      .routeConfiguration,
      [Encode.routes("r", [("/c", shares("c", 40)), ("/", shares("d", 24))])])
    let next = shares("c", 40) + shares("d", 24)
    try world.serve(.cluster, next.map { Encode.staticCluster($0.0, port: 80) })
    #expect(world.clusters.count == 64 && world.routed()?.first == "c0")
  }

  @Test(
    "any pushes in any order: nothing in force is half, and the last whole configuration wins",
    arguments: [UInt64(1), 2, 3, 4, 5, 6], [false, true])
  func storm(seed: UInt64, isDelta: Bool) throws {
    var random = SplitMix64(seed: seed)
    let world = AssemblerWorld(
      layers: ["runtime"], transport: isDelta ? .incremental : .stateOfTheWorld,
      client: { $0.keepDeleted = seed == 6 })
    try world.connect()
    for _ in 0..<400 {
      try step(world, &random, isDelta)
      // Of a listener in force, each cluster is there or known to be missing; unless nothing was in force
      // and the server away so long that a part was better.
      for cluster in world.routed() ?? [] where !world.clusters.contains(cluster) {
        let state = world.assembler.client.store.entry(.cluster, ByteString(cluster))?.state
        let isPartial = world.assembler.counters.incomplete > 0
        #expect(state != nil && (state != .requested || isPartial), "seed \(seed)")
      }
    }
    for _ in 0..<3 {
      try world.serve(.listener, [Encode.listener("l", routes: "r0")])
      try world.serve(
        .routeConfiguration, [Encode.routes("r0", [("/x", [("a", 1)]), ("/", [("b", 2)])])])
      try world.serve(.cluster, [Encode.cluster("a"), Encode.staticCluster("b", port: 9)])
      try world.serve(.endpoints, [Encode.endpoints("a", [3])])
    }
    #expect(world.routed() == ["a", "b"] && world.clusters == ["a", "b"], "seed \(seed)")
    #expect(world.ports("a") == [3] && world.ports("b") == [9], "seed \(seed)")
  }

  private func step(
    _ world: AssemblerWorld, _ random: inout SplitMix64, _ isDelta: Bool
  ) throws {
    let names = ["a", "b", "c"].filter { _ in random.below(2) == 0 }
    switch random.below(9) {
    case 0: try world.serve(.listener, [Encode.listener("l", routes: "r\(random.below(2))")])
    case 1: try world.serve(.listener, [], removed: isDelta ? ["l"] : [])
    case 2, 3:
      guard !names.isEmpty else { return }
      try world.serve(
        .routeConfiguration,
        [Encode.routes("r\(random.below(2))", [("/", names.map { ($0, 1) })])])
    case 4, 5:
      try world.serve(
        .cluster,
        names.map {
          random.below(2) == 0
            ? Encode.cluster($0, service: random.below(2) == 0 ? nil : "s")
            : Encode.staticCluster($0, port: 1 + random.below(5))
        })
    case 6: try world.serve(.endpoints, names.map { Encode.endpoints($0, [1 + random.below(5)]) })
    case 7: try world.advance(.milliseconds(Int64(random.below(20_000))))
    default:
      try world.lose()
      try world.advance(.seconds(120))
      world.assembler.client.streamOpened(world.opened.last ?? 0, now: world.now)
      try world.drain()
    }
  }
}
