// The head of a request (RFC 9112 §2–5), as far as an admin endpoint needs it:
//
//    METHOD SP target SP HTTP/1.x CRLF
//    name ":" OWS value OWS CRLF …
//    CRLF
//
// A lone LF ends a line too (§2.2). What a proxy in front might read in another way is refused: a CR
// inside of a line, folded lines, a space before the colon, two lengths, a length beside a coding.

import Primitives

/// Why a request is answered with an error and the connection closed.
struct AdminError: Error {
  var status: UInt16
  var detail: StaticString

  init(_ status: UInt16, _ detail: StaticString) {
    self.status = status
    self.detail = detail
  }
}

/// A parsed head.
struct AdminRequestHead: Sendable {
  var request = AdminRequest(method: .get, path: "/")
  /// The length of the body; 0 without one.
  var bodyCount = 0
  var keepsAlive = true
  var expectsContinue = false

  private var isHTTP11 = true
  private var hosts = 0
  private var lengths = 0

  /// `head` is every line, the empty one included or not.
  init(parsing head: Span<UInt8>) throws(AdminError) {
    var offset = 0
    try parse(requestLine: head.extracting(try Self.line(head, &offset)))
    var fields = 0
    while offset < head.count {
      let line = try Self.line(head, &offset)
      if line.isEmpty { break }
      fields += 1
      guard fields <= AdminLimits.fieldsMax else { throw AdminError(431, "too many fields") }
      try parse(field: head.extracting(line))
    }
    // RFC 9112 §3.2: exactly one Host, so that two servers cannot differ on whom it means.
    guard hosts == 1 || (hosts == 0 && !isHTTP11) else {
      throw AdminError(400, "not exactly one Host field")
    }
    guard bodyCount <= AdminLimits.bodyMax else { throw AdminError(413, "the body is too long") }
  }

  /// The next line without its end.
  private static func line(
    _ head: Span<UInt8>, _ offset: inout Int
  ) throws(AdminError) -> Range<Int> {
    let start = offset
    while offset < head.count, head[offset] != 0x0A { offset += 1 }
    var end = offset
    offset = min(offset + 1, head.count)
    if end > start, head[end - 1] == 0x0D { end -= 1 }
    for index in start..<end where head[index] == 0x0D || head[index] == 0 {
      throw AdminError(400, "a control character in the head")
    }
    return start..<end
  }

  // MARK: The request line

  private mutating func parse(requestLine line: Span<UInt8>) throws(AdminError) {
    guard let first = firstIndex(of: 0x20, in: line, from: 0),
      let second = firstIndex(of: 0x20, in: line, from: first + 1),
      firstIndex(of: 0x20, in: line, from: second + 1) == nil
    else { throw AdminError(400, "a malformed request line") }
    try parse(version: line.extracting(second + 1..<line.count))
    request.method = try Self.method(line.extracting(0..<first))
    let target = line.extracting(first + 1..<second)
    guard target.count <= AdminLimits.targetMax else {
      throw AdminError(414, "the request target is too long")
    }
    (request.path, request.query) = try AdminTarget.parse(target)
  }

  private mutating func parse(version: Span<UInt8>) throws(AdminError) {
    guard version.count == 8, equal(version.extracting(first: 5), httpName.span),
      isDigit(version[5]), version[6] == 0x2E, isDigit(version[7])
    else { throw AdminError(400, "a malformed version") }
    guard version[5] == 0x31 else { throw AdminError(505, "only HTTP/1 is spoken here") }
    isHTTP11 = version[7] != 0x30
    keepsAlive = isHTTP11
  }

  private static func method(_ text: Span<UInt8>) throws(AdminError) -> AdminRequest.Method {
    if equal(text, getName.span) { return .get }
    if equal(text, headName.span) { return .head }
    if equal(text, postName.span) { return .post }
    guard isToken(text) else { throw AdminError(400, "a malformed method") }
    throw AdminError(405, "the methods are GET, HEAD and POST")
  }

  // MARK: Fields

  private mutating func parse(field line: Span<UInt8>) throws(AdminError) {
    guard let colon = firstIndex(of: 0x3A, in: line, from: 0),
      isToken(line.extracting(0..<colon))
    else { throw AdminError(400, "a malformed field") }
    let name = line.extracting(0..<colon)
    let value = line.extracting(trimmed(line, colon + 1..<line.count))
    if equalsIgnoringCase(name, hostName) {
      hosts += 1
    } else if equalsIgnoringCase(name, contentLengthName) {
      try parse(length: value)
    } else if equalsIgnoringCase(name, transferEncodingName) {
      throw AdminError(501, "a transfer coding is not understood here")
    } else if equalsIgnoringCase(name, connectionName) {
      parse(connection: value)
    } else if equalsIgnoringCase(name, expectName) {
      guard equalsIgnoringCase(value, continueName) else {
        throw AdminError(417, "an expectation that is not understood")
      }
      expectsContinue = isHTTP11
    }
  }

  private mutating func parse(length value: Span<UInt8>) throws(AdminError) {
    lengths += 1
    guard lengths == 1, !value.isEmpty else { throw AdminError(400, "a malformed length") }
    for index in value.indices {
      guard isDigit(value[index]) else { throw AdminError(400, "a malformed length") }
      // Any longer number is above the limit as well: this one cannot overflow.
      bodyCount = min(bodyCount * 10 + Int(value[index] - 0x30), AdminLimits.bodyMax + 1)
    }
  }

  /// RFC 9112 §9.3: a list of options; `close` wins.
  private mutating func parse(connection value: Span<UInt8>) {
    var start = 0
    while start <= value.count {
      let end = firstIndex(of: 0x2C, in: value, from: start) ?? value.count
      let option = value.extracting(trimmed(value, start..<end))
      if equalsIgnoringCase(option, closeName) {
        keepsAlive = false
        return
      }
      if equalsIgnoringCase(option, keepAliveName) { keepsAlive = true }
      start = end + 1
    }
  }
}

private let httpName: [UInt8] = Array("HTTP/".utf8)
private let getName: [UInt8] = Array("GET".utf8)
private let headName: [UInt8] = Array("HEAD".utf8)
private let postName: [UInt8] = Array("POST".utf8)
private let hostName: [UInt8] = Array("host".utf8)
private let contentLengthName: [UInt8] = Array("content-length".utf8)
private let transferEncodingName: [UInt8] = Array("transfer-encoding".utf8)
private let connectionName: [UInt8] = Array("connection".utf8)
private let expectName: [UInt8] = Array("expect".utf8)
private let continueName: [UInt8] = Array("100-continue".utf8)
private let closeName: [UInt8] = Array("close".utf8)
private let keepAliveName: [UInt8] = Array("keep-alive".utf8)

// MARK: Bytes of a head

func firstIndex(of byte: UInt8, in text: Span<UInt8>, from start: Int) -> Int? {
  var index = start
  while index < text.count {
    if text[index] == byte { return index }
    index += 1
  }
  return nil
}

private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

/// RFC 9110 §5.6.2.
private func isToken(_ text: Span<UInt8>) -> Bool {
  guard !text.isEmpty else { return false }
  for index in text.indices {
    switch text[index] {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: continue
    case UInt8(ascii: "!"), UInt8(ascii: "#")...UInt8(ascii: "'"), UInt8(ascii: "*"),
      UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"),
      UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
      continue
    default: return false
    }
  }
  return true
}

/// `lower` is in lower case.
private func equalsIgnoringCase(_ text: Span<UInt8>, _ lower: [UInt8]) -> Bool {
  guard text.count == lower.count else { return false }
  for index in text.indices {
    let byte = text[index]
    let folded = byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
    if folded != lower[index] { return false }
  }
  return true
}

/// The part of `range` without spaces and tabs around it.
private func trimmed(_ text: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
  var start = range.lowerBound
  var end = range.upperBound
  while start < end, text[start] == 0x20 || text[start] == 0x09 { start += 1 }
  while end > start, text[end - 1] == 0x20 || text[end - 1] == 0x09 { end -= 1 }
  return start..<end
}
