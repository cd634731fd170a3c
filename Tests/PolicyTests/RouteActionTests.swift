import Primitives
import Testing

@testable import Policy

@Suite("What a route makes of a request")
struct RouteActionTests {
  @Test("item 53: weights as written, 0 never, those of the runtime, one draw a request")
  func weights() {
    let route = forward(.prefix("/")) {
      $0.clusters = [
        WeightedCluster(name: "blue", weight: 1), WeightedCluster(name: "green", weight: 0),
        WeightedCluster(name: "red", weight: 3),
      ]
      $0.runtimeKeyPrefix = "shares"
    }
    var snapshot = routing([route])
    func shares() -> [Int] {
      var counts = [0, 0, 0]
      for seed in 0..<4000 { counts[snapshot.routed("/", seed: UInt64(seed))!.cluster] += 1 }
      return counts
    }
    #expect(abs(shares()[2] - 3000) < 150)
    #expect(shares()[1] == 0)
    snapshot.runtime = Runtime(layers: [
      RuntimeLayer(name: "l", entries: [RuntimeEntry(key: "shares.red", value: .number(0))])
    ])
    #expect(shares() == [4000, 0, 0])
  }

  @Test("weighted clusters: a number in header_name stands in for the draw")
  func randomHeader() {
    let route = forward(.prefix("/")) {
      $0.clusters = [
        WeightedCluster(name: "blue", weight: 2), WeightedCluster(name: "red", weight: 3),
      ]
      $0.randomHeader = "x-random"
    }
    let snapshot = routing([route])
    for (text, cluster): (ByteString, Int) in [("0", 0), ("1", 0), ("2", 2), ("4", 2), ("5", 0)] {
      #expect(snapshot.routed("/", "a", [("x-random", text)])?.cluster == cluster)
    }
  }

  @Test("cluster_header names the cluster; one that is not there is the status that the route says")
  func clusterHeader() {
    let route = forward(.prefix("/")) {
      $0.clusters = [WeightedCluster(header: "x-cluster")]
      $0.notFoundStatus = 404
    }
    let snapshot = routing([route])
    #expect(snapshot.routed("/", "a", [("x-cluster", "green")])?.cluster == 1)
    #expect(
      snapshot.routed("/", "a", [("x-cluster", "green"), ("x-cluster", "red")])?.cluster == 1)
    #expect(
      snapshot.decision("/", "a", [("x-cluster", "x")]) == .noCluster(status: 404, name: "x"))
    #expect(snapshot.decision("/") == .noCluster(status: 404, name: ""))
    #expect(snapshot.listeners[0].routes.clusterNames.isEmpty)
  }

  @Test("item 61: a route's retry policy replaces the virtual host's, and that the cluster's")
  func retryPolicies() {
    let own = RetryPolicy(conditions: [.reset], retries: 1)
    let ofHost = RetryPolicy(conditions: [.serverError], retries: 2)
    let ofCluster = RetryPolicy(conditions: [.unavailable], retries: 3)
    for (route, host, expected): (RetryPolicy?, RetryPolicy?, RetryPolicy) in [
      (own, ofHost, own), (nil, ofHost, ofHost), (nil, nil, ofCluster), (own, nil, own),
    ] {
      var snapshot = routing([forward(.prefix("/")) { $0.retryPolicy = route }]) {
        $0.retryPolicy = host
      }
      snapshot.clusters[0].retryPolicy = ofCluster
      #expect(snapshot.routed("/")?.retryPolicy == expected)
    }
  }

  @Test("item 58: the stream's duration is grpc-timeout's, the route's or the listener's")
  func durations() {
    func duration(_ timeout: ByteString?, _ change: (inout StreamDuration) -> Void) -> Interval? {
      var snapshot = routing([forward(.prefix("/")) { change(&$0.streamDuration) }])
      snapshot.listeners[0].maxStreamDuration = .seconds(60)
      var fields: [(name: ByteString, value: ByteString)] = []
      if let timeout { fields.append(("grpc-timeout", timeout)) }
      return snapshot.routed("/", "a", fields)?.maxStreamDuration
    }
    #expect(duration(nil) { _ in } == .seconds(60))
    #expect(duration("1S") { _ in } == .seconds(60))
    #expect(duration(nil) { $0.maximum = .zero } == .zero)
    #expect(duration(nil) { $0.grpcTimeoutMaximum = .seconds(5) } == .seconds(60))
    #expect(duration("1S") { $0.grpcTimeoutMaximum = .seconds(5) } == .seconds(1))
    #expect(duration("9S") { $0.grpcTimeoutMaximum = .seconds(5) } == .seconds(5))
    #expect(duration("9S") { $0.grpcTimeoutMaximum = .zero } == .seconds(9))
    #expect(
      duration("9S") {
        $0.grpcTimeoutMaximum = .zero
        $0.grpcTimeoutOffset = .seconds(2)
      } == .seconds(7))
  }

  @Test(
    "item 108: mutations go from the cluster to the route configuration, or the other way round")
  func mutationOrder() {
    func adding(_ value: ByteString) -> HeaderMutations {
      HeaderMutations(
        removals: [ByteString("old-") + value],
        additions: [
          HeaderAddition(
            name: "x", value: HeaderValueFormat(literal: value), action: .appendIfExistsOrAdd),
          HeaderAddition(
            name: "y", value: HeaderValueFormat(literal: value), action: .overwriteIfExistsOrAdd),
        ])
    }
    for isMostSpecificLast in [false, true] {
      var route = forward(.prefix("/")) { $0.clusters[0].mutations = adding("c") }
      route.mutations = adding("r")
      var host = VirtualHost(name: "v", domains: [.any], routes: [route])
      host.mutations = adding("v")
      let snapshot = routing([host]) {
        $0.mutations = adding("g")
        $0.mostSpecificMutationsWin = isMostSpecificLast
      }
      let levels: [ByteString] = isMostSpecificLast ? ["g", "v", "r", "c"] : ["c", "r", "v", "g"]
      var expected: [HeaderMutation] = []
      for level in levels {
        expected.append(.remove(ByteString("old-") + level))
        expected.append(.add(name: "y", value: level, .overwriteIfExistsOrAdd))
        expected.append(.add(name: "x", value: level, .appendIfExistsOrAdd))
      }
      #expect(snapshot.routed("/")?.rewrite.mutations == expected)
    }
  }

  @Test("item 108: a value takes %REQ()% from the request; an empty one adds nothing unless kept")
  func values() throws {
    func value(_ format: ByteString, keeps: Bool = false) throws -> [HeaderMutation]? {
      var route = forward(.prefix("/"))
      route.mutations.additions = [
        HeaderAddition(
          name: "x", value: try HeaderValueFormat(parsing: format), keepsEmptyValue: keeps)
      ]
      return routing([route]).routed("/p?q", "a.com", [("x-class", "gateway")])?.rewrite.mutations
    }
    for (format, text): (ByteString, ByteString) in [
      ("plain", "plain"), ("50%%", "50%"), ("%REQ(X-Class)%", "gateway"),
      ("<%REQ(none?x-class):4%>", "<gate>"), ("%REQ(:PATH)%%REQ(:authority)%", "/p?qa.com"),
      ("a%REQ(none)%b", "ab"), ("for %REQ(none)%", "for"), ("%REQ(none)%\t of", "of"),
    ] {
      #expect(try value(format) == [.add(name: "x", value: text, .appendIfExistsOrAdd)])
    }
    #expect(try value("%REQ(none)%") == [])
    #expect(try value("%REQ(none)% %REQ(none)%") == [])
    #expect(
      try value("", keeps: true) == [.add(name: "x", value: "", .appendIfExistsOrAdd)])
    for format: ByteString in [
      "%", "a%b", "%REQ%", "%REQ(a%", "%REQ()%", "%REQ(a):%", "%REQ(a):0%", "%REQ(a?b?c)%",
      "%PROTOCOL%",
    ] {
      #expect(throws: HeaderFormatError.self) { try HeaderValueFormat(parsing: format) }
    }
  }

  @Test("prefix_rewrite replaces what matched, regex_rewrite all matches; the query stays")
  func paths() throws {
    let regex = RegexSubstitution.self
    let digits = try regex.init(try RegularExpression("([0-9]+)"), substitution: "<\\1>")
    let blank = try regex.init(try RegularExpression("x"), substitution: " ")
    let nothing = try regex.init(try RegularExpression("/.*"), substitution: "")
    for (matcher, rewrite, path, expected): (PathMatcher, PathRewrite, ByteString, ByteString) in [
      (.prefix("/v1"), .prefix("/v2"), "/v1/x?v1", "/v2/x?v1"),
      (.prefix("/v1/"), .prefix("/"), "/v1/x", "/x"),
      (.prefix("/V1", caseSensitive: false), .prefix("/v2"), "/v1/x", "/v2/x"),
      (.path("/v1"), .prefix("/new"), "/v1?q=1", "/new?q=1"),
      (.separatedPrefix("/v1"), .prefix("/v2"), "/v1/x#f", "/v2/x#f"),
      (.regex(try RegularExpression("/.*")), .prefix("/all"), "/a/b?c", "/all?c"),
      (.prefix("/"), .regex(digits), "/v1/22?3", "/v<1>/<22>?3"),
      (.prefix("/"), .regex(nothing), "/a?b", "/?b"),
      (.prefix("/v1"), .prefix("v2"), "/v1", "/v2"), (.prefix("/"), .regex(blank), "/axbx", "/a b"),
    ] {
      let snapshot = routing([forward(matcher) { $0.pathRewrite = rewrite }])
      #expect(snapshot.routed(path)?.rewrite.path == expected, "\(path.description)")
    }
    #expect(routing([forward(.prefix("/"))]).routed("/")?.rewrite.isEmpty == true)
  }

  @Test("the host becomes a literal, a header's value, a part of the path, or the endpoint's name")
  func hosts() throws {
    let regex = try RegexSubstitution(
      try RegularExpression("^/(\\w+)/.*$"), substitution: "\\1.com")
    for (rewrite, expected): (HostRewrite, ByteString?) in [
      (.literal("new.com"), "new.com"), (.header("x-host"), "h.com"), (.header("none"), nil),
      (.path(regex), "tenant.com"), (.endpoint, nil), (.none, nil),
    ] {
      let snapshot = routing([
        forward(.prefix("/")) {
          $0.hostRewrite = rewrite
          $0.appendsForwardedHost = true
        }
      ])
      let routed = snapshot.routed("/tenant/x?q", "a.com", [("x-host", "h.com")])
      #expect(routed?.rewrite.authority == expected)
      #expect(routed?.rewrite.usesEndpointHostname == (rewrite == .endpoint))
      #expect(routed?.rewrite.appendsForwardedHost == (rewrite == .endpoint))
      let forwarded = HeaderMutation.add(
        name: "x-forwarded-host", value: "a.com", .appendIfExistsOrAdd)
      #expect(routed?.rewrite.mutations == (expected == nil ? [] : [forwarded]))
    }
    let snapshot = routing([
      forward(.prefix("/")) {
        $0.hostRewrite = .literal("route.com")
        $0.clusters[0].hostRewrite = "cluster.com"
      }
    ])
    #expect(snapshot.routed("/")?.rewrite.authority == "cluster.com")
  }

  @Test("redirects and direct responses end the request")
  func answers() {
    var redirect = RedirectAction()
    redirect.port = 8443
    redirect.status = 308
    let snapshot = routing([
      Route(name: "", path: .path("/gone"), action: .respond(status: 410)),
      Route(name: "", path: .prefix("/"), action: .redirect(redirect)),
    ])
    #expect(snapshot.decision("/gone?x") == .respond(DirectResponse(status: 410)))
    #expect(
      snapshot.decision("/x?y", "[::1]:80")
        == .respond(DirectResponse(status: 308, location: "https://[::1]:8443/x?y")))
  }

  @Test("mirrors: the most specific level that has any; fractions drawn; clusters that are there")
  func mirrors() {
    var never = MirrorPolicy(cluster: "red")
    never.fraction = RuntimeFraction(FractionalPercent(numerator: 0))
    var host = VirtualHost(name: "v", domains: [.any], routes: [forward(.prefix("/"))])
    #expect(
      routing([host]) { $0.mirrors = [MirrorPolicy(cluster: "green")] }.routed("/")?.mirrors
        == [MirrorTarget(cluster: 1)])
    host.mirrors = [MirrorPolicy(cluster: "red"), MirrorPolicy(cluster: "missing"), never]
    let snapshot = routing([host]) { $0.mirrors = [MirrorPolicy(cluster: "green")] }
    #expect(snapshot.routed("/")?.mirrors == [MirrorTarget(cluster: 2)])
    #expect(snapshot.listeners[0].routes.clusterNames == ["green", "red", "missing", "blue"])
  }

  @Test("item 55: later layers win; keys are found among many; what is no number is none")
  func runtime() {
    func layer(_ entries: [(ByteString, RuntimeValue)]) -> RuntimeLayer {
      RuntimeLayer(name: "l", entries: entries.map { RuntimeEntry(key: $0.0, value: $0.1) })
    }
    let runtime = Runtime(layers: [
      layer([("b", .number(1)), ("a", .text("7")), ("c", .bool(true))]),
      layer([("b", .number(2.9)), ("d", .text("x"))]), layer([]),
    ])
    #expect(runtime.entries.map { $0.key } == ["a", "b", "c", "d"])
    for (key, expected): (ByteString, UInt64) in [
      ("a", 7), ("b", 2), ("c", 9), ("d", 9), ("", 9), ("e", 9),
    ] {
      #expect(runtime.integer(key, otherwise: 9) == expected, "\(key.description)")
    }
    #expect(RuntimeValue.number(.nan).integer == nil)
    #expect(RuntimeValue.number(1e30).integer == .max)
  }
}
