import GRPC
import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Long-lived streams")
struct DuplexTests {
  @Test("both sides talk as they like, and the trailers end it")
  func conversation() throws {
    let bench = Bench()
    let id = try #require(bench.open(7))
    #expect(bench.events == [.opened(id)])
    #expect(bench.peer.requests[1]?.value(":path") == "/service/Stream")
    #expect(bench.peer.requests[1]?.isComplete == false)

    #expect(bench.send(id, [1, 2, 3]))
    bench.peer.respond(1, 200, end: false)
    bench.peer.say(1, [10, 11])
    bench.run()
    #expect(bench.events == [.opened(id), .headers(id, status: 200), .data(id)])
    #expect(bench.send(id, [4]))
    #expect(bench.peer.requests[1]?.body == [1, 2, 3, 4])
    bench.peer.say(1, [12])
    bench.run()
    #expect(bench.bodies[id] == [10, 11, 12])

    bench.advance(.seconds(3_600))
    #expect(bench.results.isEmpty)
    bench.core.finishSending(id, now: bench.now)
    bench.run()
    #expect(bench.peer.requests[1]?.isComplete == true)
    #expect(!bench.send(id, [5]))
    try bench.peer.http.submitHeaders(
      bench.peer.list([("grpc-status", "14"), ("grpc-message", "bye")]), on: 1, endStream: true,
      now: .zero)
    bench.run()
    let result = try #require(bench.results.first)
    #expect(bench.results.count == 1)
    #expect(result.outcome == .response(status: 200, grpcStatus: 14, retryAfter: nil))
    #expect(result.details == "bye")
    #expect(result.token == 7)
    #expect(bench.statistic("upstream_rq_tx_reset") == 0)
    bench.expectAtRest()
  }

  @Test("what is sent before the stream is on a connection goes out with it")
  func early() throws {
    let bench = Bench()
    bench.onConnect = { _ in .ignore }
    let id = try #require(bench.open())
    #expect(bench.send(id, [1, 2]))
    #expect(bench.send(id, [3]))
    #expect(bench.events.isEmpty)
    let connection = try #require(bench.connecting.first)
    bench.accept(connection.key, connection.value)
    bench.run()
    #expect(bench.events == [.opened(id)])
    #expect(bench.peer.requests[1]?.body == [1, 2, 3])
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("a response that ends with its headers is a result and nothing else")
  func trailersOnly() throws {
    let bench = Bench()
    bench.onHeaders = { peer, stream in
      peer.respond(stream, 200, [("grpc-status", "12"), ("grpc-message", "no%20such")])
    }
    let id = try #require(bench.open())
    #expect(!bench.events.contains(.headers(id, status: 200)))
    #expect(bench.results.count == 1)
    #expect(
      bench.results[0].outcome == .response(status: 200, grpcStatus: 12, retryAfter: nil))
    #expect(bench.results[0].details == "no%20such")
    // Our half was open.
    #expect(bench.peer.events.contains(.reset(stream: 1, code: .cancel, origin: .peer)))
    #expect(!bench.send(id, [1]))
    bench.expectAtRest()
  }

  @Test("a response that is no success is a result with its status", arguments: [404, 503])
  func status(status: Int) throws {
    let bench = Bench(Bench.fixed(retry: RetryPolicy(conditions: [.serverError], retries: 3)))
    bench.onHeaders = { peer, stream in peer.respond(stream, status) }
    _ = try #require(bench.open())
    bench.advance(.seconds(5))
    // The policy's retries are for requests that are whole.
    #expect(bench.results.map { $0.status } == [UInt16(status)])
    #expect(bench.peer.order == [1])
    bench.expectAtRest()
  }

  @Test("streams and requests share a connection")
  func shared() throws {
    let bench = Bench()
    let stream = try #require(bench.open())
    for token in 0..<10 { bench.submit(UInt64(token)) }
    #expect(bench.results.map { $0.status } == [UInt16?](repeating: 200, count: 10))
    #expect(bench.connects.count == 1)
    bench.send(stream, [1])
    #expect(bench.peer.requests[1]?.body == [1])
    bench.core.cancel(stream, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("there are as many as the limit says; one more has to wait for a result")
  func limit() throws {
    let bench = Bench()
    var ids: [RequestID] = []
    for token in 0..<bench.core.limits.streamsMax {
      ids.append(try #require(bench.open(UInt64(token))))
    }
    #expect(bench.open() == nil)
    bench.core.cancel(ids[1], now: bench.now)
    let request = UpstreamRequest(listener: "up", path: "/x", authority: "up.example.com")
    let next = bench.core.openStream(request, now: bench.now)
    #expect(next != nil)
    bench.run()
    for id in ids + [next!] { bench.core.cancel(id, now: bench.now) }
    bench.run()
    #expect(bench.results.count == ids.count + 1)
    #expect(bench.results.allSatisfy { $0.failure == .cancelled })
    bench.expectAtRest()
  }

  @Test("neither the route's time-outs nor a request's own run on a stream")
  func endless() throws {
    let bench = Bench(
      Bench.fixed(
        retry: RetryPolicy(conditions: [.reset], perTryTimeout: .seconds(1)), timeout: .seconds(2),
        idleTimeout: .seconds(3)
      ) { $0.keepAlive.interval = .zero })
    var request = UpstreamRequest(listener: "up", path: "/x", authority: "up.example.com")
    request.timeout = .seconds(1)
    let opened = bench.core.openStream(request, now: bench.now)
    let id = try #require(opened)
    bench.run()
    bench.advance(.seconds(86_400))
    #expect(bench.results.isEmpty)
    #expect(bench.core.nextDeadline() == nil)
    bench.send(id, [1])
    #expect(bench.peer.requests[1]?.body == [1])
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("keep-alive asks the peer of a stream at rest, and ends the stream when it is gone")
  func keepAlive() throws {
    let bench = Bench(
      Bench.fixed { cluster in
        cluster.keepAlive.interval = .seconds(30)
        cluster.keepAlive.timeout = .seconds(10)
      })
    _ = try #require(bench.open())
    bench.advance(.seconds(300))
    #expect(bench.results.isEmpty)
    bench.peer.isSilent = true
    bench.advance(.seconds(50))
    #expect(bench.results.map { $0.failure } == [.reset])
    #expect(bench.statistic("http2.keepalive_timeout") == 1)
    bench.expectAtRest()
  }

  @Test("no route and a dead upstream are results, as of any request")
  func failures() throws {
    let bench = Bench()
    let request = UpstreamRequest(listener: "other", path: "/x", authority: "up.example.com")
    #expect(bench.core.openStream(request, now: bench.now) != nil)
    bench.onConnect = { _ in .fail("refused") }
    _ = bench.open()
    #expect(bench.results.map { $0.failure } == [.noListener, .connectFailure])
    #expect(bench.events.isEmpty)
    bench.expectAtRest()
  }

  @Test("gRPC messages go both ways, in one piece or octet by octet", arguments: [1, 7, Int.max])
  func messages(segment: Int) throws {
    let bench = Bench()
    bench.segment = segment
    let id = try #require(bench.open())
    var random = SplitMix64(seed: 5)
    let messages = (0..<20).map { _ in
      [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: Int(random.below(400)))
    }
    bench.peer.respond(1, 200, [("content-type", "application/grpc")], end: false)
    for message in messages {
      var framed: [UInt8] = []
      MessageFraming.appendPrefix(length: message.count, to: &framed)
      framed += message
      #expect(bench.send(id, framed))
      bench.peer.say(1, framed)
    }
    bench.run()
    for body in [bench.peer.requests[1]!.body, bench.bodies[id]!] {
      var deframer = MessageDeframer(limit: 400)
      var found: [[UInt8]] = []
      var offset = 0
      while try deframer.receive(body.span, from: &offset) { found.append(deframer.message) }
      #expect(found == messages)
    }
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }
}
