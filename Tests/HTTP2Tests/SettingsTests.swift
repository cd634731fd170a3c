import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("SETTINGS")
struct SettingsTests {
  @Test("RFC 9113 §6.5.2: values that are not allowed")
  func invalid() {
    let cases: [(UInt16, UInt32, HTTP2Cause)] = [
      (Setting.enablePush, 1, .settingInvalid),
      (Setting.enablePush, 2, .settingInvalid),
      (Setting.initialWindowSize, 0x8000_0000, .settingWindowInvalid),
      (Setting.maxFrameSize, 16_383, .settingInvalid),
      (Setting.maxFrameSize, 0x100_0000, .settingInvalid),
    ]
    for (identifier, value, cause) in cases {
      var client = Scripted.client()
      expectConnectionError(&client, Frames.settings([(identifier, value)]), cause)
    }
    var server = Scripted.server()
    #expect(server.receive(Frames.settings([(Setting.enablePush, 1)])) == [.settings])
    expectConnectionError(&server, Frames.settings([(Setting.enablePush, 2)]), .settingInvalid)
  }

  @Test("RFC 9113 §6.5.2: the edges that are allowed, and settings that nobody knows")
  func valid() {
    var client = Scripted.client()
    let events = client.receive(
      Frames.settings([
        (Setting.enablePush, 0), (Setting.initialWindowSize, 0x7fff_ffff),
        (Setting.maxFrameSize, 16_384), (Setting.maxFrameSize, 0xff_ffff), (0x7777, 1), (0, 0),
        (Setting.headerTableSize, .max), (Setting.maxHeaderListSize, .max),
      ]))
    #expect(events == [.settings])
  }

  @Test("RFC 9113 §5.1.2: the peer's limit on streams, before SETTINGS and after, up, down and 0")
  func concurrency() throws {
    var client = Scripted(role: .client) { $0.maxConcurrentStreams = 1_000 }
    for _ in 0..<100 { _ = try client.open() }
    #expect(!client.machine.canOpenStream)
    #expect(throws: HTTP2SubmitError.streamLimit) { try client.open() }
    _ = client.receive(Frames.settings([(Setting.maxConcurrentStreams, 101)]))
    #expect(client.machine.canOpenStream)
    _ = try client.open()
    #expect(!client.machine.canOpenStream)
    _ = client.receive(Frames.settings([(Setting.maxConcurrentStreams, 0)]))
    _ = client.receive(Frames.headers(1, response(), end: true))
    #expect(!client.machine.canOpenStream && client.machine.activeStreams == 100)
    // The streams that are open stay open.
    #expect(client.receive(Frames.headers(3, response(), end: true)).count == 1)
    _ = client.receive(Frames.settings([(Setting.maxConcurrentStreams, 100)]))
    #expect(client.machine.canOpenStream)
  }

  @Test("RFC 9113 §6.5.2: SETTINGS without a limit on streams mean none; our own cap holds")
  func ownCap() throws {
    var client = Scripted.client { $0.maxConcurrentStreams = 150 }
    for _ in 0..<150 { _ = try client.open() }
    #expect(throws: HTTP2SubmitError.streamLimit) { try client.open() }
  }

  @Test("RFC 9113 §6.5.2: frames are as long as the peer allows, and no longer than 16 384")
  func frameSize() throws {
    var client = Scripted.client(settings: [
      (Setting.maxFrameSize, 1_000_000), (Setting.initialWindowSize, 1_000_000),
    ])
    let stream = try client.open(endStream: false)
    let content: [UInt8] = Array(repeating: 0, count: 40_000)
    let taken = try client.machine.submitData(
      content.span, on: stream, endStream: true, now: client.now)
    #expect(taken == 40_000)
    let lengths = client.sent().filter { $0.type == .data }.map(\.header.length)
    #expect(lengths == [16_384, 16_384, 7_232])
  }

  @Test("RFC 9113 §4.3.1: a smaller table is signalled at the next header block")
  func headerTableSize() throws {
    var client = Scripted.client()
    _ = try client.open()
    _ = client.sent()
    _ = client.receive(Frames.settings([(Setting.headerTableSize, 0)]))
    _ = try client.open()
    // RFC 7541 §6.3: 001xxxxx, here with 0.
    #expect(client.sent().last?.payload.first == 0x20)
  }

  @Test("RFC 9113 §4.3.1: our smaller table holds from the acknowledgement on, not before")
  func ownHeaderTableSize() throws {
    // Literal with indexing: "x-a: b"; then it by its index, 62.
    let insert: [UInt8] = [0x88, 0x40, 3, 0x78, 0x2d, 0x61, 1, 0x62]
    var client = Scripted(role: .client) { $0.headerTableSize = 100 }
    _ = client.receive(Frames.settings())
    let streams = try (0..<4).map { _ in try client.open() }
    _ = client.receive(Frames.headers(streams[0], insert, end: true))
    #expect(client.receive(Frames.headers(streams[1], [0x88, 0xbe], end: true)).count == 1)
    #expect(pairs(client.machine.receivedHeaders) == [":status=200", "x-a=b"])
    _ = client.receive(Frames.settingsAck)
    // 001xxxxx: the update that the change calls for, 100 = 31 + 69.
    let events = client.receive(
      Frames.headers(streams[2], [0x3f, 69, 0x88, 0xbe], end: true))
    #expect(events == [.headers(stream: streams[2], kind: .response, endStream: true)])

    var silent = Scripted(role: .client) { $0.headerTableSize = 100 }
    let stream = try silent.open()
    _ = silent.receive(Frames.settings() + Frames.settingsAck)
    expectConnectionError(&silent, Frames.headers(stream, [0x88], end: true), .headerCompression)
  }

  @Test("RFC 9113 §6.5.2: a header list over the peer's limit is refused here")
  func headerListSize() throws {
    var client = Scripted.client(settings: [(Setting.maxHeaderListSize, 300)])
    _ = try client.open()
    #expect(throws: HTTP2SubmitError.headerListUnwanted) {
      try client.machine.submitHeaders(
        request("GET", "/" + String(repeating: "a", count: 200)), endStream: true, now: client.now)
    }
  }

  @Test("RFC 9113 §6.5.3: no acknowledgement in time ends the connection")
  func acknowledgementTimeout() {
    var client = Scripted(role: .client) { $0.settingsTimeout = .seconds(5) }
    _ = client.receive(Frames.settings())
    #expect(client.machine.nextDeadline() == client.now + .seconds(5))
    #expect(client.advance(.milliseconds(4_999)) == [])
    _ = client.sent()
    #expect(
      client.advance(.milliseconds(1)) == [
        .closed(HTTP2Error(origin: .timeout, code: .settingsTimeout, cause: .settingsTimeout))
      ])
    #expect(client.sent().last?.word(4) == HTTP2ErrorCode.settingsTimeout.rawValue)
    #expect(client.machine.nextDeadline() == nil)

    var prompt = Scripted.client()
    #expect(prompt.machine.nextDeadline() == nil)
    #expect(prompt.advance(.seconds(1_000)) == [])
  }

  @Test("SETTINGS split at every octet")
  func split() {
    let bytes = Frames.settings([
      (Setting.maxConcurrentStreams, 7), (Setting.initialWindowSize, 9),
    ])
    for cut in 0...bytes.count {
      var client = Scripted(role: .client)
      let events = client.receive(Array(bytes[..<cut])) + client.receive(Array(bytes[cut...]))
      #expect(events == [.settings])
      #expect(client.machine.peer.maxConcurrentStreams == 7)
      #expect(client.machine.peer.initialWindowSize == 9)
    }
  }
}
