import GRPC
import Primitives
import Protobuf
import Testing

@testable import XDS

@Suite("The last good resources, files, limits, hostile bytes")
struct ResourceCacheTests {
  /// The names in a cache file.
  static func names(_ file: [UInt8]) -> [String] {
    var names: [String] = []
    do {
      let range = try ResourceCache.body(file.span)
      let body = Array(file[range])
      var reader = WireReader(body.span)
      while let field = try reader.next(in: body.span), let range = field.value.range {
        var entry = try reader.message(range)
        while let part = try entry.next(in: body.span) {
          if part.number == 2, let range = part.value.range {
            names.append(String(decoding: body[range], as: UTF8.self))
          }
        }
      }
    } catch {
      Issue.record("\(error)")
    }
    return names
  }

  func filled() throws -> Harness {
    let harness = Harness()
    try harness.subscribe(.listener, ["l"])
    try harness.subscribe(.cluster, ["a", "b"])
    try harness.connect()
    try harness.receive(Plane.response(.listener, version: "7", nonce: "1", [Plane.resource("l")]))
    try harness.receive(
      Plane.response(
        .cluster, version: "8", nonce: "1", [Plane.resource("a"), Plane.resource("b")]))
    return harness
  }

  @Test func item03_aRestartAsksWithoutAVersion() throws {
    let file = ResourceCache.encode(try filled().client.store)
    #expect(Self.names(file) == ["l", "a", "b"])
    let harness = Harness()
    let refused = try harness.client.loadCache(file)
    #expect(refused == 0)
    try harness.subscribe(.listener, ["l"])
    #expect(harness.takeEvents() == ["available l"])
    let entry = try #require(harness.client.store.entry(.listener, "l"))
    #expect(entry.source == .cache && entry.version == "7" && entry.state == .acked)
    try harness.connect()
    #expect(harness.take().map(\.version) == [""])
    // The server is silent: what the cache has stays in force.
    try harness.advance(.seconds(1000))
    #expect(harness.client.store.entry(.listener, "l")?.hasValue == true)
    try harness.receive(Plane.response(.listener, version: "9", nonce: "1", [Plane.resource("l")]))
    #expect(harness.client.store.entry(.listener, "l")?.source == .server)
  }

  @Test func item10_whatTheServerNoLongerHasGoesAfterItsTime() throws {
    let file = ResourceCache.encode(try filled().client.store)
    let harness = Harness()
    _ = try harness.client.loadCache(file)
    try harness.subscribe(.cluster, ["a", "b"])
    try harness.connect()
    try harness.receive(Plane.response(.cluster, version: "9", nonce: "1", [Plane.resource("a")]))
    #expect(harness.state(.cluster, "b") == .acked)
    try harness.advance(.seconds(15))
    #expect(harness.state(.cluster, "b") == .doesNotExist)
    // Nobody asked for the listener: it is not carried on.
    #expect(Self.names(ResourceCache.encode(harness.client.store)) == ["a"])
  }

  @Test func aCorruptCacheIsReported() throws {
    let file = ResourceCache.encode(try filled().client.store)
    var random = SplitMix64(seed: 3)
    for length in 0..<file.count {
      let harness = Harness()
      #expect(throws: CacheError.self) { _ = try harness.client.loadCache(Array(file[..<length])) }
      var flipped = file
      flipped[length] ^= UInt8(1) << UInt8(random.below(8))
      #expect(throws: CacheError.self) { _ = try harness.client.loadCache(flipped) }
      #expect(harness.client.store.bytes == 0)
    }
  }

  @Test func aUselessCacheEntryIsAskedForLikeAnyOther() throws {
    let file = ResourceCache.encode(try filled().client.store)
    let harness = Harness()
    _ = try harness.client.loadCache(file)
    try harness.subscribe(.listener, ["l"])
    harness.client.discard(.listener, "l", "api_listener: missing")
    #expect(harness.state(.listener, "l") == .requested)
    try harness.connect()
    try harness.advance(.seconds(15))
    #expect(harness.state(.listener, "l") == .doesNotExist)
  }

  @Test func aWildcardTakesAllOfTheCache() throws {
    let file = ResourceCache.encode(try filled().client.store)
    let harness = Harness()
    _ = try harness.client.loadCache(file)
    try harness.subscribe(.cluster, [], isWildcard: true)
    #expect(harness.takeEvents() == ["available a", "available b"])
    #expect(Self.names(ResourceCache.encode(harness.client.store)) == ["a", "b"])
  }

  @Test func theCacheIsWrittenRarely() {
    var schedule = CacheSchedule()
    var now = Instant(nanoseconds: 0)
    #expect(schedule.nextDeadline() == nil)
    schedule.note(generation: 1, now: now)
    now = now + .seconds(20)
    schedule.note(generation: 2, now: now)
    #expect(schedule.nextDeadline() == now + .seconds(30))
    now = now + .seconds(30)
    let write1 = schedule.shouldWrite([1], now: now)
    #expect(write1)
    #expect(schedule.nextDeadline() == nil)
    schedule.note(generation: 3, now: now)
    #expect(schedule.nextDeadline() == now + .seconds(900))
    now = now + .seconds(900)
    let write2 = schedule.shouldWrite([1], now: now)
    #expect(!write2)
    schedule.note(generation: 4, now: now)
    let write3 = schedule.shouldWrite([2], now: now)
    #expect(write3)
    schedule.writeFailed(now: now)
    #expect(schedule.nextDeadline() == now + .seconds(900))
    let write4 = schedule.shouldWrite([2], now: now)
    #expect(write4)
  }

  @Test func whatNeverSettlesIsWrittenAllTheSame() {
    var schedule = CacheSchedule()
    let start = Instant(nanoseconds: 0)
    var writes: [Interval] = []
    for step in 1...180 {
      let now = start + .seconds(20 * Int64(step))
      schedule.note(generation: UInt64(step), now: now)
      guard let deadline = schedule.nextDeadline(), deadline <= now else { continue }
      if schedule.shouldWrite([UInt8(step)], now: now) { writes.append(now - start) }
    }
    // Two minutes after the first change; then a quarter of an hour lies between.
    #expect(writes == [140, 1_040, 1_940, 2_840].map { .seconds($0) })
  }

  @Test func filesAreInForceWhateverAServerSays() throws {
    let harness = Harness()
    let file = Plane.response(
      .cluster, version: "f", nonce: "", [Plane.resource("a")],
      raw: [
        Plane.any("google.protobuf.Empty", []),
        Plane.any(ResourceType.secret.messageName, Plane.resource("s")),
      ])
    let refused = try harness.client.loadStatic(file, wall: harness.wall)
    #expect(refused == 1)
    #expect(throws: WireError.self) {
      _ = try harness.client.loadStatic(Array(file.dropLast()), wall: harness.wall)
    }
    try harness.subscribe(.cluster, ["a", "b"])
    #expect(harness.takeEvents() == ["available a"])
    try harness.connect()
    #expect(harness.take().map(\.names) == [["b"]])
    try harness.receive(
      Plane.response(.cluster, version: "1", nonce: "1", [Plane.resource("a", "y")]))
    let entry = try #require(harness.client.store.entry(.cluster, "a"))
    #expect(entry.source == .fixed && entry.value == Plane.resource("a"))
    #expect(Self.names(ResourceCache.encode(harness.client.store)).isEmpty)
  }

  @Test func limitsHaveAnswers() throws {
    let names = (0..<300).map { "n\($0)" }
    let harness = Harness()
    let isWhole = harness.client.subscribe(.cluster, names.map { ByteString($0) })
    #expect(!isWhole)
    #expect(harness.client.counters.refusedNames == 44)
    let wildcard = Harness()
    try wildcard.subscribe(.cluster, [], isWildcard: true)
    try wildcard.connect()
    try wildcard.receive(
      Plane.response(.cluster, version: "1", nonce: "1", names.map { Plane.resource($0) }))
    #expect(wildcard.client.store.entries(.cluster).count == 256)
    #expect(
      wildcard.take().last?.rejection?.contains("Cluster n256: there is no room for it") == true)
    let large = Harness()
    try large.subscribe(.cluster, ["a", "b"])
    try large.connect()
    let half = String(repeating: "x", count: 600_000)
    for name in ["a", "b"] {
      try large.receive(
        Plane.response(.cluster, version: name, nonce: name, [Plane.resource(name, half)]))
    }
    // What goes makes room only when the response is whole.
    let text = large.take().last?.rejection
    #expect(text == "envoy.config.cluster.v3.Cluster b: there is no room for it")
    #expect(large.client.store.bytes <= DiscoveryLimits.storeBytesMax)
  }

  @Test func oversizeIsRefusedByItsPrefix() {
    var deframer = MessageDeframer(limit: DiscoveryLimits.messageBytesMax)
    let prefix: [UInt8] = [0, 0, 0x40, 0, 0]
    var offset = 0
    #expect(throws: MessageError.tooLarge) { _ = try deframer.receive(prefix.span, from: &offset) }
    #expect(deframer.message.isEmpty)
  }

  @Test(arguments: [DiscoveryTransport.stateOfTheWorld, .incremental])
  func hostileBytesLeaveTheLastGoodInForce(transport: DiscoveryTransport) throws {
    let seed: UInt64 = 20_26
    var random = SplitMix64(seed: seed)
    let harness = Harness(transport)
    try harness.subscribe(.cluster, ["a", "b"])
    try harness.connect()
    let isDelta = harness.isDelta
    func push(_ version: String) -> [UInt8] {
      let values = ["a", "b"].map { Plane.resource($0, version) }
      let raw = ["a", "b"].map {
        Plane.wrapper(.cluster, $0, version: version, value: Plane.resource($0, version), ttl: 3)
      }
      return isDelta
        ? Plane.response(.cluster, version: version, nonce: version, raw: raw)
        : Plane.response(.cluster, version: version, nonce: version, values)
    }
    let good = push("1")
    for round in 0..<10_000 {
      var bytes = good
      for _ in 0...random.below(4) {
        bytes[Int(random.below(UInt64(bytes.count)))] = UInt8(truncatingIfNeeded: random.next())
      }
      if round % 3 == 0 { bytes.removeLast(Int(random.below(UInt64(bytes.count)))) }
      try harness.receive(bytes)
      if harness.client.nextDeadline() != nil { try harness.advance(.seconds(200)) }
      if harness.client.isConnected == false { try harness.connect() }
      #expect(harness.client.store.bytes <= DiscoveryLimits.storeBytesMax, "seed \(seed)")
      harness.sent = []
      harness.events = []
    }
    try harness.receive(push("2"))
    #expect(harness.state(.cluster, "a") == .acked && harness.state(.cluster, "b") == .acked)
  }
}
