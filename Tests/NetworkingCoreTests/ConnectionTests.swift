import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Connections")
struct ConnectionTests {
  @Test("RFC 9113 §6.8: two-phase GOAWAY in mid-flight loses nothing and sends nothing twice")
  func goAway() {
    let bench = Bench()
    bench.onRequest = { _, _ in }
    for token in 1...3 { bench.submit(UInt64(token)) }
    let first = bench.peer
    first.http.announceShutDown()
    bench.run()
    bench.submit(4)
    #expect(bench.connects.count == 2)
    #expect(bench.results.isEmpty)
    #expect(bench.peer !== first)
    #expect(bench.peer.order.count == 1)
    // The second GOAWAY names stream 3: stream 5 was never processed.
    first.http.shutDown()
    bench.run()
    for stream in first.order { first.respond(stream, 200) }
    bench.run()
    for stream in bench.peer.order { bench.peer.respond(stream, 200) }
    bench.run()
    #expect(Set(bench.results.map { $0.token }) == [1, 2, 3, 4])
    #expect(bench.results.allSatisfy { $0.status == 200 && $0.attempts == 1 })
    #expect(bench.peers.count == 1)
    bench.expectAtRest()
  }

  @Test("GOAWAY below streams under way: those are replayed elsewhere, not counted as attempts")
  func goAwayUnprocessed() {
    let bench = Bench()
    bench.onRequest = { _, _ in }
    for token in 1...3 { bench.submit(UInt64(token)) }
    let first = bench.allPeers[0]
    bench.onRequest = { peer, stream in if peer !== first { peer.respond(stream, 200) } }
    // GOAWAY, last stream 1, NO_ERROR.
    bench.core.received(
      first.id, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0].span, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.token } == [2, 3])
    #expect(bench.results.allSatisfy { $0.status == 200 && $0.attempts == 1 })
    first.respond(1, 200)
    bench.run()
    #expect(bench.results.map { $0.token } == [2, 3, 1])
    #expect(bench.statistic("upstream_rq_retry") == 0)
    #expect(bench.statistic("upstream_cx_active") == 1)
    bench.expectAtRest()
  }

  @Test("a peer that closes after a GOAWAY: the failure has the GOAWAY's code and its text")
  func goAwayThenClose() {
    let bench = Bench(Bench.fixed(retry: .none))
    bench.onRequest = { _, _ in }
    bench.submit()
    // GOAWAY, last stream 1, a code that nobody registered, and text: as mod_http2 sends it.
    let frame: [UInt8] =
      [0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 252, 122] + Array("oops".utf8)
    bench.core.received(bench.peer.id, frame.span, now: bench.now)
    bench.disconnect(bench.peer, "closed by the peer")
    #expect(
      bench.results[0].details.description
        == "upstream_reset_before_response_started{connection_termination}: 192.0.2.1:443: "
        + "closed by the peer, after GOAWAY code 4294966394: oops")
    bench.expectAtRest()
  }

  @Test("GOAWAY while idle: the connection closes, the next request opens another")
  func goAwayIdle() {
    let bench = Bench()
    bench.submit(1)
    bench.peer.http.shutDown()
    bench.run()
    #expect(bench.peers.isEmpty)
    bench.submit(2)
    #expect(bench.results.map { $0.status } == [200, 200])
    #expect(bench.connects.count == 2)
  }

  @Test("a peer that breaks HTTP/2 costs a connection, and the breach is named")
  func protocolError() {
    let bench = Bench(Bench.fixed(retry: .none))
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.core.received(
      bench.peer.id, [0, 0, 1, 6, 0, 0, 0, 0, 0, 0].span, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.failure } == [.reset])
    #expect(
      bench.results[0].details.description
        == "upstream_reset_before_response_started{connection_termination}: 192.0.2.1:443: "
        + "http2: local: FRAME_SIZE_ERROR: a frame whose length does not fit its type")
    #expect(bench.statistic("upstream_cx_protocol_error") == 1)
    #expect(bench.closes == 1)
    bench.expectAtRest()
  }

  @Test("a server that speaks HTTP/1 is a failing endpoint: it is not asked over and over")
  func notHTTP2() {
    let bench = Bench()
    var opened: [ConnectionID] = []
    bench.onConnect = { _ in .ignore }
    for second in 0..<120 {
      bench.submit(UInt64(second))
      while let (id, _) = bench.connecting.first {
        bench.connecting[id] = nil
        opened.append(id)
        bench.core.connected(id, now: bench.now)
        bench.core.received(id, Array("HTTP/1.1 400 Bad Request".utf8).span, now: bench.now)
        bench.run()
      }
      bench.advance(.seconds(1))
    }
    #expect(bench.results.count == 120)
    #expect(bench.results.allSatisfy { $0.status == nil })
    #expect(opened.count < 45)
    bench.expectAtRest()
  }

  @Test("TCP or TLS that takes longer than the connect timeout is a connect failure")
  func connectTimeout() {
    let bench = Bench(Bench.fixed(retry: .none))
    bench.onConnect = { _ in .ignore }
    bench.submit()
    bench.advance(.milliseconds(4_999))
    #expect(bench.results.isEmpty)
    bench.advance(.milliseconds(1))
    #expect(bench.results.map { $0.failure } == [.connectFailure])
    #expect(
      bench.results[0].details.description
        == "upstream_reset_before_response_started{connection_failure}: "
        + "connect 192.0.2.1:443: no answer within 5000 ms")
    #expect(bench.closes == 1)
    #expect(bench.statistic("upstream_cx_connect_timeout") == 1)
    #expect(bench.statistic("upstream_cx_connect_fail") == 1)
    #expect(bench.core.connectionsInUse == 0)
    bench.expectAtRest()
  }

  @Test("a connection without streams closes after its idle time, one in use does not")
  func idle() {
    let bench = Bench()
    bench.submit(1)
    bench.advance(.seconds(299))
    bench.submit(2)
    bench.advance(.seconds(299))
    #expect(bench.peers.count == 1)
    bench.advance(.seconds(1))
    #expect(bench.peers.isEmpty)
    #expect(bench.closes == 1)
    #expect(bench.allPeers[0].events.contains(.goAway(lastStream: 0, code: .noError)))
    #expect(bench.core.nextDeadline() == nil)
    bench.submit(3)
    #expect(bench.results.count == 3)
  }

  @Test("keep-alive: a silent connection with streams is asked, and dead after its timeout")
  func keepAlive() {
    let bench = Bench(Bench.fixed(retry: .none, timeout: .zero, idleTimeout: .zero))
    bench.onRequest = { _, _ in }
    bench.submit()
    bench.advance(.seconds(500))
    #expect(bench.results.isEmpty)
    #expect(bench.peers.count == 1)
    let bytes = bench.statistic("upstream_cx_tx_bytes_total")!
    bench.peer.isSilent = true
    bench.advance(.seconds(60))
    #expect(bench.statistic("upstream_cx_tx_bytes_total")! > bytes)
    #expect(bench.results.map { $0.failure } == [.reset])
    #expect(
      bench.results[0].details.description
        == "upstream_reset_before_response_started{connection_termination}: 192.0.2.1:443: "
        + "http2: timeout: no answer to the keep-alive PING")
    #expect(bench.core.connectionsInUse == 0)
    bench.expectAtRest()
  }

  @Test("keep-alive: a connection without streams is not asked; an idle device stays silent")
  func idleSilence() {
    let bench = Bench(Bench.fixed { $0.idleTimeout = .zero })
    bench.submit()
    let sent = bench.statistic("upstream_cx_tx_bytes_total")
    #expect(bench.core.nextDeadline() == nil)
    bench.advance(.seconds(3_600))
    #expect(bench.statistic("upstream_cx_tx_bytes_total") == sent)
    #expect(bench.peers.count == 1)
    bench.submit()
    #expect(bench.results.count == 2)
  }

  @Test("endpoints take turns, the start is drawn, and a new membership keeps the turn")
  func balancing() {
    let addresses = (1...3).map { SocketAddress(192, 0, 2, UInt8($0), port: 80) }
    var starts: Set<SocketAddress> = []
    for seed in UInt64(0)..<20 {
      let bench = Bench(Bench.fixed(addresses), seed: seed)
      for token in 0..<9 { bench.submit(UInt64(token)) }
      #expect(bench.connects.count == 3)
      starts.insert(bench.connects[0].address)
      for peer in bench.allPeers { #expect(peer.order.count == 3) }
      bench.core.apply(Bench.fixed(Array(addresses.reversed())), now: bench.now)
      for token in 0..<3 { bench.submit(UInt64(token)) }
      #expect(bench.connects.count == 3)
      for peer in bench.allPeers { #expect((3...5).contains(peer.order.count)) }
    }
    #expect(starts.count == 3)
  }

  @Test("the table of connections is full of idle ones: the oldest makes room")
  func reclaim() {
    var limits = CoreLimits()
    limits.connectionsMax = 2
    let addresses = (1...4).map { SocketAddress(192, 0, 2, UInt8($0), port: 80) }
    let bench = Bench(Bench.fixed(addresses), limits: limits)
    for token in 1...8 {
      bench.submit(UInt64(token))
      #expect(bench.core.connectionsInUse <= 2)
      bench.advance(.milliseconds(10))
    }
    #expect(bench.results.count == 8)
    #expect(bench.results.allSatisfy { $0.status == 200 })
  }

  @Test("the table of connections is full of busy ones: overflow, at once")
  func connectionsFull() {
    var limits = CoreLimits()
    limits.connectionsMax = 2
    let addresses = (1...4).map { SocketAddress(192, 0, 2, UInt8($0), port: 80) }
    let bench = Bench(Bench.fixed(addresses), limits: limits)
    bench.onRequest = { _, _ in }
    for token in 1...3 { bench.submit(UInt64(token)) }
    #expect(bench.results.map { $0.failure } == [.overflow])
    #expect(bench.statistic("upstream_cx_overflow") == 1)
  }

  @Test("circuit breakers: pending, requests and connections; 0 blocks all")
  func breakers() {
    let bench = Bench(
      Bench.fixed {
        $0.circuitBreakers.maxRequests = 3
        $0.circuitBreakers.maxPendingRequests = 2
      })
    bench.onConnect = { _ in .ignore }
    bench.onRequest = { _, _ in }
    for token in 1...3 { bench.submit(UInt64(token)) }
    #expect(bench.results.map { $0.failure } == [.overflow])
    #expect(
      bench.results[0].details.description
        == "upstream_reset_before_response_started{overflow}: max_pending_requests")
    let (id, address) = bench.connecting.first!
    bench.accept(id, address)
    bench.run()
    bench.submit(4)
    bench.submit(5)
    #expect(bench.results.map { $0.token } == [3, 5])
    #expect(bench.statistic("upstream_rq_pending_overflow") == 2)
    let blocked = Bench(Bench.fixed { $0.circuitBreakers.maxConnections = 0 })
    blocked.submit()
    #expect(blocked.results.map { $0.failure } == [.overflow])
    #expect(blocked.results[0].attempts == 1)
  }

  @Test("a late answer to a connection that was given up is ignored")
  func late() {
    let bench = Bench(Bench.fixed(retry: .none))
    bench.onConnect = { _ in .ignore }
    bench.submit()
    let id = bench.connecting.first!.key
    bench.advance(.seconds(6))
    bench.core.connected(id, now: bench.now)
    bench.core.received(id, [1, 2, 3].span, now: bench.now)
    bench.core.disconnected(id, "late", now: bench.now)
    bench.core.connectionFailed(id, "late", now: bench.now)
    bench.core.consumeOutput(id, 3, now: bench.now)
    #expect(bench.core.withOutput(id) { $0.count } == 0)
    #expect(bench.results.count == 1)
    bench.expectAtRest()
  }
}
