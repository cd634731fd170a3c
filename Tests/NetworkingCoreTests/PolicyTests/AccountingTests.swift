import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

/// Whatever happens: each request has one result, and nothing of it is left.
@Suite("Accounting")
struct AccountingTests {
  /// A world that throws everything at one core, from one seed.
  private final class Storm {
    let bench: Bench
    var random: SplitMix64
    var submitted: [UInt64] = []
    var ids: [RequestID] = []
    /// Requests that wait for an answer, with the peer that has them.
    var open: [(peer: ScriptedPeer, stream: UInt32)] = []

    init(seed: UInt64) {
      random = SplitMix64(seed: seed)
      var limits = CoreLimits()
      limits.requestsMax = 24
      limits.spareAttemptsMax = 5
      limits.connectionsMax = 5
      limits.requestBytesMax = 200_000
      bench = Bench(PolicySnapshot(), limits: limits, seed: seed)
      bench.serverConfiguration.maxConcurrentStreams = 3
      bench.serverConfiguration.initialWindowSize = 30_000
      bench.onRequest = { [unowned self] peer, stream in open.append((peer, stream)) }
      bench.onConnect = { [unowned self] _ in
        switch random.below(10) {
        case 0: .fail("refused")
        case 1: .ignore
        default: .accept
        }
      }
      apply()
    }

    func interval(_ most: Int64) -> Interval { .milliseconds(Int64(random.below(UInt64(most)))) }

    /// A policy of any kind for three clusters, two of which mirror to the third.
    func apply() {
      var policy = RetryPolicy(
        conditions: RetryConditions(rawValue: UInt32(truncatingIfNeeded: random.next())),
        retries: UInt32(random.below(5)), perTryTimeout: interval(3_000),
        backOff: BackOff(base: interval(500), maximum: .seconds(2)))
      policy.perTryIdleTimeout = random.below(3) == 0 ? interval(4_000) : .zero
      policy.avoidsPreviousHosts = random.below(2) == 0
      policy.retriableStatusCodes = [500, 503]
      policy.rateLimited = RateLimitedBackOff(resetHeaders: [.init(name: "retry-after")])
      var snapshot = PolicySnapshot()
      for name in ["a", "b", "mirror"] as [ByteString] where random.below(12) > 0 {
        let addresses = (0...random.below(3)).map {
          SocketAddress(192, 0, 2, UInt8($0) + name.bytes[0], port: 443)
        }
        var mirrors: [MirrorPolicy] = []
        if name != "mirror", random.below(2) == 0 { mirrors = [MirrorPolicy(cluster: "mirror")] }
        let one = Bench.fixed(
          addresses, name: name, retry: policy,
          timeout: random.below(3) == 0 ? .zero : interval(9_000),
          idleTimeout: .seconds(20),
          change: { self.change(&$0) },
          route: {
            $0.hedgesOnPerTryTimeout = random.below(2) == 0
            $0.mirrors = mirrors
            $0.priority = random.below(2) == 0 ? .default : .high
            if random.below(3) == 0 { $0.streamDuration.maximum = interval(12_000) }
          },
          host: { $0.addsAttemptCount = random.below(2) == 0 })
        snapshot.listeners += one.listeners
        snapshot.clusters += one.clusters
      }
      bench.core.apply(snapshot, now: bench.now)
    }

    private func change(_ cluster: inout Cluster) {
      cluster.connectionsPerEndpoint = UInt32(1 + random.below(3))
      cluster.circuitBreakers.maxRequests = UInt32(random.below(12))
      cluster.highPriorityBreakers.maxRequests = UInt32(random.below(12))
      cluster.circuitBreakers.maxRetries = UInt32(random.below(5))
      if random.below(2) == 0 { cluster.circuitBreakers.retryBudget = RetryBudget() }
      cluster.circuitBreakers.maxPendingRequests = UInt32(random.below(12))
      cluster.http.maxRequestsPerConnection = UInt32(random.below(8))
      cluster.http.maxConnectionDuration = random.below(3) == 0 ? interval(9_000) : .zero
      cluster.keepAlive = KeepAlive(interval: .seconds(3), timeout: .seconds(1))
      cluster.reportsLoad = random.below(4) > 0
    }

    func step(_ number: UInt64) {
      switch random.below(20) {
      case 0..<7: submit(number)
      case 7..<12: answer()
      case 12: apply()
      case 13: breakConnection()
      case 14:
        if !ids.isEmpty {
          bench.core.cancel(ids[Int(random.below(UInt64(ids.count)))], now: bench.now)
        }
      case 15: goAway()
      case 16: accept()
      case 17: bench.takesOutput.toggle()
      default: bench.advance(interval(1_500))
      }
      bench.run()
    }

    private func submit(_ number: UInt64) {
      let name: ByteString = random.below(2) == 0 ? "a" : "b"
      let size = random.below(5) == 0 ? random.below(60_000) : random.below(50)
      let body = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: Int(size))
      if let id = bench.submit(number, body: body, listener: name) {
        submitted.append(number)
        ids.append(id)
        if ids.count > 40 { ids.removeFirst() }
      }
    }

    private func answer() {
      guard !open.isEmpty else { return }
      let (peer, stream) = open.remove(at: Int(random.below(UInt64(open.count))))
      guard bench.peers[peer.id] === peer else { return }
      switch random.below(9) {
      case 0: peer.http.reset(stream, .internalError)
      case 1: peer.http.reset(stream, .refusedStream)
      case 2: peer.respond(stream, 503, [("retry-after", "1")])
      case 3: peer.respond(stream, 503, [("x-envoy-ratelimited", "1")], body: [1, 2])
      case 4: peer.respond(stream, 200, [("grpc-status", "14")])
      case 5:
        peer.respond(stream, 200, body: [1], end: false)
        if random.below(2) == 0 { peer.http.reset(stream, .cancel) }
      default: peer.respond(stream, 200, body: [1, 2, 3])
      }
    }

    private func breakConnection() {
      let alive = bench.allPeers.filter { bench.peers[$0.id] === $0 }
      guard !alive.isEmpty else { return }
      let peer = alive[Int(random.below(UInt64(alive.count)))]
      if random.below(3) == 0 { peer.isSilent = true } else { bench.disconnect(peer) }
    }

    private func goAway() {
      let alive = bench.allPeers.filter { bench.peers[$0.id] === $0 }
      guard !alive.isEmpty else { return }
      alive[Int(random.below(UInt64(alive.count)))].http.shutDown(.noError)
    }

    private func accept() {
      // In the order of their ids: a dictionary's is another one in each run.
      for (id, address) in bench.connecting.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        if random.below(2) == 0 {
          bench.accept(id, address)
        } else {
          bench.connecting[id] = nil
          bench.core.connectionFailed(id, "timed out", now: bench.now)
        }
      }
    }

    /// Loads are what the slots say, at any time.
    func check() {
      for (index, cluster) in bench.core.clusters.enumerated() where cluster.isUsed {
        for priority in [RoutingPriority.default, .high] {
          var load = ClusterLoad()
          for slot in bench.core.requests
          where slot.cluster == index && slot.priority == priority {
            switch slot.phase {
            case .pending: load.pending += 1
            case .streaming: load.active += 1
            case .waiting: load.waiting += 1
            case .free, .draining, .finished: break
            }
            if slot.holdsRetry { load.retries += 1 }
          }
          for connection in bench.core.connections
          where connection.phase != .free && connection.cluster == index
            && connection.priority == priority
          {
            load.connections += 1
          }
          #expect(cluster.load[priority] == load)
        }
        #expect(cluster.pending.count == Int(cluster.load.total.pending))
      }
      for slot in bench.core.requests.indices where bench.core.requests[slot].hedges > 0 {
        let hedges = bench.core.requests.count { $0.owner == slot }
        #expect(bench.core.requests[slot].hedges == hedges)
      }
    }
  }

  @Test(
    "item 113: whatever happens, each request has one result and all loads return to zero",
    arguments: 1...16)
  func storm(seed: Int) {
    let storm = Storm(seed: UInt64(seed))
    for number in UInt64(1)...400 {
      storm.step(number)
      storm.check()
    }
    // The weather clears: what is under way ends, by its timeouts at the latest.
    storm.bench.takesOutput = true
    for peer in storm.bench.allPeers where storm.bench.peers[peer.id] === peer {
      storm.bench.flush(peer)
    }
    storm.bench.advance(.seconds(600))
    #expect(storm.submitted.count > 50, "seed \(seed)")
    #expect(storm.bench.results.map { $0.token }.sorted() == storm.submitted, "seed \(seed)")
    for result in storm.bench.results {
      switch result.outcome {
      case .response(200, nil, _): #expect(result.retryEnd == .none, "seed \(seed)")
      case .response, .failure: #expect(result.retryEnd != .none, "seed \(seed)")
      }
    }
    storm.bench.expectAtRest()
  }
}
