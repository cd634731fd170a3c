import Configuration
import NetworkingCore
import Primitives
import Spool
import TestSupport
import Testing
import XDS

@testable import Gateway

extension World {
  var pools: [Pool] { gateway.pools() }
  func pool(_ name: String) -> Pool? { pools.first { $0.name == name } }
  func requests(of stream: Int) -> Int { gateway.uplinks[stream].requests }
}

/// What streams are added to that a broker feeds.
private func fedByBroker(budget: String) -> String {
  """
  [node]
  id = "scooter-1"
  [memory]
  budget = "\(budget)"
  [mqtt]
  broker = "mqtt://127.0.0.1"

  """
}

/// Streams that ask for far more than there is.
private func greedy(budget: String) -> String {
  var text = fedByBroker(budget: budget)
  for name in ["a", "b", "c"] {
    text += """
      [[mqtt.subscribe]]
      filter = "\(name)"
      stream = "\(name)"
      [[stream]]
      name = "\(name)"
      target = "http://192.0.2.1:443"
      path = "/v1/\(name)"
      encoding = "protobuf"
      durability = "sync"
      order = "live-first"
      in_flight = 32
      batch = { records = 64, bytes = "64KiB", linger = "0ms" }

      """
  }
  return text
}

@Suite("The memory of every pool is bounded, and the budget holds them all")
struct LedgerTests {
  @Test("a batch of calls holds no more than a batch may, however long the topics are")
  func longTopics() {
    let keys = """
      encoding = "grpc"
      durability = "sync"
      batch = { records = 64, bytes = "64KiB", linger = "10s" }
      """
    let text = batching(keys).replacingFirst("/v1/state", "/spoke.v1.Ingest/Put")
    let world = World(text)
    world.isUp = false
    let topic = "state/" + String(repeating: "x", count: 50_000)
    for number in 0..<40 { world.publish(topic, "\(number)", id: UInt16(number + 1)) }
    world.advance(.seconds(30))
    #expect(world.unfitPools == [])
    world.isUp = true
    world.answer = { _ in .trailers([("grpc-status", "0")]) }
    world.advance(.seconds(900))
    #expect(world.counters(0).delivered == 40)
  }

  @Test(
    "streams share what the budget leaves for more requests at once, and each has one for certain",
    arguments: Effort.share(["5MiB", "64MiB", "6MiB", "12MiB"], first: 2))
  func shared(budget: String) {
    let world = World(greedy(budget: budget))
    world.answer = { _ in .silence }
    let payload = String(repeating: "p", count: 900)
    for number in 0..<900 {
      for topic in ["a", "b", "c"] {
        #expect(world.publish(topic, payload, id: UInt16(number + 1)))
      }
      if number % 10 == 0 { world.advance(.milliseconds(60)) }
    }
    let sum = world.pools.reduce(0) { $0 + $1.limit }
    #expect(sum <= world.gateway.configuration.memory.budget)
    #expect(world.unfitPools == [])
    for stream in 0..<3 { #expect(world.requests(of: stream) > 0) }
    world.answer = { _ in .status(200) }
    world.advance(.seconds(3_600))
    for stream in 0..<3 { #expect(world.counters(stream).delivered == 900) }
    #expect(world.unfitPools == [])
  }

  /// 32 streams: of their deliveries nothing but small parts is certain.
  private func many(_ count: Int, budget: String) -> String {
    var text = fedByBroker(budget: budget)
    for number in 0..<count {
      text += """
        [[mqtt.subscribe]]
        filter = "t\(number)"
        stream = "s\(number)"
        [[stream]]
        name = "s\(number)"
        target = "http://192.0.2.\(number % 2 + 1):443"
        path = "/v1/s\(number)"
        durability = "sync"

        """
    }
    return text
  }

  @Test("records that are larger than a stream's part wait for their turn, and all get it")
  func largeRecordsOfManyStreams() {
    let world = World(many(32, budget: "3MiB"))
    #expect(world.gateway.ledger.lanes.map { $0.certain < 16_000 } == true)
    world.answer = { _ in .silence }
    let payload = String(repeating: "p", count: 60_000)
    for round in 0..<2 {
      for number in 0..<32 {
        #expect(
          world.publish("t\(number)", "\(round) " + payload, id: UInt16(round * 32 + number + 1)))
        world.publish("t\(number)", "small", qos: 0)
        world.advance(.milliseconds(100))
      }
    }
    #expect(world.unfitPools == [])
    world.answer = { _ in .status(200) }
    world.advance(.seconds(3_600))
    for stream in 0..<32 { #expect(world.counters(stream).delivered == 4, "stream \(stream)") }
    #expect(world.unfitPools == [])
  }

  @Test("large records that wait for an upstream which is away keep nobody else's back")
  func awayUpstream() {
    let world = World(many(32, budget: "3MiB"))
    let payload = String(repeating: "p", count: 60_000)
    world.goDown()
    for number in 0..<32 where number % 2 == 0 {
      world.publish("t\(number)", payload, id: UInt16(number + 1))
    }
    world.advance(.seconds(60))
    world.publish("t1", payload, id: 101)
    world.advance(.seconds(60))
    // Whose turn it is finds room, though none of the others was delivered.
    #expect(
      world.gateway.uplinks[1].slots.contains { $0.phase != .empty }
        || world.gateway.uplinks[1].pausedUntil != nil)
    #expect(world.unfitPools == [])
    world.isUp = true
    world.advance(.seconds(3_600))
    for stream in [0, 1, 2, 30] {
      #expect(world.counters(stream).delivered == 1, "stream \(stream)")
    }
    for stream in 0..<32 { #expect(world.counters(stream).dropped == 0, "stream \(stream)") }
  }

  @Test("the configuration's sums are what the rooms use")
  func sums() {
    #expect(CoreLimits().requestBytesMax == ConfigurationLimits.requestBytesMax)
    #expect(MemoryLayout<RecordBatch.Entry>.stride <= MemoryNeeds.entryBytes)
    let configuration = World.configuration(
      batching("durability = \"memory\"").replacingFirst(
        "[node]", "[memory]\nbudget = \"6MiB\"\n[node]"))
    let needs = configuration.memoryNeeds
    #expect(needs.least(.memory) >= MemoryRing.memoryBytes)
    for budget in ["3MiB", "6MiB", "64MiB"] {
      let some = World.configuration(greedy(budget: budget))
      let limits = SpoolLimits(some)
      let frame = max(limits.commitBytes, limits.recordBytesMax)
      let spool = some.memoryLimit(.spool)
      #expect(spool >= 2 * limits.tailBytesMax + (limits.frameSlots + 4) * frame)
      #expect(limits.tailBytesMax >= 2 * limits.recordBytesMax)
    }
    let core = CoreLimits()
    #expect(core.connectionsMax == MemoryNeeds.connectionsMost)
    #expect(core.streamsMax * Int(core.streamWindowBytes) == ConfigurationLimits.streamBytesMax)
    #expect(DiscoveryLimits.storeBytesMax == ConfigurationLimits.resourceBytesMax)
  }
}
