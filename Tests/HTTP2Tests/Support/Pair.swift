import HPACK
import Primitives
import Testing

@testable import HTTP2

/// A client and a server machine back to back, with a byte queue each way that is cut anywhere.
struct Pair {
  var client: HTTP2Connection
  var server: HTTP2Connection
  var now = Instant(nanoseconds: 1_000_000_000)
  /// Bytes handed over at once: `step`, or up to as many when `random` is set.
  var step = Int.max
  var random: SplitMix64?
  /// The server answers each request with its content, echoed, and these trailers.
  var trailers: HeaderList?
  /// Content that each side got, by stream.
  var clientContent: [UInt32: [UInt8]] = [:]
  var clientEvents: [HTTP2Event] = []
  var serverEvents: [HTTP2Event] = []
  /// Content that the server still has to send back.
  var echo: [UInt32: Echo] = [:]
  /// Content that the client still has to send.
  var uploads: [UInt32: [UInt8]] = [:]

  struct Echo {
    var bytes: [UInt8] = []
    var isWhole = false
    var isAnswered = false
  }

  init(
    _ adjust: (inout HTTP2Configuration, inout HTTP2Configuration) -> Void = { _, _ in }
  ) {
    var ours = HTTP2Configuration()
    var theirs = HTTP2Configuration()
    adjust(&ours, &theirs)
    client = HTTP2Connection(role: .client, configuration: ours, now: now)
    server = HTTP2Connection(role: .server, configuration: theirs, now: now)
  }

  /// Opens a stream; its content goes out with `drive`.
  mutating func post(_ content: [UInt8], _ more: [(String, String)] = []) throws -> UInt32 {
    let stream = try client.submitHeaders(
      request("POST", "/", more), endStream: content.isEmpty, now: now)
    if !content.isEmpty { uploads[stream] = content }
    return stream
  }

  /// Carries bytes both ways until nothing moves. It fails when that takes too long.
  mutating func drive(turns: Int = 200_000) throws {
    for stream in uploads.keys.sorted() { try upload(stream) }
    for _ in 0..<turns {
      let toServer = Self.take(&client, nextCut(), now: now)
      let toClient = Self.take(&server, nextCut(), now: now)
      try feedServer(toServer)
      try feedClient(toClient)
      if toServer.isEmpty && toClient.isEmpty && !client.hasOutput && !server.hasOutput { return }
    }
    Issue.record("the pair never came to rest")
  }

  private mutating func nextCut() -> Int {
    random == nil ? step : Int(random!.below(UInt64(min(step, 1 << 20)))) + 1
  }

  private static func take(
    _ machine: inout HTTP2Connection, _ most: Int, now: Instant
  ) -> [UInt8] {
    let bytes = machine.withOutput { span in
      var copy: [UInt8] = []
      copy.append(contentsOf: span.extracting(0..<min(most, span.count)))
      return copy
    }
    machine.consumeOutput(bytes.count, now: now)
    return bytes
  }

  private mutating func feedClient(_ bytes: [UInt8]) throws {
    var offset = 0
    while let event = client.receive(bytes.span, from: &offset, now: now) {
      clientEvents.append(event)
      switch event {
      case .data(let stream, let range, let count, _):
        clientContent[stream, default: []] += bytes[range]
        client.release(count, on: stream)
      case .writable(let stream):
        try upload(stream)
      default: break
      }
    }
    #expect(offset == bytes.count)
  }

  private mutating func upload(_ stream: UInt32) throws {
    guard let rest = uploads[stream] else { return }
    let taken = try client.submitData(rest.span, on: stream, endStream: true, now: now)
    uploads[stream] = taken == rest.count ? nil : Array(rest[taken...])
  }

  private mutating func feedServer(_ bytes: [UInt8]) throws {
    var offset = 0
    while let event = server.receive(bytes.span, from: &offset, now: now) {
      serverEvents.append(event)
      switch event {
      case .headers(let stream, .request, let isEnd):
        try? server.submitHeaders(
          headerList([(":status", "103"), ("link", "</a>")]), on: stream, endStream: false,
          now: now)
        echo[stream] = Echo(isWhole: isEnd)
        try sendBack(stream)
      case .data(let stream, let range, let count, let isEnd):
        echo[stream]?.bytes += bytes[range]
        server.release(count, on: stream)
        if isEnd { echo[stream]?.isWhole = true }
        try sendBack(stream)
      case .writable(let stream):
        try sendBack(stream)
      case .reset(let stream, _, _):
        echo[stream] = nil
      default: break
      }
    }
    #expect(offset == bytes.count)
  }

  private mutating func sendBack(_ stream: UInt32) throws {
    guard var rest = echo[stream] else { return }
    if !rest.isAnswered {
      do {
        try server.submitHeaders(
          headerList([(":status", "200"), ("server", "pair")]), on: stream, endStream: false,
          now: now)
      } catch .outputFull {
        return
      }
      rest.isAnswered = true
    }
    let taken = try server.submitData(
      rest.bytes.span, on: stream, endStream: rest.isWhole && trailers == nil, now: now)
    rest.bytes.removeFirst(taken)
    echo[stream] = rest
    guard rest.bytes.isEmpty && rest.isWhole else { return }
    if let trailers {
      do {
        try server.submitHeaders(trailers, on: stream, endStream: true, now: now)
      } catch .outputFull {
        return
      }
    }
    echo[stream] = nil
  }
}
