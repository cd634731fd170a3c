import GRPC
import Primitives
import Protobuf
import Testing

@testable import XDS

@Suite("ADS, state of the world")
struct DiscoveryProtocolTests {
  /// Connected, with a listener that was accepted as version 1 under the nonce n1.
  func settled(_ change: (inout DiscoverySettings) -> Void = { _ in }) throws -> Harness {
    let harness = Harness(.stateOfTheWorld, servers: 1, seed: 7, change)
    try harness.subscribe(.listener, ["a"])
    try harness.connect()
    try harness.receive(
      Plane.response(.listener, version: "1", nonce: "n1", [Plane.resource("a")]))
    _ = harness.take()
    _ = harness.takeEvents()
    return harness
  }

  @Test func item01_nodeOnlyInTheFirstRequestOfEachStream() throws {
    let harness = Harness()
    try harness.subscribe(.listener, ["a"])
    try harness.subscribe(.cluster, ["c"])
    try harness.connect()
    #expect(harness.take().map(\.hasNode) == [true, false])
    try harness.lose()
    try harness.advance(.seconds(2))
    try harness.connect()
    #expect(harness.take().map(\.hasNode) == [true, false])
  }

  @Test func item02_nonceBelongsToTheTypeAndTheStream() throws {
    let harness = try settled()
    try harness.subscribe(.cluster, ["c"])
    #expect(harness.take().map(\.nonce) == [""])
    try harness.subscribe(.listener, ["a", "b"])
    #expect(harness.take().map(\.nonce) == ["n1"])
    try harness.lose()
    try harness.connect()
    #expect(harness.take().map(\.nonce) == ["", ""])
  }

  @Test func item03_versionSurvivesAReconnect() throws {
    let harness = try settled()
    try harness.lose()
    try harness.connect()
    #expect(harness.take().map(\.version) == ["1"])
  }

  @Test func item04_acceptedRepeatsNonceAndNewVersion() throws {
    let harness = try settled()
    try harness.receive(
      Plane.response(.listener, version: "2", nonce: "n2", [Plane.resource("a", "y")]))
    let ack = try #require(harness.take().first)
    #expect(ack.nonce == "n2" && ack.version == "2" && ack.rejection == nil && ack.code == nil)
    #expect(ack.names == ["a"])
  }

  @Test func item04_refusedRepeatsThePreviousVersion() throws {
    let harness = try settled()
    harness.verdicts["a"] = .rejected("api_listener: missing")
    try harness.receive(
      Plane.response(.listener, version: "2", nonce: "n2", [Plane.resource("a", "y")]))
    let requests = harness.take()
    #expect(requests.count == 1)
    let nack = try #require(requests.first)
    #expect(nack.nonce == "n2" && nack.version == "1" && nack.code == 3)
    #expect(nack.rejection == "envoy.config.listener.v3.Listener a: api_listener: missing")
    // A later request of the type is not a NACK again.
    try harness.subscribe(.listener, ["a", "b"])
    #expect(harness.take().map(\.rejection) == [nil])
  }

  @Test func item05_everyRequestListsAllNames() throws {
    let harness = try settled()
    try harness.subscribe(.listener, ["b", "a", "c"])
    #expect(harness.take().map(\.names) == [["a", "b", "c"]])
  }

  @Test func item06_aNameThatCameBackIsAskedForAnew() throws {
    let harness = try settled()
    try harness.subscribe(.listener, ["b"])
    #expect(harness.state(.listener, "a") == nil)
    try harness.subscribe(.listener, ["a", "b"])
    #expect(harness.take().map(\.names) == [["b"], ["a", "b"]])
    #expect(harness.state(.listener, "a") == .requested)
  }

  @Test func item07_wildcard() throws {
    let harness = Harness()
    try harness.subscribe(.cluster, [], isWildcard: true)
    try harness.connect()
    #expect(harness.take().map(\.names) == [[]])
    try harness.receive(
      Plane.response(
        .cluster, version: "1", nonce: "1", [Plane.resource("x"), Plane.resource("y")]))
    #expect(harness.client.store.entries(.cluster).map(\.state) == [.acked, .acked])
    #expect(harness.take().map(\.names) == [[]])
    try harness.subscribe(.cluster, ["x"], isWildcard: true)
    #expect(harness.take().map(\.names) == [["*", "x"]])
    try harness.subscribe(.cluster, [], isWildcard: true)
    #expect(harness.take().map(\.names) == [["*"]])
    try harness.subscribe(.cluster, [])
    #expect(harness.take().map(\.names) == [[]])
    #expect(harness.client.store.entries(.cluster).isEmpty)
  }

  @Test func item07_nothingAskedForIsNotAWildcard() throws {
    let harness = Harness()
    try harness.subscribe(.cluster, [])
    try harness.connect()
    #expect(harness.take().isEmpty)
    // From an unnamed wildcard to nothing: it is named first, so that it can be taken back.
    try harness.subscribe(.cluster, [], isWildcard: true)
    try harness.subscribe(.cluster, [])
    #expect(harness.take().map(\.names) == [[], ["*"], []])
  }

  @Test func item08_whatNobodyAskedForIsIgnored() throws {
    let harness = try settled()
    try harness.receive(
      Plane.response(
        .listener, version: "2", nonce: "n2", [Plane.resource("a"), Plane.resource("stranger")]))
    #expect(harness.take().map(\.rejection) == [nil])
    #expect(harness.state(.listener, "stranger") == nil)
    #expect(harness.client.counters.ignoredResources == 1)
    // A type that was never asked for, and one that does not exist: no answer at all.
    try harness.receive(Plane.response(.secret, version: "2", nonce: "n3", [Plane.resource("s")]))
    var unknown = WireWriter()
    unknown.text(4, "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration")
    unknown.text(5, "n4")
    try harness.receive(unknown.bytes)
    #expect(harness.take().isEmpty)
    #expect(harness.client.counters.ignoredResponses == 2)
  }

  @Test func item09_onlyListenersAndClustersAreDeletedByAbsence() throws {
    for (type, isDeleted) in [
      (ResourceType.listener, true), (.cluster, true), (.routeConfiguration, false),
      (.endpoints, false), (.secret, false), (.runtime, false),
    ] {
      let harness = Harness()
      try harness.subscribe(type, ["a", "b"])
      try harness.connect()
      try harness.receive(
        Plane.response(type, version: "1", nonce: "1", [Plane.resource("a"), Plane.resource("b")]))
      _ = harness.takeEvents()
      try harness.receive(Plane.response(type, version: "2", nonce: "2", [Plane.resource("a")]))
      #expect(harness.takeEvents().contains("removed b") == isDeleted)
      #expect(harness.state(type, "b") == (isDeleted ? .doesNotExist : .acked))
      try harness.receive(Plane.response(type, version: "3", nonce: "3"))
      #expect(harness.state(type, "a") == (isDeleted ? .doesNotExist : .acked))
      #expect(harness.take().last?.version == "3")
    }
  }

  @Test func item10_aNewNameThatIsAbsentIsLeftToTheTimer() throws {
    let harness = try settled()
    try harness.subscribe(.listener, ["a", "b"])
    try harness.receive(Plane.response(.listener, version: "2", nonce: "n2", [Plane.resource("a")]))
    #expect(harness.state(.listener, "b") == .requested)
    try harness.advance(.seconds(15))
    #expect(harness.state(.listener, "b") == .doesNotExist)
  }

  @Test func item11_theTimerRunsWhileAServerCanAnswer() throws {
    let harness = Harness()
    try harness.subscribe(.listener, ["a"])
    try harness.drain()
    try harness.advance(.seconds(100))
    #expect(harness.state(.listener, "a") == .requested)
    try harness.connect()
    try harness.advance(.seconds(14))
    try harness.lose()
    try harness.advance(.seconds(10))
    try harness.connect()
    try harness.advance(.seconds(14))
    #expect(harness.state(.listener, "a") == .requested)
    try harness.advance(.seconds(1))
    #expect(harness.state(.listener, "a") == .doesNotExist)
    #expect(harness.takeEvents().contains("removed a"))
    // A late arrival is a normal update.
    try harness.receive(Plane.response(.listener, version: "1", nonce: "1", [Plane.resource("a")]))
    #expect(harness.state(.listener, "a") == .acked)
    #expect(harness.client.nextDeadline() == nil)
  }

  @Test func item11_transientTimeoutsAndNoTimeoutAtAll() throws {
    let harness = Harness { $0.fetchTimeoutIsTransient = true }
    try harness.subscribe(.listener, ["a"])
    try harness.connect()
    try harness.advance(.seconds(29))
    #expect(harness.state(.listener, "a") == .requested)
    try harness.advance(.seconds(1))
    #expect(harness.state(.listener, "a") == .timeout)
    #expect(harness.takeEvents().contains("failed a"))
    let patient = Harness { $0.fetchTimeout = .zero }
    try patient.subscribe(.listener, ["a"])
    try patient.connect()
    #expect(patient.client.nextDeadline() == nil)
  }

  @Test func item11_aNackStopsTheTimer() throws {
    let harness = Harness()
    harness.verdicts["a"] = .rejected("bad")
    try harness.subscribe(.listener, ["a"])
    try harness.connect()
    try harness.receive(Plane.response(.listener, version: "1", nonce: "1", [Plane.resource("a")]))
    #expect(harness.take().last?.version == "")
    try harness.advance(.seconds(60))
    #expect(harness.state(.listener, "a") == .nacked)
    #expect(!harness.takeEvents().contains("removed a"))
  }

  @Test func item15_validSiblingsOfARefusedResourceApply() throws {
    let harness = Harness()
    try harness.subscribe(.cluster, ["a", "b"])
    try harness.connect()
    try harness.receive(
      Plane.response(
        .cluster, version: "1", nonce: "1", [Plane.resource("a"), Plane.resource("b")]))
    harness.verdicts["b"] = .rejected("lb_policy: 7")
    try harness.receive(
      Plane.response(
        .cluster, version: "2", nonce: "2", [Plane.resource("a", "2"), Plane.resource("b", "2")]))
    let store = harness.client.store
    #expect(store.entry(.cluster, "a")?.version == "2")
    let bad = try #require(store.entry(.cluster, "b"))
    #expect(bad.state == .nacked && bad.version == "1" && bad.value == Plane.resource("b"))
    #expect(bad.failure?.version == "2" && bad.failure?.text == "lb_policy: 7")
    #expect(bad.failure?.time == harness.wall)
    #expect(harness.take().last?.version == "1")
  }

  @Test func item16_aNameTwiceIsRefused() throws {
    let harness = Harness()
    try harness.subscribe(.cluster, ["a"])
    try harness.connect()
    try harness.receive(
      Plane.response(
        .cluster, version: "1", nonce: "1", [Plane.resource("a", "1"), Plane.resource("a", "2")]))
    let entry = try #require(harness.client.store.entry(.cluster, "a"))
    #expect(entry.value == Plane.resource("a", "1") && entry.state == .nacked)
    #expect(harness.take().last?.rejection?.contains("twice") == true)
  }

  @Test func item17_theSameOnceMoreIsAcceptedInSilence() throws {
    let harness = try settled()
    try harness.receive(
      Plane.response(.listener, version: "2", nonce: "n2", [Plane.resource("a")]))
    #expect(harness.takeEvents() == ["applied listener"])
    #expect(harness.take().map(\.version) == ["2"])
    #expect(harness.client.store.entry(.listener, "a")?.version == "2")
    #expect(harness.client.counters.unchanged == 1)
    // A NACK is not followed by a request of its own accord.
    harness.verdicts["a"] = .rejected("bad")
    try harness.receive(
      Plane.response(.listener, version: "3", nonce: "n3", [Plane.resource("a", "y")]))
    #expect(harness.take().count == 1)
    try harness.advance(.seconds(100))
    #expect(harness.take().isEmpty)
    try harness.receive(
      Plane.response(.listener, version: "2", nonce: "n4", [Plane.resource("a")]))
    #expect(harness.take().map(\.version) == ["2"])
    #expect(harness.state(.listener, "a") == .acked)
  }

  @Test func item18_whatHasNoNameIsNamedByItsPlace() throws {
    let harness = Harness()
    try harness.subscribe(.cluster, ["a", "b"])
    try harness.connect()
    try harness.receive(
      Plane.response(
        .cluster, version: "1", nonce: "1",
        [Plane.resource("a"), [0x0A, 0x7F], Plane.resource("b")],
        raw: [[0xFF], Plane.any("google.protobuf.Empty", Plane.resource("b"))]))
    #expect(harness.state(.cluster, "a") == .acked)
    let text = try #require(harness.take().last?.rejection)
    #expect(text.contains("resources[1]: its name cannot be read"))
    #expect(text.contains("resources[3]: truncated"))
    #expect(text.contains("Cluster b: it is in the response twice"))
  }

  @Test func item18_whatCannotBeReadDeletesNothing() throws {
    let harness = try settled()
    let broken = Plane.resource("a", "y") + [0x12, 0x7F]
    try harness.receive(Plane.response(.listener, version: "2", nonce: "2", [broken]))
    #expect(harness.state(.listener, "a") == .acked)
    #expect(harness.client.store.entry(.listener, "a")?.version == "1")
    #expect(harness.take().last?.rejection != nil)
    // What can be read is a whole state again.
    try harness.receive(Plane.response(.listener, version: "3", nonce: "3"))
    #expect(harness.state(.listener, "a") == .doesNotExist)
  }

  @Test func item18_theTextIsBounded() throws {
    let harness = Harness()
    let names = (0..<200).map { "cluster-\($0)" }
    for name in names {
      harness.verdicts[name] = .rejected(ByteString(String(repeating: "é", count: 400)))
    }
    try harness.subscribe(.cluster, names)
    try harness.connect()
    try harness.receive(
      Plane.response(.cluster, version: "1", nonce: "1", names.map { Plane.resource($0) }))
    let text = try #require(harness.take().last?.rejection)
    #expect(text.utf8.count <= DiscoveryLimits.rejectionBytesMax)
    #expect(text.hasSuffix("; and 196 more"))
    let kept = harness.client.store.entry(.cluster, "cluster-0")?.failure?.text
    #expect((kept?.count ?? 0) <= DiscoveryLimits.errorBytesMax)
  }

  @Test func item19_dataErrors() throws {
    let keeping = try settled { $0.keepDeleted = true }
    try keeping.receive(Plane.response(.listener, version: "2", nonce: "2"))
    #expect(keeping.takeEvents() == ["failed a", "applied listener"])
    let kept = try #require(keeping.client.store.entry(.listener, "a"))
    #expect(kept.state == .doesNotExist && kept.hasValue)
    try keeping.receive(Plane.response(.listener, version: "3", nonce: "3"))
    #expect(keeping.takeEvents() == ["applied listener"])
    let strict = try settled { $0.failsOnDataErrors = true }
    strict.verdicts["a"] = .rejected("bad")
    try strict.receive(
      Plane.response(.listener, version: "2", nonce: "2", [Plane.resource("a", "y")]))
    #expect(strict.client.store.entry(.listener, "a")?.hasValue == false)
    #expect(strict.state(.listener, "a") == .nacked)
    #expect(strict.takeEvents().contains("removed a"))
  }

  @Test func item20_errorsOfOneResource() throws {
    let harness = Harness()
    try harness.subscribe(.endpoints, ["a", "b"])
    try harness.connect()
    try harness.receive(Plane.response(.endpoints, version: "1", nonce: "1", [Plane.resource("a")]))
    _ = harness.takeEvents()
    let errors = [
      Plane.error("a", .permissionDenied, "no"), Plane.error("b", .notFound, "gone"),
    ]
    try harness.receive(Plane.response(.endpoints, version: "2", nonce: "2", errors: errors))
    #expect(harness.takeEvents() == ["failed a", "failed b", "applied endpoints"])
    #expect(harness.take().last?.rejection == nil)
    let a = try #require(harness.client.store.entry(.endpoints, "a"))
    #expect(a.state == .receivedError && a.hasValue && a.failure?.status == .permissionDenied)
    try harness.receive(Plane.response(.endpoints, version: "3", nonce: "3", errors: errors))
    #expect(harness.takeEvents() == ["applied endpoints"])
    try harness.advance(.seconds(60))
    #expect(harness.state(.endpoints, "b") == .receivedError)
    // A listener that is not found is deleted, as one that is absent.
    let listeners = try settled()
    try listeners.receive(
      Plane.response(
        .listener, version: "2", nonce: "2", errors: [Plane.error("a", .notFound, "gone")]))
    #expect(listeners.takeEvents() == ["removed a", "applied listener"])
    #expect(listeners.state(.listener, "a") == .receivedError)
  }
}
