import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Hedging on a per-try timeout")
struct HedgeTests {
  /// A bench whose upstream never answers by itself; `calls` are the attempts that reached it.
  private final class Scene {
    let bench: Bench
    var calls: [(at: Instant, peer: ScriptedPeer, stream: UInt32)] = []

    init(
      conditions: RetryConditions = [.serverError], retries: UInt32 = 2,
      backOff: BackOff = atOnce, limits: CoreLimits = CoreLimits(),
      change: (inout Cluster) -> Void = { _ in }
    ) {
      let policy = RetryPolicy(
        conditions: conditions, retries: retries, perTryTimeout: .seconds(1), backOff: backOff)
      bench = Bench(
        Bench.fixed(retry: policy, change: change, route: { $0.hedgesOnPerTryTimeout = true }),
        limits: limits)
      bench.onRequest = { [unowned self] peer, stream in calls.append((bench.now, peer, stream)) }
    }

    func answer(_ call: Int, _ status: Int, end: Bool = true) {
      calls[call].peer.respond(calls[call].stream, status, end: end)
      bench.run()
    }

    func reset(_ call: Int) {
      calls[call].peer.http.reset(calls[call].stream, .internalError)
      bench.run()
    }

    func isCancelled(_ call: Int) -> Bool {
      calls[call].peer.events.contains(
        .reset(stream: calls[call].stream, code: .cancel, origin: .peer))
    }
  }

  @Test(
    "item 70: the late attempt goes on beside the next; whichever answers first wins",
    arguments: 0..<3)
  func first(winner: Int) {
    let scene = Scene()
    let start = scene.bench.now
    scene.bench.submit(7)
    scene.bench.advance(.seconds(2))
    #expect(scene.calls.map { ($0.at - start).milliseconds } == [0, 1_000, 2_000])
    #expect(scene.bench.statistic("upstream_rq_active") == 3)
    #expect(scene.bench.statistic("upstream_rq_retry") == 2)
    #expect(scene.bench.statistic("upstream_rq_per_try_timeout") == 2)
    #expect(!(0..<3).contains { scene.isCancelled($0) })
    scene.answer(winner, 200)
    #expect(scene.bench.results.map { $0.status } == [200])
    #expect(scene.bench.results[0].token == 7)
    #expect(scene.bench.results[0].attempts == 3)
    #expect(scene.bench.results[0].retryEnd == .none)
    for call in 0..<3 { #expect(scene.isCancelled(call) == (call != winner)) }
    scene.bench.expectAtRest()
    scene.bench.advance(.seconds(30))
    #expect(scene.bench.results.count == 1)
  }

  @Test("item 70: no retry_on word is needed for the hedge; without any there is none")
  func conditions() {
    let scene = Scene(conditions: [.retriable4xx])
    scene.bench.submit()
    scene.bench.advance(.seconds(1))
    #expect(scene.calls.count == 2)
    let without = Scene(conditions: [])
    without.bench.submit()
    without.bench.advance(.seconds(14))
    #expect(without.calls.count == 1)
    without.bench.advance(.seconds(1))
    #expect(without.bench.results.map { $0.failure } == [.timeout])
    without.bench.expectAtRest()
  }

  @Test(
    "item 70: an answer that the policy retries does not win while another attempt is under way")
  func bad() {
    let scene = Scene()
    scene.bench.submit()
    scene.bench.advance(.seconds(1))
    // The late attempt has had its retry: its answer is dropped.
    scene.answer(0, 503)
    #expect(scene.bench.results.isEmpty && scene.calls.count == 2)
    // The hedge has not: it is retried as any attempt.
    scene.answer(1, 503)
    #expect(scene.bench.results.isEmpty && scene.calls.count == 3)
    scene.answer(2, 200)
    #expect(scene.bench.results.map { $0.status } == [200])
    #expect(scene.bench.results[0].attempts == 3)
    scene.bench.expectAtRest()
  }

  @Test("item 70: the last attempt's answer is the result, good or bad; there is one result")
  func last() {
    let scene = Scene(retries: 1)
    scene.bench.submit()
    scene.bench.advance(.seconds(1))
    scene.answer(1, 503)
    #expect(scene.bench.results.isEmpty, "the first attempt may still be answered")
    scene.answer(0, 500)
    #expect(scene.bench.results.map { $0.status } == [500])
    #expect(scene.bench.results[0].retryEnd == .limit)
    #expect(scene.bench.results[0].attempts == 2)
    scene.bench.expectAtRest()
  }

  @Test("item 70: an answer that the policy does not retry wins, whatever it is")
  func unretried() {
    let scene = Scene()
    scene.bench.submit()
    scene.bench.advance(.seconds(1))
    scene.answer(0, 404)
    #expect(scene.bench.results.map { $0.status } == [404])
    #expect(scene.bench.results[0].retryEnd == .notRetriable)
    #expect(scene.isCancelled(1))
    scene.bench.expectAtRest()
  }

  @Test(
    "item 70: resets of single attempts end nothing while others are under way",
    arguments: [true, false])
  func resets(isFirst: Bool) {
    let scene = Scene(retries: 1)
    scene.bench.submit()
    scene.bench.advance(.seconds(1))
    scene.reset(isFirst ? 0 : 1)
    #expect(scene.bench.results.isEmpty)
    scene.reset(isFirst ? 1 : 0)
    #expect(scene.bench.results.map { $0.failure } == [.reset])
    #expect(scene.bench.results[0].attempts == 2)
    scene.bench.expectAtRest()
  }

  @Test(
    "item 70: a hedge keeps to the limit, the budget and the spare places; then the attempt goes on"
  )
  func bounded() {
    let limited = Scene(retries: 1)
    limited.bench.submit()
    limited.bench.advance(.seconds(14))
    #expect(limited.calls.count == 2)
    #expect(limited.bench.statistic("upstream_rq_retry_limit_exceeded") == 1)
    limited.answer(0, 200)
    #expect(limited.bench.results.map { $0.status } == [200])
    let broken = Scene { $0.circuitBreakers.maxRetries = 0 }
    broken.bench.submit()
    broken.bench.advance(.seconds(14))
    #expect(broken.calls.count == 1)
    #expect(broken.bench.statistic("upstream_rq_retry_overflow") == 1)
    var limits = CoreLimits()
    limits.spareAttemptsMax = 1
    let crowded = Scene(limits: limits)
    for token in UInt64(1)...3 { crowded.bench.submit(token) }
    crowded.bench.advance(.seconds(14))
    #expect(crowded.calls.count == 4)
    #expect(crowded.bench.core.freeSpares.isEmpty)
    crowded.bench.advance(.seconds(1))
    #expect(crowded.bench.results.map { $0.failure } == [.timeout, .timeout, .timeout])
    crowded.bench.expectAtRest()
  }

  @Test("item 70: the route's timeout and a cancellation end all attempts")
  func ends() {
    let scene = Scene()
    let id = scene.bench.submit(1)
    scene.bench.advance(.milliseconds(2_500))
    scene.bench.core.cancel(id!, now: scene.bench.now)
    scene.bench.run()
    #expect(scene.bench.results.map { $0.failure } == [.cancelled])
    for call in 0..<3 { #expect(scene.isCancelled(call)) }
    scene.bench.expectAtRest()
    scene.bench.submit(2)
    scene.bench.advance(.seconds(15))
    #expect(scene.bench.results.last?.failure == .timeout)
    #expect(scene.bench.results.count == 2)
    scene.bench.expectAtRest()
  }

  @Test(
    "item 70: hedges stand behind the back-off, and in the queue, and give both up with the request"
  )
  func waiting() {
    let scene = Scene(backOff: BackOff(base: .seconds(10), maximum: .seconds(10)))
    scene.bench.submit(1)
    scene.bench.advance(.seconds(1))
    #expect(scene.bench.core.clusters[0].load[.default].waiting == 1)
    scene.answer(0, 200)
    #expect(scene.bench.results.map { $0.status } == [200])
    scene.bench.expectAtRest()

    let queued = Scene()
    queued.bench.serverConfiguration.maxConcurrentStreams = 1
    queued.bench.submit()
    queued.answer(0, 200)
    queued.bench.submit(1)
    // The peer is alive, so that its connection is kept.
    queued.bench.advance(.milliseconds(500))
    queued.bench.peer.http.ask(now: queued.bench.now)
    queued.bench.run()
    queued.bench.advance(.milliseconds(500))
    #expect(queued.bench.statistic("upstream_rq_pending_active") == 1)
    // The late attempt fails: the hedge has its place, and gets the stream.
    queued.reset(1)
    #expect(queued.bench.statistic("upstream_rq_pending_active") == 0)
    queued.answer(2, 200)
    #expect(queued.bench.results.map { $0.status } == [200, 200])
    queued.bench.expectAtRest()
  }

  @Test("item 70: a connection that takes all attempts with it is one failure")
  func connection() {
    let scene = Scene(conditions: [.retriable4xx], retries: 3)
    scene.bench.submit()
    scene.bench.advance(.seconds(2))
    #expect(scene.calls.count == 3)
    scene.bench.disconnect(scene.bench.peer)
    // A silent peer's connection takes no hedge: each has its own.
    #expect(scene.bench.results.isEmpty)
    for peer in scene.bench.allPeers where scene.bench.peers[peer.id] === peer {
      scene.bench.disconnect(peer)
    }
    #expect(scene.bench.results.map { $0.failure } == [.reset])
    scene.bench.expectAtRest()
  }

  @Test(
    "item 70: a complete answer on a connection that drains is the result, whichever attempt has it",
    arguments: 0..<2)
  func drains(winner: Int) {
    let scene = Scene(retries: 1)
    scene.bench.submit()
    // The peer is alive, so that the hedge goes to the same connection.
    scene.bench.advance(.milliseconds(500))
    scene.bench.peer.http.ask(now: scene.bench.now)
    scene.bench.run()
    scene.bench.advance(.milliseconds(500))
    #expect(scene.calls.count == 2 && scene.bench.allPeers.count == 1)
    scene.bench.peer.http.shutDown()
    scene.answer(winner, 200)
    #expect(scene.bench.results.map { $0.status } == [200])
    scene.bench.expectAtRest()
  }

  @Test("item 70: the attempts of one request carry their own numbers")
  func numbers() {
    let policy = RetryPolicy(
      conditions: [.serverError], retries: 2, perTryTimeout: .seconds(1), backOff: atOnce)
    let bench = Bench(
      Bench.fixed(
        retry: policy, route: { $0.hedgesOnPerTryTimeout = true },
        host: {
          $0.addsAttemptCount = true
          $0.addsTimeoutRetryHeader = true
        }))
    var seen: [[String?]] = []
    bench.onRequest = { peer, stream in
      let request = peer.requests[stream]!
      seen.append([
        request.value("x-envoy-attempt-count"), request.value("x-envoy-is-timeout-retry"),
      ])
      if seen.count == 2 { peer.respond(stream, 503) }
    }
    bench.submit()
    bench.advance(.seconds(1))
    #expect(seen == [["1", nil], ["2", "true"], ["3", "false"]])
  }
}
