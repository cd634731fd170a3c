import GRPC
import Primitives
import Protobuf
import Testing

@testable import XDS

@Suite("ADS, incremental")
struct DiscoveryIncrementalTests {
  func entry(_ type: ResourceType, _ name: String, _ version: String) -> [UInt8] {
    Plane.wrapper(type, name, version: version, value: Plane.resource(name, version))
  }

  func settled() throws -> Harness {
    let harness = Harness(.incremental)
    try harness.subscribe(.endpoints, ["a", "b"])
    try harness.connect()
    #expect(harness.take().map(\.names) == [["a", "b"]])
    try harness.receive(
      Plane.response(
        .endpoints, version: "s", nonce: "1",
        raw: [entry(.endpoints, "a", "1"), entry(.endpoints, "b", "1")]))
    return harness
  }

  @Test func item01_nodeOnlyInTheFirstRequestOfEachStream() throws {
    let harness = Harness(.incremental)
    try harness.subscribe(.listener, ["a"])
    try harness.subscribe(.cluster, ["c"])
    try harness.connect()
    #expect(harness.take().map(\.hasNode) == [true, false])
  }

  @Test func item07_wildcard() throws {
    let harness = Harness(.incremental)
    try harness.subscribe(.cluster, [], isWildcard: true)
    try harness.connect()
    #expect(harness.take().map(\.names) == [[]])
    try harness.receive(
      Plane.response(.cluster, version: "", nonce: "1", raw: [entry(.cluster, "x", "1")]))
    #expect(harness.state(.cluster, "x") == .acked)
    _ = harness.take()
    try harness.subscribe(.cluster, ["y"])
    let request = try #require(harness.take().first)
    #expect(request.names == ["y"] && request.unsubscribed == ["*"])
    #expect(harness.state(.cluster, "x") == nil)
    try harness.subscribe(.cluster, ["y"], isWildcard: true)
    #expect(harness.take().map(\.names) == [["*"]])
  }

  @Test func item12_nonExistenceIsExplicit() throws {
    let harness = try settled()
    try harness.subscribe(.endpoints, ["a", "b", "never"])
    _ = harness.takeEvents()
    try harness.receive(
      Plane.response(
        .endpoints, version: "s", nonce: "2", removed: ["b", "never", "stranger"]))
    #expect(harness.takeEvents() == ["removed b", "removed never", "applied endpoints"])
    #expect(harness.state(.endpoints, "a") == .acked)
    #expect(harness.state(.endpoints, "never") == .doesNotExist)
    // It may come back.
    try harness.receive(
      Plane.response(.endpoints, version: "s", nonce: "3", raw: [entry(.endpoints, "b", "2")]))
    #expect(harness.state(.endpoints, "b") == .acked)
  }

  @Test func item13_aReconnectListsWhatIsKnown() throws {
    let harness = try settled()
    _ = harness.take()
    try harness.subscribe(.endpoints, ["b", "c"])
    let change = try #require(harness.take().first)
    #expect(change.names == ["c"] && change.unsubscribed == ["a"] && change.nonce == "")
    #expect(change.known.isEmpty)
    try harness.lose()
    try harness.connect()
    let first = try #require(harness.take().first)
    #expect(first.names == ["b", "c"] && first.known == ["b=1"] && first.nonce == "")
  }

  @Test func item06_backWithinOneRequestNeedsNoAnswer() throws {
    let harness = try settled()
    _ = harness.take()
    _ = harness.client.subscribe(.endpoints, ["b"])
    _ = harness.client.subscribe(.endpoints, ["a", "b"])
    try harness.drain()
    #expect(harness.take().isEmpty)
    #expect(harness.takeEvents().last == "available a")
    #expect(harness.client.store.entry(.endpoints, "a")?.hasValue == true)
  }

  @Test func item14_answersCarryTheNonceAlone() throws {
    let harness = try settled()
    let ack = try #require(harness.take().first)
    #expect(ack.nonce == "1" && ack.names.isEmpty && ack.rejection == nil)
    harness.verdicts["b"] = .rejected("policy: bad")
    try harness.receive(
      Plane.response(
        .endpoints, version: "s", nonce: "2",
        raw: [entry(.endpoints, "a", "2"), entry(.endpoints, "b", "2")]))
    let nack = try #require(harness.take().first)
    #expect(nack.nonce == "2" && nack.code == 3 && nack.names.isEmpty)
    #expect(nack.rejection?.hasSuffix("ClusterLoadAssignment b: policy: bad") == true)
    #expect(harness.client.store.entry(.endpoints, "a")?.version == "2")
    #expect(harness.client.store.entry(.endpoints, "b")?.version == "1")
  }

  @Test func item15_aWrapperWithAnotherNameIsRefused() throws {
    let harness = try settled()
    _ = harness.take()
    let wrapper = Plane.wrapper(.endpoints, "a", version: "2", value: Plane.resource("other"))
    try harness.receive(Plane.response(.endpoints, version: "s", nonce: "2", raw: [wrapper]))
    #expect(harness.take().first?.rejection?.contains("another name") == true)
  }

  @Test func item20_errorsOfOneResource() throws {
    let harness = Harness(.incremental)
    try harness.subscribe(.endpoints, ["a"])
    try harness.connect()
    try harness.receive(
      Plane.response(
        .endpoints, version: "s", nonce: "1", errors: [Plane.error("a", .unavailable, "later")],
        isDelta: true))
    #expect(harness.state(.endpoints, "a") == .receivedError)
    #expect(harness.client.store.entry(.endpoints, "a")?.failure?.text == "later")
  }
}
