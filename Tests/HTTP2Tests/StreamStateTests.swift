import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("Stream states")
struct StreamStateTests {
  @Test("RFC 9113 §5.1: frames on an idle stream end the connection")
  func idle() throws {
    for bytes in [
      Frames.data(3, [1]), Frames.headers(3, response()), Frames.reset(3, .cancel),
      Frames.windowUpdate(3, 1), Frames.data(2, [1]), Frames.windowUpdate(2, 1),
      Frames.reset(4, .cancel),
    ] {
      var client = Scripted.client()
      _ = try client.open()
      let isHeaders = bytes[3] == 1
      expectConnectionError(&client, bytes, isHeaders ? .idleStream : .idleStream)
    }
  }

  @Test("RFC 9113 §5.1.1: a server opens no stream")
  func evenStream() {
    var client = Scripted.client()
    expectConnectionError(&client, Frames.headers(2, response()), .streamIdentifierWrong)
  }

  @Test("RFC 9113 §5.1.1: a client's identifiers are odd and rise")
  func clientIdentifiers() {
    let block = Frames.block([(":method", "GET"), (":scheme", "http"), (":path", "/")])
    var even = Scripted.server()
    expectConnectionError(&even, Frames.headers(2, block, end: true), .streamIdentifierWrong)
    var falling = Scripted.server()
    #expect(falling.receive(Frames.headers(5, block, end: true)).count == 1)
    expectConnectionError(&falling, Frames.headers(3, block, end: true), .streamIdentifierWrong)
  }

  @Test("RFC 9113 §5.1 half-closed (remote): DATA and HEADERS are a stream error")
  func halfClosedRemote() throws {
    for bytes in [Frames.data(1, [1]), Frames.headers(1, response())] {
      var client = Scripted.client()
      let stream = try client.open(endStream: false)
      _ = client.receive(Frames.headers(stream, response(), end: true))
      _ = client.sent()
      // The response's end was told already, so there is no second one.
      #expect(client.receive(bytes) == [])
      let frames = client.sent()
      #expect(frames.map(\.type) == [.rstStream])
      #expect(frames[0].word() == HTTP2ErrorCode.streamClosed.rawValue)
      #expect(client.machine.activeStreams == 0)
      #expect(throws: HTTP2SubmitError.streamClosed) {
        try client.machine.submitData([1].span, on: stream, endStream: true, now: client.now)
      }
    }
  }

  @Test("RFC 9113 §5.1 closed: frames after END_STREAM of both sides end the connection")
  func closedByEnd() throws {
    for bytes in [Frames.data(1, [1]), Frames.headers(1, response())] {
      var client = Scripted.client()
      let stream = try client.open()
      _ = client.receive(Frames.headers(stream, response(), end: true))
      expectConnectionError(&client, bytes, .frameOnClosedStream)
    }
  }

  @Test("RFC 9113 §5.1 closed: WINDOW_UPDATE, RST_STREAM and PRIORITY may come late")
  func lateControl() throws {
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response(), end: true))
    let events = client.receive(
      Frames.windowUpdate(stream, 10) + Frames.reset(stream, .noError)
        + Frames.frame(2, stream: stream, [0, 0, 0, 0, 0]) + Frames.windowUpdate(stream, 0))
    #expect(events == [])
    #expect(!client.machine.isClosed)
  }

  @Test("RFC 9113 §5.1 closed: whatever comes after our own RST_STREAM is ignored")
  func closedByUs() throws {
    var client = Scripted.client()
    let stream = try client.open()
    client.machine.reset(stream, .cancel)
    #expect(client.sent().last?.word() == HTTP2ErrorCode.cancel.rawValue)
    let events = client.receive(
      Frames.headers(stream, response()) + Frames.data(stream, [1, 2, 3])
        + Frames.data(stream, [4], end: true) + Frames.reset(stream, .cancel))
    #expect(events == [] && client.content.isEmpty)
    #expect(client.sent() == [])
  }

  @Test("RFC 9113 §5.1 closed: frames after the peer's RST_STREAM are a stream error")
  func closedByPeer() throws {
    var client = Scripted.client()
    let stream = try client.open()
    #expect(
      client.receive(Frames.reset(stream, .internalError)) == [
        .reset(stream: stream, code: .internalError, origin: .peer)
      ])
    _ = client.sent()
    #expect(client.receive(Frames.data(stream, [1])) == [])
    #expect(client.sent().first?.word() == HTTP2ErrorCode.streamClosed.rawValue)
  }

  @Test("a stream that closed long ago is forgotten, and its late frames are ignored")
  func forgotten() throws {
    var client = Scripted.client()
    for _ in 0..<HTTP2Limits.closedStreamsMax + 1 {
      let stream = try client.open()
      _ = client.receive(Frames.headers(stream, response(), end: true))
    }
    #expect(client.receive(Frames.data(1, [1])) == [])
    #expect(!client.machine.isClosed)
    let last = UInt32(2 * HTTP2Limits.closedStreamsMax + 1)
    expectConnectionError(&client, Frames.data(last, [1]), .frameOnClosedStream)
  }

  @Test("RFC 9113 §8.1: DATA before HEADERS is malformed")
  func dataFirst() throws {
    var client = Scripted.client()
    let stream = try client.open()
    expectStreamError(&client, Frames.data(stream, [1]), on: stream, .dataBeforeHeaders)
    // 1xx does not begin the message.
    let other = try client.open()
    _ = client.receive(Frames.headers(other, response("100")))
    expectStreamError(&client, Frames.data(other, [1]), on: other, .dataBeforeHeaders)
  }

  @Test("RFC 9113 §8.1: trailers end the stream")
  func trailersWithoutEnd() throws {
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()))
    expectStreamError(
      &client, Frames.headers(stream, Frames.block([("a", "b")])), on: stream, .trailersWithoutEnd)
  }

  @Test("RFC 9113 §8.1: an informational response does not end the stream")
  func informationalEnded() throws {
    var client = Scripted.client()
    let stream = try client.open()
    expectStreamError(
      &client, Frames.headers(stream, response("100"), end: true), on: stream, .informationalEnded)
  }

  @Test("RFC 9113 §8.1: a whole response before the request is whole, then RST_STREAM(NO_ERROR)")
  func earlyResponse() throws {
    var client = Scripted.client()
    let stream = try client.open(endStream: false)
    let events = client.receive(
      Frames.headers(stream, response("413"), end: true) + Frames.reset(stream, .noError))
    #expect(events == [.headers(stream: stream, kind: .response, endStream: true)])
    #expect(client.machine.activeStreams == 0)
  }

  @Test("RFC 9113 §8.7: REFUSED_STREAM before a response is safe to replay, after one it is not")
  func refused() throws {
    var client = Scripted.client()
    let first = try client.open()
    let second = try client.open()
    #expect(client.receive(Frames.reset(first, .refusedStream)) == [.refused(stream: first)])
    let events = client.receive(
      Frames.headers(second, response()) + Frames.reset(second, .refusedStream))
    #expect(events.last == .reset(stream: second, code: .refusedStream, origin: .peer))
  }

  @Test("RFC 9113 §7: an unknown error code is just an error")
  func unknownCode() throws {
    var client = Scripted.client()
    let stream = try client.open()
    let code = HTTP2ErrorCode(rawValue: 0xdead_beef)
    #expect(
      client.receive(Frames.reset(stream, code)) == [
        .reset(stream: stream, code: code, origin: .peer)
      ])
    #expect(code.name == "code 3735928559")
  }

  @Test("resetting in the middle of a DATA frame discards the rest of it")
  func resetMidFrame() throws {
    var client = Scripted.client()
    let stream = try client.open()
    let frame = Frames.data(stream, Array(repeating: 1, count: 100), end: true)
    _ = client.receive(Frames.headers(stream, response()) + frame[..<50])
    client.machine.reset(stream, .cancel)
    #expect(client.receive(Array(frame[50...]) + Frames.ping()) == [])
    #expect(client.content[stream]?.count == 41)
    #expect(client.sent().map(\.type).suffix(2) == [.rstStream, .ping])
  }

  @Test("RFC 9113 §5.1.1: stream identifiers run out, and the connection drains")
  func exhaustion() throws {
    var client = Scripted.client()
    client.machine.nextStream = HTTP2Limits.streamIdentifierMax
    let last = try client.open()
    #expect(last == 0x7fff_ffff)
    #expect(!client.machine.canOpenStream && client.machine.isDraining)
    #expect(throws: HTTP2SubmitError.draining) { try client.open() }
    let events = client.receive(Frames.headers(last, response(), end: true))
    #expect(events.first == .headers(stream: last, kind: .response, endStream: true))
    #expect(
      events.last == .closed(HTTP2Error(origin: .local, code: .noError, cause: .graceful)))
    #expect(client.sent().last?.type == .goAway)
  }

  @Test("submissions that do not fit the message are refused and change nothing")
  func outOfOrder() throws {
    var client = Scripted.client()
    let stream = try client.open(endStream: false)
    let before = client.output()
    #expect(throws: HTTP2SubmitError.outOfOrder) {
      try client.machine.submitHeaders(
        headerList([("a", "b")]), on: stream, endStream: false, now: client.now)
    }
    #expect(throws: HTTP2SubmitError.malformed(.pseudoFieldMisplaced)) {
      try client.machine.submitHeaders(
        headerList([(":status", "200")]), on: stream, endStream: true, now: client.now)
    }
    #expect(throws: HTTP2SubmitError.malformed(.fieldNameInvalid)) {
      try client.machine.submitHeaders(
        request("GET", "/", [("Upper", "x")]), endStream: true, now: client.now)
    }
    #expect(throws: HTTP2SubmitError.streamClosed) {
      try client.machine.submitData([1].span, on: 77, endStream: true, now: client.now)
    }
    #expect(client.output() == before)
    #expect(client.machine.activeStreams == 1)

    var server = Scripted.server()
    #expect(throws: HTTP2SubmitError.outOfOrder) { try server.open() }
    _ = server.receive(
      Frames.headers(
        1, Frames.block([(":method", "GET"), (":scheme", "http"), (":path", "/")]), end: true))
    #expect(throws: HTTP2SubmitError.outOfOrder) {
      try server.machine.submitData([1].span, on: 1, endStream: true, now: server.now)
    }
    #expect(throws: HTTP2SubmitError.outOfOrder) {
      try server.machine.submitHeaders(
        headerList([(":status", "103")]), on: 1, endStream: true, now: server.now)
    }
  }
}
