import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Snapshots replaced while requests are under way")
struct SnapshotTests {
  static let other = SocketAddress(198, 51, 100, 7, port: 443)

  @Test("requests keep their cluster though it is gone; the next ones find the new one")
  func replaced() {
    let bench = Bench(Bench.fixed(name: "old"))
    bench.onRequest = { _, _ in }
    bench.submit(1, listener: "old")
    bench.core.apply(Bench.fixed([Self.other], name: "new"), now: bench.now)
    bench.run()
    bench.submit(2, listener: "old")
    bench.submit(3, listener: "new")
    #expect(bench.results.map { $0.failure } == [.noListener])
    #expect(bench.connects.map { $0.address } == [Bench.address, Self.other])
    for peer in bench.allPeers { for stream in peer.order { peer.respond(stream, 200) } }
    bench.run()
    #expect(Set(bench.results.map { $0.token }) == [1, 2, 3])
    #expect(bench.statistic("upstream_rq_total", cluster: "old") == nil)
    #expect(bench.statistic("upstream_rq_2xx", cluster: "new") == 1)
    #expect(bench.core.connectionsInUse == 1)
    bench.expectAtRest()
  }

  @Test("a request keeps its retry policy and retries in a cluster that was removed meanwhile")
  func retries() {
    let bench = Bench()
    bench.onRequest = { _, _ in }
    bench.submit(1)
    bench.core.apply(PolicySnapshot(), now: bench.now)
    bench.run()
    bench.disconnect(bench.peer)
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    bench.advance(.milliseconds(25))
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.results[0].attempts == 2)
    #expect(bench.core.connectionsInUse == 0)
    #expect(bench.core.clusters.allSatisfy { !$0.isUsed })
    bench.expectAtRest()
  }

  @Test("an endpoint that leaves drains; one that stays keeps its connection")
  func endpoints() {
    let bench = Bench(Bench.fixed([Bench.address]))
    bench.onRequest = { _, _ in }
    bench.submit(1)
    bench.core.apply(Bench.fixed([Bench.address, Self.other]), now: bench.now)
    bench.run()
    #expect(bench.closes == 0)
    bench.core.apply(Bench.fixed([Self.other]), now: bench.now)
    bench.run()
    #expect(bench.closes == 0)
    bench.submit(2)
    #expect(bench.connects.map { $0.address } == [Bench.address, Self.other])
    let first = bench.allPeers[0]
    first.respond(1, 200)
    bench.run()
    #expect(bench.closes == 1)
    #expect(bench.peers[first.id] == nil)
  }

  @Test("those who wait for an endpoint that leaves go to another")
  func waiting() {
    let bench = Bench(Bench.fixed([Bench.address]))
    bench.onConnect = { $0 == Self.other ? .accept : .ignore }
    bench.submit(1)
    bench.core.apply(Bench.fixed([Self.other]), now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.results[0].attempts == 1)
    #expect(bench.connecting.isEmpty)
    bench.expectAtRest()
  }

  @Test("another identity means other connections for later requests")
  func security() {
    let bench = Bench()
    bench.submit(1)
    let tls = Security.tls(context: 2, serverName: "up.example.com")
    bench.core.apply(Bench.fixed { $0.security = tls }, now: bench.now)
    bench.run()
    #expect(bench.peers.isEmpty)
    bench.submit(2)
    #expect(bench.connects.map { $0.security } == [.plain, tls])
    #expect(bench.peer.requests[1]?.value(":scheme") == "https")
  }

  @Test("an equal snapshot disturbs nothing")
  func equal() {
    let bench = Bench()
    for token in 0..<10 {
      bench.submit(UInt64(token))
      bench.core.apply(Bench.fixed(), now: bench.now)
      bench.run()
    }
    #expect(bench.connects.count == 1)
    #expect(bench.statistic("upstream_rq_total") == 10)
  }

  @Test("more clusters than there is room for: the rest is left out, counted, and answered")
  func tooMany() {
    var limits = CoreLimits()
    limits.clustersMax = 1
    var snapshot = Bench.fixed(name: "one")
    var second = Bench.fixed(name: "two")
    second.clusters[0].name = "two"
    snapshot.clusters += second.clusters
    snapshot.listeners += second.listeners
    snapshot.listeners[1].routes.virtualHosts[0].routes[0].action =
      .forward(ForwardAction(clusters: [WeightedCluster(name: "two")]))
    let bench = Bench(snapshot, limits: limits)
    #expect(bench.core.clustersLeftOut == 1)
    bench.submit(1, listener: "one")
    bench.submit(2, listener: "two")
    #expect(bench.results.map { $0.status } == [200, nil])
    #expect(bench.results[1].failure == .noCluster)
  }

  @Test("a cluster that found no room has the place of one that is gone, once that is empty")
  func roomLater() {
    var limits = CoreLimits()
    limits.clustersMax = 1
    let bench = Bench(Bench.fixed(name: "one"), limits: limits)
    bench.onRequest = { _, _ in }
    bench.submit(1, listener: "one")
    bench.core.apply(Bench.fixed(name: "two"), now: bench.now)
    bench.submit(2, listener: "two")
    #expect(bench.results.map { $0.failure } == [.noCluster])
    bench.peer.respond(1, 200)
    bench.run()
    #expect(bench.core.clustersLeftOut == 0)
    bench.onRequest = { $0.respond($1, 200) }
    bench.submit(3, listener: "two")
    #expect(bench.results.map { $0.status } == [nil, 200, 200])
    bench.expectAtRest()
  }

  @Test("direct targets: connections, names, policy")
  func direct() {
    let targets = [
      DirectTarget(
        host: "ingest.example.com", port: 443,
        security: .tls(context: nil, serverName: "ingest.example.com")),
      DirectTarget(host: "127.0.0.1", port: 8080, security: .plain),
    ]
    let bench = Bench(PolicySnapshot.direct(targets: targets))
    bench.submit(1, listener: "ingest.example.com_443")
    bench.submit(2, listener: "127.0.0.1_8080")
    #expect(bench.results.map { $0.status } == [200, 200])
    #expect(bench.resolves.map { $0.host } == ["ingest.example.com"])
    #expect(
      bench.connects.map { $0.security } == [
        .tls(context: nil, serverName: "ingest.example.com"), .plain,
      ])
    #expect(bench.connects[1].address == SocketAddress(127, 0, 0, 1, port: 8080))
  }
}
