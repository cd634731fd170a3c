import HPACK
import HTTP2
import Primitives

extension FuzzTarget {
  /// A client: a byte of configuration, then operations; bytes from the peer, local calls, time.
  static let http2Client = FuzzTarget(
    "http2-client", seeds: { http2Seeds(.client) }, check: { try checkHTTP2(.client, $0) })

  /// The same for a server, which the tests' peers use.
  static let http2Server = FuzzTarget(
    "http2-server", seeds: { http2Seeds(.server) }, check: { try checkHTTP2(.server, $0) })

  private static func checkHTTP2(_ role: HTTP2Connection.Role, _ bytes: [UInt8]) throws {
    var first: HTTP2Run?
    for cut in Cut.allCases {
      var run = HTTP2Run(role: role, cut: cut, setting: bytes.first ?? 0)
      try run.perform(Array(bytes.dropFirst()))
      guard let first else {
        first = run
        continue
      }
      try requireEqual(run.lastingEvents, first.lastingEvents, "the events, cut by \(cut)")
      try requireEqual(run.lastingContent, first.lastingContent, "the content, cut by \(cut)")
      // Windows are given back with what was read: the pieces show in the output then.
      if !run.releases { try requireEqual(run.output, first.output, "the output, cut by \(cut)") }
    }
  }

  /// What a real peer says: it is asked by one machine, and answers by another one.
  private static func http2Seeds(_ role: HTTP2Connection.Role) -> [[UInt8]] {
    var seeds: [[UInt8]] = []
    for setting in 0..<8 {
      let run = HTTP2Run(role: role, cut: .whole, setting: UInt8(setting))
      let peer = HTTP2Run.peerBytes(of: role, setting: setting)
      seeds.append([UInt8(setting)] + run.opening + [0xFF] + peer)
      // In pieces, with local calls between.
      var mixed = [UInt8(setting)] + run.opening
      for (index, start) in stride(from: 0, to: peer.count, by: 40).enumerated() {
        let piece = peer[start..<min(start + 40, peer.count)]
        mixed += [UInt8(piece.count)] + piece + [0x80 + UInt8(index % 10), UInt8(index)]
      }
      seeds.append(mixed)
    }
    return seeds
  }
}

/// One connection under a list of operations.
private struct HTTP2Run {
  let cut: Cut
  let releases: Bool
  let configuration: HTTP2Configuration
  var machine: HTTP2Connection
  var now = Instant(nanoseconds: 1_000_000_000)
  var opened: [UInt32] = []
  /// Events as text; adjacent content of one stream is one event.
  var events: [String] = []
  var content: [UInt32: [UInt8]] = [:]
  var output: [UInt8] = []
  private var lastData: UInt32 = 0
  private var isOver = false
  private var ended: Set<UInt32> = []
  private var reset: Set<UInt32> = []

  init(role: HTTP2Connection.Role, cut: Cut, setting: UInt8) {
    self.cut = cut
    releases = setting & 1 == 1
    var configuration = HTTP2Configuration()
    configuration.initialWindowSize = setting & 2 == 0 ? 65_535 : 300
    configuration.maxConcurrentStreams = setting & 2 == 0 ? 100 : 3
    configuration.maxHeaderListSize = setting & 4 == 0 ? 61_440 : 300
    configuration.headerTableSize = setting & 8 == 0 ? 4_096 : 100
    configuration.keepAliveInterval = setting & 16 == 0 ? nil : .seconds(3)
    configuration.maxHeaderBlockSize = setting & 32 == 0 ? 16_384 : 400
    self.configuration = configuration
    machine = HTTP2Connection(role: role, configuration: configuration, now: now)
  }

  /// Without the content of streams that were reset: how much of a frame that is wrong came out
  /// before depends on how it was cut.
  var lastingEvents: [String] {
    events.filter { event in !reset.contains { event == "data \($0)" } }
  }
  var lastingContent: [UInt32: [UInt8]] { content.filter { !reset.contains($0.key) } }

  /// The operations with which a client's seeds begin: three requests.
  var opening: [UInt8] { machine.role == .client ? [0x80, 0, 0x80, 1, 0x80, 0] : [] }

  mutating func perform(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    while !input.isAtEnd, !isOver {
      let operation = input.byte()
      if operation < 0x80 {
        try receive(input.piece(Int(operation)))
      } else if operation == 0xFF {
        try receive(input.rest())
      } else {
        try call(operation, input.byte())
      }
      while let event = machine.nextEvent() { try note(event) }
      try checkBounds()
    }
    takeOutput()
    while let event = machine.nextEvent() { try note(event) }
    try require(machine.isClosed || !isOver, "closed and not closed")
  }

  private mutating func receive(_ bytes: [UInt8]) throws {
    for piece in cut.pieces(of: bytes) {
      var offset = 0
      var count = 0
      while let event = machine.receive(piece.span, from: &offset, now: now) {
        try note(event, in: piece)
        count += 1
        try require(count <= piece.count + 200, "more events than bytes")
      }
      try requireEqual(offset, piece.count, "the bytes taken")
    }
  }

  private mutating func call(_ operation: UInt8, _ argument: UInt8) throws {
    let stream = opened.isEmpty ? UInt32(argument) : opened[Int(argument >> 2) % opened.count]
    let isEnd = argument & 1 == 1
    switch operation % 10 {
    case 0, 1, 8: submitHeaders(stream, argument, isEnd)
    case 2, 3:
      let count = Int(argument) * (isEnd ? 200 : 1)
      let content = [UInt8](repeating: argument, count: count)
      do {
        let taken = try machine.submitData(
          content.span, on: stream, endStream: argument & 2 == 2, now: now)
        try require(taken <= count, "more content taken than given")
      } catch let error as HTTP2SubmitError {
        events.append("refused \(error)")
      }
    case 4:
      machine.reset(stream, .cancel)
      if opened.contains(stream) { reset.insert(stream) }
    case 5:
      now = now + .milliseconds(Int64(argument) * 40)
      var count = 0
      while let event = machine.handleTimeout(now: now) {
        try note(event)
        count += 1
        try require(count < 200, "a time-out without an end")
      }
    case 6: takeOutput()
    case 7: if argument == 7 { machine.shutDown() } else { takeOutput() }
    default: if argument == 9 { machine.announceShutDown() }
    }
  }

  private mutating func submitHeaders(_ stream: UInt32, _ argument: UInt8, _ isEnd: Bool) {
    var list = HeaderList()
    do throws(HTTP2SubmitError) {
      if machine.role == .client, argument & 64 == 0 {
        list.append(":method", argument & 2 == 0 ? "POST" : "HEAD")
        list.append(":scheme", "https")
        list.append(":authority", "example.com")
        list.append(":path", "/")
        opened.append(try machine.submitHeaders(list, endStream: isEnd, now: now))
      } else {
        if argument & 2 == 0 { list.append(":status", argument & 4 == 0 ? "200" : "103") }
        list.append("a", "b")
        try machine.submitHeaders(list, on: stream, endStream: isEnd, now: now)
      }
    } catch {
      events.append("refused \(error)")
    }
  }

  private mutating func takeOutput() {
    let bytes = machine.withOutput { span in
      var copy: [UInt8] = []
      copy.append(contentsOf: span)
      return copy
    }
    machine.consumeOutput(bytes.count, now: now)
    output += bytes
  }

  private func checkBounds() throws {
    // Answers have 16 KiB more, and the last GOAWAY 256 bytes.
    try require(
      machine.outputCount <= configuration.outputLimit + 16_384 + 256,
      "\(machine.outputCount) bytes of output")
    try require(
      machine.activeStreams <= Int(configuration.maxConcurrentStreams),
      "\(machine.activeStreams) streams")
    try require(machine.memory <= 1 << 20, "\(machine.memory) bytes of memory")
  }

  /// Nothing follows the end of a stream or of the connection, and nothing comes for a stream that
  /// nobody opened.
  private mutating func note(_ event: HTTP2Event, in piece: [UInt8] = []) throws {
    try require(!isOver, "\(event) behind closed")
    record(event, in: piece)
    switch event {
    case .settings, .goAway: return
    case .closed:
      isOver = true
      return
    case .headers(let stream, let kind, let isEnd):
      if kind == .request {
        try require(!opened.contains(stream), "opened twice: \(stream)")
        opened.append(stream)
      }
      let list = machine.receivedHeaders
      try require(list.size <= Int(configuration.maxHeaderListSize), "a list too large")
      try end(stream, isEnd: isEnd)
    case .data(let stream, let range, let count, let isEnd):
      try require(range.upperBound <= piece.count, "content outside of the input")
      try require(range.count <= count, "content beyond its flow control")
      if releases { machine.release(count, on: stream) }
      try end(stream, isEnd: isEnd)
    case .reset(let stream, _, _), .refused(let stream):
      try end(stream, isEnd: true)
      reset.insert(stream)
    case .writable(let stream):
      try require(opened.contains(stream), "writable, and never opened: \(stream)")
    }
  }

  private mutating func end(_ stream: UInt32, isEnd: Bool) throws {
    try require(opened.contains(stream), "an event for \(stream), which nobody opened")
    try require(!reset.contains(stream), "an event behind the reset of \(stream)")
    if machine.role == .client {
      try require(!ended.contains(stream), "an event behind the end of \(stream)")
    }
    if isEnd { ended.insert(stream) }
  }

  private mutating func record(_ event: HTTP2Event, in piece: [UInt8]) {
    guard case .data(let stream, let range, _, let isEnd) = event else {
      lastData = 0
      if case .headers = event {
        let list = machine.receivedHeaders
        let fields = (0..<list.count).map {
          "\(list.name($0).description): \(list.value($0).description)"
        }
        events.append("\(event) \(fields)")
      } else {
        events.append("\(event)")
      }
      return
    }
    content[stream, default: []] += piece[range]
    if lastData != stream { events.append("data \(stream)") }
    lastData = isEnd ? 0 : stream
    if isEnd { events.append("end \(stream)") }
  }
}

extension HTTP2Run {
  /// What the other side of a short conversation writes.
  static func peerBytes(of role: HTTP2Connection.Role, setting: Int) -> [UInt8] {
    var ours = HTTP2Run(role: role, cut: .whole, setting: UInt8(setting))
    var peer = HTTP2Run(role: role == .client ? .server : .client, cut: .whole, setting: 1)
    let client: [UInt8] = [0, 0, 4]
    if role == .client {
      for argument in client { ours.submitHeaders(0, argument, argument == 4) }
    } else {
      for argument in client { peer.submitHeaders(0, argument, argument == 4) }
    }
    for turn in 0..<4 {
      ours.takeOutput()
      exchange(ours.output, to: &peer)
      ours.output = []
      for stream in peer.opened where turn == 1 { peer.answer(stream, setting) }
      peer.takeOutput()
    }
    return peer.output
  }

  private static func exchange(_ bytes: [UInt8], to run: inout HTTP2Run) {
    var offset = 0
    while let event = run.machine.receive(bytes.span, from: &offset, now: run.now) {
      if case .headers(let stream, .request, _) = event { run.opened.append(stream) }
    }
  }

  private mutating func answer(_ stream: UInt32, _ setting: Int) {
    let bytes = (0..<10 + setting * 20).map { UInt8($0 & 0x7F) }
    do throws(HTTP2SubmitError) {
      if machine.role == .server {
        var list = HeaderList()
        list.append(":status", "200")
        list.append("content-length", ByteString("\(bytes.count)"))
        list.append("server", "peer")
        try machine.submitHeaders(list, on: stream, endStream: false, now: now)
      }
      try send(bytes, on: stream, isEnd: setting % 2 == 0)
      if setting % 2 == 1 {
        var trailers = HeaderList()
        trailers.append("grpc-status", "0")
        try machine.submitHeaders(trailers, on: stream, endStream: true, now: now)
      }
    } catch {
      // A request without content takes no more of it.
      events.append("refused \(error)")
    }
  }

  private mutating func send(
    _ bytes: [UInt8], on stream: UInt32, isEnd: Bool
  ) throws(HTTP2SubmitError) {
    let taken = try machine.submitData(bytes.span, on: stream, endStream: isEnd, now: now)
    precondition(taken == bytes.count, "the peer's own machine took too little")
  }
}
