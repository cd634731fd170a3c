import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("How long-lived streams end")
struct DuplexEndTests {
  /// A stream on which both sides have talked.
  private func talking(_ bench: Bench) throws -> RequestID {
    let id = try #require(bench.open())
    bench.send(id, [1, 2, 3])
    bench.peer.respond(1, 200, end: false)
    bench.peer.say(1, [9])
    bench.run()
    #expect(bench.bodies[id] == [9])
    return id
  }

  @Test("the result of a complete response waits until its body was taken")
  func drained() throws {
    let bench = Bench()
    bench.reads = 0
    let id = try #require(bench.open())
    bench.peer.respond(
      1, 200, body: [1, 2, 3], trailers: [("grpc-status", "0")])
    bench.run()
    #expect(bench.events == [.opened(id), .headers(id, status: 200), .data(id)])
    #expect(bench.results.isEmpty)
    #expect(!bench.send(id, [1]))
    // Not even with its connection does it go.
    bench.disconnect(bench.peer)
    bench.core.apply(PolicySnapshot(), now: bench.now)
    bench.reads = 2
    bench.core.takeBody(id, now: bench.now) { _ in 2 }
    bench.run()
    #expect(bench.results.isEmpty)
    #expect(bench.core.bodyCount(id) == 1)
    bench.core.takeBody(id, now: bench.now) { bytes in
      #expect(bytes[0] == 3)
      return 1
    }
    bench.run()
    #expect(
      bench.results.map { $0.outcome } == [.response(status: 200, grpcStatus: 0, retryAfter: nil)])
    bench.expectAtRest()
  }

  @Test("to cancel a complete response gives its result up to the owner at once")
  func cancelDrained() throws {
    let bench = Bench()
    bench.reads = 0
    let id = try #require(bench.open())
    bench.peer.respond(1, 200, body: [1, 2, 3])
    bench.run()
    bench.core.cancel(id, now: bench.now)
    bench.core.cancel(id, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.status } == [200])
    bench.expectAtRest()
  }

  @Test("cancel resets the stream, and takes what waits with it")
  func cancel() throws {
    let bench = Bench()
    bench.serverConfiguration.initialWindowSize = 2
    let id = try #require(bench.open())
    bench.peer.readsBodies = false
    bench.send(id, [1, 2, 3, 4])
    bench.reads = 0
    bench.peer.respond(1, 200, end: false)
    bench.peer.say(1, [9, 9])
    bench.run()
    bench.core.cancel(id, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.failure } == [.cancelled])
    #expect(bench.peer.events.contains(.reset(stream: 1, code: .cancel, origin: .peer)))
    #expect(bench.core.takeBody(id, now: bench.now) { $0.count } == 0)
    bench.expectAtRest()
    // The connection serves on.
    bench.submit(1, body: [])
    #expect(bench.results.last?.status == 200)
    #expect(bench.connects.count == 1)
  }

  @Test("a reset in the middle is a failure, with what was not taken gone")
  func reset() throws {
    let bench = Bench()
    let id = try talking(bench)
    bench.reads = 0
    bench.peer.say(1, [8, 8])
    bench.run()
    bench.peer.http.reset(1, .internalError)
    bench.run()
    let result = try #require(bench.results.first)
    #expect(bench.results.count == 1)
    #expect(result.failure == .reset)
    #expect(result.details.description.contains("INTERNAL_ERROR"))
    #expect(bench.core.bodyCount(id) == 0)
    bench.expectAtRest()
  }

  @Test("the loss of the connection is a failure, and is not retried")
  func loss() throws {
    let bench = Bench()
    _ = try talking(bench)
    bench.disconnect(bench.peer)
    #expect(bench.results.map { $0.failure } == [.reset])
    #expect(bench.connects.count == 1)
    bench.expectAtRest()
    // The connection had served: the next one may be opened at once.
    let again = bench.open()
    #expect(again != nil)
    #expect(bench.connects.count == 2)
    #expect(bench.connects[0].at == bench.connects[1].at)
  }

  @Test("a stream that was refused is opened again once, silently, unless content had gone out")
  func refused() throws {
    let bench = Bench()
    var refusals = 0
    bench.onHeaders = { peer, stream in
      guard refusals < 1 else { return }
      refusals += 1
      peer.http.reset(stream, .refusedStream)
    }
    let id = try #require(bench.open())
    #expect(bench.events == [.opened(id)])
    #expect(bench.peer.order == [1, 3])
    bench.send(id, [1])
    #expect(bench.peer.requests[3]?.body == [1])
    bench.peer.http.reset(3, .refusedStream)
    bench.run()
    #expect(bench.results.map { $0.failure } == [.refused])
    bench.expectAtRest()
  }

  @Test("a stream that was refused twice is refused")
  func refusedTwice() throws {
    let bench = Bench()
    bench.onHeaders = { peer, stream in peer.http.reset(stream, .refusedStream) }
    _ = try #require(bench.open())
    #expect(bench.results.map { $0.failure } == [.refused])
    #expect(bench.peer.order == [1, 3])
    bench.expectAtRest()
  }

  /// GOAWAY NO_ERROR that names stream 0: nothing was processed.
  private static let nothingProcessed: [UInt8] =
    [0, 0, 8, 7, 0, 0, 0, 0, 0] + [0, 0, 0, 0] + [0, 0, 0, 0]

  @Test("an end of sending that the peer did not process is sent again")
  func refusedEnd() throws {
    let bench = Bench()
    bench.onRequest = { _, _ in }
    let id = try #require(bench.open())
    bench.core.finishSending(id, now: bench.now)
    bench.run()
    #expect(bench.peer.requests[1]?.isComplete == true)
    bench.onRequest = { peer, stream in peer.respond(stream, 200) }
    bench.core.received(bench.peer.id, Self.nothingProcessed.span, now: bench.now)
    bench.run()
    #expect(bench.connects.count == 2)
    #expect(bench.peer.requests[1]?.isComplete == true)
    #expect(bench.results.map { $0.status } == [200])
    bench.expectAtRest()
  }

  @Test("GOAWAY in two steps leaves a stream alone, and sends others elsewhere")
  func goAway() throws {
    let bench = Bench()
    let id = try talking(bench)
    let first = bench.peer
    first.http.announceShutDown()
    bench.run()
    bench.submit(1)
    #expect(bench.connects.count == 2)
    first.http.shutDown()
    bench.run()
    #expect(bench.results.map { $0.token } == [1])
    bench.send(id, [4])
    #expect(first.requests[1]?.body == [1, 2, 3, 4])
    first.say(1, [10])
    bench.run()
    #expect(bench.bodies[id] == [9, 10])
    try first.http.submitHeaders(
      first.list([("grpc-status", "0")]), on: 1, endStream: true, now: .zero)
    bench.run()
    #expect(bench.results.last?.status == 200)
    #expect(bench.closes == 1)
    bench.expectAtRest()
  }

  @Test("a GOAWAY that leaves the stream out sends it again, as long as it has said nothing")
  func goAwayBefore() throws {
    for hasSpoken in [false, true] {
      let bench = Bench()
      let id = try #require(bench.open())
      let first = bench.peer
      if hasSpoken { bench.send(id, [1]) }
      bench.core.received(first.id, Self.nothingProcessed.span, now: bench.now)
      bench.run()
      if hasSpoken {
        #expect(bench.results.map { $0.failure } == [.refused])
      } else {
        #expect(bench.results.isEmpty)
        #expect(bench.connects.count == 2)
        bench.send(id, [2])
        #expect(bench.peer.requests[1]?.body == [2])
        bench.core.cancel(id, now: bench.now)
        bench.run()
      }
      #expect(bench.events == [.opened(id)])
      bench.expectAtRest()
    }
  }

  @Test("a policy without the stream's cluster leaves the stream where it is")
  func removedCluster() throws {
    let bench = Bench()
    let id = try talking(bench)
    bench.core.apply(PolicySnapshot(), now: bench.now)
    bench.run()
    bench.send(id, [4])
    #expect(bench.peer.requests[1]?.body == [1, 2, 3, 4])
    bench.core.cancel(id, now: bench.now)
    bench.run()
    #expect(bench.closes == 1)
    bench.expectAtRest()
  }

  @Test("a stream that breaks a rule is reset, and its result says which")
  func brokenRule() throws {
    let bench = Bench()
    let id = try #require(bench.open())
    // DATA before HEADERS.
    let data: [UInt8] = [0, 0, 1, 0, 0, 0, 0, 0, 1, 7]
    bench.core.received(bench.peer.id, data.span, now: bench.now)
    bench.run()
    #expect(bench.results.map { $0.failure } == [.protocolError])
    #expect(bench.events == [.opened(id)])
    bench.expectAtRest()
  }
}
