import HPACK
import Primitives
import Testing

@testable import HTTP2

@Suite("Flow control")
struct FlowControlTests {
  private func bytes(_ count: Int) -> [UInt8] { Array(repeating: 0x61, count: count) }

  private func submit(
    _ client: inout Scripted, _ count: Int, on stream: UInt32, end: Bool = false
  ) throws -> Int {
    try client.machine.submitData(
      bytes(count).span, on: stream, endStream: end, now: client.now)
  }

  @Test("RFC 9113 §6.9: content stops at the stream's window and goes on after WINDOW_UPDATE")
  func streamWindow() throws {
    var client = Scripted.client(settings: [(Setting.initialWindowSize, 10)])
    let stream = try client.open(endStream: false)
    #expect(try submit(&client, 25, on: stream, end: true) == 10)
    #expect(try submit(&client, 15, on: stream, end: true) == 0)
    #expect(client.sent().last?.header.flags == 0)
    #expect(client.receive(Frames.windowUpdate(stream, 14)) == [.writable(stream: stream)])
    #expect(try submit(&client, 15, on: stream, end: true) == 14)
    #expect(client.receive(Frames.windowUpdate(stream, 100)) == [.writable(stream: stream)])
    #expect(try submit(&client, 1, on: stream, end: true) == 1)
    #expect(client.sent().last?.header.flags == FrameFlags.endStream)
  }

  @Test("RFC 9113 §6.9: a window of one octet carries a request, an octet a time")
  func oneByteWindow() throws {
    var client = Scripted.client(settings: [(Setting.initialWindowSize, 1)])
    let stream = try client.open(endStream: false)
    var sent = try submit(&client, 20, on: stream, end: true)
    var turns = 0
    while sent < 20 {
      let events = client.receive(Frames.windowUpdate(stream, 1))
      #expect(events == [.writable(stream: stream)])
      sent += try submit(&client, 20 - sent, on: stream, end: true)
      turns += 1
    }
    let data = client.sent().filter { $0.type == .data }
    #expect(turns == 19 && data.count == 20)
    #expect(data.last?.header.flags == FrameFlags.endStream)
  }

  @Test("RFC 9113 §6.9.1: the connection's window holds all streams together, each has its turn")
  func connectionWindow() throws {
    var client = Scripted.client(settings: [(Setting.initialWindowSize, 1_000_000)]) {
      $0.outputLimit = 1_000_000
    }
    let first = try client.open(endStream: false)
    let second = try client.open(endStream: false)
    let third = try client.open(endStream: false)
    #expect(try submit(&client, 100_000, on: first) == 65_535)
    #expect(try submit(&client, 10, on: second) == 0)
    #expect(try submit(&client, 10, on: third) == 0)
    var order: [UInt32] = []
    for _ in 0..<6 {
      _ = client.sent()
      for event in client.receive(Frames.windowUpdate(0, 10)) {
        guard case .writable(let stream) = event else { continue }
        order.append(stream)
        _ = try submit(&client, 10, on: stream)
        // Still more to send.
        #expect(try submit(&client, 10, on: stream) == 0)
      }
    }
    // The credit of one turn is used up by the first stream that is told; the next turn, the next.
    #expect(Set(order.prefix(3)) == [first, second, third])
    #expect(Set(order.suffix(3)) == [first, second, third])
  }

  @Test("RFC 9113 §6.9.1: an increment of 0")
  func zeroIncrement() throws {
    var client = Scripted.client()
    let stream = try client.open()
    expectStreamError(&client, Frames.windowUpdate(stream, 0), on: stream, .windowIncrementZero)
    expectConnectionError(&client, Frames.windowUpdate(0, 0), .windowIncrementZero)
    // The reserved bit is not part of it.
    var other = Scripted.client()
    expectConnectionError(&other, Frames.windowUpdate(0, 0x8000_0000), .windowIncrementZero)
  }

  @Test("RFC 9113 §6.9.1: a window over 2³¹ − 1")
  func overflow() throws {
    var client = Scripted.client()
    let stream = try client.open()
    let most = UInt32(0x7fff_ffff - 65_535)
    #expect(client.receive(Frames.windowUpdate(stream, most) + Frames.windowUpdate(0, most)) == [])
    expectStreamError(&client, Frames.windowUpdate(stream, 1), on: stream, .streamWindowOverflow)
    expectConnectionError(&client, Frames.windowUpdate(0, 1), .connectionWindowOverflow)
  }

  @Test("RFC 9113 §6.9.2: SETTINGS take a window below 0, and content waits until it is above")
  func negativeWindow() throws {
    var client = Scripted.client(settings: [(Setting.initialWindowSize, 100)])
    let stream = try client.open(endStream: false)
    #expect(try submit(&client, 100, on: stream) == 100)
    #expect(client.receive(Frames.settings([(Setting.initialWindowSize, 20)])) == [.settings])
    #expect(try submit(&client, 1, on: stream) == 0)
    #expect(client.receive(Frames.windowUpdate(stream, 80)) == [])
    #expect(client.receive(Frames.windowUpdate(stream, 1)) == [.writable(stream: stream)])
    #expect(try submit(&client, 5, on: stream) == 1)
    #expect(
      client.receive(Frames.settings([(Setting.initialWindowSize, 24)])) == [
        .settings, .writable(stream: stream),
      ])
    #expect(try submit(&client, 4, on: stream, end: true) == 4)
  }

  @Test("RFC 9113 §6.9.2: SETTINGS that take a stream's window over 2³¹ − 1")
  func settingsOverflow() throws {
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.windowUpdate(stream, 0x7fff_ffff - 65_535))
    expectConnectionError(
      &client, Frames.settings([(Setting.initialWindowSize, 65_536)]), .settingWindowInvalid)
  }

  @Test("RFC 9113 §6.9: DATA beyond the stream's window")
  func streamExceeded() throws {
    var client = Scripted.client { $0.initialWindowSize = 100 }
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()) + Frames.data(stream, bytes(90)))
    // Padding counts.
    expectStreamError(
      &client, Frames.data(stream, bytes(5), padding: 5), on: stream, .streamWindowExceeded)
  }

  @Test("RFC 9113 §6.9: a stream's credit is given back as it is released, at half the window")
  func release() throws {
    var client = Scripted.client { $0.initialWindowSize = 100 }
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()) + Frames.data(stream, bytes(100)))
    _ = client.sent()
    client.machine.release(49, on: stream)
    #expect(client.sent() == [])
    client.machine.release(1, on: stream)
    let update = client.sent()
    #expect(update.map(\.type) == [.windowUpdate] && update[0].word() == 50)
    #expect(client.receive(Frames.data(stream, bytes(50))).count == 1)
    client.machine.release(100, on: stream)
    #expect(client.sent().map { $0.word() } == [100])
    // After the end there is nothing to give.
    _ = client.receive(Frames.data(stream, bytes(60), end: true))
    client.machine.release(60, on: stream)
    #expect(client.sent() == [])
  }

  @Test("RFC 9113 §6.9.2: before it knows better, the peer may use the default window")
  func slackBeforeAcknowledgement() throws {
    var client = Scripted(role: .client) { $0.initialWindowSize = 10 }
    _ = client.receive(Frames.settings())
    let stream = try client.open()
    let events = client.receive(
      Frames.headers(stream, response()) + Frames.data(stream, bytes(1_000)))
    #expect(events.count == 2 && client.content[stream]?.count == 1_000)
    _ = client.receive(Frames.settingsAck)
    // The window is now 990 below 0.
    expectStreamError(&client, Frames.data(stream, [1]), on: stream, .streamWindowExceeded)
  }

  @Test("RFC 9113 §6.9: the connection's credit comes back by itself, whatever becomes of DATA")
  func connectionCredit() throws {
    var client = Scripted.client()
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()))
    client.machine.reset(stream, .cancel)
    _ = client.sent()
    for _ in 0..<20 { _ = client.receive(Frames.data(stream, bytes(16_000))) }
    let updates = client.sent().filter { $0.type == .windowUpdate }
    #expect(updates.allSatisfy { $0.header.stream == 0 })
    #expect(updates.reduce(0) { $0 + $1.word() } >= 320_000 - 32_768)
    #expect(!client.machine.isClosed)
  }

  @Test("RFC 9113 §6.9.1: DATA beyond the connection's window")
  func connectionExceeded() throws {
    var client = Scripted.client { $0.initialWindowSize = 1_000_000 }
    var receive = ReceiveWindow(size: 10)
    let answers = [receive.receive(10, slack: 0), receive.receive(1, slack: 0)]
    #expect(answers == [true, false])
    client.machine.receiveWindow = receive
    let stream = try client.open()
    _ = client.receive(Frames.headers(stream, response()))
    expectConnectionError(&client, Frames.data(stream, [1]), .connectionWindowExceeded)
  }

  @Test("a larger connection window is announced at the start")
  func connectionWindowSize() {
    var client = Scripted(role: .client) { $0.connectionWindowSize = 1_000_000 }
    let frames = client.sent()
    #expect(frames.map(\.type) == [.settings, .windowUpdate])
    #expect(frames.last?.word() == UInt32(934_465))
  }

  @Test("a full output queue holds content back, and a drained one calls for it")
  func outputLimit() throws {
    var client = Scripted.client(settings: [(Setting.initialWindowSize, 1_000_000)]) {
      $0.outputLimit = 20_000
      $0.maxConcurrentStreams = 10_000
    }
    _ = client.receive(Frames.windowUpdate(0, 1_000_000))
    let stream = try client.open(endStream: false)
    let taken = try submit(&client, 100_000, on: stream)
    #expect(taken > 16_384 && taken < 20_000)
    #expect(try submit(&client, 100, on: stream) == 0)
    #expect(client.machine.outputCount <= 20_000)
    client.machine.consumeOutput(100, now: client.now)
    #expect(client.events() == [])
    client.machine.consumeOutput(client.machine.outputCount / 2 + 1, now: client.now)
    #expect(client.machine.nextDeadline() == Instant(nanoseconds: 0))
    #expect(client.events() == [.writable(stream: stream)])
    #expect(try submit(&client, 100, on: stream) == 100)
    #expect(throws: HTTP2SubmitError.outputFull) {
      while true { _ = try client.open() }
    }
    #expect(client.machine.outputCount <= 20_000)
  }

  @Test("trailers that find the output full are called for, whatever the windows")
  func trailersWait() throws {
    var client = Scripted.client { $0.outputLimit = 16_384 }
    let stream = try client.open(endStream: false)
    let other = try client.open(endStream: false)
    #expect(try submit(&client, 100_000, on: other) > 15_000)
    let trailers = headerList([("a", String(repeating: "x", count: 1_000))])
    #expect(throws: HTTP2SubmitError.outputFull) {
      try client.machine.submitHeaders(trailers, on: stream, endStream: true, now: client.now)
    }
    _ = client.receive(Frames.settings([(Setting.initialWindowSize, 0)]))
    #expect(!client.machine.canOpenStream)
    client.machine.consumeOutput(client.machine.outputCount, now: client.now)
    #expect(client.events() == [.writable(stream: stream)])
    #expect(client.machine.canOpenStream)
    try client.machine.submitHeaders(trailers, on: stream, endStream: true, now: client.now)
    #expect(client.sent().last?.header.flags == FrameFlags.endStream | FrameFlags.endHeaders)
  }

  @Test("a stream blocked by window and output alike is told once both are open")
  func bothReasons() throws {
    var client = Scripted.client(settings: [(Setting.initialWindowSize, 20_000)]) {
      $0.outputLimit = 20_000
    }
    let stream = try client.open(endStream: false)
    var taken = try submit(&client, 50_000, on: stream)
    #expect(client.receive(Frames.windowUpdate(stream, 50_000)) == [])
    client.machine.consumeOutput(client.machine.outputCount, now: client.now)
    #expect(client.events() == [.writable(stream: stream)])
    taken += try submit(&client, 50_000 - taken, on: stream)
    client.machine.consumeOutput(client.machine.outputCount, now: client.now)
    #expect(client.events() == [.writable(stream: stream)])
    taken += try submit(&client, 50_000 - taken, on: stream, end: true)
    #expect(taken == 50_000)
    client.machine.consumeOutput(client.machine.outputCount, now: client.now)
    #expect(client.events() == [])
  }

  @Test("an end without content goes out even when no window is open")
  func emptyEnd() throws {
    var client = Scripted.client(settings: [(Setting.initialWindowSize, 0)])
    let stream = try client.open(endStream: false)
    #expect(try submit(&client, 1, on: stream) == 0)
    #expect(try submit(&client, 0, on: stream, end: true) == 0)
    #expect(client.sent().last?.header.flags == FrameFlags.endStream)
    #expect(client.receive(Frames.windowUpdate(stream, 1)) == [])
  }
}
