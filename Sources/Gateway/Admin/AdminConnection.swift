import Primitives

/// The server's side of one HTTP/1.1 connection to the admin endpoint (RFC 9112), without its socket.
///
///         +--------- no body ----------+
///         |                            v
///       head --> body (discarded) --> answering --> output --> head …
///         |        |                                  |
///         +--------+--- error ------------------------+--> closing
///
/// The driver reads only while `wantsInput`, hands the bytes to `receive`, answers a request with
/// `respond` at once, writes the output, and calls `receive` again (with no bytes, too) when the
/// output is gone: requests that were sent ahead wait in the input and are answered one at a time.
/// With reads of at most `inputRoom` bytes none is ever left over. The driver closes the transport
/// when `wantsClose`.
public struct AdminConnection: Sendable {
  private enum Phase: Sendable {
    /// The head of a request is on its way, or nothing.
    case head
    /// A head has come, this many bytes of its body have not.
    case body(remaining: Int)
    /// The caller has the request.
    case answering
    /// What has been output is the last.
    case closing
  }

  private var phase = Phase.head
  /// Received and not yet read; at most one head.
  private var input: [UInt8] = []
  /// No head ends before this place in `input`.
  private var searched = 0
  private var current: AdminRequestHead?
  /// The output: its first part, its body, and how much of both is written.
  private var outputHead: [UInt8] = []
  private var outputBody: [UInt8] = []
  private var written = 0
  private var deadline: Instant

  public init(now: Instant) {
    deadline = now + AdminLimits.idleTimeout
  }

  /// Whether the transport should be read.
  public var wantsInput: Bool {
    switch phase {
    case .head: !hasOutput && inputRoom > 0
    case .body: true
    case .answering, .closing: false
    }
  }

  /// How many bytes `receive` takes for certain.
  public var inputRoom: Int { AdminLimits.headMax - input.count }

  /// Whether the transport should be closed: the last byte is written, or the time is over.
  public var wantsClose: Bool {
    if case .closing = phase { return !hasOutput }
    return false
  }

  /// Takes bytes from `offset` on, as many as there is room for. A complete request is returned and
  /// waits for `respond`; the next one waits until the output of that is gone.
  public mutating func receive(
    _ bytes: Span<UInt8>, from offset: inout Int, now: Instant
  ) -> AdminRequest? {
    while true {
      switch phase {
      case .head:
        buffer(bytes, &offset, now: now)
        guard !hasOutput, takeHead(now: now) else { return nil }
      case .body(let remaining):
        guard takeBody(bytes, &offset, remaining: remaining) else { return nil }
        buffer(bytes, &offset, now: now)
      case .answering:
        buffer(bytes, &offset, now: now)
        return nil
      case .closing:
        // What a peer goes on sending must not fill anything.
        offset = bytes.count
        return nil
      }
      if case .answering = phase { return current?.request }
    }
  }

  /// Answers the request that `receive` returned.
  public mutating func respond(_ page: AdminPage, now: Instant) {
    guard case .answering = phase, let current else {
      preconditionFailure("AdminConnection: a response without a request")
    }
    self.current = nil
    var page = page
    if page.body.count > AdminLimits.pageMax {
      page = AdminPage(
        status: 500, line: "the page is longer than \(AdminLimits.pageMax) bytes: use ?filter=")
    }
    if page.body.capacity > page.body.count + AdminLimits.bodyMax {
      // It doubled while it was made.
      var body: [UInt8] = []
      body.reserveCapacity(page.body.count)
      body.append(contentsOf: page.body)
      page.body = body
    }
    write(page, keepsAlive: current.keepsAlive, isHead: current.request.method == .head)
    phase = current.keepsAlive ? .head : .closing
    deadline = now + AdminLimits.outputTimeout
  }

  /// The transport's other side has ended: what is not answered yet never will be.
  public mutating func receiveEnd() {
    if case .closing = phase { return }
    phase = .closing
  }

  /// Bytes held, for the memory ledger.
  public var memory: Int { input.capacity + outputHead.capacity + outputBody.capacity }

  // MARK: Output

  public var hasOutput: Bool { written < outputHead.count + outputBody.count }

  /// Lends what is to be written next; consume what the transport took, and ask again.
  public func withOutput<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    if written < outputHead.count {
      return body(outputHead.span.extracting(written..<outputHead.count))
    }
    return body(
      outputBody.span.extracting((written - outputHead.count)..<outputBody.count))
  }

  /// The transport took `count` bytes.
  public mutating func consumeOutput(_ count: Int, now: Instant) {
    precondition(
      count >= 0 && written + count <= outputHead.count + outputBody.count,
      "AdminConnection: more consumed than output")
    written += count
    guard !hasOutput else {
      deadline = now + AdminLimits.outputTimeout
      return
    }
    outputHead.removeAll(keepingCapacity: true)
    // A page may be large and the next one far away.
    outputBody = []
    written = 0
    if case .head = phase {
      deadline =
        now + (input.isEmpty ? AdminLimits.idleTimeout : AdminLimits.requestTimeout)
    }
  }

  // MARK: Time

  /// When `handleTimeout` is due.
  public func nextDeadline() -> Instant? { wantsClose ? nil : deadline }

  /// Ends what has taken too long: with 408 when the peer is in the middle of a request.
  public mutating func handleTimeout(now: Instant) {
    guard now >= deadline, !wantsClose else { return }
    if hasOutput {
      outputHead.removeAll()
      outputBody = []
      written = 0
      phase = .closing
      return
    }
    if case .head = phase, input.isEmpty {
      phase = .closing
      return
    }
    fail(AdminError(408, "the request took too long"), now: now)
  }
}

// MARK: Input

extension AdminConnection {
  private mutating func buffer(_ bytes: Span<UInt8>, _ offset: inout Int, now: Instant) {
    if case .head = phase, input.isEmpty, offset < bytes.count, !hasOutput {
      deadline = now + AdminLimits.requestTimeout
    }
    let count = min(bytes.count - offset, inputRoom)
    input.append(contentsOf: bytes.extracting(offset..<(offset + count)))
    offset += count
  }

  /// Whether the phase has changed.
  private mutating func takeHead(now: Instant) -> Bool {
    skipEmptyLines()
    guard let end = headEnd() else {
      guard input.count >= AdminLimits.headMax else { return false }
      let hasLine = firstIndex(of: 0x0A, in: input.span, from: 0) != nil
      fail(
        hasLine
          ? AdminError(431, "the head is longer than 8 KiB")
          : AdminError(414, "the request target is too long"), now: now)
      return true
    }
    do throws(AdminError) {
      let head = try AdminRequestHead(parsing: input.span.extracting(0..<end))
      input.removeSubrange(0..<end)
      searched = 0
      current = head
      if head.expectsContinue, head.bodyCount > 0, input.isEmpty {
        outputHead.append(text: "HTTP/1.1 100 Continue\r\n\r\n")
      }
      phase = head.bodyCount > 0 ? .body(remaining: head.bodyCount) : .answering
    } catch {
      fail(error, now: now)
    }
    return true
  }

  /// Whether the phase has changed. Bodies are counted, not kept: no page reads one.
  private mutating func takeBody(
    _ bytes: Span<UInt8>, _ offset: inout Int, remaining: Int
  ) -> Bool {
    let buffered = min(remaining, input.count)
    input.removeSubrange(0..<buffered)
    let direct = min(remaining - buffered, bytes.count - offset)
    offset += direct
    let rest = remaining - buffered - direct
    phase = rest == 0 ? .answering : .body(remaining: rest)
    return rest == 0
  }

  /// RFC 9112 §2.2: an empty line before a request is passed over.
  private mutating func skipEmptyLines() {
    guard searched == 0 else { return }
    var count = 0
    while count < input.count {
      if input[count] == 0x0A {
        count += 1
      } else if input[count] == 0x0D, count + 1 < input.count, input[count + 1] == 0x0A {
        count += 2
      } else {
        break
      }
    }
    if count > 0 { input.removeSubrange(0..<count) }
  }

  /// Behind the empty line that ends the head.
  private mutating func headEnd() -> Int? {
    var line = searched
    while let end = firstIndex(of: 0x0A, in: input.span, from: line) {
      // The empty line may begin in what has not come yet: search again from this line's end.
      searched = end
      line = end + 1
      if line < input.count, input[line] == 0x0A { return line + 1 }
      if line + 1 < input.count, input[line] == 0x0D, input[line + 1] == 0x0A { return line + 2 }
    }
    return nil
  }
}

// MARK: Responses

extension AdminConnection {
  private mutating func fail(_ error: AdminError, now: Instant) {
    input.removeAll(keepingCapacity: true)
    searched = 0
    current = nil
    var body: [UInt8] = []
    body.append(text: error.detail)
    body.append(0x0A)
    write(AdminPage(status: error.status, body: body), keepsAlive: false, isHead: false)
    phase = .closing
    deadline = now + AdminLimits.outputTimeout
  }

  /// Envoy's fields, without Date: the wall clock may be wrong (RFC 9110 §6.6.1).
  private mutating func write(_ page: AdminPage, keepsAlive: Bool, isHead: Bool) {
    outputHead.append(text: "HTTP/1.1 ")
    outputHead.append(decimal: UInt64(page.status))
    outputHead.append(text: " ")
    outputHead.append(text: Self.reason(page.status))
    outputHead.append(text: "\r\ncontent-type: ")
    outputHead.append(text: page.contentType.name)
    outputHead.append(
      text: "\r\ncache-control: no-cache, max-age=0\r\nx-content-type-options: nosniff\r\n")
    if page.status == 405 { outputHead.append(text: "allow: GET, HEAD, POST\r\n") }
    if !keepsAlive { outputHead.append(text: "connection: close\r\n") }
    outputHead.append(text: "content-length: ")
    outputHead.append(decimal: UInt64(page.body.count))
    outputHead.append(text: "\r\n\r\n")
    outputBody = isHead ? [] : page.body
  }

  private static func reason(_ status: UInt16) -> StaticString {
    switch status {
    case 200: "OK"
    case 400: "Bad Request"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 417: "Expectation Failed"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 503: "Service Unavailable"
    case 505: "HTTP Version Not Supported"
    default: "Other"
    }
  }
}
