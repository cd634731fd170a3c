import Primitives
import Testing

@testable import Policy

@Suite("Snapshots and routing")
struct PolicySnapshotTests {
  /// One virtual host for each pattern list, routed to the cluster of its place.
  static func snapshot(_ domains: [[ByteString]]) -> PolicySnapshot {
    var hosts: [VirtualHost] = []
    for (index, patterns) in domains.enumerated() {
      let action = ForwardAction(clusters: [WeightedCluster(name: ByteString("c\(index)"))])
      hosts.append(
        VirtualHost(
          name: "host", domains: patterns.map { DomainPattern($0)! },
          routes: [Route(name: "all", path: .prefix("/"), action: .forward(action))]))
    }
    return PolicySnapshot(
      listeners: [
        Listener(name: "up", routes: RouteConfiguration(name: "r", virtualHosts: hosts))
      ],
      clusters: domains.indices.map {
        Cluster(name: ByteString("c\($0)"), discovery: .endpoints(Assignment()))
      })
  }

  static func cluster(
    _ snapshot: PolicySnapshot, _ authority: ByteString, _ path: ByteString = "/"
  ) -> Int? {
    var random = SplitMix64(seed: 1)
    let decision = snapshot.route(
      listener: "up", head: Head(authority: authority, path: path), using: &random)
    if case .forward(let routed) = decision { return routed.cluster }
    return nil
  }

  @Test("domains: exact, then the longest suffix, then the longest prefix, then *, over all hosts")
  func domains() {
    let snapshot = Self.snapshot([
      ["*"], ["foo.*"], ["foo.bar.*"], ["*.com"], ["*.bar.com", "*-bar.com"], ["foo.bar.com"],
    ])
    #expect(Self.cluster(snapshot, "foo.bar.com") == 5)
    #expect(Self.cluster(snapshot, "FOO.Bar.com") == 5)
    #expect(Self.cluster(snapshot, "x.bar.com") == 4)
    #expect(Self.cluster(snapshot, "x-bar.com") == 4)
    #expect(Self.cluster(snapshot, "foo.baz.com") == 3)
    #expect(Self.cluster(snapshot, "foo.bar.org") == 2)
    #expect(Self.cluster(snapshot, "foo.org") == 1)
    #expect(Self.cluster(snapshot, "elsewhere") == 0)
    #expect(Self.cluster(snapshot, "") == 0)
  }

  @Test("an asterisk stands for one character at least; a port is part of the name")
  func wildcards() {
    let snapshot = Self.snapshot([["*.foo.com"], ["foo.*"], ["up:443"]])
    #expect(Self.cluster(snapshot, ".foo.com") == nil)
    #expect(Self.cluster(snapshot, "a.foo.com") == 0)
    #expect(Self.cluster(snapshot, "a.foo.com:443") == nil)
    #expect(Self.cluster(snapshot, "foo.") == nil)
    #expect(Self.cluster(snapshot, "foo.c") == 1)
    #expect(Self.cluster(snapshot, "up") == nil)
    #expect(Self.cluster(snapshot, "up:443") == 2)
  }

  @Test("a domain with an asterisk in the middle, or with two, or of nothing is none")
  func badDomains() {
    for text: ByteString in ["", "a*b", "*a*", "**", "*.a.*"] {
      #expect(DomainPattern(text) == nil)
    }
  }

  @Test("paths end before the query and the fragment; the first route that matches wins")
  func paths() {
    #expect(PathMatcher.prefix("/v1/").matches("/v1/state"))
    #expect(!PathMatcher.prefix("/v1/").matches("/v1"))
    #expect(!PathMatcher.prefix("/v1/").matches("/v1?x=/v1/"))
    #expect(PathMatcher.path("/v1").matches("/v1?x=y"))
    #expect(PathMatcher.path("/v1").matches("/v1#top"))
    #expect(!PathMatcher.path("/v1").matches("/v1/"))
    #expect(!PathMatcher.path("/v1").matches("/V1"))
    #expect(PathMatcher.path("/v1", caseSensitive: false).matches("/V1?q"))
    #expect(PathMatcher.prefix("/V", caseSensitive: false).matches("/v1"))
    #expect(PathMatcher.prefix("").matches(""))
  }

  @Test("once a virtual host is chosen there is no other one")
  func noFallThrough() {
    var snapshot = Self.snapshot([["*"], ["a.com"]])
    snapshot.listeners[0].routes.virtualHosts[1].routes[0].path = .path("/only")
    #expect(Self.cluster(snapshot, "a.com", "/only") == 1)
    #expect(Self.cluster(snapshot, "a.com", "/other") == nil)
    #expect(Self.cluster(snapshot, "b.com", "/other") == 0)
  }

  @Test("weights: shares as written, weight 0 never, no weight at all is no cluster")
  func weights() {
    var snapshot = Self.snapshot([["*"], ["a"], ["b"]])
    func set(_ weights: [UInt32]) {
      let clusters = weights.enumerated().map {
        WeightedCluster(name: ByteString("c\($0.offset)"), weight: $0.element)
      }
      snapshot.listeners[0].routes.virtualHosts[0].routes[0].action =
        .forward(ForwardAction(clusters: clusters))
    }
    set([1, 0, 3])
    var random = SplitMix64(seed: 5)
    var counts = [0, 0, 0]
    for _ in 0..<10_000 {
      let decision = snapshot.route(
        listener: "up", head: Head(authority: "z", path: "/"), using: &random)
      if case .forward(let routed) = decision { counts[routed.cluster] += 1 }
    }
    #expect(counts[1] == 0)
    #expect(abs(counts[0] - 2_500) < 200)
    #expect(counts[0] + counts[2] == 10_000)
    set([0, 0, 0])
    #expect(Self.cluster(snapshot, "z") == nil)
    set([])
    #expect(Self.cluster(snapshot, "z") == nil)
    snapshot.listeners[0].routes.virtualHosts[0].routes[0].action =
      .forward(ForwardAction(clusters: [WeightedCluster(name: "missing")]))
    #expect(Self.cluster(snapshot, "z") == nil)
  }

  @Test("a route's retry policy replaces that of its virtual host, which is the default")
  func retryPolicies() {
    var snapshot = Self.snapshot([["*"]])
    func policy() -> RetryPolicy? {
      var random = SplitMix64(seed: 1)
      let decision = snapshot.route(
        listener: "up", head: Head(authority: "z", path: "/"), using: &random)
      if case .forward(let routed) = decision { return routed.retryPolicy }
      return nil
    }
    #expect(policy() == RetryPolicy.none)
    let host = RetryPolicy(conditions: [.reset], retries: 5)
    snapshot.listeners[0].routes.virtualHosts[0].retryPolicy = host
    #expect(policy() == host)
    let route = RetryPolicy(conditions: [.serverError])
    snapshot.listeners[0].routes.virtualHosts[0].routes[0].action =
      .forward(ForwardAction(clusters: [WeightedCluster(name: "c0")], retryPolicy: route))
    #expect(policy() == route)
  }

  @Test("direct targets: HOST_PORT, shared by equals; addresses are fixed, names are resolved")
  func direct() {
    let name = DirectTarget(
      host: "Ingest.Example.com", port: 443,
      security: .tls(context: 1, serverName: "ingest.example.com"))
    var otherTLS = name
    otherTLS.security = .tls(context: 2, serverName: "ingest.example.com")
    let address = DirectTarget(host: "[2001:DB8::1]", port: 80, security: .plain)
    let targets = [name, address, name, otherTLS]
    #expect(
      PolicySnapshot.directNames(targets: targets) == [
        "ingest.example.com_443", "2001:db8::1_80", "ingest.example.com_443",
        "ingest.example.com_443_2",
      ])
    let snapshot = PolicySnapshot.direct(targets: targets)
    #expect(
      snapshot.clusters.map { $0.name } == [
        "ingest.example.com_443", "2001:db8::1_80", "ingest.example.com_443_2",
      ])
    #expect(snapshot.listeners.map { $0.name } == snapshot.clusters.map { $0.name })
    #expect(
      snapshot.clusters[0].discovery
        == .dns(
          DNSDiscovery(
            host: "ingest.example.com", port: 443, kind: .logical, refresh: .seconds(60))))
    let literal = SocketAddress(literal: "2001:db8::1", port: 80)!
    let expected = Assignment(endpoints: [Endpoint(address: literal)])
    #expect(snapshot.clusters[1].discovery == .endpoints(expected))
    var random = SplitMix64(seed: 1)
    let decision = snapshot.route(
      listener: "2001:db8::1_80", head: Head(authority: "anything", path: "/x"), using: &random)
    let policy = RetryPolicy(conditions: [.reset, .connectFailure, .refusedStream], retries: 1)
    #expect(
      decision
        == .forward(
          RoutedRequest(
            cluster: 1, timeout: .seconds(15), idleTimeout: .seconds(300), retryPolicy: policy)))
  }

  @Test(
    "addresses in text: IPv4, IPv6 with and without ::, IPv4 tails; names and nonsense are none")
  func literals() {
    func bytes(_ text: ByteString) -> [UInt8]? { SocketAddress(literal: text, port: 1)?.bytes }
    #expect(bytes("192.0.2.1") == [192, 0, 2, 1])
    #expect(bytes("::") == [UInt8](repeating: 0, count: 16))
    #expect(bytes("::1") == [UInt8](repeating: 0, count: 15) + [1])
    #expect(bytes("2001:db8::") == [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 12))
    #expect(
      bytes("1:2:3:4:5:6:7:8") == [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8])
    #expect(
      bytes("::ffff:192.0.2.1")
        == [UInt8](repeating: 0, count: 10) + [255, 255, 192, 0, 2, 1])
    #expect(bytes("1:2:3:4:5:6:1.2.3.4") == [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 1, 2, 3, 4])
    for text: ByteString in [
      "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.", "example.com", ":", ":::",
      "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "g::", "1.2.3.4::",
      "fe80::1%eth0",
      "1:2:3:4:5:6:7::8", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:",
    ] {
      #expect(bytes(text) == nil, "\(text.description)")
    }
  }
}
