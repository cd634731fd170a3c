import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Names and addresses")
struct ResolutionTests {
  static let v4 = SocketAddress(192, 0, 2, 1, port: 443)
  static let v4b = SocketAddress(192, 0, 2, 2, port: 443)
  static let v6 = SocketAddress(literal: "2001:db8::1", port: 443)!
  static let v6b = SocketAddress(literal: "2001:db8::2", port: 443)!

  @Test("a name is resolved when the first request needs it, and not before")
  func onDemand() {
    let bench = Bench(Bench.named())
    bench.run()
    #expect(bench.resolves.isEmpty)
    #expect(bench.core.nextDeadline() == nil)
    bench.submit()
    #expect(bench.resolves.count == 1)
    #expect(bench.resolves[0].host == "up.example.com")
    #expect(bench.results.map { $0.status } == [200])
    bench.advance(.seconds(250))
    #expect(bench.resolves.count == 1)
  }

  @Test("a failed lookup fails those who wait, then all, until it is tried again and works")
  func failure() {
    let bench = Bench(Bench.named())
    bench.onResolve = { _ in .fail }
    bench.submit()
    #expect(bench.results.map { $0.failure } == [.resolutionFailed])
    #expect(
      bench.results[0].details.description
        == "no_healthy_upstream: up.example.com could not be resolved")
    for _ in 0..<300 {
      bench.submit()
      bench.advance(.seconds(1))
    }
    #expect(bench.results.count == 301)
    #expect(bench.results.allSatisfy { $0.failure == .resolutionFailed })
    #expect(bench.resolves.count < 60)
    bench.onResolve = { _ in .addresses([Self.v4], ttl: nil) }
    for _ in 0..<31 where bench.results.last?.status == nil {
      bench.submit()
      bench.advance(.seconds(1))
    }
    #expect(bench.results.last?.status == 200)
    bench.expectAtRest()
  }

  @Test("forgetFailures lets names and endpoints be tried at once")
  func forget() {
    let bench = Bench(Bench.named())
    bench.onResolve = { _ in .fail }
    for _ in 0..<100 {
      bench.submit()
      bench.advance(.seconds(1))
    }
    bench.onResolve = { _ in .addresses([Self.v4], ttl: nil) }
    bench.core.forgetFailures(now: bench.now)
    bench.submit()
    #expect(bench.results.last?.status == 200)
  }

  @Test("a lookup that never answers does not hold requests for ever; a late answer is welcome")
  func noAnswer() {
    let bench = Bench(Bench.named())
    bench.onResolve = { _ in .ignore }
    bench.submit()
    bench.advance(.seconds(20))
    #expect(bench.results.map { $0.failure } == [.resolutionFailed])
    bench.submit()
    #expect(bench.results.count == 2)
    #expect(bench.resolves.count == 1)
    bench.core.resolved(bench.resolves[0].id, [Self.v4], ttl: nil, now: bench.now)
    bench.submit()
    #expect(bench.results.last?.status == 200)
    bench.expectAtRest()
  }

  @Test("the last good addresses stay when a later lookup fails")
  func lastGood() {
    let bench = Bench(Bench.named { $0.idleTimeout = .seconds(1) })
    bench.submit()
    bench.onResolve = { _ in .fail }
    bench.advance(.seconds(100))
    #expect(bench.peers.isEmpty)
    bench.submit()
    #expect(bench.resolves.count == 2)
    #expect(bench.results.map { $0.status } == [200, 200])
    bench.onResolve = { _ in .ignore }
    bench.advance(.seconds(100))
    bench.submit()
    #expect(bench.results.count == 2)
    bench.advance(.seconds(5))
    #expect(bench.results.count == 3)
    #expect(bench.results[2].status == 200)
  }

  @Test("a new connection goes where the name points now; a working one is not disturbed")
  func refresh() {
    let bench = Bench(Bench.named())
    bench.submit()
    bench.onResolve = { _ in .addresses([Self.v4b], ttl: .seconds(1)) }
    bench.advance(.seconds(61))
    bench.submit()
    #expect(bench.resolves.count == 2)
    #expect(bench.connects.map { $0.address } == [Self.v4])
    bench.submit()
    bench.advance(.seconds(4))
    bench.submit()
    #expect(bench.resolves.count == 2)
    bench.advance(.seconds(1))
    bench.submit()
    #expect(bench.resolves.count == 3)
    bench.disconnect(bench.peer)
    bench.submit()
    #expect(bench.connects.map { $0.address } == [Self.v4, Self.v4b])
    #expect(bench.results.allSatisfy { $0.status == 200 })
  }

  @Test("families take turns within one attempt, and the address that worked is kept")
  func families() {
    let bench = Bench(Bench.named())
    bench.onResolve = { _ in .addresses([Self.v6, Self.v6b, Self.v4, Self.v4b], ttl: nil) }
    bench.onConnect = { $0.family == .v6 ? .fail("network is unreachable") : .accept }
    bench.submit()
    #expect(bench.connects.map { $0.address } == [Self.v6, Self.v4])
    #expect(bench.results.map { $0.status } == [200])
    #expect(bench.results[0].attempts == 1)
    bench.disconnect(bench.peer)
    bench.submit()
    #expect(bench.connects.map { $0.address } == [Self.v6, Self.v4, Self.v4])
    bench.disconnect(bench.peer)
    bench.onConnect = { _ in .fail("network is unreachable") }
    bench.submit()
    #expect(bench.connects.count >= 7)
    #expect(Set(bench.connects[3..<7].map { $0.address }).count == 4)
    #expect(bench.statistic("membership_total") == 1)
  }

  @Test("STRICT_DNS: every address is an endpoint; one that disappears drains")
  func strict() {
    let bench = Bench(Bench.named(kind: .strict))
    bench.onResolve = { _ in .addresses([Self.v4, Self.v4b, Self.v4], ttl: .seconds(5)) }
    bench.onRequest = { _, _ in }
    bench.submit(1)
    bench.submit(2)
    #expect(Set(bench.connects.map { $0.address }) == [Self.v4, Self.v4b])
    #expect(bench.statistic("membership_total") == 2)
    bench.onResolve = { _ in .addresses([Self.v4], ttl: .seconds(5)) }
    bench.advance(.seconds(5))
    bench.submit(3)
    bench.submit(4)
    let stays = bench.allPeers.first { $0.address == Self.v4 }!
    let goes = bench.allPeers.first { $0.address == Self.v4b }!
    #expect(bench.statistic("membership_total") == 1)
    #expect(stays.order.count == 3 || goes.order.count == 2)
    for stream in goes.order { goes.respond(stream, 200) }
    bench.run()
    #expect(bench.peers[goes.id] == nil)
    for stream in stays.order { stays.respond(stream, 200) }
    bench.run()
    #expect(bench.results.count == 4)
    bench.expectAtRest()
  }

  @Test("an answer with too many addresses is cut, an empty one is a failure")
  func sizes() {
    let bench = Bench(Bench.named(kind: .strict))
    let many = (0..<300).map { SocketAddress(10, 0, UInt8($0 % 3), UInt8($0 / 3), port: 443) }
    bench.onResolve = { _ in .addresses(many, ttl: nil) }
    bench.submit()
    #expect(bench.statistic("membership_total") == 256)
    let empty = Bench(Bench.named())
    empty.onResolve = { _ in .addresses([], ttl: nil) }
    empty.submit()
    #expect(empty.results.map { $0.failure } == [.resolutionFailed])
  }
}
