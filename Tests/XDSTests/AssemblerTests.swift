import GRPC
import Policy
import Primitives
import Protobuf
import Testing

@testable import XDS

@Suite("Policy: make before break (XDS 27 to 37)")
struct AssemblerTests {
  @Test("31: a policy goes into force once, when listener, routes, cluster and endpoints are there")
  func wholePolicy() throws {
    let world = AssemblerWorld()
    try world.connect()
    #expect(world.asked(.listener) == ["l"])
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    #expect(world.asked(.routeConfiguration) == ["r"])
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "a")])
    #expect(world.asked(.cluster) == ["a"])
    try world.serve(.cluster, [Encode.cluster("a", service: "service-a")])
    #expect(world.asked(.endpoints) == ["service-a"])
    #expect(world.applied == 0 && world.routed() == nil)
    try world.serve(.endpoints, [Encode.endpoints("service-a", [7, 8])])
    #expect(world.applied == 1)
    #expect(world.routed() == ["a"] && world.ports("a") == [7, 8])
    #expect(world.assembler.snapshot.clusters[0].serviceName == "service-a")
  }

  @Test(
    "27: every order of the first resources ends in the same policy",
    arguments: [UInt64(1), 2, 3, 4, 5, 6, 7, 8], [false, true])
  func anyOrder(seed: UInt64, isDelta: Bool) throws {
    var random = SplitMix64(seed: seed)
    let world = AssemblerWorld(
      layers: ["runtime"], transport: isDelta ? .incremental : .stateOfTheWorld)
    try world.connect()
    let all: [(ResourceType, [[UInt8]])] = [
      (.cluster, [Encode.cluster("a"), Encode.cluster("b")]),
      (.endpoints, [Encode.endpoints("a", [1]), Encode.endpoints("b", [2, 3])]),
      (.listener, [Encode.listener("l", routes: "r")]),
      (.routeConfiguration, [Encode.routes("r", [("/a", [("a", 1)]), ("/", [("b", 1)])])]),
      (.runtime, [Encode.runtime("runtime", [("k", 1)])]),
    ]
    // A server sends what it was asked for, in whatever order; what came too early comes again.
    for _ in 0..<60 {
      let (type, resources) = all[Int(random.below(UInt64(all.count)))]
      guard let asked = world.asked(type), !asked.isEmpty else { continue }
      try world.serve(type, resources)
    }
    #expect(world.routed() == ["a", "b"], "seed \(seed)")
    #expect(world.ports("a") == [1] && world.ports("b") == [2, 3], "seed \(seed)")
    #expect(world.assembler.snapshot.runtime.value(of: "k") == .number(1))
  }

  @Test("28: one request for endpoints lists all clusters' names")
  func oneRequest() throws {
    let world = AssemblerWorld()
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(
      .routeConfiguration, [Encode.routes("r", [("/", [("a", 1), ("b", 1), ("c", 1)])])])
    world.sent = []
    try world.serve(.cluster, ["a", "b", "c"].map { Encode.cluster($0) })
    let requests = world.sent.filter { $0.type == .endpoints }
    #expect(requests.map { $0.names } == [["a", "b", "c"]])
  }

  @Test("29: a cluster that changes keeps serving until its new endpoints are there")
  func warming() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(.cluster, [Encode.cluster("a", service: "other", connectTimeout: 900)])
    #expect(world.ports("a") == [1] && world.applied == 1)
    // What is in force goes on to be asked for, beside what is to come.
    #expect(world.asked(.endpoints) == ["a", "other"])
    try world.serve(.endpoints, [Encode.endpoints("a", [5])])
    #expect(world.ports("a") == [1], "the old service's endpoints belong to the old cluster")
    try world.serve(.endpoints, [Encode.endpoints("other", [9])])
    #expect(world.ports("a") == [9])
    #expect(world.assembler.snapshot.clusters[0].connectTimeout == .milliseconds(900))
    #expect(world.asked(.endpoints) == ["other"])
  }

  @Test("29: known endpoints are used at once for a cluster that comes again")
  func knownEndpoints() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(.cluster, [Encode.cluster("a", connectTimeout: 700)])
    #expect(world.applied == 2)
    #expect(world.ports("a") == [1])
    #expect(world.assembler.snapshot.clusters[0].connectTimeout == .milliseconds(700))
  }

  @Test("30: a cluster whose endpoints do not come goes into force without any")
  func endpointsTimeOut() throws {
    let world = AssemblerWorld()
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "a")])
    try world.serve(.cluster, [Encode.cluster("a")])
    try world.advance(.seconds(14))
    #expect(world.routed() == nil)
    try world.advance(.seconds(2))
    #expect(world.routed() == ["a"] && world.ports("a") == [])
    try world.serve(.endpoints, [Encode.endpoints("a", [4])])
    #expect(world.ports("a") == [4])
  }

  @Test("31: new routes wait for their new cluster; the old ones stay until it is whole")
  func newRoutes() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "b")])
    #expect(world.routed() == ["a"])
    #expect(world.asked(.cluster) == ["a", "b"])
    try world.serve(.cluster, [Encode.cluster("a"), Encode.cluster("b")])
    #expect(world.routed() == ["a"])
    try world.serve(.endpoints, [Encode.endpoints("b", [2])])
    #expect(world.routed() == ["b"] && world.clusters == ["b"] && world.applied == 2)
    #expect(world.asked(.cluster) == ["b"] && world.asked(.endpoints) == ["b"])
  }

  @Test("31: another route configuration replaces the old one when it is whole, not before")
  func newRouteConfiguration() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(.listener, [Encode.listener("l", routes: "r2", idle: 9_000)])
    #expect(world.asked(.routeConfiguration) == ["r", "r2"])
    #expect(world.routed() == ["a"])
    // What is in force is still kept up to date.
    try world.serve(.endpoints, [Encode.endpoints("a", [6])])
    #expect(world.ports("a") == [6])
    try world.serve(.routeConfiguration, [Encode.routes("r2", to: "a")])
    #expect(world.assembler.snapshot.listeners[0].routes.name == "r2")
    #expect(world.assembler.snapshot.listeners[0].idleTimeout == .seconds(9))
    #expect(world.asked(.routeConfiguration) == ["r2"])
  }

  @Test("31: a cluster that does not exist is waited for within its time; the rest then works")
  func missingCluster() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(
      .routeConfiguration, [Encode.routes("r", [("/b", [("b", 1)]), ("/", [("a", 1)])])])
    try world.serve(.cluster, [Encode.cluster("a")])
    #expect(world.routed() == ["a"])
    try world.advance(.seconds(16))
    #expect(world.routed() == ["b", "a"] && world.clusters == ["a"])
    var random = SplitMix64(seed: 1)
    let decision = world.assembler.snapshot.route(
      listener: "l", head: PlainHead(path: "/b"), using: &random)
    guard case .noCluster(503, _) = decision else {
      Issue.record("\(decision)")
      return
    }
  }

  @Test("31: what is in force is behind what came last until that is whole, or refused")
  func behind() throws {
    let world = AssemblerWorld()
    try world.begin()
    #expect(!world.assembler.isBehind)
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "b")])
    #expect(world.assembler.isBehind)
    try world.serve(.cluster, [Encode.cluster("a"), Encode.cluster("b")])
    #expect(world.assembler.isBehind)
    try world.serve(.endpoints, [Encode.endpoints("b", [2])])
    #expect(!world.assembler.isBehind)
    // A cluster whose new endpoints are to come.
    try world.serve(.cluster, [Encode.cluster("b", service: "other")])
    #expect(world.assembler.isBehind)
    try world.serve(.endpoints, [Encode.endpoints("other", [2])])
    #expect(!world.assembler.isBehind)
    // A listener whose new routes are to come; they do not.
    try world.serve(.listener, [Encode.listener("l", routes: "r2")])
    #expect(world.assembler.isBehind)
    try world.advance(.seconds(16))
    #expect(!world.assembler.isBehind && world.routed() == nil)
  }

  @Test("31: while the control plane is away, what works is not given up for what is not whole")
  func outage() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "b")])
    try world.lose()
    try world.advance(.seconds(3_600))
    #expect(world.routed() == ["a"] && world.ports("a") == [1])
  }

  @Test(
    "32: a cluster that is deleted is gone at once, and its endpoints are not asked for any more")
  func deletedCluster() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(.cluster, [])
    #expect(world.clusters == [] && world.routed() == ["a"])
    #expect(world.removed.contains("a"))
    #expect(world.asked(.endpoints) == [])
    // It may come again.
    try world.serve(.cluster, [Encode.cluster("a")])
    try world.serve(.endpoints, [Encode.endpoints("a", [3])])
    #expect(world.ports("a") == [3])
  }

  @Test("32: a listener that is deleted is out of force, with all it led to")
  func deletedListener() throws {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(.listener, [])
    #expect(world.routed() == nil && world.clusters == [])
    #expect(world.asked(.listener) == ["l"], "it may come again")
    #expect(world.asked(.cluster) == [] && world.asked(.routeConfiguration) == [])
  }

  @Test("19: with keep_deleted what the server deletes stays in force")
  func keepDeleted() throws {
    let world = AssemblerWorld(client: { $0.keepDeleted = true })
    try world.begin()
    try world.serve(.cluster, [])
    try world.serve(.listener, [])
    #expect(world.routed() == ["a"] && world.ports("a") == [1])
  }

  /// An error of the server about one listener.
  private func deny(_ world: AssemblerWorld, _ status: GRPCStatus) throws {
    let message = Plane.response(
      .listener, version: "e", nonce: "e", errors: [Plane.error("l", status, "gone")])
    world.assembler.client.receive(
      message, stream: world.opened.last ?? 0,
      clocks: Clocks(now: world.now, wall: world.wall, quality: .synced))
    try world.drain()
  }

  @Test("20: a listener that is not found is out of force, as one that is deleted")
  func listenerNotFound() throws {
    let world = AssemblerWorld()
    try world.begin()
    try deny(world, .permissionDenied)
    #expect(world.routed() == ["a"], "what is known stays in use")
    try deny(world, .notFound)
    #expect(world.routed() == nil && world.clusters == [])
    let keeping = AssemblerWorld(client: { $0.keepDeleted = true })
    try keeping.begin()
    try deny(keeping, .notFound)
    #expect(keeping.routed() == ["a"])
  }

  @Test("19: with fail_on_data_errors what the server denies or gets wrong is out of force")
  func failsOnDataErrors() throws {
    let denied = AssemblerWorld(client: { $0.failsOnDataErrors = true })
    try denied.begin()
    try deny(denied, .unavailable)
    #expect(denied.routed() == ["a"], "it passes")
    try deny(denied, .permissionDenied)
    #expect(denied.routed() == nil)
    let wrong = AssemblerWorld(client: { $0.failsOnDataErrors = true })
    try wrong.begin()
    try wrong.serve(.listener, [Encode.message { $0.text(1, "l") }])
    #expect(wrong.routed() == nil)
  }

  @Test("a name that found no room is asked for when there is some")
  func room() throws {
    func routes(_ value: String) -> [UInt8] {
      var writer = WireWriter()
      let plain = Encode.routes("r", to: "a")
      // request_headers_to_add
      writer.message(5) { option in
        option.message(1) { header in
          header.text(1, "x-large")
          header.text(2, ByteString(value))
        }
      }
      return plain + writer.bytes
    }
    let world = AssemblerWorld()
    world.assembler.client.limitStore(to: 3_000)
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(
      .routeConfiguration, [routes(String(repeating: "x", count: 2_150))])
    #expect(world.asked(.cluster) == nil)
    try world.serve(.routeConfiguration, [routes("x")])
    #expect(world.asked(.cluster) == ["a"])
  }

  @Test("more room for resources is used at once")
  func moreRoom() throws {
    let world = AssemblerWorld()
    world.assembler.client.limitStore(to: 1_000)
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "a")])
    #expect(world.asked(.cluster) == nil)
    world.assembler.client.limitStore(to: 10_000)
    try world.drain()
    #expect(world.asked(.cluster) == ["a"])
  }

  @Test("33: a push that changes nothing changes nothing")
  func unchanged() throws {
    let world = AssemblerWorld()
    try world.begin()
    for _ in 0..<3 {
      try world.serve(.listener, [Encode.listener("l", routes: "r")])
      try world.serve(.cluster, [Encode.cluster("a")])
      try world.serve(.endpoints, [Encode.endpoints("a", [1])])
      try world.serve(.routeConfiguration, [Encode.routes("r", to: "a")])
    }
    #expect(world.applied == 1)
  }

  @Test("34: an assignment without endpoints is an answer, not a wait")
  func noEndpoints() throws {
    let world = AssemblerWorld()
    try world.begin(ports: [])
    #expect(world.applied == 1 && world.ports("a") == [])
  }

  @Test("36: a secret is waited for; its rotation changes the cluster in force")
  func secrets() throws {
    let world = AssemblerWorld()
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "a")])
    try world.serve(.cluster, [Encode.cluster("a", secret: "ca")])
    try world.serve(.endpoints, [Encode.endpoints("a", [1])])
    #expect(world.asked(.secret) == ["ca"] && world.routed() == nil)
    try world.serve(.secret, [Encode.validationContext("ca", "one")])
    #expect(world.routed() == ["a"])
    let first = world.assembler.snapshot.clusters[0].security
    try world.serve(.secret, [Encode.validationContext("ca", "two")])
    #expect(world.assembler.snapshot.clusters[0].security != first)
    #expect(world.applied == 2)
  }

  @Test("15, 26: a bad resource is refused by name and field, and the good one stays in force")
  func refused() throws {
    let world = AssemblerWorld()
    try world.begin()
    // A cluster of type ORIGINAL_DST.
    let bad = Encode.message {
      $0.text(1, "a")
      $0.varint(2, 4)
    }
    world.sent = []
    try world.serve(.cluster, [bad])
    #expect(world.ports("a") == [1] && world.applied == 1)
    #expect(world.failed == ["a"])
    let text = try #require(world.sent.last { $0.type == .cluster }?.rejection)
    #expect(text.hasPrefix("envoy.config.cluster.v3.Cluster a: "))
    #expect(world.assembler.client.store.entry(.cluster, "a")?.state == .nacked)
  }

  @Test("a cluster of the configuration's own is not a control plane's to define")
  func reserved() throws {
    let world = AssemblerWorld(
      listeners: ["l"], { $0.reservedClusters = ["upstream_443"] })
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(.routeConfiguration, [Encode.routes("r", to: "upstream_443")])
    // Nobody else is asked for it, and nothing is waited for.
    #expect(world.routed() == ["upstream_443"] && world.clusters == [])
    #expect(world.asked(.cluster) == nil)
  }

  @Test("cluster_header: the clusters that a stream's own header fields name are asked for")
  func headerClusters() throws {
    let world = AssemblerWorld(
      listeners: ["l"],
      {
        $0.headerClusters = [
          HeaderCluster(listener: "l", header: "x-cluster", value: "blue"),
          HeaderCluster(listener: "other", header: "x-cluster", value: "red"),
        ]
      })
    try world.connect()
    try world.serve(.listener, [Encode.listener("l", routes: "r")])
    try world.serve(.routeConfiguration, [Encode.routes("r", header: "x-cluster")])
    #expect(world.asked(.cluster) == ["blue"])
  }
}

/// A request of a stream, as far as routing looks at it.
struct PlainHead: RequestHead {
  var path: ByteString
  var method: ByteString { "POST" }
  var authority: ByteString { "h" }
  func value(of name: ByteString) -> ByteString? { nil }
}
