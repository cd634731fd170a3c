import Primitives
import Testing

@testable import Gateway

/// A connection with the driver's part: what a peer would see.
struct AdminPeer {
  var connection = AdminConnection(now: Instant(nanoseconds: 0))
  var now = Instant(nanoseconds: 0)
  var requests: [AdminRequest] = []
  var output: [UInt8] = []
  /// How many bytes the transport takes at once.
  var writeMax = Int.max

  /// Sends in pieces of `step` bytes; every request is answered with its path.
  mutating func send(_ text: String, step: Int = .max) {
    let bytes = Array(text.utf8)
    var start = 0
    while start < bytes.count {
      let end = min(bytes.count, step == .max ? bytes.count : start + step)
      send(Array(bytes[start..<end]))
      start = end
    }
  }

  mutating func send(_ bytes: [UInt8]) {
    var offset = 0
    while true {
      while let request = connection.receive(bytes.span, from: &offset, now: now) {
        requests.append(request)
        connection.respond(AdminPage(body: request.path.bytes + [0x0A]), now: now)
      }
      if !flush() && offset == bytes.count { return }
    }
  }

  /// Whether anything was written.
  mutating func flush() -> Bool {
    var any = false
    while connection.hasOutput {
      let taken = connection.withOutput { span -> [UInt8] in
        (0..<min(span.count, writeMax)).map { span[$0] }
      }
      output += taken
      connection.consumeOutput(taken.count, now: now)
      any = true
    }
    return any
  }

  var text: String { String(decoding: output, as: UTF8.self) }
  /// The status of every response; in these tests each body ends with a line feed.
  var statuses: [String] {
    output.split(separator: 0x0A).filter { $0.starts(with: "HTTP/1.1 ".utf8) }
      .map { String(decoding: $0.dropFirst(9).prefix(3), as: UTF8.self) }
  }
}

@Suite("an admin connection")
struct AdminConnectionTests {
  static let simple = "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"

  @Test("a request is answered, with the fields that Envoy sends, and the connection stays")
  func simple() {
    var peer = AdminPeer()
    peer.send(Self.simple)
    #expect(peer.requests == [AdminRequest(method: .get, path: "/ready")])
    #expect(
      peer.text
        == "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=UTF-8\r\n"
        + "cache-control: no-cache, max-age=0\r\nx-content-type-options: nosniff\r\n"
        + "content-length: 7\r\n\r\n/ready\n")
    #expect(!peer.connection.wantsClose && peer.connection.wantsInput)
    peer.send(Self.simple)
    #expect(peer.requests.count == 2)
  }

  @Test("bytes may come in any pieces", arguments: [1, 2, 3, 5, 7, 16])
  func pieces(step: Int) {
    var peer = AdminPeer()
    peer.writeMax = step
    let text =
      "\r\n\nGET /a?x=1 HTTP/1.1\nhost: x\n\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"
      + "HEAD /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    peer.send(text, step: step)
    #expect(peer.requests.map(\.path) == ["/a", "/b", "/c"])
    #expect(peer.requests.map(\.method) == [.get, .post, .head])
    #expect(peer.statuses == ["200", "200", "200"])
    #expect(peer.connection.wantsClose)
  }

  @Test("a request split at every offset is the same request")
  func everySplit() {
    let text = Array("GET /stats?filter=a%2Eb&usedonly HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
    for split in 0...text.count {
      var peer = AdminPeer()
      peer.send(Array(text[..<split]))
      peer.send(Array(text[split...]))
      #expect(
        peer.requests == [
          AdminRequest(
            method: .get, path: "/stats",
            query: [
              .init(name: "filter", value: "a.b"), .init(name: "usedonly", value: ""),
            ])
        ], "split at \(split)")
    }
  }

  @Test("requests sent ahead are taken one at a time: no second one before the first is written")
  func pipelining() {
    var connection = AdminConnection(now: Instant(nanoseconds: 0))
    let bytes = Array(
      ("POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxy"
        + "GET /b HTTP/1.1\r\nHost: x\r\n\r\n").utf8)
    var offset = 0
    let now = Instant(nanoseconds: 0)
    let first = connection.receive(bytes.span, from: &offset, now: now)
    #expect(first?.path == "/ready" && offset == bytes.count)
    var other = connection.receive(bytes.span, from: &offset, now: now)
    #expect(other == nil)
    connection.respond(AdminPage(body: []), now: now)
    #expect(!connection.wantsInput)
    other = connection.receive(bytes.span, from: &offset, now: now)
    #expect(other == nil)
    let count = connection.withOutput { $0.count }
    connection.consumeOutput(count, now: now)
    let nothing: [UInt8] = []
    offset = 0
    let second = connection.receive(nothing.span, from: &offset, now: now)
    #expect(second?.path == "/b")
  }

  @Test("HEAD has the length of the page, and no body")
  func head() {
    var peer = AdminPeer()
    peer.send("HEAD /ready HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(peer.text.contains("content-length: 7\r\n"))
    #expect(peer.text.hasSuffix("\r\n\r\n"))
  }

  @Test(
    "the connection ends when either side says so",
    arguments: [
      ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", true),
      ("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo , CLOSE\r\n\r\n", true),
      ("GET / HTTP/1.0\r\n\r\n", true),
      ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false),
      ("GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n", false),
    ])
  func close(text: String, closes: Bool) {
    var peer = AdminPeer()
    peer.send(text)
    #expect(peer.statuses == ["200"])
    #expect(peer.connection.wantsClose == closes)
    #expect(peer.text.contains("connection: close\r\n") == closes)
  }

  @Test(
    "a wrong request has its status, and the connection is closed",
    arguments: [
      ("BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
      ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"),
      ("PRI * HTTP/2.0\r\n\r\n", "505"),
      ("GET / HTTP/1.1\r\n\r\n", "400"),
      ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"),
      ("GET /\r\n\r\n", "400"),
      ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
      ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "400"),
      ("G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
      ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
      ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
      ("GET /%0 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
      ("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
      ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400"),
      ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "400"),
      ("GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "400"),
      ("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", "400"),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", "400"),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "400"),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "400"),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", "413"),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "413"),
      ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "501"),
      ("GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", "417"),
    ])
  func errors(text: String, status: String) {
    for step in [1, 1_000] {
      var peer = AdminPeer()
      peer.send(text, step: step)
      #expect(peer.statuses == [status])
      #expect(peer.requests.isEmpty && peer.connection.wantsClose)
      #expect(peer.text.contains("connection: close\r\n"))
    }
  }

  @Test("what is too long is refused, and nothing more is kept of it")
  func tooLong() {
    let long = String(repeating: "a", count: 9_000)
    for (text, status) in [
      ("GET /" + long, "414"),
      ("GET /" + long.prefix(3_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", "414"),
      ("GET / HTTP/1.1\r\nHost: " + long, "431"),
      (
        "GET / HTTP/1.1\r\nHost: x\r\n" + String(repeating: "a: b\r\n", count: 70) + "\r\n", "431"
      ),
      ("GET /?" + String(repeating: "a&", count: 40) + " HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    ] {
      var peer = AdminPeer()
      peer.send(text)
      #expect(peer.statuses == [status])
      peer.send(long)
      #expect(peer.connection.wantsClose)
    }
  }

  @Test("RFC 9110 §10.1.1: who waits for 100 is told to go on")
  func expectContinue() {
    var peer = AdminPeer()
    peer.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    #expect(peer.text == "HTTP/1.1 100 Continue\r\n\r\n")
    peer.send("abc")
    #expect(peer.statuses == ["100", "200"])
  }

  @Test(
    "the target is decoded as Envoy does",
    arguments: [
      ("/", "/", []), ("/a%2fb%20c", "/a/b c", []), ("/a?", "/a", []), ("/a?&&", "/a", []),
      ("/a?x=1&y=%26&z", "/a", ["x=1", "y=&", "z="]), ("/a?x=1=2+3#frag?y", "/a", ["x=1=2+3"]),
      ("http://host:9901/stats?x", "/stats", ["x="]), ("http://host?x", "/", ["x="]),
      ("/a#b?c", "/a", []),
    ])
  func target(target: String, path: String, query: [String]) {
    var peer = AdminPeer()
    peer.send("GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(peer.requests.first?.path == ByteString(path))
    #expect(
      peer.requests.first?.query.map { "\($0.name.description)=\($0.value.description)" } == query)
  }

  @Test("a page above the limit is an error that says what to do")
  func hugePage() {
    var connection = AdminConnection(now: Instant(nanoseconds: 0))
    var offset = 0
    let now = Instant(nanoseconds: 0)
    let bytes = Array(Self.simple.utf8)
    _ = connection.receive(bytes.span, from: &offset, now: now)
    connection.respond(
      AdminPage(body: [UInt8](repeating: 0x61, count: AdminLimits.pageMax + 1)), now: now)
    let start = connection.withOutput { span in (0..<12).map { span[$0] } }
    #expect(start == Array("HTTP/1.1 500".utf8))
  }
}

@Suite("an admin connection in time")
struct AdminConnectionTimeTests {
  private func seconds(_ count: Int64) -> Instant { Instant(nanoseconds: 0) + .seconds(count) }

  @Test("a silent connection is closed without a word")
  func idle() {
    var peer = AdminPeer()
    #expect(peer.connection.nextDeadline() == seconds(60))
    peer.connection.handleTimeout(now: seconds(59))
    #expect(!peer.connection.wantsClose)
    peer.connection.handleTimeout(now: seconds(60))
    #expect(peer.connection.wantsClose && !peer.connection.hasOutput)
    #expect(peer.connection.nextDeadline() == nil)
  }

  @Test("half a request is 408 ten seconds after its first byte, however it trickles in")
  func trickle() {
    for start in ["GET / HTTP/1.1", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12"] {
      var peer = AdminPeer()
      peer.now = seconds(20)
      peer.send(String(start.prefix(1)))
      for second in 21..<30 {
        peer.now = seconds(Int64(second))
        let place = start.index(start.startIndex, offsetBy: second - 20)
        peer.send(second == 29 ? String(start[place...]) : String(start[place]))
      }
      #expect(peer.connection.nextDeadline() == seconds(30))
      peer.connection.handleTimeout(now: seconds(30))
      _ = peer.flush()
      #expect(peer.statuses == ["408"] && peer.connection.wantsClose)
    }
  }

  @Test("a peer that does not read its page is closed after 30 seconds without progress")
  func stalled() {
    var connection = AdminConnection(now: seconds(0))
    var offset = 0
    _ = connection.receive(
      Array(AdminConnectionTests.simple.utf8).span, from: &offset, now: seconds(1))
    connection.respond(AdminPage(body: [UInt8](repeating: 0x61, count: 100)), now: seconds(2))
    #expect(connection.nextDeadline() == seconds(32))
    connection.consumeOutput(1, now: seconds(12))
    #expect(connection.nextDeadline() == seconds(42))
    connection.handleTimeout(now: seconds(42))
    #expect(connection.wantsClose)
  }

  @Test("after an answer the connection may rest again for a minute")
  func restsAgain() {
    var peer = AdminPeer()
    peer.now = seconds(5)
    peer.send(AdminConnectionTests.simple)
    #expect(peer.connection.nextDeadline() == seconds(65))
  }

  @Test("any octets are answered or refused, and never trap", arguments: 0..<20)
  func noise(seed: Int) {
    var random = SplitMix64(seed: UInt64(seed))
    let base = Array(
      "POST /stats?filter=a%2Eb HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345".utf8)
    for _ in 0..<300 {
      var peer = AdminPeer()
      for _ in 0..<4 where !peer.connection.wantsClose {
        var bytes = base
        for _ in 0..<random.below(4) {
          bytes[Int(random.below(UInt64(bytes.count)))] = UInt8(random.below(256))
        }
        peer.send(bytes)
      }
      #expect(peer.statuses.count >= peer.requests.count, "seed \(seed)")
    }
  }
}
