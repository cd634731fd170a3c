import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("Frames that break a rule")
struct FrameRuleTests {
  @Test("RFC 9113 §3.4: the first frame is SETTINGS and no acknowledgement")
  func first() {
    for bytes in [
      Frames.ping(), Frames.settingsAck, Frames.goAway(0, .noError), Frames.windowUpdate(0, 1),
    ] {
      var client = Scripted(role: .client)
      expectConnectionError(&client, bytes, .firstFrameNotSettings)
      var server = Scripted(role: .server)
      expectConnectionError(&server, Frames.preface + bytes, .firstFrameNotSettings)
    }
  }

  @Test("RFC 9113 §4.2: a frame over the limit is refused by its header alone")
  func tooLarge() {
    var client = Scripted.client()
    let whole = Frames.frame(0xbe, Array(repeating: 0, count: 16_385))
    expectConnectionError(&client, Array(whole[..<9]), .frameTooLarge)
    var exact = Scripted.client()
    #expect(exact.receive(Frames.frame(0xbe, Array(repeating: 0, count: 16_384))) == [])
    #expect(!exact.machine.isClosed)
  }

  @Test("RFC 9113 §4.2: SETTINGS_MAX_FRAME_SIZE raises the limit")
  func largeFrames() throws {
    var client = Scripted.client { $0.maxFrameSize = 20_000 }
    let stream = try client.open()
    let content: [UInt8] = Array(repeating: 5, count: 20_000)
    _ = client.receive(
      Frames.headers(stream, response()) + Frames.data(stream, content, end: true))
    #expect(client.content[stream] == content)
  }

  @Test("RFC 9113 §6: frames of a wrong length")
  func lengths() {
    let wrong: [[UInt8]] = [
      Frames.frame(2, stream: 1, [0, 0, 0, 0]),
      Frames.frame(3, stream: 1, [0, 0, 0]),
      Frames.frame(3, stream: 1, [0, 0, 0, 0, 0]),
      Frames.frame(4, [0, 0, 0, 0, 0]),
      Frames.frame(4, flags: 1, [0, 0, 0, 0, 0, 0]),
      Frames.frame(6, [1, 2, 3, 4, 5, 6, 7]),
      Frames.frame(6, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
      Frames.frame(7, [0, 0, 0, 0, 0, 0, 0]),
      Frames.frame(8, [0, 0, 1]),
      Frames.frame(8, stream: 1, [0, 0, 0, 0, 1]),
      Frames.frame(0, flags: 8, stream: 1, []),
      Frames.frame(1, flags: 0x0c, stream: 1, []),
      Frames.frame(1, flags: 0x24, stream: 1, [0, 0, 0, 0]),
      Frames.frame(1, flags: 0x2c, stream: 1, [0, 0, 0, 0, 0]),
    ]
    for bytes in wrong {
      var client = Scripted.client()
      _ = try? client.open()
      expectConnectionError(&client, bytes, .frameSizeWrong)
    }
  }

  @Test("RFC 9113 §6: frames on stream 0 that need one, and the other way round")
  func streamZero() {
    let wrong: [[UInt8]] = [
      Frames.data(0, [1]),
      Frames.headers(0, response()),
      Frames.frame(2, stream: 0, [0, 0, 0, 0, 0]),
      Frames.reset(0, .cancel),
      Frames.frame(4, stream: 1, []),
      Frames.frame(6, stream: 1, [1, 2, 3, 4, 5, 6, 7, 8]),
      Frames.frame(7, stream: 1, [0, 0, 0, 0, 0, 0, 0, 0]),
    ]
    for bytes in wrong {
      var client = Scripted.client()
      _ = try? client.open()
      expectConnectionError(&client, bytes, .streamIdentifierWrong)
    }
  }

  @Test("RFC 9113 §6.1, §6.2: padding as long as its frame, or longer")
  func padding() throws {
    for (type, flags) in [(UInt8(0), UInt8(0x08)), (1, 0x0c)] {
      var client = Scripted.client()
      let stream = try client.open()
      if type == 0 { _ = client.receive(Frames.headers(stream, response())) }
      expectConnectionError(
        &client, Frames.frame(type, flags: flags, stream: stream, [4, 1, 1, 1]), .paddingTooLong)
    }
    // Padding that fills the frame exactly is legal, and there is no content.
    var client = Scripted.client()
    let stream = try client.open()
    let events = client.receive(
      Frames.headers(stream, response()) + Frames.data(stream, [], end: true, padding: 3))
    guard case .data(stream, let range, 0, true)? = events.last else {
      Issue.record("\(events)")
      return
    }
    #expect(range.isEmpty)
  }

  @Test("RFC 9113 §6.10: nothing but CONTINUATION of that stream inside a header block")
  func insideBlock() throws {
    let block = response()
    for bytes in [
      Frames.ping(), Frames.settings(), Frames.headers(3, block), Frames.data(1, [1]),
      Frames.continuation(3, block, end: true), Frames.frame(0xbe, []), Frames.windowUpdate(0, 1),
    ] {
      var client = Scripted.client()
      _ = try client.open()
      _ = try client.open()
      expectConnectionError(
        &client, Frames.headers(1, Array(block[..<2]), flags: 0) + bytes, .continuationExpected)
    }
  }

  @Test("RFC 9113 §6.10: CONTINUATION without HEADERS, or after its end")
  func continuationAlone() throws {
    var client = Scripted.client()
    _ = try client.open()
    expectConnectionError(
      &client, Frames.continuation(1, response(), end: true), .continuationUnexpected)
    var other = Scripted.client()
    _ = try other.open()
    _ = other.receive(Frames.headers(1, response()))
    expectConnectionError(&other, Frames.continuation(1, [], end: true), .continuationUnexpected)
  }

  @Test("RFC 9113 §8.4: PUSH_PROMISE is refused, push is off")
  func push() throws {
    var client = Scripted.client()
    _ = try client.open()
    expectConnectionError(
      &client, Frames.frame(5, flags: 4, stream: 1, [0, 0, 0, 2] + response()), .pushRefused)
  }

  @Test("RFC 9113 §4.3: a block that HPACK cannot decode ends the connection")
  func compression() throws {
    for block: [UInt8] in [[0x80], [0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], [0x40, 0x85, 0x01]] {
      var client = Scripted.client()
      _ = try client.open()
      expectConnectionError(&client, Frames.headers(1, block), .headerCompression)
    }
  }

  @Test("RFC 9113 §4.3: the compression state is kept for streams that are reset or closed")
  func compressionOfLateBlocks() throws {
    var client = Scripted.client()
    let first = try client.open()
    let second = try client.open()
    client.machine.reset(first, .cancel)
    // Literal with indexing: "x-a: b" enters the dynamic table from a block nobody wants.
    let block = response() + [0x40, 3, 0x78, 0x2d, 0x61, 1, 0x62]
    #expect(client.receive(Frames.headers(first, block)) == [])
    let events = client.receive(Frames.headers(second, [0x88, 0xbe], end: true))
    #expect(events == [.headers(stream: second, kind: .response, endStream: true)])
    #expect(pairs(client.machine.receivedHeaders) == [":status=200", "x-a=b"])
  }

  @Test("RFC 9113 §10.5.1: a header list over the limit is the stream's fault alone")
  func listTooLarge() throws {
    var client = Scripted.client { $0.maxHeaderListSize = 1_000 }
    let stream = try client.open()
    let long = response("200", [("x", String(repeating: "a", count: 1_000))])
    expectStreamError(&client, Frames.headers(stream, long), on: stream, .headerListTooLarge)

    var many = Scripted.client()
    let other = try many.open()
    let fields = (0..<101).map { ("x\($0)", "") }
    expectStreamError(
      &many, Frames.headers(other, response("200", fields)), on: other, .headerListTooLarge)
  }

  @Test("a header block over the limit ends the connection before it is kept")
  func blockTooLarge() throws {
    var client = Scripted.client { $0.maxHeaderBlockSize = 1_000 }
    let stream = try client.open()
    let frame = Frames.headers(stream, Array(repeating: 0, count: 2_000))
    expectConnectionError(&client, Array(frame[..<9]), .headerBlockTooLarge)

    var pieces = Scripted.client { $0.maxHeaderBlockSize = 1_000 }
    _ = try pieces.open()
    let half: [UInt8] = Array(repeating: 0, count: 600)
    expectConnectionError(
      &pieces, Frames.headers(1, half, flags: 0) + Frames.continuation(1, half, end: true),
      .headerBlockTooLarge)

    // Padding that is not there does not lift the limit.
    var padded = Scripted.client { $0.maxHeaderBlockSize = 1_000 }
    _ = try padded.open()
    expectConnectionError(
      &padded, Frames.headers(1, Array(repeating: 0, count: 1_200), flags: 0x0c),
      .headerBlockTooLarge)
  }
}
