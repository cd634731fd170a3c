import Configuration
import Gateway
import HPACK
import HTTP2
import NetworkingCore
import Policy
import Primitives
import Spool
import TestSupport

/// What an upstream is like at the moment.
struct HostState {
  enum Mode { case healthy, error, hold, silence }

  var isDown = false
  var mode = Mode.healthy
}

/// The upstreams: they read requests, decide, and answer in every way there is.
extension World {
  func receive(_ bytes: [UInt8], _ wire: Wire) {
    var offset = 0
    while let event = wire.machine.receive(bytes.span, from: &offset, now: now) {
      handle(event, bytes, wire)
    }
    takeEvents(wire)
  }

  func takeEvents(_ wire: Wire) {
    while let event = wire.machine.nextEvent() { handle(event, [], wire) }
  }

  private func handle(_ event: HTTP2Event, _ bytes: [UInt8], _ wire: Wire) {
    switch event {
    case .headers(let stream, _, let isEnd): begin(stream, wire, isEnd: isEnd)
    case .data(let stream, let range, let credit, let isEnd):
      wire.machine.release(credit, on: stream)
      if isPlane(wire.host) { return receiveDiscovery(Array(bytes[range]), stream, wire) }
      guard let place = wire.request(stream), !wire.requests[place].isAnswered else { return }
      wire.requests[place].body += bytes[range]
      if isEnd { complete(place, wire) }
    case .reset(let stream, _, _):
      wire.requests.removeAll { $0.stream == stream }
      if plane?.serves(wire.number, stream) == true { plane?.end() }
    case .writable: if isPlane(wire.host) { pumpPlane() }
    case .closed(let error):
      guard error.origin == .local, error.cause != .graceful else { return }
      complain("an upstream finds the daemon at fault: \(error.description)")
    case .settings, .refused, .goAway: break
    }
  }

  private func begin(_ stream: UInt32, _ wire: Wire, isEnd: Bool) {
    if chance(.streamRefused) { return wire.machine.reset(stream, .refusedStream) }
    if chance(.streamReset) {
      return wire.machine.reset(stream, draw.pick([.internalError, .cancel, .enhanceYourCalm]))
    }
    if isPlane(wire.host) { return beginDiscovery(stream, wire) }
    var request = SeenRequest(stream: stream)
    let list = wire.machine.receivedHeaders
    if let index = list.firstIndex(of: ":path") {
      let path = list.value(index)
      let name = path.bytes.split(separator: UInt8(ascii: "/")).last.map { ByteString(Array($0)) }
      request.records = plan.streams.firstIndex { $0.name == name } ?? -1
    }
    for name: StaticString in ["ce-id", "spoke-id"] {
      if let index = list.firstIndex(of: name) { request.id = list.value(index) }
    }
    if let index = list.firstIndex(of: "spoke-count") {
      request.count = Int(reader.decimal(list.value(index).bytes) ?? 0)
    }
    guard request.records >= 0 else { return complain("a request of no stream") }
    wire.requests.append(request)
    if isEnd { return complete(wire.requests.count - 1, wire) }
    if chance(.earlyAnswer) { answerEarly(wire.requests.count - 1, wire) }
  }

  private func complete(_ place: Int, _ wire: Wire) {
    let request = wire.requests[place]
    let encoding = plan.streams[request.records].encoding
    guard let records = reader.records(request, encoding) else {
      return complain("a request that is none, of stream \(request.records)")
    }
    guard mayArrive(request.records, wire.host) else {
      return complain("a request of stream \(request.records) where nobody sends it")
    }
    var hasPoison = false
    for record in records {
      let hash = Hash64.of(record.payload.span)
      trace.note(now, "seen", UInt64(record.key.stream), record.key.sequence, hash)
      if let words = ledger.see(record.key, hash: hash) {
        complain("stream \(record.key.stream), record \(record.key.sequence): \(words)")
      }
      let poison = plan.streams[request.records].poison
      if poison > 0, hash % UInt64(poison) == 0 { hasPoison = true }
    }
    let answer = answer(request, host: wire.host, hasPoison: hasPoison)
    if answer.takes { take(records) }
    if answer.isFinal, records.count == 1 { ledger.refuse(records[0].key) }
    wire.requests[place].body = []
    let thinking = phase == .faults ? plan.hosts[wire.host].thinking : .zero
    after(
      draw.interval(.zero, thinking + thinking),
      .answer(wire: wire.number, stream: request.stream, answer))
  }

  private func take(_ records: [SeenRecord]) {
    for record in records {
      let stream = record.key.stream
      let isOrdered = current.streams[stream].inFlight == 1 && !plan.streams[stream].isLiveFirst
      trace.note(now, "delivered", UInt64(stream), record.key.sequence)
      ledger.deliver(record.key, inOrder: isOrdered, run: run)
      if stream == plan.reports { read(report: record.payload) }
    }
  }

  /// A gap report names records.
  private func read(report: [UInt8]) {
    guard let value = JSONValue(parsing: report.span) else {
      return complain("a report that is not JSON")
    }
    guard let gap = value["gap"], let name = gap["stream"]?.text,
      let stream = plan.streams.firstIndex(where: { $0.name == name })
    else { return }
    guard let epoch = gap["epoch"].flatMap({ reader.hexadecimal($0.text.bytes) }),
      let first = gap["first"]?.unsigned, let last = gap["last"]?.unsigned, first <= last,
      let count = gap["count"]?.unsigned, count > 0,
      let reason = gap["reason"].flatMap({ Reasons.named($0.text) })
    else { return complain("a gap report that names nothing") }
    if first > 0, count > last - first + 1 { complain("a gap report that counts too many") }
    trace.note(now, "named", UInt64(stream), first, last)
    ledger.name(
      stream: stream, epoch: epoch, first, last, reason, isUpperBound: gap["upper_bound"] != nil)
  }

  // MARK: Answers

  private func answer(_ request: SeenRequest, host: Int, hasPoison: Bool) -> Answer {
    var answer = Answer()
    answer.isCall = plan.streams[request.records].encoding == .grpc
    answer.grpcStatus = answer.isCall ? 0 : nil
    if draw.chance(1, in: 4) { answer.body = draw.range(1...1_500) }
    if hasPoison {
      counts.add(.poison)
      reject(&answer, request)
    }
    guard phase == .faults else { return answer }
    if !answer.isCall {
      answer.status = hasPoison ? answer.status : draw.pick([200, 201, 202, 204])
    }
    switch hosts[host].mode {
    case .healthy: break
    case .error: refuse(&answer)
    case .hold: hold(&answer)
    case .silence: answer.ending = .silence
    }
    if chance(.statusNoise) {
      switch draw.below(4) {
      case 0: reject(&answer, request)
      case 1: hold(&answer)
      default: refuse(&answer)
      }
    }
    if chance(.informational) { answer.informational = draw.range(1...3) }
    if chance(.bodyReset) { answer.ending = .cut }
    if chance(.streamReset) { answer.ending = .reset(draw.pick([.internalError, .cancel])) }
    return answer
  }

  /// Not now.
  private func refuse(_ answer: inout Answer) {
    if answer.isCall, draw.chance(2, in: 3) {
      answer.grpcStatus = draw.pick([14, 8, 4, 10, 13, 2])
    } else {
      answer.grpcStatus = nil
      answer.status = draw.pick([408, 425, 429, 500, 502, 503, 504])
    }
    if chance(.retryAfter) { answer.retryAfter = draw.range(1...plan.retryAfterMax) }
  }

  /// Not from this device, or not here.
  private func hold(_ answer: inout Answer) {
    if answer.isCall, draw.chance(2, in: 3) {
      answer.grpcStatus = draw.pick([16, 7, 5, 12])
    } else {
      answer.grpcStatus = nil
      answer.status = draw.pick([301, 401, 403, 404])
    }
  }

  /// Never. The daemon's own reports are always taken in the end: they name what was lost.
  private func reject(_ answer: inout Answer, _ request: SeenRequest) {
    guard request.records != plan.reports else { return refuse(&answer) }
    if answer.isCall {
      answer.grpcStatus = draw.pick([3, 9, 11])
    } else {
      answer.status = draw.pick([400, 409, 413, 415, 422])
    }
  }

  /// The upstream has seen enough of it.
  private func answerEarly(_ place: Int, _ wire: Wire) {
    var answer = Answer()
    if draw.chance(1, in: 2) { hold(&answer) } else { refuse(&answer) }
    wire.requests[place].isAnswered = true
    let stream = wire.requests[place].stream
    give(answer, wire.number, stream)
    if draw.chance(1, in: 2) { wire.machine.reset(stream, .noError) }
  }

  func give(_ answer: Answer, _ number: Int, _ stream: UInt32) {
    guard let wire = wire(number) else { return }
    defer { sendToClient(wire) }
    wire.requests.removeAll { $0.stream == stream && !$0.isAnswered }
    switch answer.ending {
    case .silence: return
    case .reset(let code): return wire.machine.reset(stream, code)
    case .whole, .cut: break
    }
    // A stream that is gone meanwhile takes no answer.
    do throws(HTTP2SubmitError) { try send(answer, wire, stream) } catch {
      trace.note(now, "unanswered", UInt64(number), UInt64(stream))
    }
  }

  private func send(_ answer: Answer, _ wire: Wire, _ stream: UInt32) throws(HTTP2SubmitError) {
    for _ in 0..<answer.informational {
      var early = HeaderList()
      early.append(name: ":status", text: "103")
      try wire.machine.submitHeaders(early, on: stream, endStream: false, now: now)
    }
    var isCut = false
    if case .cut = answer.ending { isCut = true }
    let hasBody = answer.body > 0 && answer.status != 204
    let trailers = answer.isCall ? answer.grpcStatus : nil
    let isBare = !hasBody && !isCut && trailers == nil
    try wire.machine.submitHeaders(head(answer), on: stream, endStream: isBare, now: now)
    if hasBody {
      let body = [UInt8](repeating: 0, count: answer.body)
      _ = try wire.machine.submitData(
        body.span, on: stream, endStream: !isCut && trailers == nil, now: now)
    }
    if isCut { return wire.machine.reset(stream, .internalError) }
    guard let trailers else { return }
    var list = HeaderList()
    list.append("grpc-status", ByteString("\(trailers)"))
    try wire.machine.submitHeaders(list, on: stream, endStream: true, now: now)
  }

  private func head(_ answer: Answer) -> HeaderList {
    var list = HeaderList()
    list.append(":status", ByteString("\(answer.status)"))
    if answer.isCall { list.append("content-type", "application/grpc") }
    if let seconds = answer.retryAfter {
      list.append("retry-after", ByteString("\(seconds)"))
    }
    return list
  }
}
