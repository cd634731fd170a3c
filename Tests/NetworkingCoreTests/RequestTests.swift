import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("A request and its one result")
struct RequestTests {
  @Test("a request is routed, connected, sent and answered; the connection is kept for the next")
  func happyPath() {
    let bench = Bench()
    var seen: ScriptedPeer.Request?
    bench.onRequest = { peer, stream in
      seen = peer.requests[stream]
      peer.respond(stream, 204)
    }
    bench.submit(7)
    #expect(bench.results.count == 1)
    #expect(bench.results[0].token == 7)
    #expect(
      bench.results[0].outcome == .response(status: 204, grpcStatus: nil, retryAfter: nil))
    #expect(bench.results[0].attempts == 1)
    #expect(seen?.value(":method") == "POST")
    #expect(seen?.value(":scheme") == "http")
    #expect(seen?.value(":authority") == "up.example.com")
    #expect(seen?.value(":path") == "/v1/state")
    #expect(seen?.body == Array("hello".utf8))
    bench.submit(8)
    #expect(bench.results.count == 2)
    #expect(bench.connects.count == 1)
    #expect(bench.statistic("upstream_rq_total") == 2)
    #expect(bench.statistic("upstream_rq_2xx") == 2)
    #expect(bench.statistic("upstream_cx_total") == 1)
    bench.expectAtRest()
  }

  @Test("bytes may come one at a time, both ways", arguments: [1, 2, 3, 7, 100])
  func segments(size: Int) {
    let bench = Bench()
    bench.segment = size
    bench.onRequest = { peer, stream in
      peer.respond(
        stream, 200, [("server", "x")], body: [UInt8](repeating: 1, count: 50),
        trailers: [("grpc-status", "0")])
    }
    for token in 0..<5 { bench.submit(UInt64(token)) }
    #expect(bench.results.count == 5)
    for result in bench.results {
      #expect(result.outcome == .response(status: 200, grpcStatus: 0, retryAfter: nil))
    }
    bench.expectAtRest()
  }

  @Test("many requests share one connection, and end in the order of their answers")
  func multiplexed() {
    let bench = Bench()
    bench.onRequest = { _, _ in }
    for token in 1...20 { bench.submit(UInt64(token)) }
    #expect(bench.connects.count == 1)
    #expect(bench.peer.order.count == 20)
    #expect(bench.statistic("upstream_rq_active") == 20)
    for stream in bench.peer.order.reversed() { bench.peer.respond(stream, 200) }
    bench.run()
    #expect(bench.results.map { $0.token } == (1...20).reversed().map { UInt64($0) })
    bench.expectAtRest()
  }

  @Test("requests wait for the connection, then go in their order")
  func pending() {
    let bench = Bench()
    bench.onConnect = { _ in .ignore }
    for token in 1...5 { bench.submit(UInt64(token)) }
    #expect(bench.connects.count == 1)
    #expect(bench.statistic("upstream_rq_pending_active") == 5)
    #expect(bench.results.isEmpty)
    let (id, address) = bench.connecting.first!
    bench.accept(id, address)
    bench.run()
    #expect(bench.results.map { $0.token } == [1, 2, 3, 4, 5])
    #expect(bench.statistic("upstream_rq_pending_total") == 5)
    bench.expectAtRest()
  }

  @Test("a peer that allows two streams gets two at a time, SETTINGS may raise it later")
  func streamLimit() {
    let bench = Bench()
    bench.serverConfiguration.maxConcurrentStreams = 2
    bench.onRequest = { _, _ in }
    bench.submit(0)
    for token in 1...5 { bench.submit(UInt64(token)) }
    #expect(bench.peer.order.count == 2)
    #expect(bench.statistic("upstream_rq_pending_active") == 4)
    bench.peer.respond(bench.peer.order[0], 200)
    bench.run()
    #expect(bench.peer.order.count == 3)
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    for stream in bench.peer.order { bench.peer.respond(stream, 200) }
    bench.run()
    #expect(bench.results.count == 6)
    bench.expectAtRest()
  }

  @Test("a second connection is opened only when policy allows and streams are exhausted")
  func secondConnection() {
    let bench = Bench(Bench.fixed { $0.connectionsPerEndpoint = 2 })
    bench.serverConfiguration.maxConcurrentStreams = 2
    bench.onRequest = { _, _ in }
    bench.submit(0)
    bench.submit(1)
    #expect(bench.connects.count == 1)
    for token in 2...6 { bench.submit(UInt64(token)) }
    #expect(bench.connects.count == 2)
    #expect(bench.statistic("upstream_cx_active") == 2)
    #expect(bench.statistic("upstream_rq_active") == 4)
  }

  @Test("1xx responses are not the response")
  func informational() {
    let bench = Bench()
    bench.onRequest = { peer, stream in
      try? peer.http.submitHeaders(
        peer.list([(":status", "103")]), on: stream, endStream: false, now: .zero)
      peer.respond(stream, 201)
    }
    bench.submit()
    #expect(bench.results.map { $0.status } == [201])
  }

  @Test(
    "grpc-status is taken from trailers, from trailers-only headers, and is UNKNOWN when garbled")
  func grpcStatus() {
    let bench = Bench()
    bench.onRequest = { peer, stream in
      peer.respond(stream, 200, body: [0, 0, 0, 0, 0], trailers: [("grpc-status", "8")])
    }
    bench.submit()
    bench.onRequest = { peer, stream in peer.respond(stream, 200, [("grpc-status", "14")]) }
    bench.submit()
    bench.onRequest = { peer, stream in peer.respond(stream, 200, [("grpc-status", "ok")]) }
    bench.submit()
    #expect(
      bench.results.map { $0.outcome }
        == [8, 14, 2].map {
          .response(status: 200, grpcStatus: $0, retryAfter: nil)
        })
  }

  @Test("a long response body is discarded and credited, whatever its length")
  func longResponse() {
    let bench = Bench()
    bench.onRequest = { peer, stream in peer.respond(stream, 200, end: false) }
    bench.submit()
    let chunk = [UInt8](repeating: 0, count: 16_384)
    for _ in 0..<40 {
      let taken = try? bench.peer.http.submitData(
        chunk.span, on: 1, endStream: false, now: bench.now)
      #expect(taken == chunk.count)
      bench.run()
    }
    _ = try? bench.peer.http.submitData(chunk.span, on: 1, endStream: true, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.status } == [200])
    bench.expectAtRest()
  }

  @Test("a response body over the limit is a failure, not memory")
  func endlessResponse() {
    var limits = CoreLimits()
    limits.responseBytesMax = 10_000
    let bench = Bench(limits: limits)
    bench.onRequest = { peer, stream in
      peer.respond(stream, 200, body: [UInt8](repeating: 0, count: 16_000), end: false)
    }
    bench.submit()
    #expect(bench.results.map { $0.failure } == [.responseTooLarge])
    bench.expectAtRest()
  }

  @Test("a 2xx whose body is reset before its end is a failure, and is not retried")
  func cutResponse() {
    let bench = Bench()
    bench.onRequest = { peer, stream in
      peer.respond(stream, 200, body: [1, 2, 3], end: false)
      peer.http.reset(stream, .internalError)
    }
    bench.submit()
    #expect(bench.results.map { $0.failure } == [.reset])
    #expect(bench.results[0].attempts == 1)
    #expect(
      bench.results[0].details.description
        == "upstream_reset_after_response_started{remote_reset}: status 200, "
        + "192.0.2.1:443 reset the stream: INTERNAL_ERROR")
    bench.expectAtRest()
  }

  @Test("a response before the request's end is the response; the rest of the body is not sent")
  func earlyResponse() {
    let bench = Bench()
    bench.serverConfiguration.initialWindowSize = 100
    bench.onHeaders = { peer, stream in
      peer.readsBodies = false
      peer.respond(stream, 413)
    }
    bench.onRequest = { _, _ in }
    bench.submit(body: [UInt8](repeating: 9, count: 5_000))
    bench.submit(body: [UInt8](repeating: 9, count: 5_000))
    #expect(bench.results.map { $0.status } == [413, 413])
    #expect(bench.peer.requests[3]?.isComplete == false)
    #expect(bench.peer.events.contains(.reset(stream: 3, code: .cancel, origin: .peer)))
    #expect(bench.connects.count == 1)
    bench.expectAtRest()
  }

  @Test("a request that nothing routes says what is missing")
  func unroutable() {
    let bench = Bench()
    bench.submit(listener: "nobody")
    bench.submit(path: "relative")
    #expect(bench.results.map { $0.failure } == [.noListener, .noRoute])
    #expect(bench.results[0].details.description == "route_not_found: no listener nobody")
    #expect(bench.results[1].details.description == "route_not_found: no route for relative")
    #expect(bench.results.map { $0.attempts } == [0, 0])
    bench.core.apply(Bench.fixed([]), now: bench.now)
    bench.submit()
    #expect(bench.results[2].failure == .noHealthyUpstream)
    bench.expectAtRest()
  }

  @Test("cancel ends a request in every state, once, and the connection lives on")
  func cancel() {
    let bench = Bench()
    bench.onConnect = { _ in .ignore }
    bench.onRequest = { _, _ in }
    let waiting = bench.submit(1)!
    let sent = bench.submit(2)!
    bench.core.cancel(waiting, now: bench.now)
    bench.run()
    let (id, address) = bench.connecting.first!
    bench.accept(id, address)
    bench.run()
    #expect(bench.peer.order.count == 1)
    bench.core.cancel(sent, now: bench.now)
    bench.core.cancel(sent, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.token } == [1, 2])
    #expect(bench.results.map { $0.failure } == [.cancelled, .cancelled])
    #expect(bench.peer.events.contains(.reset(stream: 1, code: .cancel, origin: .peer)))
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    bench.submit(3)
    #expect(bench.results.last?.status == 200)
    #expect(bench.connects.count == 1)
    bench.core.cancel(sent, now: bench.now)
    bench.expectAtRest()
  }

  @Test("the table of requests is full until results are taken; then it is not")
  func full() {
    var limits = CoreLimits()
    limits.requestsMax = 2
    let bench = Bench(limits: limits)
    bench.onRequest = { _, _ in }
    #expect(bench.submit(1) != nil)
    #expect(bench.submit(2) != nil)
    #expect(bench.submit(3) == nil)
    bench.peer.respond(1, 200)
    bench.run()
    #expect(bench.submit(3) != nil)
  }

  @Test("bodies are bounded together: full is an answer; what can never fit is a result")
  func bytes() {
    var limits = CoreLimits()
    limits.requestBytesMax = 10_000
    let bench = Bench(limits: limits)
    bench.onRequest = { _, _ in }
    let body = [UInt8](repeating: 1, count: 6_000)
    #expect(bench.submit(1, body: body) != nil)
    #expect(bench.submit(2, body: body) == nil)
    #expect(bench.submit(3, body: body + body) != nil)
    #expect(bench.results.map { $0.failure } == [.requestTooLarge])
    bench.peer.respond(1, 200)
    bench.run()
    #expect(bench.submit(4, body: body) != nil)
    #expect(bench.core.requestPool.high <= 10_000)
  }
}
