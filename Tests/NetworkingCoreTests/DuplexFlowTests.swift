import HTTP2
import Policy
import Primitives
import Testing

@testable import NetworkingCore

@Suite("Flow control of long-lived streams")
struct DuplexFlowTests {
  @Test("content goes out through any window", arguments: [1, 10, 1_000, 65_535] as [UInt32])
  func sending(window: UInt32) throws {
    let bench = Bench()
    bench.serverConfiguration.initialWindowSize = window
    let id = try #require(bench.open())
    let content = BodyTests.body(window < 100 ? 2_000 : 60_000)
    #expect(bench.send(id, content))
    bench.core.finishSending(id, now: bench.now)
    bench.run()
    let isWhole = bench.peer.requests[1]?.body == content
    #expect(isWhole)
    #expect(bench.results.map { $0.status } == [200])
    bench.expectAtRest()
  }

  @Test("content comes in through any window", arguments: [1, 10, 1_000, 65_536] as [UInt32])
  func receiving(window: UInt32) throws {
    var limits = CoreLimits()
    limits.streamWindowBytes = window
    let bench = Bench(limits: limits)
    bench.reads = 3
    let id = try #require(bench.open())
    bench.run()
    let content = BodyTests.body(window < 100 ? 2_000 : 200_000)
    bench.peer.respond(1, 200, end: false)
    bench.peer.say(1, content)
    bench.run()
    let isWhole = bench.bodies[id] == content
    #expect(isWhole)
    #expect(bench.core.streamPool.high <= Int(window))
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("a peer that gives no credit costs the queue, and the requests beside go on")
  func noCredit() throws {
    let bench = Bench()
    bench.serverConfiguration.initialWindowSize = 1_000
    let id = try #require(bench.open())
    bench.peer.readsBodies = false
    let piece = [UInt8](repeating: 1, count: 1_000)
    var taken = 0
    while bench.send(id, piece) {
      taken += 1
      try #require(taken < 1_000)
    }
    // One is under way, the others wait.
    #expect(taken == 1 + streamQueueBytesMax / 1_000)
    #expect(bench.core.requestPool.used <= streamQueueBytesMax + 1_000)
    #expect(bench.core.sendRoom(id) == streamQueueBytesMax % 1_000)
    #expect(!bench.events.contains(.writable(id)))
    bench.submit(1, body: piece)
    #expect(bench.peer.requests[3]?.body == piece)
    #expect(bench.results.map { $0.status } == [200])

    // Credit again: what was refused is asked for, once.
    for _ in 0..<3 {
      bench.peer.http.release(1_000, on: 1)
      bench.run()
    }
    #expect(bench.events.filter { $0 == .writable(id) }.count == 1)
    #expect(bench.send(id, piece))
    bench.advance(.seconds(10_000))
    #expect(bench.results.count == 1)
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("more than the queue ever holds is refused without a promise")
  func tooMuch() throws {
    let bench = Bench()
    let id = try #require(bench.open())
    #expect(!bench.send(id, [UInt8](repeating: 0, count: streamQueueBytesMax + 1)))
    #expect(bench.peer.requests[1]?.body == [])
    #expect(bench.send(id, [UInt8](repeating: 0, count: streamQueueBytesMax)))
    #expect(bench.peer.requests[1]?.body.count == streamQueueBytesMax)
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("the pool of requests is shared: a stream waits for what others hold")
  func sharedPool() throws {
    var limits = CoreLimits()
    limits.requestBytesMax = 20_000
    let bench = Bench(limits: limits)
    let id = try #require(bench.open())
    bench.onRequest = { _, _ in }
    let other = try #require(bench.submit(1, body: [UInt8](repeating: 0, count: 15_000)))
    #expect(!bench.send(id, [UInt8](repeating: 0, count: 10_000)))
    #expect(!bench.events.contains(.writable(id)))
    bench.core.cancel(other, now: bench.now)
    bench.run()
    #expect(bench.events.last == .writable(id))
    #expect(bench.send(id, [UInt8](repeating: 0, count: 10_000)))
    #expect(bench.peer.requests[1]?.body.count == 10_000)
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("an owner that reads nothing costs one window; what it reads is credit")
  func ownerWaits() throws {
    let bench = Bench()
    bench.reads = 0
    let id = try #require(bench.open())
    let content = BodyTests.body(300_000)
    bench.peer.respond(1, 200, end: false)
    bench.peer.say(1, content)
    bench.run()
    let window = Int(bench.core.limits.streamWindowBytes)
    #expect(bench.core.bodyCount(id) == window)
    #expect(bench.core.streamPool.used == window)
    #expect(bench.peer.unsaidCount(1) == content.count - window)
    // The connection's window is not the stream's: requests beside it get their answers.
    bench.onRequest = { peer, stream in
      // Less than half of the connection's window, which is announced in halves.
      peer.respond(stream, 200, body: [UInt8](repeating: 1, count: 20_000))
    }
    for token in 1...4 { bench.submit(UInt64(token)) }
    #expect(bench.results.map { $0.status } == [200, 200, 200, 200])

    bench.reads = .max
    bench.read(id)
    bench.run()
    let isWhole = bench.bodies[id] == content
    #expect(isWhole)
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }

  @Test("the pool of streams, full: peers wait for credit, and there is no stream beyond the last")
  func fullPool() throws {
    let bench = Bench()
    bench.reads = 0
    let count = bench.core.limits.streamsMax
    let content = BodyTests.body(200_000)
    var ids: [RequestID] = []
    for number in 0..<count {
      ids.append(try #require(bench.open(UInt64(100 + number))))
      let stream = UInt32(2 * number + 1)
      bench.peer.respond(stream, 200, end: false)
      bench.peer.say(stream, content)
      bench.run()
    }
    let window = Int(bench.core.limits.streamWindowBytes)
    #expect(bench.core.streamPool.limit == count * window)
    #expect(bench.core.streamPool.used == count * window)
    for number in 0..<count {
      #expect(bench.peer.unsaidCount(UInt32(2 * number + 1)) == content.count - window)
    }
    #expect(bench.open(200) == nil)
    // What is taken of one is room for that one, and the others keep theirs.
    bench.reads = .max
    for id in ids {
      bench.read(id)
      bench.run()
      let isWhole = bench.bodies[id] == content
      #expect(isWhole)
      #expect(bench.core.streamPool.high <= bench.core.streamPool.limit)
    }
    for id in ids { bench.core.cancel(id, now: bench.now) }
    bench.run()
    bench.expectAtRest()
  }

  @Test("a socket that takes nothing for long ends the stream")
  func deafPeer() throws {
    let bench = Bench()
    let id = try #require(bench.open())
    bench.takesOutput = false
    bench.send(id, [1])
    bench.advance(.seconds(40))
    #expect(bench.results.map { $0.failure } == [.reset])
    bench.expectAtRest()
  }

  @Test("a stream at rest costs the requests beside it no turn")
  func atRest() throws {
    let bench = Bench()
    let id = try #require(bench.open())
    bench.send(id, [1])
    #expect(bench.core.connections.allSatisfy { $0.unsentBodies == 0 })
    bench.core.cancel(id, now: bench.now)
    bench.run()
    bench.expectAtRest()
  }
}
