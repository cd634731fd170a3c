import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Retries that nobody counts, GOAWAY, keep-alive")
struct TransparentRetryTests {
  /// No policy at all: what is sent again is sent again by the core itself.
  private func bare(_ change: (inout Cluster) -> Void = { _ in }) -> Bench {
    Bench(Bench.fixed(retry: .none, change: change))
  }

  @Test("item 72: REFUSED_STREAM is answered by one more try at once; a second one is a failure")
  func refused() {
    for (refusals, status): (Int, UInt16?) in [(1, 200), (2, nil)] {
      let bench = bare()
      var left = refusals
      bench.onRequest = { peer, stream in
        guard left > 0 else { return peer.respond(stream, 200) }
        left -= 1
        peer.http.reset(stream, .refusedStream)
      }
      bench.submit()
      #expect(bench.results.map { $0.status } == [status])
      #expect(bench.results[0].attempts == 1)
      #expect(bench.statistic("upstream_rq_retry") == 0)
      #expect(bench.core.clusters[0].load[.default].retries == 0)
      if status == nil {
        #expect(bench.results[0].failure == .refused)
        #expect(bench.results[0].retryEnd == .noPolicy)
      }
      bench.expectAtRest()
    }
  }

  @Test(
    "items 71, 73: streams above GOAWAY's last one are sent again once, those below are finished")
  func goAway() {
    let bench = bare()
    bench.onRequest = { _, _ in }
    for token in UInt64(1)...3 { bench.submit(token) }
    let peer = bench.peer
    bench.onRequest = { $0.respond($1, 204) }
    // The last stream that was taken is the first one.
    peer.isSilent = true
    _ = peer.takeOutput()
    peer.isSilent = false
    bench.core.received(peer.id, goAway(last: 1).span, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.token } == [2, 3])
    #expect(bench.results.allSatisfy { $0.status == 204 && $0.attempts == 1 })
    peer.respond(1, 200)
    bench.run()
    #expect(bench.results.map { $0.status } == [204, 204, 200])
    bench.expectAtRest()
  }

  /// GOAWAY with NO_ERROR, or ENHANCE_YOUR_CALM and a text.
  private func goAway(last: UInt8, code: UInt8 = 0, text: String = "") -> [UInt8] {
    [0, 0, UInt8(8 + text.utf8.count), 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, code] + text.utf8
  }

  @Test("item 73: two-phase GOAWAY, 2³¹−1 first: nothing is refused until the real number comes")
  func twoPhases() {
    let bench = bare()
    bench.onRequest = { _, _ in }
    bench.submit(1)
    bench.submit(2)
    let peer = bench.peer
    var first = goAway(last: 255)
    first.replaceSubrange(9..<13, with: [0x7F, 255, 255, 255])
    bench.core.received(peer.id, first.span, now: bench.now)
    bench.onRequest = { $0.respond($1, 204) }
    bench.run()
    #expect(bench.results.isEmpty)
    bench.submit(3)
    #expect(bench.results.map { $0.token } == [3], "a new connection, on demand")
    #expect(bench.connects.count == 2)
    bench.core.received(peer.id, goAway(last: 1).span, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.token } == [3, 2])
    peer.respond(1, 200)
    bench.run()
    #expect(bench.results.map { $0.token } == [3, 2, 1])
    #expect(bench.closes == 1)
    bench.expectAtRest()
  }

  @Test("item 72: what never left is sent again as often as it takes, within a bound")
  func neverLeft() {
    for (breaks, isServed) in [(5, true), (16, true), (17, false)] {
      let bench = bare()
      // It has served: the endpoint is not taken for a dead one.
      bench.submit()
      bench.takesOutput = false
      bench.submit(1)
      for count in 1...breaks {
        #expect(bench.results.count == 1, "after \(count - 1)")
        bench.core.forgetFailures(now: bench.now)
        bench.disconnect(bench.peer)
        bench.core.forgetFailures(now: bench.now)
        bench.run()
      }
      bench.takesOutput = true
      for peer in bench.allPeers where bench.peers[peer.id] === peer { bench.flush(peer) }
      #expect(bench.results.last?.status == (isServed ? 200 : nil), "\(breaks)")
      #expect(bench.results.last?.attempts == 1)
      #expect(bench.statistic("upstream_rq_retry") == 0)
      bench.expectAtRest()
    }
  }

  @Test("item 71: what may have been processed is for the policy, and without one the end")
  func mayHaveLeft() {
    let bench = bare()
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.disconnect(bench.peer)
    #expect(bench.results.map { $0.failure } == [.reset])
    #expect(bench.results[0].retryEnd == .noPolicy)
    bench.expectAtRest()
  }

  @Test(
    "item 74: too_many_pings doubles the time between PINGs on later connections, up to two hours")
  func tooManyPings() {
    let bench = bare { $0.keepAlive = KeepAlive(interval: .seconds(600), timeout: .seconds(20)) }
    func interval() -> Interval? {
      bench.onRequest = { _, _ in }
      bench.submit(timeout: .zero)
      let start = bench.now
      let before = bench.peer.pings
      while bench.peer.pings == before, bench.now < start + .seconds(20_000) {
        bench.advance(.seconds(10))
      }
      return bench.now < start + .seconds(20_000) ? bench.now - start : nil
    }
    var snapshot = Bench.fixed(retry: .none, timeout: .zero, idleTimeout: .zero)
    snapshot.clusters[0].keepAlive = KeepAlive(interval: .seconds(600), timeout: .seconds(20))
    bench.core.apply(snapshot, now: bench.now)
    for (expected, text) in [
      (600, "too_many_pings"), (1_200, "slow down"), (1_200, "too_many_pings"),
      (2_400, "too_many_pings"), (4_800, "too_many_pings"), (7_200, "too_many_pings"), (7_200, ""),
    ] {
      #expect(interval() == .seconds(Int64(expected)))
      bench.core.received(
        bench.peer.id, goAway(last: 0, code: 11, text: text).span, now: bench.now)
      bench.run()
      bench.disconnect(bench.peer)
      bench.advance(.seconds(60))
    }
  }

  @Test("item 75: the interval is longer by chance, up to interval_jitter")
  func jitter() {
    var seen: Set<Int64> = []
    for seed in UInt64(1)...40 {
      var snapshot = Bench.fixed(retry: .none, timeout: .zero, idleTimeout: .zero)
      snapshot.clusters[0].keepAlive = KeepAlive(interval: .seconds(100), timeout: .seconds(20))
      snapshot.clusters[0].keepAlive.jitterPercent = 15
      let bench = Bench(snapshot, seed: seed)
      bench.onRequest = { _, _ in }
      bench.submit()
      let start = bench.now
      while bench.peer.pings == 0 { bench.advance(.milliseconds(100)) }
      let interval = (bench.now - start).milliseconds
      #expect((100_000...115_000).contains(interval))
      seen.insert(interval)
    }
    #expect(seen.count > 30)
  }

  @Test("item 75: the longest interval there is, and jitter: no PING, and no trap")
  func longestInterval() {
    let bench = bare {
      $0.keepAlive = KeepAlive(interval: Interval(nanoseconds: .max), timeout: .seconds(20))
      $0.keepAlive.jitterPercent = 100
    }
    bench.submit()
    #expect(bench.results.map { $0.status } == [200])
  }

  @Test(
    "item 75: connection_idle_interval: a connection that rested is asked with its next request")
  func idleInterval() {
    for (rest, pings) in [(9_999, 0), (10_000, 1)] {
      let bench = bare {
        $0.keepAlive = KeepAlive(interval: .zero, timeout: .seconds(20))
        $0.keepAlive.idleInterval = .seconds(10)
      }
      bench.submit()
      bench.advance(.milliseconds(Int64(rest)))
      bench.submit()
      #expect(bench.peer.pings == pings)
      #expect(bench.results.map { $0.status } == [200, 200])
      // Answered: nothing follows.
      bench.advance(.seconds(60))
      #expect(bench.closes == 0)
    }
    let dead = bare {
      $0.keepAlive = KeepAlive(interval: .zero, timeout: .seconds(3))
      $0.keepAlive.idleInterval = .seconds(10)
    }
    dead.submit()
    dead.advance(.seconds(100))
    dead.peer.isSilent = true
    dead.submit()
    dead.advance(.seconds(3))
    #expect(dead.results.map { $0.failure } == [nil, .reset])
    #expect(dead.closes == 1)
  }

  @Test(
    "item 75: keepalive expiry fails the streams as a lost connection does: by policy, not silently"
  )
  func keepAliveExpiry() {
    func bench(_ policy: RetryPolicy) -> Bench {
      let bench = Bench(
        Bench.fixed(retry: policy) {
          $0.keepAlive = KeepAlive(interval: .seconds(4), timeout: .seconds(2))
        })
      bench.onRequest = { _, _ in }
      bench.submit()
      bench.peer.isSilent = true
      bench.onRequest = { $0.respond($1, 200) }
      bench.advance(.milliseconds(5_999))
      #expect(bench.results.isEmpty)
      bench.advance(.milliseconds(1))
      return bench
    }
    let without = bench(.none)
    #expect(without.results.map { $0.failure } == [.reset])
    #expect(without.connects.count == 1)
    let with = bench(RetryPolicy(conditions: [.reset], retries: 1, backOff: atOnce))
    #expect(with.results.map { $0.status } == [200])
    #expect(with.results[0].attempts == 2)
    for bench in [with, without] {
      #expect(bench.statistic("http2.keepalive_timeout") == 1)
      bench.expectAtRest()
    }
  }

  @Test("item 75: PINGs of the peer extend its keepalive, and no timeout of a request")
  func pings() {
    let bench = Bench(
      Bench.fixed(retry: .none, timeout: .seconds(10), idleTimeout: .seconds(8)) {
        $0.keepAlive = KeepAlive(interval: .seconds(4), timeout: .seconds(2))
      })
    bench.onRequest = { _, _ in }
    bench.submit()
    for _ in 0..<7 {
      bench.advance(.seconds(1))
      bench.peer.http.ask(now: bench.now)
      bench.run()
    }
    #expect(bench.results.isEmpty)
    bench.advance(.seconds(1))
    #expect(bench.results.map { $0.failure } == [.timeout])
    #expect(bench.results[0].details.description.hasPrefix("stream_idle_timeout"))
    #expect(bench.closes == 0)
  }
}
