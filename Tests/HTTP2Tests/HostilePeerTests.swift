import HPACK
import Primitives
import Testing

@testable import HTTP2

/// A server against this client: what the other suites do not have.
@Suite("Hostile servers")
struct HostilePeerTests {
  /// What a flood came to.
  struct Outcome: Equatable {
    var cause: HTTP2Cause?
    /// Turns until the connection ended.
    var turns: Int
  }

  /// Repeats `bytes` until the connection ends. Memory and output keep their bounds all the way.
  private func flood(
    _ client: inout Scripted, turns: Int = 20_000,
    _ bytes: (inout Scripted, Int) throws -> [UInt8]
  ) rethrows -> Outcome {
    for turn in 0..<turns {
      let frames = try bytes(&client, turn)
      for event in client.receive(frames) {
        if case .closed(let error) = event { return Outcome(cause: error.cause, turns: turn) }
      }
      _ = client.sent()
      #expect(client.machine.memory < 300_000)
    }
    return Outcome(cause: nil, turns: turns)
  }

  @Test("RFC 9113 §6.8: GOAWAY over and over, with the same last stream or a lower one")
  func goAwayFlood() throws {
    for isFalling in [false, true] {
      var client = Scripted.client()
      let stream = try client.open()
      let outcome = flood(&client) { _, turn in
        Frames.goAway(isFalling ? 0x7fff_ffff - UInt32(turn) : stream, .noError)
      }
      #expect(outcome.cause == .goAwayFlood && outcome.turns <= 1_000)
    }
  }

  @Test(
    "RFC 9113 §5.1 closed: what was under way when we reset a stream is ignored, but not for ever",
    arguments: ["DATA", "HEADERS", "END_STREAM"])
  func lateFrames(kind: String) throws {
    var client = Scripted.client()
    let stream = try client.open()
    client.machine.reset(stream, .cancel)
    let outcome = flood(&client) { _, _ in
      switch kind {
      case "DATA": Frames.data(stream, [UInt8](repeating: 0, count: 1_000))
      case "HEADERS": Frames.headers(stream, response())
      default: Frames.data(stream, [], end: true)
      }
    }
    #expect(outcome.cause == .lateFrameFlood && outcome.turns >= 999 && outcome.turns <= 1_001)
  }

  @Test(
    "RFC 9113 §5.1 closed: frames on streams that closed long ago are ignored, but not for ever")
  func forgottenFrames() throws {
    var client = Scripted.client()
    for _ in 0..<HTTP2Limits.closedStreamsMax + 1 {
      let stream = try client.open()
      _ = client.receive(Frames.headers(stream, response(), end: true))
    }
    let outcome = flood(&client) { _, _ in Frames.data(1, [1]) }
    #expect(outcome.cause == .lateFrameFlood && outcome.turns <= 1_001)
  }

  @Test("RFC 9113 §5.4.2: a stream that the peer has reset is answered a bounded number of times")
  func framesAfterTheirReset() throws {
    var client = Scripted.client()
    let others = try (0..<3).map { _ in try client.open() }
    for stream in others { _ = client.receive(Frames.headers(stream, response(), end: true)) }
    let stream = try client.open()
    _ = client.receive(Frames.reset(stream, .cancel))
    let outcome = flood(&client) { _, _ in Frames.data(stream, [1]) }
    #expect(outcome.cause == .lateFrameFlood && outcome.turns <= 1_001)
    // They took one place: the streams before are remembered as what they are.
    #expect(client.machine.closedStreams.closure(of: others[0]) == .ended)
  }

  @Test("RFC 9113 §10.5: DATA of padding alone is as empty as empty DATA")
  func paddingOnly() throws {
    for padding: UInt8 in [0, 1, 255] {
      var client = Scripted.client()
      let stream = try client.open()
      _ = client.receive(Frames.headers(stream, response()))
      _ = client.receive(Frames.data(stream, [], padding: padding))
      expectConnectionError(
        &client, Frames.data(stream, [], padding: padding), .emptyFrameFlood)
    }
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()))
    for _ in 0..<1_000 {
      #expect(client.receive(Frames.data(stream, [1], padding: 9)).count == 1)
      client.machine.release(1, on: stream)
      _ = client.sent()
    }
    #expect(client.receive(Frames.data(stream, [], end: true, padding: 9)).count == 1)
  }

  @Test("RFC 9113 §10.5: HEADERS without a header are malformed, and their flood is one of resets")
  func emptyHeaders() throws {
    var client = Scripted.client { $0.maxConcurrentStreams = 10_000 }
    let outcome = try flood(&client) { client, _ in
      Frames.headers(try client.open(), [])
    }
    #expect(outcome.cause == .resetFlood && outcome.turns <= 1_000)
  }

  @Test("CVE-2023-44487 from the server's side: every request reset, one after the other")
  func rapidReset() throws {
    var client = Scripted.client { $0.maxConcurrentStreams = 10_000 }
    let outcome = try flood(&client) { client, _ in
      Frames.reset(try client.open(), .refusedStream)
    }
    #expect(outcome.cause == .resetFlood && outcome.turns <= 1_000)
    #expect(client.machine.activeStreams == 0)
  }

  @Test("CVE-2019-9514: RST_STREAM on a stream that is closed")
  func resetsOfTheClosed() throws {
    var client = Scripted.client()
    let stream = try client.open()
    let outcome = flood(&client) { _, _ in Frames.reset(stream, .cancel) }
    #expect(outcome.cause == .resetFlood && outcome.turns <= 1_000)
  }

  @Test("RFC 7541 §7.3: two octets that copy a whole table, over and over")
  func tableCopies() throws {
    var client = Scripted.client()
    let stream = try client.open()
    // A name of almost the whole table, then entries that take their name from it.
    let name = [UInt8](repeating: 0x61, count: 4_000)
    let seed = response() + [0x40, 0x7f, 0xa1, 0x1e] + name + [0]
    _ = client.receive(Frames.headers(stream, seed))
    var bomb: [UInt8] = []
    while bomb.count < 16_000 { bomb += [0x7e, 0x00] }
    expectConnectionError(&client, Frames.headers(stream, bomb, end: true), .headerListTooLarge)
  }

  @Test("RFC 7541 §6.3: a table resized with every block holds nothing and stays in step")
  func tableResized() throws {
    var client = Scripted.client()
    for _ in 0..<500 {
      let stream = try client.open()
      // To 0, to 4096, and an entry.
      let block = [0x20, 0x3f, 0xe1, 0x1f, 0x88, 0x40, 1, 0x61, 1, 0x62, 0xbe] as [UInt8]
      let events = client.receive(Frames.headers(stream, block, end: true))
      #expect(events == [.headers(stream: stream, kind: .response, endStream: true)])
      _ = client.sent()
    }
    #expect(client.machine.decoder.tableSize == 34)
  }

  @Test("RFC 7541 §5.2: a string that Huffman coding blows up is cut at the limit")
  func huffmanBomb() throws {
    var client = Scripted.client { $0.maxHeaderListSize = 4_096 }
    let stream = try client.open()
    // Five bits a letter: 8/5 of what is on the wire, and the stream's fault alone.
    let zeros = [UInt8](repeating: 0, count: 10_000)
    let block = [0x88, 0x10, 0x01, 0x61, 0xff, 0x91, 0x4d] + zeros
    expectStreamError(
      &client, Frames.headers(stream, block), on: stream, .headerListTooLarge)
    #expect(client.machine.receivedHeaders.bytes.capacity <= 2 * (4_096 + 4_096))
  }

  @Test("RFC 9113 §6.5: SETTINGS that move every window up and down")
  func settingsSeesaw() throws {
    var client = Scripted.client()
    _ = try (0..<50).map { _ in try client.open(endStream: false) }
    let outcome = flood(&client) { _, turn in
      Frames.settings([(Setting.initialWindowSize, turn % 2 == 0 ? 0 : 0x7fff_ffff)])
    }
    #expect(outcome.cause == .settingsFlood && outcome.turns < 200)
  }

  @Test("RFC 9113 §6.5.2: a peer that changes the table's size with every SETTINGS")
  func tableSizes() throws {
    var client = Scripted.client()
    let outcome = flood(&client) { _, turn in
      Frames.settings([(Setting.headerTableSize, turn % 2 == 0 ? 0 : .max)])
    }
    #expect(outcome.cause == .settingsFlood)
    #expect(client.machine.memory < 100_000)
  }

  @Test("RFC 9113 §8.1: 1xx behind the final response are trailers with a pseudo-header field")
  func informationalAfterFinal() throws {
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()))
    expectStreamError(
      &client, Frames.headers(stream, response("103"), end: true), on: stream,
      .pseudoFieldMisplaced)
    let other = try client.open()
    _ = client.receive(Frames.headers(other, response()))
    expectStreamError(
      &client, Frames.headers(other, response("103")), on: other, .trailersWithoutEnd)
  }

  @Test("RFC 9113 §5.5: ALTSVC, ORIGIN and PRIORITY_UPDATE are skipped, and their flood is one")
  func extensions() throws {
    for type: UInt8 in [0x0a, 0x0c, 0x10] {
      var client = Scripted.client()
      let stream = try client.open()
      let outcome = flood(&client) { _, turn in
        Frames.frame(type, stream: turn % 2 == 0 ? 0 : stream, [0, 0, 0, 1, 0x61])
      }
      #expect(outcome.cause == .frameFlood && outcome.turns <= 1_000)
    }
  }

  @Test("every cause has a name of its own for the statistics, in snake case")
  func causeNames() {
    let names = HTTP2Cause.allCases.map { $0.name.description }
    #expect(Set(names).count == HTTP2Cause.allCases.count)
    for name in names {
      #expect(name.allSatisfy { $0.isLowercase || $0 == "_" || $0.isNumber })
    }
    #expect(HTTP2Cause.notHTTP2.name.description == "not_http2")
    #expect(HTTP2Cause.continuationFlood.name.description == "continuation_flood")
  }
}
