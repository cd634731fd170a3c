import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Bodies and windows")
struct BodyTests {
  static func body(_ count: Int, _ seed: UInt64 = 1) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  @Test("a body larger than every window arrives whole", arguments: [1, 100, 16_384, 65_535])
  func largerThanWindows(window: UInt32) {
    let bench = Bench()
    bench.serverConfiguration.initialWindowSize = window
    let body = Self.body(window == 1 ? 3_000 : 300_000)
    var arrived: [UInt8] = []
    bench.onRequest = { peer, stream in
      arrived = peer.requests[stream]!.body
      peer.respond(stream, 200)
    }
    bench.submit(0)
    bench.submit(1, body: body)
    #expect(bench.results.map { $0.status } == [200, 200])
    let isWhole = arrived == body
    #expect(isWhole)
    bench.expectAtRest()
  }

  @Test("a body of exactly one turn, and around it", arguments: [16_383, 16_384, 16_385, 32_768])
  func turns(size: Int) {
    let bench = Bench()
    let body = Self.body(size)
    var arrived: [[UInt8]] = []
    bench.onRequest = { peer, stream in
      arrived.append(peer.requests[stream]!.body)
      peer.respond(stream, 200)
    }
    bench.submit(1, body: body)
    bench.submit(2, body: [])
    #expect(bench.results.map { $0.token } == [1, 2])
    #expect(arrived.map { $0.count } == [size, 0])
    let isWhole = arrived[0] == body
    #expect(isWhole)
  }

  @Test("a request whose window is used up does not block the others on its connection")
  func stalled() {
    let bench = Bench()
    bench.serverConfiguration.initialWindowSize = 1_000
    bench.onHeaders = { peer, stream in peer.readsBodies = stream != 3 }
    bench.submit(0)
    let body = Self.body(5_000)
    bench.submit(1, body: body)
    for token in 2...30 { bench.submit(UInt64(token), body: Self.body(500, token64(token))) }
    #expect(bench.results.count == 30)
    #expect(!bench.results.contains { $0.token == 1 })
    for _ in 0..<10 {
      bench.peer.http.release(1_000, on: 3)
      bench.run()
    }
    #expect(bench.results.last?.token == 1)
    #expect(bench.peer.requests[3]?.body == body)
    #expect(bench.connects.count == 1)
    bench.expectAtRest()
  }

  private func token64(_ token: Int) -> UInt64 { UInt64(token) }

  @Test("bodies on one connection share it: a small one is not behind a large one")
  func fair() {
    let bench = Bench()
    // The connection's window of 65 535 bytes is all there is; credit comes by hand.
    bench.submit(0)
    let bodies = (1...4).map { Self.body(100_000, UInt64($0)) }
    var done: [UInt64] = []
    bench.onRequest = { peer, stream in
      done.append(UInt64(stream))
      peer.respond(stream, 200)
    }
    for (index, body) in bodies.enumerated() { bench.submit(UInt64(index + 1), body: body) }
    #expect(bench.results.count == 5)
    for (index, stream) in [3, 5, 7, 9].enumerated() {
      #expect(bench.peer.requests[UInt32(stream)]?.body == bodies[index])
    }
    bench.expectAtRest()
  }

  @Test("a socket that takes nothing holds a bounded amount; requests wait and then go")
  func fullSocket() {
    var limits = CoreLimits()
    limits.outputBytesMax = 16_384
    let bench = Bench(limits: limits)
    bench.submit(0)
    let id = bench.peer.id
    var ids: [RequestID] = []
    for token in 1...20 {
      let request = UpstreamRequest(
        listener: "up", path: "/v1/state", authority: "up.example.com",
        body: Self.body(5_000), token: UInt64(token))
      ids.append(bench.core.submit(request, now: bench.now)!)
      #expect(bench.core.withOutput(id) { $0.count } <= 16_384 + 32_768)
    }
    #expect(bench.core.requestsUnderWay == 20)
    bench.run()
    #expect(bench.results.count == 21)
    #expect(Set(bench.results.map { $0.token }).count == 21)
    bench.expectAtRest()
  }

  @Test("a retried request sends its whole body again")
  func again() {
    let bench = Bench()
    let body = Self.body(40_000)
    var calls = 0
    bench.onRequest = { peer, stream in
      calls += 1
      #expect(peer.requests[stream]?.body == body)
      if calls == 1 { peer.http.reset(stream, .internalError) } else { peer.respond(stream, 200) }
    }
    bench.submit(1, body: body)
    bench.advance(.milliseconds(25))
    #expect(calls == 2)
    #expect(bench.results.map { $0.status } == [200])
  }
}
