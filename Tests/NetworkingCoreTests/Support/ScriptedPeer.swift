import HPACK
import HTTP2
import NetworkingCore
import Primitives

/// A server at the other end of one connection, made of the HTTP/2 machine's server role.
final class ScriptedPeer {
  struct Request {
    var stream: UInt32
    var headers: [(String, String)]
    var body: [UInt8] = []
    var isComplete = false

    func value(_ name: String) -> String? { headers.first { $0.0 == name }?.1 }
  }

  let id: ConnectionID
  let address: SocketAddress
  var http: HTTP2Connection
  var requests: [UInt32: Request] = [:]
  /// In the order of their arrival.
  var order: [UInt32] = []
  /// Gives credit for the request's body at once.
  var readsBodies = true
  /// Bytes to the client are lost from here on, and so are those from it.
  var isSilent = false
  var events: [HTTP2Event] = []
  /// PINGs that came, which the machine answers by itself.
  var pings = 0
  private var pingBytes: [UInt8] = []
  /// By stream: content that waits for windows.
  private var unsaid: [UInt32: [UInt8]] = [:]

  init(
    _ id: ConnectionID, _ address: SocketAddress, _ configuration: HTTP2Configuration, now: Instant
  ) {
    self.id = id
    self.address = address
    http = HTTP2Connection(role: .server, configuration: configuration, now: now)
  }

  /// Takes bytes from the client; `handler` is called when a request is complete.
  func receive(
    _ bytes: [UInt8], now: Instant, onHeaders: (ScriptedPeer, UInt32) -> Void,
    onRequest: (ScriptedPeer, UInt32) -> Void
  ) {
    guard !isSilent else { return }
    countPings(bytes)
    var offset = 0
    while let event = http.receive(bytes.span, from: &offset, now: now) {
      events.append(event)
      switch event {
      case .headers(let stream, let kind, let endStream):
        guard kind == .request else { continue }
        var headers: [(String, String)] = []
        for index in 0..<http.receivedHeaders.count {
          headers.append(
            (
              http.receivedHeaders.name(index).description,
              http.receivedHeaders.value(index).description
            ))
        }
        requests[stream] = Request(stream: stream, headers: headers)
        order.append(stream)
        onHeaders(self, stream)
        if endStream { complete(stream, onRequest) }
      case .data(let stream, let range, let flowControlled, let endStream):
        requests[stream]?.body.append(contentsOf: bytes[range])
        if readsBodies { http.release(flowControlled, on: stream) }
        if endStream { complete(stream, onRequest) }
      default:
        break
      }
    }
    for stream in unsaid.keys.sorted() { say(stream, []) }
  }

  /// Frames are followed from the end of the preface, whatever pieces they come in.
  private func countPings(_ bytes: [UInt8]) {
    pingBytes += bytes
    if pingBytes.starts(with: Array("PRI".utf8)) {
      guard pingBytes.count >= 24 else { return }
      pingBytes.removeFirst(24)
    }
    while pingBytes.count >= 9 {
      let length = Int(pingBytes[0]) << 16 | Int(pingBytes[1]) << 8 | Int(pingBytes[2])
      guard pingBytes.count >= 9 + length else { return }
      if pingBytes[3] == 6, pingBytes[4] & 1 == 0 { pings += 1 }
      pingBytes.removeFirst(9 + length)
    }
  }

  /// Sends content, as windows permit.
  func say(_ stream: UInt32, _ bytes: [UInt8]) {
    var waiting = unsaid.removeValue(forKey: stream) ?? []
    waiting += bytes
    guard let taken = try? http.submitData(waiting.span, on: stream, endStream: false, now: .zero),
      taken < waiting.count
    else { return }
    unsaid[stream] = Array(waiting[taken...])
  }

  /// Content that windows have kept back.
  func unsaidCount(_ stream: UInt32) -> Int { unsaid[stream]?.count ?? 0 }

  private func complete(_ stream: UInt32, _ onRequest: (ScriptedPeer, UInt32) -> Void) {
    requests[stream]?.isComplete = true
    onRequest(self, stream)
  }

  func takeOutput() -> [UInt8] {
    var bytes: [UInt8] = []
    http.withOutput { span in for index in span.indices { bytes.append(span[index]) } }
    http.consumeOutput(bytes.count, now: .zero)
    return isSilent ? [] : bytes
  }

  // MARK: What a script says

  func respond(
    _ stream: UInt32, _ status: Int, _ fields: [(String, String)] = [], body: [UInt8] = [],
    trailers: [(String, String)] = [], end: Bool = true
  ) {
    let isBare = body.isEmpty && trailers.isEmpty && end
    try? http.submitHeaders(
      list([(":status", "\(status)")] + fields), on: stream, endStream: isBare, now: .zero)
    if !body.isEmpty {
      _ = try? http.submitData(
        body.span, on: stream, endStream: trailers.isEmpty && end, now: .zero)
    }
    if !trailers.isEmpty {
      try? http.submitHeaders(list(trailers), on: stream, endStream: true, now: .zero)
    }
  }

  func list(_ fields: [(String, String)]) -> HeaderList {
    var list = HeaderList()
    for (name, value) in fields { list.append(ByteString(name), ByteString(value)) }
    return list
  }
}

extension Instant {
  static var zero: Instant { Instant(nanoseconds: 0) }
}
