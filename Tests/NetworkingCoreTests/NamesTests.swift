import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Clusters of several names")
struct NamesTests {
  static func address(_ number: Int) -> SocketAddress {
    SocketAddress(192, 0, 2, UInt8(number), port: 443)
  }
  static let v6 = SocketAddress(literal: "2001:db8::1", port: 443)!

  static func named(
    _ hosts: [DNSHost], localities: [LocalityEndpoints] = [LocalityEndpoints(weight: 1)],
    kind: DNSDiscovery.Kind = .strict, change: (inout DNSDiscovery) -> Void = { _ in }
  ) -> PolicySnapshot {
    var dns = DNSDiscovery(hosts: hosts, localities: localities, kind: kind)
    dns.refresh = .seconds(60)
    change(&dns)
    return Bench.fixed(retry: .none) { $0.discovery = .dns(dns) }
  }

  static func host(_ name: ByteString, locality: Int = 0, weight: UInt32 = 1) -> DNSHost {
    DNSHost(host: name, port: 443, locality: locality, weight: weight)
  }

  @Test("item 93: STRICT_DNS: every address of every name is an endpoint, with its name's weight")
  func strict() {
    let bench = Bench(Self.named([Self.host("a", weight: 3), Self.host("b")]))
    bench.onResolve = { name in
      .addresses(name == "a" ? [Self.address(1), Self.address(1)] : [Self.address(2)], ttl: nil)
    }
    for token in 0..<8 { bench.submit(UInt64(token)) }
    #expect(bench.resolves.map { $0.host } == ["a", "b"])
    #expect(bench.results.allSatisfy { $0.status == 200 })
    let members = bench.core.clusters[0].members
    #expect(members.endpoints.map { $0.address } == [Self.address(1), Self.address(2)])
    #expect(members.endpoints.map { $0.weight } == [3, 1])
    #expect(members.hostname(of: 0) == "a" && members.hostname(of: 1) == "b")
    for peer in bench.allPeers {
      #expect(peer.order.count == (peer.address == Self.address(1) ? 6 : 2))
    }
  }

  @Test("localities and priorities of names are those of their addresses")
  func localities() {
    let localities = [
      LocalityEndpoints(locality: Locality(zone: "near"), priority: 0, weight: 1),
      LocalityEndpoints(locality: Locality(zone: "far"), priority: 1, weight: 1),
    ]
    let bench = Bench(
      Self.named(
        [Self.host("far", locality: 1), Self.host("near", locality: 0)], localities: localities))
    bench.onResolve = { name in .addresses([Self.address(name == "near" ? 1 : 2)], ttl: nil) }
    for token in 0..<4 { bench.submit(UInt64(token)) }
    #expect(bench.connects.map { $0.address } == [Self.address(1)])
    let members = bench.core.clusters[0].members
    #expect(members.localities.map { $0.locality.zone } == ["near", "far"])
    #expect(members.localities[1].endpoints == 1..<2)
  }

  @Test("item 93: one name that fails keeps its addresses and does not hold up the others")
  func failure() {
    let bench = Bench(Self.named([Self.host("a"), Self.host("b")]))
    bench.onResolve = { name in .addresses([Self.address(name == "a" ? 1 : 2)], ttl: nil) }
    bench.submit()
    bench.onResolve = { name in
      name == "a" ? .fail : .addresses([Self.address(3)], ttl: nil)
    }
    bench.advance(.seconds(61))
    for token in 0..<4 { bench.submit(UInt64(token)) }
    #expect(bench.results.allSatisfy { $0.status == 200 })
    #expect(
      bench.core.clusters[0].members.endpoints.map { $0.address }
        == [Self.address(1), Self.address(3)])
    #expect(bench.statistic("update_failure") == 1)
    // A day without an answer is enough: then they are given up.
    bench.advance(.seconds(24 * 3600 + 60))
    for token in 0..<4 { bench.submit(UInt64(token)) }
    #expect(bench.core.clusters[0].members.endpoints.map { $0.address } == [Self.address(3)])
    #expect(bench.results.allSatisfy { $0.status == 200 })
  }

  @Test("a name that never answers does not hold up requests that others can serve")
  func silent() {
    let bench = Bench(Self.named([Self.host("mute"), Self.host("b")]))
    bench.onResolve = { $0 == "mute" ? .ignore : .addresses([Self.address(2)], ttl: nil) }
    bench.submit()
    #expect(bench.results.isEmpty)
    bench.advance(.seconds(1))
    #expect(bench.results.map { $0.status } == [200])
    bench.submit()
    #expect(bench.results.count == 2)
    bench.expectAtRest()
  }

  @Test("names are looked up a few at a time, all of them in the end")
  func bounded() {
    let hosts = (1...20).map { Self.host(ByteString("h\($0)")) }
    let bench = Bench(Self.named(hosts))
    bench.onResolve = { _ in .ignore }
    bench.submit()
    #expect(bench.resolves.count == 4)
    var answered = 0
    while answered < bench.resolves.count {
      let id = bench.resolves[answered].id
      answered += 1
      bench.core.resolved(id, [Self.address(answered)], ttl: nil, now: bench.now)
      bench.run()
    }
    #expect(answered == 20)
    #expect(bench.core.clusters[0].members.endpoints.count == 20)
    #expect(bench.results.map { $0.status } == [200])
  }

  @Test("dns_lookup_family chooses addresses for STRICT_DNS, and their order for LOGICAL_DNS")
  func family() {
    let both = [Self.address(1), Self.v6]
    let cases: [(DNSFamily, [SocketAddress], [SocketAddress])] = [
      (.auto, [Self.v6], [Self.v6, Self.address(1)]),
      (.v4Only, [Self.address(1)], [Self.address(1)]),
      (.v6Only, [Self.v6], [Self.v6]),
      (.v4Preferred, [Self.address(1)], [Self.address(1), Self.v6]),
      (.all, both, both),
    ]
    for (family, strict, logical) in cases {
      for (kind, expected) in [(DNSDiscovery.Kind.strict, strict), (.logical, logical)] {
        let bench = Bench(Self.named([Self.host("a")], kind: kind) { $0.family = family })
        bench.onResolve = { _ in .addresses(both, ttl: nil) }
        bench.submit()
        let members = bench.core.clusters[0].members
        let found = members.endpoints.indices.flatMap { members.addresses(of: $0) }
        #expect(found == expected, "\(family) \(kind)")
      }
    }
    let none = Bench(Self.named([Self.host("a")]) { $0.family = .v6Only })
    none.submit()
    #expect(none.results.map { $0.failure } == [.resolutionFailed])
  }

  @Test("refresh, TTL, jitter and the failure's own back-off decide when a name is looked up again")
  func times() {
    func lookups(_ seconds: Int64, ttl: Interval?, _ change: (inout DNSDiscovery) -> Void) -> Int {
      let bench = Bench(Self.named([Self.host("a")], change: change))
      bench.onResolve = { _ in .addresses([Self.address(1)], ttl: ttl) }
      bench.submit()
      bench.advance(.seconds(seconds))
      bench.submit()
      return bench.resolves.count
    }
    #expect(lookups(59, ttl: .seconds(10)) { $0.respectsTTL = false } == 1)
    #expect(lookups(61, ttl: .seconds(10)) { $0.respectsTTL = false } == 2)
    #expect(lookups(11, ttl: .seconds(10)) { _ in } == 2)
    #expect(lookups(9, ttl: .seconds(10)) { _ in } == 1)
    // Below the floor of the device.
    #expect(lookups(4, ttl: .seconds(1)) { _ in } == 1)
    #expect(lookups(6, ttl: .seconds(1)) { _ in } == 2)
    #expect(lookups(200, ttl: nil) { $0.jitter = .seconds(100) } == 2)
    let bench = Bench(
      Self.named([Self.host("a")]) {
        $0.failureRefresh = BackOff(base: .seconds(2), maximum: .seconds(2))
      })
    bench.onResolve = { _ in .fail }
    for _ in 0..<100 {
      bench.submit()
      bench.advance(.seconds(1))
    }
    #expect(bench.resolves.count > 45 && bench.resolves.count <= 100)
  }

  @Test("a changed list of names keeps what is known of those that stay")
  func changed() {
    let bench = Bench(Self.named([Self.host("a"), Self.host("b")]))
    bench.onResolve = { name in .addresses([Self.address(name == "b" ? 2 : 1)], ttl: nil) }
    for token in 0..<2 { bench.submit(UInt64(token)) }
    #expect(bench.connects.count == 2)
    bench.core.apply(
      Self.named([Self.host("b"), Self.host("c")]) { $0.refresh = .seconds(30) }, now: bench.now)
    bench.run()
    #expect(bench.closes == 1)
    bench.submit()
    #expect(bench.resolves.map { $0.host } == ["a", "b", "c"])
    #expect(bench.results.count == 3)
  }
}
