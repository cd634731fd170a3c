import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("GOAWAY and keep-alive")
struct ShutdownTests {
  private let byPeer = HTTP2Event.closed(
    HTTP2Error(origin: .peer, code: .noError, cause: .goAway))

  @Test("RFC 9113 §6.8: streams above the last one are safe to replay, the others go on")
  func goAway() throws {
    var client = Scripted.client()
    let streams = try (0..<4).map { _ in try client.open() }
    let events = client.receive(Frames.goAway(streams[1], .noError))
    #expect(events.first == .goAway(lastStream: streams[1], code: .noError))
    #expect(
      Set(events.dropFirst().map { if case .refused(let id) = $0 { id } else { 0 } })
        == [streams[2], streams[3]])
    #expect(client.machine.isDraining && !client.machine.canOpenStream)
    #expect(throws: HTTP2SubmitError.draining) { try client.open() }
    #expect(throws: HTTP2SubmitError.streamClosed) {
      try client.machine.submitData([1].span, on: streams[3], endStream: true, now: client.now)
    }
    #expect(client.machine.activeStreams == 2)
    #expect(client.receive(Frames.headers(streams[0], response(), end: true)).count == 1)
    let last = client.receive(Frames.headers(streams[1], response(), end: true))
    #expect(last == [.headers(stream: streams[1], kind: .response, endStream: true), byPeer])
    #expect(client.sent().last?.type == .goAway)
  }

  @Test("RFC 9113 §6.8: GOAWAY in two phases")
  func twoPhases() throws {
    var client = Scripted.client()
    let first = try client.open()
    let second = try client.open()
    #expect(
      client.receive(Frames.goAway(0x7fff_ffff, .noError)) == [
        .goAway(lastStream: 0x7fff_ffff, code: .noError)
      ])
    #expect(client.machine.activeStreams == 2)
    #expect(
      client.receive(Frames.goAway(first, .noError)) == [
        .goAway(lastStream: first, code: .noError), .refused(stream: second),
      ])
    #expect(client.receive(Frames.headers(first, response(), end: true)).last == byPeer)
  }

  @Test("RFC 9113 §6.8: the last stream does not rise")
  func rising() throws {
    var client = Scripted.client()
    _ = try client.open()
    _ = client.receive(Frames.goAway(1, .noError))
    expectConnectionError(&client, Frames.goAway(3, .noError), .goAwayIncreased)
  }

  @Test("RFC 9113 §6.8: the reserved bit of the last stream is ignored")
  func reservedBit() throws {
    var client = Scripted.client()
    _ = try client.open()
    #expect(
      client.receive(Frames.goAway(0x8000_0001, .noError)) == [
        .goAway(lastStream: 1, code: .noError)
      ])
  }

  @Test("GOAWAY keeps the beginning of its debug data", arguments: [0, 1])
  func debugData(step: Int) {
    var client = Scripted.client()
    client.step = step
    let events = client.receive(
      Frames.goAway(0, .enhanceYourCalm, "too_many_pings" + String(repeating: "x", count: 900)))
    #expect(events.first == .goAway(lastStream: 0, code: .enhanceYourCalm))
    #expect(
      events.last
        == .closed(HTTP2Error(origin: .peer, code: .enhanceYourCalm, cause: .goAway)))
    #expect(client.machine.goAwayDebugData.hasPrefix("too_many_pings"))
    #expect(client.machine.goAwayDebugData.count == 64)
  }

  @Test("shutting down closes at once without streams, else with the last one")
  func shutDown() throws {
    let byUs = HTTP2Event.closed(
      HTTP2Error(origin: .local, code: .noError, cause: .graceful))
    var idle = Scripted.client()
    idle.machine.shutDown()
    #expect(idle.events() == [byUs])
    #expect(idle.sent().map(\.type) == [.goAway])

    var busy = Scripted.client()
    let stream = try busy.open()
    busy.machine.shutDown()
    busy.machine.shutDown()
    #expect(busy.events() == [] && busy.machine.isDraining)
    #expect(busy.sent().filter { $0.type == .goAway }.count == 1)
    #expect(busy.receive(Frames.headers(stream, response(), end: true)).last == byUs)

    var reset = Scripted.client()
    let other = try reset.open()
    reset.machine.shutDown()
    reset.machine.reset(other, .cancel)
    #expect(reset.events() == [byUs])
    #expect(reset.receive(Frames.ping()) == [])
    #expect(throws: HTTP2SubmitError.connectionClosed) { try reset.open() }
  }

  @Test("RFC 9113 §6.8: a server announces, takes what is under way, then names the last stream")
  func serverShutDown() throws {
    let block = Frames.block([(":method", "GET"), (":scheme", "http"), (":path", "/")])
    var server = Scripted.server()
    server.machine.announceShutDown()
    #expect(server.events() == [])
    #expect(server.sent().map { $0.word() } == [0x7fff_ffff])
    _ = server.receive(Frames.headers(1, block, end: true))
    server.machine.shutDown()
    #expect(server.sent().map { $0.word() } == [1])
    // What comes above is ignored, content and all.
    #expect(server.receive(Frames.headers(3, block) + Frames.data(3, [1], end: true)) == [])
    try server.machine.submitHeaders(
      headerList([(":status", "200")]), on: 1, endStream: true, now: server.now)
    #expect(
      server.events() == [
        .closed(HTTP2Error(origin: .local, code: .noError, cause: .graceful))
      ])
    #expect(!server.sent().contains { $0.type == .rstStream })
  }

  @Test("a refused stream that the user resets first is not told")
  func resetRefused() throws {
    var client = Scripted.client()
    let first = try client.open()
    let second = try client.open()
    let bytes = Frames.goAway(first, .noError)
    var offset = 0
    let event = client.machine.receive(bytes.span, from: &offset, now: client.now)
    #expect(event == .goAway(lastStream: first, code: .noError))
    _ = client.sent()
    client.machine.reset(second, .cancel)
    #expect(client.events() == [] && client.sent() == [])
  }

  @Test("GOAWAY below a stream whose response is complete refuses nothing, and the connection ends")
  func completeIsNotRefused() throws {
    var client = Scripted.client()
    let stream = try client.open(endStream: false)
    #expect(client.receive(Frames.headers(stream, response(), end: true)).count == 1)
    #expect(client.machine.activeStreams == 1)
    #expect(
      client.receive(Frames.goAway(0, .noError)) == [
        .goAway(lastStream: 0, code: .noError),
        .closed(HTTP2Error(origin: .peer, code: .noError, cause: .goAway)),
      ])
    #expect(client.machine.activeStreams == 0)
  }

  @Test("a connection error after GOAWAY still says which streams were refused")
  func refusedBeforeClosed() throws {
    var client = Scripted.client()
    _ = try client.open()
    _ = try client.open()
    let events = client.receive(Frames.goAway(0, .internalError) + Frames.ping())
    #expect(events.count == 4)
    #expect(
      events.last == .closed(HTTP2Error(origin: .peer, code: .internalError, cause: .goAway)))
  }

  @Test("a silent peer is asked, and given up when nothing comes")
  func keepAlive() {
    var client = Scripted.client {
      $0.keepAliveInterval = .seconds(30)
      $0.keepAliveTimeout = .seconds(10)
    }
    #expect(client.machine.nextDeadline() == client.now + .seconds(30))
    #expect(client.advance(.seconds(29)) == [] && client.sent() == [])
    #expect(client.advance(.seconds(1)) == [])
    let ping = client.sent()
    #expect(ping.map(\.type) == [.ping] && ping[0].header.flags == 0)
    #expect(client.advance(.seconds(9)) == [])
    #expect(client.receive(Frames.ping(ping[0].payload, ack: true)) == [])
    // Answered: the next question comes an interval after the answer.
    #expect(client.machine.nextDeadline() == client.now + .seconds(30))
    #expect(client.advance(.seconds(30)) == [])
    #expect(client.sent().map(\.type) == [.ping])
    #expect(
      client.advance(.seconds(10)) == [
        .closed(HTTP2Error(origin: .timeout, code: .noError, cause: .keepAliveTimeout))
      ])
  }

  @Test("the answer to a PING is awaited once it is written, however long what is before it takes")
  func keepAliveBehindContent() throws {
    var client = Scripted.client {
      $0.keepAliveInterval = .seconds(30)
      $0.keepAliveTimeout = .seconds(10)
    }
    let stream = try client.open(endStream: false)
    let content = [UInt8](repeating: 7, count: 60_000)
    let taken = try client.machine.submitData(
      content.span, on: stream, endStream: true, now: client.now)
    #expect(taken == content.count)
    #expect(client.advance(.seconds(30)) == [])
    while client.machine.outputCount > 0 {
      client.machine.consumeOutput(min(client.machine.outputCount, 1_000), now: client.now)
      #expect(client.advance(.seconds(1)) == [])
    }
    #expect(client.advance(.seconds(8)) == [])
    #expect(
      client.advance(.seconds(1)) == [
        .closed(HTTP2Error(origin: .timeout, code: .noError, cause: .keepAliveTimeout))
      ])
  }

  @Test("a frame that takes long to come is not silence")
  func keepAliveWithinFrame() throws {
    var client = Scripted.client { $0.keepAliveInterval = .seconds(30) }
    let stream = try client.open()
    _ = client.sent()
    let frame = Frames.headers(stream, response(), end: true)
    for octet in frame {
      _ = client.advance(.seconds(29))
      _ = client.receive([octet])
    }
    #expect(client.sent() == [])
  }

  @Test("a connection that fails for want of SETTINGS asks nothing more")
  func settingsTimeoutIsTheEnd() {
    var client = Scripted(role: .client) { $0.keepAliveInterval = .seconds(10) }
    _ = client.sent()
    #expect(client.advance(.seconds(10)).count == 1)
    #expect(client.sent().map(\.type) == [.goAway])
  }

  @Test("any frame extends the keep-alive, also while the answer is outstanding")
  func keepAliveExtended() {
    var client = Scripted.client {
      $0.keepAliveInterval = .seconds(30)
      $0.keepAliveTimeout = .seconds(10)
    }
    _ = client.advance(.seconds(20))
    _ = client.receive(Frames.windowUpdate(0, 1))
    #expect(client.advance(.seconds(29)) == [] && client.sent() == [])
    _ = client.advance(.seconds(1))
    #expect(client.sent().map(\.type) == [.ping])
    _ = client.advance(.seconds(9))
    _ = client.receive(Frames.windowUpdate(0, 1))
    #expect(client.advance(.seconds(9)) == [])
    // The acknowledgement of another PING is not the answer.
    _ = client.receive(Frames.ping(ack: true))
    #expect(client.advance(.seconds(9)) == [])
    #expect(client.advance(.seconds(1)).count == 1)
    #expect(client.machine.isClosed)
  }
}
