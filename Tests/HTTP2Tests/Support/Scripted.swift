import HPACK
import Primitives
import Testing

@testable import HTTP2

/// A machine and a peer who says what the test says.
struct Scripted {
  var machine: HTTP2Connection
  var now = Instant(nanoseconds: 1_000_000_000)
  /// Content that `data` events named, by stream.
  var content: [UInt32: [UInt8]] = [:]
  /// How the input is cut: 0 is not at all.
  var step = 0

  /// A client that has seen the server's SETTINGS and whose own are acknowledged.
  static func client(
    settings: [(UInt16, UInt32)] = [], _ adjust: (inout HTTP2Configuration) -> Void = { _ in }
  ) -> Scripted {
    var scripted = Scripted(role: .client, adjust)
    _ = scripted.receive(Frames.settings(settings) + Frames.settingsAck)
    _ = scripted.sent()
    return scripted
  }

  /// A server that has seen the client's preface and SETTINGS.
  static func server(
    settings: [(UInt16, UInt32)] = [], _ adjust: (inout HTTP2Configuration) -> Void = { _ in }
  ) -> Scripted {
    var scripted = Scripted(role: .server, adjust)
    _ = scripted.receive(Frames.preface + Frames.settings(settings) + Frames.settingsAck)
    _ = scripted.sent()
    return scripted
  }

  init(role: HTTP2Connection.Role, _ adjust: (inout HTTP2Configuration) -> Void = { _ in }) {
    var configuration = HTTP2Configuration()
    adjust(&configuration)
    machine = HTTP2Connection(role: role, configuration: configuration, now: now)
  }

  /// Feeds bytes and gathers every event.
  mutating func receive(_ bytes: [UInt8]) -> [HTTP2Event] {
    var events: [HTTP2Event] = []
    var start = 0
    repeat {
      let end = step == 0 ? bytes.count : min(bytes.count, start + step)
      let part = Array(bytes[start..<end])
      var offset = 0
      while let event = machine.receive(part.span, from: &offset, now: now) {
        if case .data(let stream, let range, let count, _) = event {
          #expect(range.count == count)
          content[stream, default: []] += part[range]
        }
        events.append(event)
      }
      #expect(offset == part.count, "receive left input behind")
      start = end
    } while start < bytes.count
    return events
  }

  /// Everything that waits in the output.
  mutating func output() -> [UInt8] {
    machine.withOutput { span in
      var copy: [UInt8] = []
      copy.append(contentsOf: span)
      return copy
    }
  }

  /// Takes everything that waits in the output, as frames.
  mutating func sent() -> [SentFrame] {
    let bytes = output()
    machine.consumeOutput(bytes.count, now: now)
    let isPreface = bytes.starts(with: Frames.preface)
    return SentFrame.parse(isPreface ? Array(bytes.dropFirst(Frames.preface.count)) : bytes)
  }

  mutating func events() -> [HTTP2Event] {
    var events: [HTTP2Event] = []
    while let event = machine.nextEvent() { events.append(event) }
    return events
  }

  /// Opens a stream with a request.
  mutating func open(
    _ method: String = "POST", endStream: Bool = true
  ) throws -> UInt32 {
    try machine.submitHeaders(request(method), endStream: endStream, now: now)
  }

  mutating func advance(_ interval: Interval) -> [HTTP2Event] {
    now = now + interval
    var events: [HTTP2Event] = []
    while let event = machine.handleTimeout(now: now) { events.append(event) }
    return events
  }
}

/// A response block that needs no compression state.
func response(_ status: String = "200", _ more: [(String, String)] = []) -> [UInt8] {
  Frames.block([(":status", status)] + more)
}

/// Checks that `bytes` end the connection for `cause`, that GOAWAY says so, and that nothing after
/// it means anything.
func expectConnectionError(
  _ scripted: inout Scripted, _ bytes: [UInt8], _ cause: HTTP2Cause,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  _ = scripted.sent()
  let events = scripted.receive(bytes)
  let error = HTTP2Error(origin: .local, code: cause.code, cause: cause)
  #expect(events.last == .closed(error), sourceLocation: sourceLocation)
  #expect(scripted.machine.isClosed, sourceLocation: sourceLocation)
  let goAway = scripted.sent().last
  #expect(goAway?.type == .goAway, sourceLocation: sourceLocation)
  #expect(goAway?.word(4) == cause.code.rawValue, sourceLocation: sourceLocation)
  #expect(scripted.receive(Frames.ping()) == [], sourceLocation: sourceLocation)
  #expect(scripted.sent() == [], sourceLocation: sourceLocation)
}

/// Checks that `bytes` end that stream alone for `cause`.
func expectStreamError(
  _ scripted: inout Scripted, _ bytes: [UInt8], on stream: UInt32, _ cause: HTTP2Cause,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  _ = scripted.sent()
  let events = scripted.receive(bytes)
  #expect(
    events.last == .reset(stream: stream, code: cause.code, origin: .local),
    sourceLocation: sourceLocation)
  #expect(scripted.machine.lastStreamCause == cause, sourceLocation: sourceLocation)
  let resets = scripted.sent().filter { $0.type == .rstStream }
  #expect(resets.map(\.header.stream) == [stream], sourceLocation: sourceLocation)
  #expect(resets.first?.word() == cause.code.rawValue, sourceLocation: sourceLocation)
  #expect(!scripted.machine.isClosed, sourceLocation: sourceLocation)
}
