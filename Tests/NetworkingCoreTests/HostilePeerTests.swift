import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

/// Peers that break the protocol or stall it: what becomes of requests, connections and counters.
@Suite("Hostile servers")
struct HostilePeerTests {
  /// PING of one octet: a connection error of its header alone.
  static let breach: [UInt8] = [0, 0, 1, 6, 0, 0, 0, 0, 0, 0]

  static func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt8 = 0, _ payload: [UInt8] = [])
    -> [UInt8]
  {
    [0, UInt8(payload.count >> 8), UInt8(payload.count & 0xff), type, flags, 0, 0, 0, stream]
      + payload
  }

  private func say(_ bytes: [UInt8], _ bench: Bench) {
    bench.core.received(bench.peer.id, bytes.span, now: bench.now)
    bench.run()
  }

  @Test("a breach behind SETTINGS, every time: connections get rarer, up to 30 s apart")
  func breachBehindSettings() {
    for seed in UInt64(1)...5 {
      let bench = Bench(seed: seed)
      bench.onRequest = { peer, _ in
        bench.core.received(peer.id, Self.breach.span, now: bench.now)
      }
      for second in 0..<300 {
        bench.submit(UInt64(second))
        bench.advance(.seconds(1))
      }
      #expect(bench.results.count == 300, "seed \(seed)")
      #expect(bench.connects.count < 60, "seed \(seed)")
      let late = bench.connects.filter { $0.at > Instant(nanoseconds: 200_000_000_000) }
      #expect(late.count < 20, "seed \(seed)")
      #expect(bench.statistic("membership_healthy") == 0)
      bench.expectAtRest()
    }
  }

  @Test("GOAWAY with an error, or an end, before anything was served: the same")
  func endsWithoutService() {
    let ends: [(ScriptedPeer) -> Void] = [
      { $0.http.shutDown(.enhanceYourCalm) }, { $0.http.shutDown(.noError) },
    ]
    for end in ends {
      let bench = Bench()
      bench.onHeaders = { peer, _ in end(peer) }
      bench.onRequest = { _, _ in }
      for second in 0..<100 {
        bench.submit(UInt64(second))
        // The peer waits for the stream; the transport breaks instead.
        if let peer = bench.allPeers.last, bench.peers[peer.id] === peer { bench.disconnect(peer) }
        bench.advance(.seconds(1))
      }
      #expect(bench.connects.count < 50)
      #expect(bench.statistic("upstream_cx_close_notify")! > 0)
    }
  }

  @Test("a breach behind each response: what was answered counts, and connections are bounded")
  func breachBehindResponse() {
    let bench = Bench()
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    for token in 0..<1_000 {
      bench.submit(UInt64(token))
      if let peer = bench.allPeers.last, bench.peers[peer.id] === peer { say(Self.breach, bench) }
      bench.advance(.milliseconds(10))
    }
    bench.advance(.seconds(1))
    // Ten seconds, and a pause of 250 ms on average behind each.
    #expect((10..<90).contains(bench.connects.count))
    let answered = bench.results.count { $0.status == 200 }
    #expect(answered >= bench.connects.count)
    bench.expectAtRest()
  }

  @Test("one breach costs half a second at most, and a response makes the endpoint healthy again")
  func oneBreach() {
    let bench = Bench()
    bench.submit(1)
    say(Self.breach, bench)
    #expect(bench.statistic("membership_healthy") == 0)
    bench.advance(.milliseconds(500))
    bench.submit(2)
    #expect(bench.results.map { $0.status } == [200, 200])
    #expect(bench.statistic("membership_healthy") == 1)
    #expect(bench.causes() == ["frame_size_wrong": 1])
  }

  @Test("RFC 9113 §6.9: a window of one octet, for ever: the request has its time, and ends")
  func tinyWindow() {
    let bench = Bench()
    bench.serverConfiguration.initialWindowSize = 1
    bench.onHeaders = { peer, _ in peer.readsBodies = false }
    bench.onRequest = { _, _ in }
    bench.submit(1, body: [1])
    let peer = bench.peer
    bench.submit(2, body: [UInt8](repeating: 7, count: 1_280))
    let start = bench.now
    while bench.results.count < 2, bench.now < start + .seconds(100) {
      bench.advance(.milliseconds(500))
      guard bench.peers[peer.id] === peer else { break }
      peer.http.release(1, on: 3)
      bench.run()
    }
    // The route's 15 s, and 1280 octets at 128 a second.
    #expect(bench.now == start + .seconds(25))
    #expect(bench.results.map { $0.failure } == [.timeout, .timeout])
    #expect(bench.results[1].details.description.hasSuffix("of 1280 bytes go"))
    #expect(bench.statistic("http2.tx_flush_timeout") == 1)
    #expect(bench.statistic("upstream_rq_timeout") == 2)
    bench.expectAtRest()
  }

  @Test("a peer that asks and never reads: the output keeps its bound, the connection its time")
  func neverReads() {
    let bench = Bench(Bench.fixed(retry: .none))
    bench.onRequest = { _, _ in }
    bench.submit(1, timeout: .zero)
    bench.takesOutput = false
    let start = bench.now
    bench.submit(2, body: [UInt8](repeating: 7, count: 200_000), timeout: .zero)
    while bench.results.isEmpty, bench.now < start + .seconds(100) {
      bench.advance(.seconds(1))
      guard bench.core.connectionsInUse > 0 else { break }
      say(Self.frame(6, [UInt8](repeating: 0, count: 8)), bench)
    }
    #expect(bench.now <= start + .seconds(31))
    // The second one had not left: it would go elsewhere, and there is nowhere else.
    #expect(Set(bench.results.map { $0.failure }) == [.reset, .connectFailure])
    #expect(bench.results[0].details.description.hasSuffix("the peer read nothing for 30 s"))
    #expect(bench.statistic("http2.tx_flush_timeout") == 1)
    bench.advance(.seconds(1))
    #expect(bench.core.connectionsInUse == 0)
    bench.expectAtRest()
  }

  @Test("a slow reader is no enemy: an octet now and then keeps the connection")
  func readsSlowly() {
    let bench = Bench(Bench.fixed(retry: .none, idleTimeout: .zero))
    bench.onRequest = { _, _ in }
    bench.submit(1, timeout: .zero)
    bench.takesOutput = false
    bench.submit(2, body: [UInt8](repeating: 7, count: 50_000), timeout: .zero)
    for _ in 0..<20 {
      bench.advance(.seconds(20))
      bench.core.consumeOutput(bench.peer.id, 1, now: bench.now)
    }
    #expect(bench.results.isEmpty)
    #expect(bench.core.connectionsInUse == 1)
  }

  static let counted: [(name: String, statistic: String, bytes: [UInt8])] = [
    ("empty_frame_flood", "http2.inbound_empty_frames_flood", headers + frame(0, stream: 1) * 3),
    (
      "priority_flood", "http2.inbound_priority_frames_flood",
      frame(2, stream: 1, [0, 0, 0, 0, 0]) * 1_001
    ),
    (
      "window_update_flood", "http2.inbound_window_update_frames_flood",
      frame(8, [0, 0, 0, 1]) * 100
    ),
    ("ping_flood", "http2.outbound_control_flood", frame(6, [1, 2, 3, 4, 5, 6, 7, 8]) * 600),
    ("settings_flood", "http2.outbound_control_flood", frame(4) * 200),
    (
      "continuation_flood", "http2.header_overflow",
      frame(1, stream: 1) + frame(9, stream: 1) * 17
    ),
    ("frame_size_wrong", "http2.rx_messaging_error", breach),
    ("data_before_headers", "http2.rx_messaging_error", frame(0, stream: 1, [1])),
  ]
  static let headers = frame(1, flags: 4, stream: 1, [0x88])

  @Test("each breach has a name, and Envoy's where there is one", arguments: 0..<8)
  func statistics(index: Int) {
    let (name, statistic, bytes) = Self.counted[index]
    let bench = Bench(Bench.fixed(retry: .none))
    bench.onRequest = { _, _ in }
    bench.submit()
    say(bytes, bench)
    #expect(bench.causes() == [name: 1])
    #expect(bench.statistic(statistic) == 1)
    #expect(bench.statistic("upstream_cx_protocol_error") == 1)
    #expect(bench.results.count == 1)
    bench.expectAtRest()
  }

  @Test("GOAWAY is counted as Envoy counts it")
  func closeNotify() {
    let bench = Bench()
    bench.submit()
    bench.peer.http.shutDown()
    bench.run()
    #expect(bench.statistic("upstream_cx_close_notify") == 1)
    #expect(bench.causes().isEmpty)
  }
}

/// Repetition.
private func * (bytes: [UInt8], count: Int) -> [UInt8] {
  Array([[UInt8]](repeating: bytes, count: count).joined())
}
