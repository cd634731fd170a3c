import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("Floods")
struct AbuseTests {
  /// Repeats `bytes` until the connection ends, and answers for what and how often.
  private func flood(
    _ scripted: inout Scripted, limit: Int = 20_000, reading: Bool = true,
    _ bytes: (Int) -> [UInt8]
  ) -> (HTTP2Cause?, Int) {
    for turn in 0..<limit {
      for event in scripted.receive(bytes(turn)) {
        if case .closed(let error) = event { return (error.cause, turn) }
      }
      if reading { _ = scripted.sent() }
    }
    return (nil, limit)
  }

  @Test("CVE-2019-9515: SETTINGS")
  func settings() {
    var client = Scripted.client()
    let (cause, count) = flood(&client) { _ in Frames.settings() }
    #expect(cause == .settingsFlood && count < 200)
    var large = Scripted.client()
    let entries = (0..<33).map { (UInt16(0x100 + $0), UInt32(0)) }
    expectConnectionError(&large, Frames.settings(entries), .settingsFlood)
  }

  @Test("CVE-2019-9512: PING")
  func ping() {
    var client = Scripted.client()
    let (cause, count) = flood(&client) { _ in Frames.ping() }
    #expect(cause == .pingFlood && count < 1_000)
  }

  @Test("a PING each second, or one for each DATA frame sent, goes on for ever")
  func politePing() throws {
    var client = Scripted.client()
    for _ in 0..<5_000 {
      client.now = client.now + .seconds(1)
      #expect(client.receive(Frames.ping()) == [])
      _ = client.sent()
    }
    _ = client.receive(
      Frames.settings([(Setting.initialWindowSize, 1_000_000)]) + Frames.windowUpdate(0, 1_000_000))
    let stream = try client.open(endStream: false)
    for _ in 0..<5_000 {
      _ = try client.machine.submitData([1].span, on: stream, endStream: false, now: client.now)
      #expect(client.receive(Frames.ping()) == [])
      _ = client.sent()
    }
    #expect(!client.machine.isClosed)
  }

  @Test("CVE-2019-9512, not reading the answers: the output queue keeps its bound")
  func answersUnread() {
    var client = Scripted.client { $0.outputLimit = 16_384 }
    let (cause, _) = flood(&client, reading: false) { _ in Frames.ping() }
    #expect(cause == .pingFlood)
    var patient = Scripted.client { $0.outputLimit = 16_384 }
    var ended: HTTP2Cause?
    for _ in 0..<10_000 where ended == nil {
      patient.now = patient.now + .seconds(1)
      for event in patient.receive(Frames.ping()) {
        if case .closed(let error) = event { ended = error.cause }
      }
      let most = 16_384 + HTTP2Limits.controlBytesMax + HTTP2Limits.goAwayBytesMax
      #expect(patient.machine.outputCount <= most)
    }
    #expect(ended == .outputFlood)
    #expect(patient.sent().last?.type == .goAway)
  }

  @Test("CVE-2023-44487: a client that opens and resets streams")
  func rapidReset() {
    let block = Frames.block([(":method", "GET"), (":scheme", "http"), (":path", "/")])
    var server = Scripted.server()
    let (cause, count) = flood(&server) { turn in
      let stream = UInt32(2 * turn + 1)
      return Frames.headers(stream, block, end: true) + Frames.reset(stream, .cancel)
    }
    #expect(cause == .resetFlood && count <= 1_000)
    #expect(server.machine.activeStreams == 0)
  }

  @Test("CVE-2025-8671: a client that makes the server reset its streams")
  func madeYouReset() {
    let block = Frames.block([(":method", "GET"), (":scheme", "http"), (":path", "/")])
    var server = Scripted.server()
    let (cause, count) = flood(&server) { turn in
      let stream = UInt32(2 * turn + 1)
      return Frames.headers(stream, block, end: true) + Frames.windowUpdate(stream, 0)
    }
    #expect(cause == .resetFlood || cause == .windowUpdateFlood)
    #expect(count <= 1_000)
  }

  @Test("CVE-2024-27316: CONTINUATION without end")
  func continuation() throws {
    for content: [UInt8] in [[], [0]] {
      var client = Scripted.client()
      let stream = try client.open()
      _ = client.receive(Frames.headers(stream, [], flags: 0))
      let (cause, count) = flood(&client) { _ in
        Frames.continuation(stream, content, end: false)
      }
      #expect(cause == .continuationFlood && count <= 16)
    }
  }

  @Test("CVE-2019-9518: empty DATA frames")
  func emptyData() throws {
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()) + Frames.data(stream, []))
    // One is allowed, and one again after content.
    _ = client.receive(Frames.data(stream, [1]) + Frames.data(stream, []))
    expectConnectionError(&client, Frames.data(stream, []), .emptyFrameFlood)
  }

  @Test("WINDOW_UPDATE: ten for each DATA frame sent, and some to begin with")
  func windowUpdate() throws {
    var client = Scripted.client()
    let (cause, count) = flood(&client) { _ in Frames.windowUpdate(0, 1) }
    #expect(cause == .windowUpdateFlood && count < 100)
    var busy = Scripted.client()
    let stream = try busy.open(endStream: false)
    for _ in 0..<1_000 {
      _ = try busy.machine.submitData([1].span, on: stream, endStream: false, now: busy.now)
      _ = busy.sent()
      _ = busy.receive(Frames.windowUpdate(stream, 1) + Frames.windowUpdate(0, 1))
    }
    #expect(!busy.machine.isClosed)
  }

  @Test("frames that mean nothing: PRIORITY, unknown types, acknowledgements of nothing")
  func meaningless() throws {
    let kinds: [([UInt8], HTTP2Cause)] = [
      (Frames.frame(2, stream: 1, [0, 0, 0, 0, 0]), .priorityFlood),
      (Frames.frame(0xaa, [1]), .frameFlood), (Frames.ping(ack: true), .frameFlood),
    ]
    for (bytes, expected) in kinds {
      var client = Scripted.client()
      _ = try client.open()
      let (cause, count) = flood(&client) { _ in bytes }
      #expect(cause == expected && count <= 1_001)
    }
  }

  @Test("informational responses without end are the stream's fault")
  func informational() throws {
    var client = Scripted.client()
    let stream = try client.open()
    for _ in 0..<Int(HTTP2Limits.informationalMax) {
      #expect(client.receive(Frames.headers(stream, response("102"))).count == 1)
    }
    expectStreamError(
      &client, Frames.headers(stream, response("102")), on: stream, .informationalFlood)
  }

  @Test("a server's limit on streams: those above are refused and may be sent again")
  func streamLimit() {
    let block = Frames.block([(":method", "GET"), (":scheme", "http"), (":path", "/")])
    var server = Scripted.server { $0.maxConcurrentStreams = 2 }
    #expect(server.receive(Frames.headers(1, block) + Frames.headers(3, block)).count == 2)
    #expect(server.receive(Frames.headers(5, block) + Frames.data(5, [1])) == [])
    let frames = server.sent()
    #expect(frames.map(\.type) == [.rstStream])
    #expect(frames[0].header.stream == 5)
    #expect(frames[0].word() == HTTP2ErrorCode.refusedStream.rawValue)
    _ = server.receive(Frames.reset(1, .cancel))
    #expect(server.receive(Frames.headers(7, block)).count == 1)
  }

  @Test("a token bucket refills in whole tokens and keeps the rest")
  func rateLimit() {
    var limit = RateLimit(burst: 2, perSecond: 10, now: Instant(nanoseconds: 0))
    // How many tokens each moment gives. A clock that goes back gives none and takes none.
    var given: [Int] = []
    for milliseconds: UInt64 in [0, 99, 150, 200, 299, 300, 1_000_000_000, 5] {
      var count = 0
      while limit.take(now: Instant(nanoseconds: milliseconds * 1_000_000)) { count += 1 }
      given.append(count)
    }
    #expect(given == [2, 0, 1, 1, 0, 1, 2, 0])
  }
}
