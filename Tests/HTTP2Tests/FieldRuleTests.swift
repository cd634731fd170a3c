import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("Header fields")
struct FieldRuleTests {
  static let responses: [([(String, String)], HTTP2Cause)] = [
    ([], .pseudoFieldMissing),
    ([("a", "b")], .pseudoFieldMissing),
    ([(":status", "200"), (":status", "200")], .pseudoFieldDuplicate),
    ([("a", "b"), (":status", "200")], .pseudoFieldMisplaced),
    ([(":status", "200"), (":path", "/")], .pseudoFieldUnknown),
    ([(":status", "200"), (":new", "x")], .pseudoFieldUnknown),
    ([(":status", "20")], .pseudoFieldInvalid),
    ([(":status", "2000")], .pseudoFieldInvalid),
    ([(":status", "2x0")], .pseudoFieldInvalid),
    ([(":status", "099")], .pseudoFieldInvalid),
    ([(":status", "101")], .pseudoFieldInvalid),
    ([(":status", "")], .pseudoFieldInvalid),
    ([(":status", "200"), ("", "b")], .fieldNameInvalid),
    ([(":status", "200"), ("Server", "b")], .fieldNameInvalid),
    ([(":status", "200"), ("a b", "b")], .fieldNameInvalid),
    ([(":status", "200"), ("a:b", "b")], .fieldNameInvalid),
    ([(":status", "200"), ("a\u{7f}", "b")], .fieldNameInvalid),
    ([(":status", "200"), ("é", "b")], .fieldNameInvalid),
    ([(":status", "200"), ("a\0", "b")], .fieldNameInvalid),
    ([(":status", "200"), ("a", "b\0")], .fieldValueInvalid),
    ([(":status", "200"), ("a", "b\rc")], .fieldValueInvalid),
    ([(":status", "200"), ("a", "b\nc")], .fieldValueInvalid),
    ([(":status", "200"), ("a", " b")], .fieldValueInvalid),
    ([(":status", "200"), ("a", "b\t")], .fieldValueInvalid),
    ([(":status", "200"), ("connection", "close")], .connectionSpecificField),
    ([(":status", "200"), ("keep-alive", "1")], .connectionSpecificField),
    ([(":status", "200"), ("proxy-connection", "x")], .connectionSpecificField),
    ([(":status", "200"), ("transfer-encoding", "chunked")], .connectionSpecificField),
    ([(":status", "200"), ("upgrade", "h2c")], .connectionSpecificField),
    ([(":status", "200"), ("te", "gzip")], .connectionSpecificField),
    ([(":status", "200"), ("content-length", "")], .contentLengthInvalid),
    ([(":status", "200"), ("content-length", "1x")], .contentLengthInvalid),
    ([(":status", "200"), ("content-length", "-1")], .contentLengthInvalid),
    ([(":status", "200"), ("content-length", "18446744073709551616")], .contentLengthInvalid),
    (
      [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
      .contentLengthInvalid
    ),
  ]

  @Test("RFC 9113 §8.2, §8.3.2: a malformed response is a stream error", arguments: 0..<35)
  func malformedResponse(index: Int) throws {
    let (fields, cause) = Self.responses[index]
    var client = Scripted.client()
    let stream = try client.open()
    expectStreamError(
      &client, Frames.headers(stream, Frames.block(fields)), on: stream, cause)
    #expect(Self.responses.count == 35)
  }

  @Test("RFC 9113 §8.2: what a response may have")
  func wellFormed() throws {
    for more: [(String, String)] in [
      [("te", "trailers")], [("a", "")], [("a", "b c\td")], [("x", "é")], [("a", ":b")],
      [("content-length", "0"), ("content-length", "0")], [("!#$%&'*+-.^_`|~", "1")],
    ] {
      var client = Scripted.client()
      let stream = try client.open()
      let events = client.receive(Frames.headers(stream, response("599", more), end: true))
      #expect(events == [.headers(stream: stream, kind: .response, endStream: true)])
    }
  }

  static let requests: [([(String, String)], HTTP2Cause)] = [
    ([(":method", "GET"), (":scheme", "http")], .pseudoFieldMissing),
    ([(":method", "GET"), (":path", "/")], .pseudoFieldMissing),
    ([(":scheme", "http"), (":path", "/")], .pseudoFieldMissing),
    ([(":method", "GET"), (":scheme", "http"), (":path", "")], .pseudoFieldInvalid),
    ([(":method", ""), (":scheme", "http"), (":path", "/")], .pseudoFieldInvalid),
    (
      [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":status", "200")],
      .pseudoFieldUnknown
    ),
    ([(":method", "CONNECT"), (":scheme", "http"), (":path", "/")], .pseudoFieldMissing),
    ([(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")], .pseudoFieldMisplaced),
    (
      [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("te", "deflate")],
      .connectionSpecificField
    ),
  ]

  @Test("RFC 9113 §8.3.1: a malformed request is reset and never told", arguments: 0..<9)
  func malformedRequest(index: Int) {
    let (fields, cause) = Self.requests[index]
    var server = Scripted.server()
    #expect(server.receive(Frames.headers(1, Frames.block(fields), end: true)) == [])
    let frames = server.sent()
    #expect(frames.map(\.type) == [.rstStream])
    #expect(frames.first?.word() == cause.code.rawValue)
    #expect(!server.machine.isClosed)
    // And a client does not send it.
    var client = Scripted.client()
    #expect(throws: HTTP2SubmitError.malformed(cause)) {
      try client.machine.submitHeaders(headerList(fields), endStream: true, now: client.now)
    }
  }

  @Test("RFC 9113 §8.3: pseudo-header fields in trailers")
  func pseudoInTrailers() throws {
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()))
    expectStreamError(
      &client, Frames.headers(stream, Frames.block([(":status", "200")]), end: true), on: stream,
      .pseudoFieldMisplaced)
  }

  @Test("RFC 9113 §8.1.1: content-length is the length of the content")
  func contentLength() throws {
    let five = [("content-length", "5")]
    let cases: [([UInt8], Bool)] = [
      (Frames.data(1, [1, 2, 3, 4, 5], end: true), true),
      (Frames.data(1, [1, 2, 3]) + Frames.data(1, [4, 5], end: true, padding: 7), true),
      (Frames.data(1, [1, 2, 3, 4, 5]) + Frames.headers(1, Frames.block([]), end: true), true),
      (Frames.data(1, [1, 2, 3, 4], end: true), false),
      (Frames.data(1, [1, 2, 3, 4, 5, 6]), false),
      (Frames.data(1, [], end: true), false),
      (Frames.data(1, [1, 2, 3]) + Frames.headers(1, Frames.block([]), end: true), false),
    ]
    for (bytes, isRight) in cases {
      var client = Scripted.client()
      _ = try client.open()
      _ = client.receive(Frames.headers(1, response("200", five)))
      if isRight {
        let events = client.receive(bytes)
        #expect(client.machine.activeStreams == 0 && !client.machine.isClosed)
        #expect(!events.contains { if case .reset = $0 { true } else { false } })
      } else {
        expectStreamError(&client, bytes, on: 1, .contentLengthMismatch)
      }
    }
    var ended = Scripted.client()
    _ = try ended.open()
    expectStreamError(
      &ended, Frames.headers(1, response("200", five), end: true), on: 1, .contentLengthMismatch)
  }

  @Test("RFC 9110 §6.4.1: HEAD, 204 and 304 have a content-length but no content")
  func noContent() throws {
    for (method, status) in [("HEAD", "200"), ("GET", "304"), ("GET", "204")] {
      var client = Scripted.client()
      let stream = try client.open(method)
      let block = response(status, [("content-length", "500")])
      #expect(
        client.receive(Frames.headers(stream, block, end: true)) == [
          .headers(stream: stream, kind: .response, endStream: true)
        ])
      let other = try client.open(method)
      _ = client.receive(Frames.headers(other, response(status)))
      expectStreamError(&client, Frames.data(other, [1]), on: other, .contentLengthMismatch)
    }
  }
}
