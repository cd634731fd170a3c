import GRPC
import Primitives
import Protobuf
import Testing

@testable import XDS

@Suite("ADS: time, servers, order")
struct DiscoveryTimeTests {
  @Test(arguments: [DiscoveryTransport.stateOfTheWorld, .incremental])
  func item21_timeToLive(transport: DiscoveryTransport) throws {
    let harness = Harness(transport)
    try harness.subscribe(.endpoints, ["a", "b"])
    try harness.connect()
    func wrapped(_ value: [UInt8]?, ttl: Int64?) -> [UInt8] {
      let wrapper = Plane.wrapper(.endpoints, "a", version: "1", value: value, ttl: ttl)
      return harness.isDelta
        ? wrapper : Plane.any("envoy.service.discovery.v3.Resource", wrapper)
    }
    func send(_ entry: [UInt8], _ nonce: String) throws {
      try harness.receive(Plane.response(.endpoints, version: "1", nonce: nonce, raw: [entry]))
    }
    try send(wrapped(Plane.resource("a"), ttl: 10), "1")
    try harness.advance(.seconds(9))
    #expect(harness.state(.endpoints, "a") == .acked)
    try send(wrapped(nil, ttl: 10), "2")
    try harness.advance(.seconds(9))
    #expect(harness.client.store.entry(.endpoints, "a")?.hasValue == true)
    #expect(!ResourceCacheTests.names(ResourceCache.encode(harness.client.store)).contains("a"))
    try harness.advance(.seconds(1))
    #expect(harness.state(.endpoints, "a") == .doesNotExist)
    #expect(harness.takeEvents().contains("removed a"))
    #expect(harness.client.counters.expired == 1)
    // A heartbeat for what is not there is ignored; a resource without a TTL stays.
    try send(wrapped(nil, ttl: 10), "3")
    #expect(harness.client.counters.ignoredResources == 1)
    try send(wrapped(Plane.resource("a"), ttl: 10), "4")
    try send(wrapped(Plane.resource("a"), ttl: nil), "5")
    try harness.advance(.seconds(1000))
    #expect(harness.state(.endpoints, "a") == .acked)
    try send(wrapped(Plane.resource("a"), ttl: -1), "6")
    #expect(harness.take().last?.rejection?.contains("ttl") == true)
  }

  @Test func item21_heartbeatsDeleteNothing() throws {
    let harness = Harness()
    try harness.subscribe(.cluster, ["a", "b"])
    try harness.connect()
    let a = Plane.wrapper(.cluster, "a", version: "1", value: Plane.resource("a"), ttl: 10)
    let beat = Plane.wrapper(.cluster, "a", version: "1", value: nil, ttl: 10)
    let any = { Plane.any("envoy.service.discovery.v3.Resource", $0) }
    try harness.receive(
      Plane.response(.cluster, version: "1", nonce: "1", [Plane.resource("b")], raw: [any(a)]))
    try harness.receive(Plane.response(.cluster, version: "1", nonce: "2", raw: [any(beat)]))
    #expect(harness.client.store.entries(.cluster).map(\.state) == [.acked, .acked])
  }

  @Test func item21_aHeartbeatHasTheVersionOfItsType() throws {
    let harness = Harness()
    try harness.subscribe(.endpoints, ["a", "b"])
    try harness.connect()
    func wrapped(_ value: [UInt8]?) -> [UInt8] {
      Plane.any(
        "envoy.service.discovery.v3.Resource",
        Plane.wrapper(.endpoints, "a", version: "", value: value, ttl: 10))
    }
    try harness.receive(
      Plane.response(.endpoints, version: "1", nonce: "1", raw: [wrapped(Plane.resource("a"))]))
    try harness.receive(Plane.response(.endpoints, version: "2", nonce: "2", [Plane.resource("b")]))
    try harness.advance(.seconds(9))
    try harness.receive(Plane.response(.endpoints, version: "2", nonce: "3", raw: [wrapped(nil)]))
    try harness.advance(.seconds(9))
    #expect(harness.client.store.entry(.endpoints, "a")?.hasValue == true)
    try harness.receive(Plane.response(.endpoints, version: "3", nonce: "4", raw: [wrapped(nil)]))
    try harness.advance(.seconds(1))
    #expect(harness.state(.endpoints, "a") == .doesNotExist, "nobody has seen version 3")
  }

  @Test func item22_oneResponseAtATime() throws {
    let harness = Harness()
    harness.resumes = false
    try harness.subscribe(.cluster, ["a"])
    try harness.connect()
    #expect(harness.client.isReady)
    try harness.receive(Plane.response(.cluster, version: "1", nonce: "1", [Plane.resource("a")]))
    #expect(!harness.client.isReady)
    #expect(harness.take().map(\.version) == ["", "1"])
    harness.client.resume()
    #expect(harness.client.isReady)
  }

  @Test func item23_backOff() throws {
    let harness = Harness(seed: 11)
    try harness.subscribe(.listener, ["a"])
    try harness.drain()
    var expected = 1.0
    for _ in 0..<14 {
      let count = harness.opened.count
      try harness.lose()
      let deadline = try #require(harness.client.nextDeadline())
      let wait = Double((deadline - harness.now).milliseconds) / 1000
      #expect(wait >= expected * 0.799 && wait <= expected * 1.201, "\(wait) after \(expected)")
      try harness.advance(deadline - harness.now)
      #expect(harness.opened.count == count + 1)
      expected = min(expected * 1.6, 120)
    }
    #expect(harness.takeEvents().allSatisfy { $0 == "unreachable 0" })
    // After a response: at once, and the back-off begins anew.
    try harness.connect()
    try harness.receive(Plane.response(.listener, version: "1", nonce: "1", [Plane.resource("a")]))
    try harness.advance(.seconds(5))
    let count = harness.opened.count
    try harness.lose()
    #expect(harness.opened.count == count + 1)
    #expect(!harness.takeEvents().contains("unreachable 0"))
    #expect(harness.state(.listener, "a") == .acked)
    try harness.lose()
    let deadline = try #require(harness.client.nextDeadline())
    #expect((deadline - harness.now) <= .milliseconds(1200))
  }

  @Test func item23_aServerThatAnswersAndResetsIsNotAskedInALoop() throws {
    let harness = Harness()
    try harness.subscribe(.listener, ["a"])
    for _ in 0..<ServerStream.quickEndsMax {
      try harness.connect()
      try harness.receive(
        Plane.response(.listener, version: "1", nonce: "1", [Plane.resource("a")]))
      try harness.lose()
    }
    #expect(harness.opened.count == ServerStream.quickEndsMax)
    var last = Interval.zero
    for _ in 0..<4 {
      let wait = try #require(harness.client.nextDeadline()) - harness.now
      #expect(wait > last)
      last = wait
      try harness.advance(wait)
      try harness.connect()
      try harness.receive(
        Plane.response(.listener, version: "1", nonce: "1", [Plane.resource("a")]))
      try harness.lose()
    }
  }

  @Test func item22_aRefusedMessageCostsABackOff() throws {
    let harness = Harness()
    try harness.subscribe(.listener, ["a"])
    try harness.connect()
    try harness.receive(Plane.response(.listener, version: "1", nonce: "1", [Plane.resource("a")]))
    let stream = harness.stream
    harness.client.messageRefused(stream, now: harness.now)
    try harness.drain()
    #expect(harness.closed == [stream] && harness.opened == [stream])
    #expect(harness.state(.listener, "a") == .acked)
    try harness.advance(.milliseconds(1200))
    #expect(harness.opened.count == 2)
  }

  @Test func item22_messagesThatAreRefusedFarApartCostNoMoreEachTime() throws {
    let harness = Harness()
    try harness.subscribe(.listener, ["a"])
    for round in 1...6 {
      try harness.connect()
      try harness.receive(
        Plane.response(.listener, version: "1", nonce: "1", [Plane.resource("a")]))
      try harness.advance(.seconds(3600))
      harness.client.messageRefused(harness.stream, now: harness.now)
      try harness.drain()
      try harness.advance(.milliseconds(1200))
      #expect(harness.opened.count == round + 1)
    }
  }

  @Test func item24_aStatusOfTheControlPlaneIsNotPassedOn() throws {
    // `streamClosed` takes none; what has no value is told to be unavailable.
    let harness = Harness()
    try harness.subscribe(.listener, ["a"])
    try harness.connect()
    try harness.lose()
    #expect(harness.takeEvents() == ["unreachable 0"])
    #expect(harness.state(.listener, "a") == .requested)
  }

  @Test func item25_fallback() throws {
    let harness = Harness(servers: 2)
    try harness.subscribe(.listener, ["a"])
    try harness.connect()
    try harness.receive(Plane.response(.listener, version: "p1", nonce: "1", [Plane.resource("a")]))
    try harness.advance(.seconds(5))
    // Nothing is missing: the fallback is not asked.
    try harness.lose()
    try harness.lose()
    #expect(harness.servers == [0, 0])
    // Something is: both are dialled, and the fallback gets everything without the other's version.
    try harness.subscribe(.cluster, ["c"])
    #expect(harness.servers == [0, 0, 1])
    _ = harness.take()
    let fallback = harness.stream
    try harness.connect()
    #expect(harness.take().map(\.version) == ["", ""])
    try harness.receive(
      Plane.response(.cluster, version: "f1", nonce: "1", [Plane.resource("c")]), on: fallback)
    #expect(harness.client.activeServer == 1)
    try harness.advance(.seconds(2))
    #expect(harness.servers == [0, 0, 1, 0])
    let primary = harness.stream
    _ = harness.take()
    try harness.connect()
    #expect(harness.take().map(\.version) == ["p1", ""])
    #expect(harness.closed.isEmpty)
    try harness.receive(
      Plane.response(.cluster, version: "p1", nonce: "1", [Plane.resource("c")]), on: primary)
    #expect(harness.closed == [fallback])
    #expect(harness.client.activeServer == 0)
    #expect(harness.state(.listener, "a") == .acked)
  }

  @Test func item25_onReachabilityAlone() throws {
    let harness = Harness(servers: 3) { $0.fallsBackOnReachabilityOnly = true }
    try harness.drain()
    try harness.lose()
    #expect(harness.servers == [0, 1])
    try harness.lose()
    #expect(harness.servers == [0, 1, 2])
  }

  @Test func item25_anotherServersResourcesHaveTheirTime() throws {
    let harness = Harness(servers: 2)
    try harness.subscribe(.cluster, ["a", "b"])
    try harness.drain()
    try harness.lose()
    try harness.connect()
    try harness.receive(
      Plane.response(
        .cluster, version: "f", nonce: "1", [Plane.resource("a"), Plane.resource("b")]))
    try harness.advance(.seconds(2))
    try harness.connect()
    try harness.receive(Plane.response(.cluster, version: "p", nonce: "1", [Plane.resource("a")]))
    #expect(harness.state(.cluster, "b") == .acked)
    try harness.advance(.seconds(15))
    #expect(harness.state(.cluster, "b") == .doesNotExist)
  }

  @Test func item26_statesAndTheirNames() {
    let names = (1...6).compactMap { ResourceState(rawValue: $0)?.name.description }
    #expect(
      names == ["REQUESTED", "DOES_NOT_EXIST", "ACKED", "NACKED", "RECEIVED_ERROR", "TIMEOUT"])
  }

  @Test func item28_endpointsAreAskedForInOneRequest() throws {
    for transport in [DiscoveryTransport.stateOfTheWorld, .incremental] {
      let harness = Harness(transport)
      harness.onApplied = { type, harness in
        guard type == .cluster else { return }
        for names in [["a"], ["a", "b"], ["a", "b", "c"]] {
          _ = harness.client.subscribe(.endpoints, names.map { ByteString($0) })
        }
      }
      try harness.subscribe(.cluster, ["a", "b", "c"])
      try harness.connect()
      _ = harness.take()
      let values = ["a", "b", "c"].map { Plane.resource($0) }
      let raw = ["a", "b", "c"].map {
        Plane.wrapper(.cluster, $0, version: "1", value: Plane.resource($0))
      }
      try harness.receive(
        harness.isDelta
          ? Plane.response(.cluster, version: "1", nonce: "1", raw: raw)
          : Plane.response(.cluster, version: "1", nonce: "1", values))
      let requests = harness.take()
      #expect(requests.map(\.type) == [.cluster, .endpoints])
      #expect(requests.last?.names == ["a", "b", "c"])
    }
  }

  @Test func item32_aDeletedClusterIsTold() throws {
    let harness = Harness()
    try harness.subscribe(.cluster, ["a"])
    try harness.connect()
    try harness.receive(Plane.response(.cluster, version: "1", nonce: "1", [Plane.resource("a")]))
    _ = harness.takeEvents()
    try harness.receive(Plane.response(.cluster, version: "2", nonce: "2"))
    #expect(harness.takeEvents() == ["removed a", "applied cluster"])
    #expect(harness.client.store.entry(.cluster, "a")?.hasValue == false)
    #expect(harness.client.counters.deleted == 1)
  }

  @Test func item35_endpointsGoStale() throws {
    let harness = Harness()
    harness.verdicts["a"] = .accepted(staleAfter: .seconds(30))
    try harness.subscribe(.endpoints, ["a"])
    try harness.connect()
    try harness.receive(Plane.response(.endpoints, version: "1", nonce: "1", [Plane.resource("a")]))
    try harness.advance(.seconds(29))
    // The same once more is an update, too.
    try harness.receive(Plane.response(.endpoints, version: "1", nonce: "2", [Plane.resource("a")]))
    try harness.advance(.seconds(29))
    #expect(harness.state(.endpoints, "a") == .acked)
    try harness.advance(.seconds(1))
    #expect(harness.state(.endpoints, "a") == .doesNotExist)
  }
}
