import CLinux
import HPACK
import HTTP2
import Platform
import Primitives

/// A client machine whose bytes go over the standard input and output, and whose events go, line by
/// line, over the standard error:
///
///     probe http2-pipe [--OPTION VALUE]… [--request METHOD PATH BYTES]…
///
///     settings                              headers STREAM KIND open|end NAME=VALUE|…
///     open STREAM REQUEST                   body STREAM BYTES ADLER32     (with the end)
///     reset STREAM CODE ORIGIN CAUSE        refused STREAM
///     goaway LAST CODE DEBUG                closed ORIGIN CODE CAUSE
///     unsent REQUEST                        memory BYTES                  (the most there was)
///
/// The content of request n is, at place i, the octet (31 · i + n) mod 256.
///
///     --chunk N            read at most N octets at a time
///     --window N, --connection-window N, --header-list N, --header-block N, --output N
///     --keep-alive MS, --settings-timeout MS
///     --trailers 1         the request ends with the trailer `x-sent: BYTES`
///     --hold 1             content is never released
///     --cancel-after N     a stream is reset after N octets of content
///     --early 1            requests do not wait for the server's SETTINGS
///     --stay 1             the connection stays up when every request has ended
struct HTTP2Probe {
  private struct Request {
    var method: ByteString
    var path: ByteString
    var size: Int
    var stream: UInt32 = 0
    var sent = 0
    var received = 0
    var checksum = Adler32()
    var isSending = false
    var isOver = false
  }

  private var machine: HTTP2Connection
  private var requests: [Request] = []
  private var opened = 0
  private var chunk = 65_536
  private var trailers = false
  private var hold = false
  private var stay = false
  private var isReady = false
  private var cancelAfter = Int.max
  private var memory = 0

  static func run(_ arguments: [ByteString]) {
    var probe = HTTP2Probe(arguments.map { $0.bytes })
    probe.loop()
  }

  private init(_ words: [[UInt8]]) {
    var configuration = HTTP2Configuration()
    machine = HTTP2Connection(role: .client, configuration: configuration, now: Self.now())
    var index = 0
    while index + 1 < words.count {
      let name = ByteString(words[index])
      if name == "--request" {
        requests.append(
          Request(
            method: ByteString(words[index + 1]), path: ByteString(words[index + 2]),
            size: Self.number(words[index + 3])))
        index += 4
      } else {
        apply(name, Self.number(words[index + 1]), &configuration)
        index += 2
      }
    }
    machine = HTTP2Connection(role: .client, configuration: configuration, now: Self.now())
  }

  private mutating func apply(
    _ name: ByteString, _ value: Int, _ configuration: inout HTTP2Configuration
  ) {
    if name == "--chunk" {
      chunk = value
    } else if name == "--window" {
      configuration.initialWindowSize = UInt32(value)
    } else if name == "--connection-window" {
      configuration.connectionWindowSize = UInt32(value)
    } else if name == "--header-list" {
      configuration.maxHeaderListSize = UInt32(value)
    } else if name == "--header-block" {
      configuration.maxHeaderBlockSize = UInt32(value)
    } else if name == "--output" {
      configuration.outputLimit = value
    } else if name == "--keep-alive" {
      configuration.keepAliveInterval = .milliseconds(Int64(value))
      configuration.keepAliveTimeout = .milliseconds(Int64(value))
    } else if name == "--settings-timeout" {
      configuration.settingsTimeout = .milliseconds(Int64(value))
    } else if name == "--trailers" {
      trailers = true
    } else if name == "--hold" {
      hold = true
    } else if name == "--cancel-after" {
      cancelAfter = value
    } else if name == "--early" {
      isReady = true
    } else if name == "--stay" {
      stay = true
    } else {
      ProbeIO.fail("probe http2-pipe: no such option: \(name.description)")
    }
  }

  private mutating func loop() {
    var input = [UInt8](repeating: 0, count: chunk)
    while true {
      act()
      write()
      if machine.isClosed && !machine.hasOutput { break }
      guard wait() else { continue }
      let count = input.withUnsafeMutableBytes { spoke_read(0, $0.baseAddress!, chunk) }
      guard count > 0 else {
        report("end of input")
        break
      }
      var offset = 0
      let now = Self.now()
      let bytes = input
      while let event = machine.receive(
        bytes.span.extracting(0..<Int(count)), from: &offset, now: now)
      {
        note(event, bytes)
      }
      memory = max(memory, machine.memory)
    }
    report("memory \(memory)")
  }

  /// False: the time of a deadline has come instead of input.
  private mutating func wait() -> Bool {
    var milliseconds: Int32 = -1
    if let deadline = machine.nextDeadline() {
      let rest = (deadline - Self.now()).nanoseconds
      milliseconds = Int32(clamping: max(0, (rest + 999_999) / 1_000_000))
    }
    if spoke_client_wait(0, 0, milliseconds) != 0 { return true }
    while let event = machine.handleTimeout(now: Self.now()) { note(event, []) }
    return false
  }

  /// Opens what may be opened, sends what may be sent, and shuts down when all is done.
  private mutating func act() {
    while let event = machine.nextEvent() { note(event, []) }
    while isReady && opened < requests.count && machine.canOpenStream {
      open(opened)
      opened += 1
    }
    if machine.isDraining {
      for index in opened..<max(opened, requests.count) { report("unsent \(index)") }
      opened = max(opened, requests.count)
    }
    if !stay && opened == requests.count && requests.allSatisfy({ $0.isOver || $0.stream == 0 }) {
      machine.shutDown()
      while let event = machine.nextEvent() { note(event, []) }
    }
  }

  private mutating func open(_ index: Int) {
    var list = HeaderList()
    list.append(":method", requests[index].method)
    list.append(":scheme", "http")
    list.append(":authority", "pipe")
    list.append(":path", requests[index].path)
    let isEnd = requests[index].size == 0 && !trailers
    do throws(HTTP2SubmitError) {
      requests[index].stream = try machine.submitHeaders(list, endStream: isEnd, now: Self.now())
      requests[index].isSending = !isEnd
      report("open \(requests[index].stream) \(index)")
      if !isEnd { send(index) }
    } catch {
      report("unsent \(index)")
      requests[index].isOver = true
    }
  }

  private mutating func send(_ index: Int) {
    let request = requests[index]
    var content: [UInt8] = []
    for place in request.sent..<request.size {
      content.append(UInt8(truncatingIfNeeded: 31 * place + index))
    }
    do throws(HTTP2SubmitError) {
      requests[index].sent += try machine.submitData(
        content.span, on: request.stream, endStream: !trailers, now: Self.now())
      guard requests[index].sent == request.size else { return }
      if trailers {
        var list = HeaderList()
        list.append("x-sent", ByteString("\(request.size)"))
        try machine.submitHeaders(list, on: request.stream, endStream: true, now: Self.now())
      }
      requests[index].isSending = false
    } catch {
      if error != .outputFull { requests[index].isSending = false }
    }
  }

  private mutating func note(_ event: HTTP2Event, _ bytes: [UInt8]) {
    switch event {
    case .settings:
      isReady = true
      report("settings")
    case .headers(let stream, let kind, let isEnd): noteHeaders(stream, kind, isEnd)
    case .data(let stream, let range, let count, let isEnd):
      guard let index = index(of: stream) else { return report("stray data \(stream)") }
      for place in range { requests[index].checksum.update(bytes[place]) }
      requests[index].received += range.count
      if !hold { machine.release(count, on: stream) }
      if isEnd { finish(index) }
      if !isEnd && requests[index].received >= cancelAfter {
        machine.reset(stream, .cancel)
        report("cancelled \(stream)")
        requests[index].isOver = true
      }
    case .writable(let stream):
      guard let index = index(of: stream), requests[index].isSending else {
        return report("stray writable \(stream)")
      }
      send(index)
    case .reset(let stream, let code, let origin):
      let cause = origin == .local ? machine.lastStreamCause?.text ?? "" : ""
      report("reset \(stream) \(code.name) \(origin == .peer ? "peer" : "local") \(cause)")
      end(stream)
    case .refused(let stream):
      report("refused \(stream)")
      end(stream)
    case .goAway(let last, let code):
      report("goaway \(last) \(code.name) \(machine.goAwayDebugData.description)")
    case .closed(let error):
      report("closed \(error.description)")
    }
  }

  private mutating func noteHeaders(_ stream: UInt32, _ kind: HeadersKind, _ isEnd: Bool) {
    let list = machine.receivedHeaders
    var fields = ""
    for index in 0..<list.count {
      if index > 0 { fields += "|" }
      fields += list.name(index).description + "=" + list.value(index).description
    }
    let name =
      switch kind {
      case .request: "request"
      case .informational: "informational"
      case .response: "response"
      case .trailers: "trailers"
      }
    report("headers \(stream) \(name) \(isEnd ? "end" : "open") \(fields)")
    if isEnd, let index = index(of: stream) { finish(index) }
  }

  private mutating func finish(_ index: Int) {
    let request = requests[index]
    report("body \(request.stream) \(request.received) \(request.checksum.value)")
    requests[index].isOver = true
  }

  private mutating func end(_ stream: UInt32) {
    guard let index = index(of: stream) else { return report("stray end \(stream)") }
    if requests[index].isOver { report("second end \(stream)") }
    requests[index].isOver = true
    requests[index].isSending = false
  }

  private func index(of stream: UInt32) -> Int? {
    requests.firstIndex { $0.stream == stream }
  }

  private mutating func write() {
    memory = max(memory, machine.memory)
    while machine.hasOutput {
      let count = machine.withOutput { span in
        let size = span.count
        return span.withUnsafeBufferPointer { spoke_write(1, $0.baseAddress!, size) }
      }
      guard count > 0 else { ProcessExit.exit(0) }
      machine.consumeOutput(Int(count), now: Self.now())
      while let event = machine.nextEvent() { note(event, []) }
    }
  }

  private func report(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { spoke_write(2, $0.baseAddress!, bytes.count) }
  }

  private static func now() -> Instant { SystemClocks.now() }

  private static func number(_ text: [UInt8]) -> Int {
    var value = 0
    for digit in text { value = value * 10 + Int(digit & 15) }
    return value
  }
}

/// RFC 1950 §8.2: a check that Python has too.
private struct Adler32 {
  private var low: UInt32 = 1
  private var high: UInt32 = 0

  mutating func update(_ byte: UInt8) {
    low = (low + UInt32(byte)) % 65_521
    high = (high + low) % 65_521
  }

  var value: UInt32 { high << 16 | low }
}
