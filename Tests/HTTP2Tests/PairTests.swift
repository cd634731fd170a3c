import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("A client and a server, back to back")
struct PairTests {
  private func content(_ count: Int, _ seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  @Test("a whole conversation, cut everywhere", arguments: [1, 2, 3, 8, 9, 10, 100, Int.max])
  func cut(step: Int) throws {
    var pair = Pair()
    pair.step = step
    pair.trailers = headerList([("grpc-status", "0"), ("grpc-message", "")])
    let bodies = [content(0, 1), content(1, 2), content(300, 3), content(5_000, 4)]
    var streams: [UInt32] = []
    for body in bodies { streams.append(try pair.post(body, [("x-long", "value")])) }
    try pair.drive()
    for (stream, body) in zip(streams, bodies) {
      #expect(pair.clientContent[stream, default: []] == body)
      let own = pair.clientEvents.filter { $0.stream == stream }
      #expect(own.first == .headers(stream: stream, kind: .informational, endStream: false))
      #expect(own.dropFirst().first == .headers(stream: stream, kind: .response, endStream: false))
      #expect(own.last == .headers(stream: stream, kind: .trailers, endStream: true))
    }
    #expect(pair.client.activeStreams == 0 && pair.server.activeStreams == 0)
  }

  @Test("large content through small windows and queues, cut at random", arguments: 0..<12)
  func smallWindows(seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    let windows = [1, 2, 17, 1_000, 65_535, 200_000]
    var pair = Pair { client, server in
      client.initialWindowSize = UInt32(windows[Int(random.below(6))])
      server.initialWindowSize = UInt32(windows[Int(random.below(6))])
      server.connectionWindowSize = 65_535 + UInt32(random.below(100_000))
      client.outputLimit = 16_384 + Int(random.below(60_000))
      server.outputLimit = 16_384 + Int(random.below(60_000))
    }
    let isSmall =
      min(
        pair.client.configuration.initialWindowSize, pair.server.configuration.initialWindowSize)
      < 50
    pair.step = isSmall ? 200 : 30_000
    pair.random = random
    var bodies: [UInt32: [UInt8]] = [:]
    for index in 0..<5 {
      let body = content(Int(random.below(isSmall ? 300 : 150_000)), seed &* 10 &+ UInt64(index))
      bodies[try pair.post(body)] = body
    }
    try pair.drive()
    for (stream, body) in bodies {
      #expect(
        pair.clientContent[stream, default: []] == body, "seed \(seed), stream \(stream)")
    }
    #expect(!pair.client.isClosed && !pair.server.isClosed, "seed \(seed)")
    #expect(pair.client.activeStreams == 0 && pair.server.activeStreams == 0, "seed \(seed)")
  }

  @Test("ten thousand requests on one connection take no more memory than a hundred")
  func manyRequests() throws {
    var pair = Pair()
    for _ in 0..<10_000 {
      _ = try pair.post([1, 2, 3])
      try pair.drive()
      pair.clientEvents.removeAll(keepingCapacity: true)
      pair.serverEvents.removeAll(keepingCapacity: true)
      pair.clientContent.removeAll(keepingCapacity: true)
    }
    #expect(pair.client.nextStream == 20_001)
    #expect(pair.client.activeStreams == 0 && pair.server.activeStreams == 0)
    #expect(pair.client.memory < 40_000, "\(pair.client.memory)")
    #expect(!pair.client.isClosed)
  }

  @Test("graceful shutdown from either side while requests are under way")
  func shutDown() throws {
    for clientFirst in [true, false] {
      var pair = Pair()
      try pair.drive()
      let stream = try pair.post(content(200_000, 9))
      if clientFirst { pair.client.shutDown() } else { pair.server.shutDown() }
      try pair.drive()
      if clientFirst {
        #expect(pair.clientContent[stream]?.count == 200_000)
        #expect(
          pair.clientEvents.last
            == .closed(HTTP2Error(origin: .local, code: .noError, cause: .graceful)))
      } else {
        // The server had not seen the request: it never processed it.
        #expect(pair.clientEvents.contains(.refused(stream: stream)))
        #expect(pair.client.isClosed)
      }
      #expect(pair.server.isClosed)
    }
  }
}

extension HTTP2Event {
  /// The stream an event speaks of; 0 for those of the connection.
  var stream: UInt32 {
    switch self {
    case .headers(let stream, _, _), .data(let stream, _, _, _), .writable(let stream),
      .reset(let stream, _, _), .refused(let stream):
      stream
    case .settings, .goAway, .closed: 0
    }
  }

  /// No further event may follow for that stream, on a client.
  var isTerminal: Bool {
    switch self {
    case .headers(_, _, let isEnd), .data(_, _, _, let isEnd): isEnd
    case .reset, .refused: true
    case .writable, .settings, .goAway, .closed: false
    }
  }
}
