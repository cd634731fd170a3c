import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("RFC 8305: addresses are raced")
struct RaceTests {
  static let v4 = SocketAddress(192, 0, 2, 1, port: 443)
  static let v4b = SocketAddress(192, 0, 2, 2, port: 443)
  static let v6 = SocketAddress(literal: "2001:db8::1", port: 443)!
  static let v6b = SocketAddress(literal: "2001:db8::2", port: 443)!

  /// A core whose name has these addresses, and whose connections wait for the test.
  private func bench(
    _ addresses: [SocketAddress], limits: CoreLimits = CoreLimits(),
    change: (inout Cluster) -> Void = { _ in }
  ) -> Bench {
    let bench = Bench(Bench.named(change: change), limits: limits)
    bench.onResolve = { _ in .addresses(addresses, ttl: nil) }
    bench.onConnect = { _ in .ignore }
    return bench
  }

  /// Two addresses, and place for one connection.
  private func fullTableBench() -> Bench {
    var limits = CoreLimits()
    limits.connectionsMax = 1
    return bench([Self.v6, Self.v4], limits: limits)
  }

  private func tried(_ bench: Bench) -> [SocketAddress] { bench.connects.map { $0.address } }

  private func accept(_ bench: Bench, _ address: SocketAddress) throws {
    let id = try #require(bench.connecting.first { $0.value == address }?.key)
    bench.accept(id, address)
    bench.run()
  }

  @Test("§5: the next address starts after 250 ms, families in turn, the one before goes on")
  func stagger() {
    let bench = bench([Self.v6, Self.v6b, Self.v4, Self.v4b])
    bench.submit()
    #expect(tried(bench) == [Self.v6])
    bench.advance(.milliseconds(249))
    #expect(tried(bench) == [Self.v6])
    bench.advance(.milliseconds(1))
    #expect(tried(bench) == [Self.v6, Self.v4])
    bench.advance(.milliseconds(250))
    #expect(tried(bench) == [Self.v6, Self.v4, Self.v6b])
    bench.advance(.milliseconds(250))
    #expect(tried(bench) == [Self.v6, Self.v4, Self.v6b, Self.v4b])
    #expect(bench.connecting.count == 4)
    #expect(bench.closes == 0)
  }

  @Test("the first that is up wins, the others are closed, and none counts as a failure")
  func winner() throws {
    let bench = bench([Self.v6, Self.v4, Self.v4b])
    bench.submit()
    bench.advance(.milliseconds(600))
    try accept(bench, Self.v4)
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.closes == 2)
    #expect(bench.core.connectionsInUse == 1)
    #expect(bench.statistic("upstream_cx_connect_fail") == 0)
    #expect(bench.statistic("upstream_cx_active") == 1)
    bench.advance(.seconds(10))
    #expect(bench.connects.count == 3)
    bench.expectAtRest()
  }

  @Test("the race begins where the last one was won")
  func memory() throws {
    let bench = bench([Self.v6, Self.v4])
    bench.submit()
    bench.advance(.milliseconds(250))
    try accept(bench, Self.v4)
    bench.disconnect(bench.peer)
    bench.submit()
    #expect(tried(bench) == [Self.v6, Self.v4, Self.v4])
    bench.advance(.milliseconds(250))
    #expect(tried(bench) == [Self.v6, Self.v4, Self.v4, Self.v6])
  }

  @Test("a failure starts the next address at once, and the pause anew")
  func failure() {
    let bench = bench([Self.v6, Self.v4, Self.v6b])
    bench.onConnect = { $0 == Self.v6 ? .fail("network is unreachable") : .ignore }
    bench.submit()
    #expect(tried(bench) == [Self.v6, Self.v4])
    bench.advance(.milliseconds(249))
    #expect(tried(bench) == [Self.v6, Self.v4])
    bench.advance(.milliseconds(1))
    #expect(tried(bench) == [Self.v6, Self.v4, Self.v6b])
  }

  @Test("all fail: one failure, which names each address with its reason")
  func allFail() {
    let bench = bench([Self.v6, Self.v4])
    bench.onConnect = { $0 == Self.v4 ? .fail("connection refused") : .ignore }
    bench.submit()
    bench.advance(.seconds(4))
    #expect(bench.results.isEmpty)
    bench.advance(.seconds(12))
    #expect(bench.results.map { $0.failure } == [.connectFailure])
    let details = bench.results.first?.details.description ?? ""
    #expect(details.contains("connect 192.0.2.1:443: connection refused"))
    #expect(details.contains("connect [2001:db8::1]:443: no answer within 5000 ms"))
    #expect(bench.core.connectionsInUse == 0)
    bench.expectAtRest()
  }

  @Test(
    "a TLS handshake that does not end loses like an address that does not answer, and is named")
  func handshake() throws {
    let bench = bench([Self.v6, Self.v4])
    bench.submit()
    let stalled = try #require(bench.connecting.first?.key)
    bench.core.tcpConnected(stalled, now: bench.now)
    bench.advance(.milliseconds(250))
    #expect(tried(bench) == [Self.v6, Self.v4])
    try accept(bench, Self.v4)
    #expect(bench.results.map { $0.status } == [200])

    let alone = self.bench([Self.v6])
    alone.submit()
    let id = try #require(alone.connecting.first?.key)
    alone.core.tcpConnected(id, now: alone.now)
    alone.advance(.seconds(5))
    let reason = alone.core.clusters[0].endpoints[0].reason.description
    #expect(
      reason == "connect [2001:db8::1]:443: no end of the TLS handshake within 5000 ms")
  }

  @Test("at most four are under way, whatever the resolver gave; each is tried once")
  func bounds() {
    let many = (0..<40).map { SocketAddress(10, 0, 0, UInt8($0 % 20), port: 443) }
    let bench = bench(many)
    bench.submit()
    bench.advance(.milliseconds(4_999))
    #expect(bench.connects.count == 4)
    bench.advance(.seconds(20))
    #expect(bench.core.connectionsInUse <= 4)
    let first = tried(bench).prefix(16)
    #expect(Set(first).count == first.count)
    #expect(Set(tried(bench)).count <= 16)
  }

  @Test("a full table of connections delays the race and does not break it")
  func fullTable() throws {
    let bench = fullTableBench()
    bench.submit()
    bench.advance(.seconds(2))
    #expect(tried(bench) == [Self.v6])
    let id = try #require(bench.connecting.first?.key)
    bench.connecting[id] = nil
    bench.core.connectionFailed(id, "network is unreachable", now: bench.now)
    bench.run()
    #expect(tried(bench) == [Self.v6, Self.v4])
    try accept(bench, Self.v4)
    #expect(bench.results.map { $0.status } == [200])
  }

  @Test(
    "a full table and a first address that does not answer: the next race begins at the next one")
  func fullTableAndSilence() throws {
    let bench = fullTableBench()
    bench.submit()
    bench.advance(.seconds(6))
    #expect(tried(bench) == [Self.v6, Self.v4])
    try accept(bench, Self.v4)
    #expect(bench.results.map { $0.status } == [200])
    bench.expectAtRest()
  }

  @Test("a connection that rests makes room for the next address")
  func restingConnection() throws {
    var limits = CoreLimits()
    limits.connectionsMax = 2
    var snapshot = Bench.named()
    let other = Bench.fixed([SocketAddress(192, 0, 2, 9, port: 443)], name: "other")
    snapshot.listeners += other.listeners
    snapshot.clusters += other.clusters
    let bench = Bench(snapshot, limits: limits)
    bench.submit(listener: "other")
    bench.onResolve = { _ in .addresses([Self.v6, Self.v4], ttl: nil) }
    bench.onConnect = { _ in .ignore }
    bench.submit()
    bench.advance(.milliseconds(500))
    try accept(bench, Self.v4)
    #expect(bench.results.map { $0.status } == [200, 200])
  }

  @Test("another identity ends a race; the next one uses the new identity")
  func snapshot() {
    let bench = bench([Self.v6, Self.v4])
    bench.submit()
    bench.advance(.milliseconds(250))
    #expect(bench.connecting.count == 2)
    let secure = Security.tls(context: nil, serverName: "up.example.com")
    bench.core.apply(Bench.named { $0.security = secure }, now: bench.now)
    bench.onConnect = { _ in .accept }
    bench.run()
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.connects.last?.security == secure)
    #expect(bench.connecting.isEmpty)
    bench.expectAtRest()
  }

  @Test("an address that is up but speaks no HTTP/2 is not where the next race begins")
  func unproven() {
    let bench = bench([Self.v6, Self.v4])
    bench.onConnect = { _ in .ignore }
    bench.submit()
    for (id, _) in bench.connecting {
      bench.connecting[id] = nil
      bench.core.connected(id, now: bench.now)
      bench.core.disconnected(id, "closed by the peer", now: bench.now)
    }
    bench.run()
    #expect(tried(bench) == [Self.v6, Self.v4])
  }

  @Test("handshakes, resumed sessions and refusals are counted under Envoy's names")
  func statistics() throws {
    let secure = Security.tls(context: nil, serverName: "up.example.com")
    let bench = bench([Self.v4], change: { $0.security = secure })
    bench.submit()
    let first = try #require(bench.connecting.first?.key)
    bench.connecting[first] = nil
    bench.core.connected(first, isResumed: true, now: bench.now)
    #expect(bench.statistic("ssl.handshake") == 1)
    #expect(bench.statistic("ssl.session_reused") == 1)
    for (kind, name) in [
      (ConnectFailureKind.tls, "ssl.connection_error"), (.certificate, "ssl.fail_verify_error"),
      (.serverName, "ssl.fail_verify_san"),
    ] {
      let bench = self.bench([Self.v4], change: { $0.security = secure })
      bench.submit()
      let id = try #require(bench.connecting.first?.key)
      bench.connecting[id] = nil
      bench.core.connectionFailed(id, "no", kind: kind, now: bench.now)
      #expect(bench.statistic(name) == 1)
      #expect(bench.statistic("ssl.handshake") == 0)
    }
    let plain = self.bench([Self.v4])
    #expect(plain.statistic("ssl.handshake") == nil)
  }
}
