import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("Conversations")
struct ConversationTests {
  @Test("RFC 9113 §3.4: a client begins with the preface and SETTINGS, push off")
  func clientOpening() {
    var client = Scripted(role: .client)
    #expect(client.output().starts(with: Frames.preface))
    let frames = client.sent()
    #expect(frames.map(\.type) == [.settings])
    let entries = frames[0].settings()
    #expect(entries.contains(Setting(Setting.enablePush, 0)))
    #expect(entries.contains(Setting(Setting.initialWindowSize, 65_535)))
  }

  @Test("RFC 9113 §6.5.3: SETTINGS are applied, told and acknowledged")
  func settings() {
    var client = Scripted(role: .client)
    _ = client.sent()
    #expect(client.receive(Frames.settings()) == [.settings])
    let frames = client.sent()
    #expect(frames.map(\.type) == [.settings])
    #expect(frames[0].header.flags == 1 && frames[0].payload == [])
  }

  @Test("RFC 9113 §8.1: a request with content, a response with content", arguments: [0, 1, 2, 7])
  func exchange(step: Int) throws {
    var client = Scripted.client()
    client.step = step
    let stream = try client.open(endStream: false)
    let body = Array("hello".utf8)
    let taken = try client.machine.submitData(
      body.span, on: stream, endStream: true, now: client.now)
    #expect(taken == 5)
    let frames = client.sent()
    #expect(frames.map(\.type) == [.headers, .data])
    #expect(frames[0].header.flags == FrameFlags.endHeaders)
    #expect(frames[1].header.flags == FrameFlags.endStream && frames[1].payload == body)

    let events = client.receive(
      Frames.headers(stream, response("200", [("content-length", "5")]))
        + Frames.data(stream, Array("world".utf8), end: true))
    #expect(events.first == .headers(stream: stream, kind: .response, endStream: false))
    #expect(client.content[stream] == Array("world".utf8))
    guard case .data(stream, _, _, true)? = events.last else {
      Issue.record("no end: \(events)")
      return
    }
    #expect(client.machine.activeStreams == 0)
  }

  @Test("RFC 9113 §8.1: informational responses, a response, trailers", arguments: [0, 1, 5])
  func trailers(step: Int) throws {
    var client = Scripted.client()
    client.step = step
    let stream = try client.open()
    var events = client.receive(
      Frames.headers(stream, response("103", [("link", "</a>")]))
        + Frames.headers(stream, response("100")))
    #expect(
      events == [
        .headers(stream: stream, kind: .informational, endStream: false),
        .headers(stream: stream, kind: .informational, endStream: false),
      ])
    events = client.receive(Frames.headers(stream, response()))
    #expect(events == [.headers(stream: stream, kind: .response, endStream: false)])
    #expect(pairs(client.machine.receivedHeaders) == [":status=200"])
    _ = client.receive(Frames.data(stream, [1, 2, 3]))
    events = client.receive(
      Frames.headers(stream, Frames.block([("grpc-status", "0")]), end: true))
    #expect(events == [.headers(stream: stream, kind: .trailers, endStream: true)])
    #expect(pairs(client.machine.receivedHeaders) == ["grpc-status=0"])
    #expect(client.machine.activeStreams == 0)
  }

  @Test("RFC 9113 §6.10: a header block in many CONTINUATION frames", arguments: [0, 1])
  func continuation(step: Int) throws {
    var client = Scripted.client()
    client.step = step
    let stream = try client.open()
    let block = response("200", [("x-long", String(repeating: "a", count: 3_000))])
    var bytes = Frames.headers(stream, Array(block[..<1]), flags: 0)
    for cut in stride(from: 1, to: block.count, by: 400) {
      let end = min(cut + 400, block.count)
      bytes += Frames.continuation(stream, Array(block[cut..<end]), end: end == block.count)
    }
    #expect(
      client.receive(bytes) == [.headers(stream: stream, kind: .response, endStream: false)])
    #expect(client.machine.receivedHeaders.value(1).count == 3_000)
  }

  @Test("RFC 9113 §4.3: a long header list goes out as HEADERS and CONTINUATION")
  func longRequest() throws {
    var client = Scripted.client()
    let value = String(repeating: "\u{7f}", count: 10_000)
    _ = try client.machine.submitHeaders(
      request("GET", "/", [("a", value), ("b", value)]), endStream: true, now: client.now)
    let frames = client.sent()
    #expect(frames.map(\.type) == [.headers, .continuation])
    #expect(frames[0].header.flags == FrameFlags.endStream)
    #expect(frames[1].header.flags == FrameFlags.endHeaders)
    var decoder = HPACKDecoder(
      maximumTableSize: 4_096, maximumListSize: 65_536, maximumFields: 100)
    var list = HeaderList()
    _ = try decoder.decode((frames[0].payload + frames[1].payload).span, into: &list)
    #expect(list.count == 6 && list.value(5).count == 10_000)
  }

  @Test("RFC 9113 §6.1, §6.2: padding is taken off and given back", arguments: [0, 1, 3])
  func padding(step: Int) throws {
    var client = Scripted.client { $0.initialWindowSize = 1_000 }
    client.step = step
    let stream = try client.open()
    _ = client.sent()
    let padded: [UInt8] = [3] + response() + [0, 0, 0]
    _ = client.receive(Frames.headers(stream, padded, flags: 0x0c))
    var events: [HTTP2Event] = []
    for _ in 0..<40 {
      events += client.receive(Frames.data(stream, [7], padding: 60))
      client.machine.release(1, on: stream)
    }
    events += client.receive(Frames.data(stream, [8], end: true, padding: 9))
    #expect(client.content[stream]?.count == 41)
    #expect(events.last.map { if case .data(_, _, _, true) = $0 { true } else { false } } == true)
    let updates = client.sent().filter { $0.type == .windowUpdate }
    #expect(updates.count >= 3)
    #expect(client.machine.activeStreams == 0)
  }

  @Test("RFC 9113 §5.3: priority in HEADERS and PRIORITY frames are ignored")
  func priority() throws {
    var client = Scripted.client()
    let stream = try client.open()
    let block: [UInt8] = [0, 0, 0, 0, 16] + response()
    let events = client.receive(
      Frames.frame(2, stream: 99, [0, 0, 0, 0, 1])
        + Frames.headers(stream, block, end: true, flags: 0x24))
    #expect(events == [.headers(stream: stream, kind: .response, endStream: true)])
  }

  @Test("RFC 9113 §5.5: unknown frame types are skipped", arguments: [0, 1])
  func unknownFrames(step: Int) throws {
    var client = Scripted.client()
    client.step = step
    let events = client.receive(
      Frames.frame(0xbe, flags: 0xff, stream: 5, Array(repeating: 1, count: 500))
        + Frames.frame(0x10, []) + Frames.ping())
    #expect(events == [])
    #expect(client.sent().map(\.type) == [.ping])
  }

  @Test("RFC 9113 §6.7: PING is answered with the same octets")
  func ping() {
    var client = Scripted.client()
    _ = client.receive(Frames.ping([9, 8, 7, 6, 5, 4, 3, 2]))
    let frames = client.sent()
    #expect(frames.map(\.type) == [.ping])
    #expect(frames[0].header.flags == 1)
    #expect(frames[0].payload == [9, 8, 7, 6, 5, 4, 3, 2])
  }

  @Test("a server answers HTTP/1 style nonsense with an error; a client names an HTTP/1 answer")
  func notHTTP2() {
    var client = Scripted(role: .client)
    expectConnectionError(
      &client, Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), .notHTTP2)
    var server = Scripted(role: .server)
    expectConnectionError(&server, Array("GET / HT".utf8), .badPreface)
  }
}
