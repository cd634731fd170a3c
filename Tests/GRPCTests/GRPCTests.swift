import Primitives
import Testing

@testable import GRPC

@Suite("gRPC over HTTP/2")
struct GRPCTests {
  private func body(_ messages: [[UInt8]]) -> [UInt8] {
    var body: [UInt8] = []
    for message in messages {
      MessageFraming.appendPrefix(length: message.count, to: &body)
      body.append(contentsOf: message)
    }
    return body
  }

  @Test("a prefix is a flag and four bytes of length")
  func prefix() {
    #expect(body([[UInt8](repeating: 1, count: 0x102)]).prefix(5) == [0, 0, 0, 1, 2])
  }

  @Test("messages come out whole, however the body is cut", arguments: 1...12)
  func deframing(chunk: Int) throws {
    let messages: [[UInt8]] = [[], [1], [UInt8](repeating: 2, count: 300), [], [3, 4]]
    let whole = body(messages)
    var deframer = MessageDeframer(limit: 300)
    var found: [[UInt8]] = []
    var start = 0
    while start < whole.count {
      let piece = Array(whole[start..<min(start + chunk, whole.count)])
      var offset = 0
      while try deframer.receive(piece.span, from: &offset) { found.append(deframer.message) }
      #expect(offset == piece.count)
      start += chunk
    }
    #expect(found == messages)
    try deframer.finish()
  }

  @Test(
    "a body that breaks the rules ends the call",
    arguments: [
      ([1], .compressed, .internalError), ([2], .invalidFlag, .internalError),
      ([0, 0, 0, 0, 11], .tooLarge, .resourceExhausted),
      ([0, 0xFF, 0xFF, 0xFF, 0xFF], .tooLarge, .resourceExhausted),
    ] as [([UInt8], MessageError, GRPCStatus)])
  func refused(bytes: [UInt8], expected: MessageError, status: GRPCStatus) {
    var deframer = MessageDeframer(limit: 10)
    var offset = 0
    #expect(throws: expected) { try deframer.receive(bytes.span, from: &offset) }
    #expect(expected.status == status)
  }

  @Test("a body must not end within a message", arguments: 1...7)
  func truncated(count: Int) throws {
    let whole = body([[1, 2, 3]])
    var deframer = MessageDeframer(limit: 10)
    var offset = 0
    #expect(try !deframer.receive(whole.span.extracting(0..<count), from: &offset))
    #expect(throws: MessageError.truncated) { try deframer.finish() }
  }

  @Test(
    "an interval becomes the finest unit that holds it",
    arguments: [
      (Int64(1), "1n"), (-5, "1n"), (99_999_999, "99999999n"), (100_000_000, "100000u"),
      (15_000_000_000, "15000000u"), (100_000_000_000, "100000m"),
      (100_000_000_000_000, "100000S"), (.max, "2562047H"),
      (100_000_000_000_000_000, "1666666M"),
    ])
  func timeouts(nanoseconds: Int64, text: String) {
    var value: [UInt8] = []
    GRPCTimeout.encode(Interval(nanoseconds: nanoseconds), to: &value)
    #expect(String(decoding: value, as: UTF8.self) == text)
    let back = GRPCTimeout.decode(value.span)
    #expect(back != nil && back! <= Interval(nanoseconds: max(nanoseconds, 1)))
  }

  @Test(
    "what is no timeout is refused",
    arguments: ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", " 1S"])
  func badTimeouts(text: String) {
    let bytes = Array(text.utf8)
    #expect(GRPCTimeout.decode(bytes.span) == nil)
  }

  @Test("a timeout of every unit", arguments: [("1H", 3_600), ("2M", 120), ("3S", 3)])
  func units(text: String, seconds: Int64) {
    let bytes = Array(text.utf8)
    #expect(GRPCTimeout.decode(bytes.span) == .seconds(seconds))
    let longest = Array("99999999H".utf8)
    #expect(GRPCTimeout.decode(longest.span) == Interval(nanoseconds: .max))
  }

  @Test(
    "a message is percent-decoded as far as it is encoded",
    arguments: [
      ("plain", "plain"), ("a%20b", "a b"), ("%E2%82%AC", "€"), ("%e2%82%ac", "€"), ("%", "%"),
      ("%4", "%4"), ("%zz%41", "%zzA"), ("%FF", "\u{FFFD}"), ("100%25", "100%"),
    ])
  func messages(value: String, text: String) {
    let bytes = Array(value.utf8)
    #expect(String(decoding: GRPCMessageText.decode(bytes.span), as: UTF8.self) == text)
    var encoded: [UInt8] = []
    let decoded = Array(text.utf8)
    GRPCMessageText.encode(decoded.span, to: &encoded)
    #expect(GRPCMessageText.decode(encoded.span) == decoded)
    #expect(encoded.allSatisfy { $0 >= 0x20 && $0 <= 0x7E })
  }

  @Test("a response without a status has the one of its HTTP status")
  func httpStatus() {
    let known: [UInt16: GRPCStatus] = [
      400: .internalError, 401: .unauthenticated, 403: .permissionDenied, 404: .unimplemented,
      429: .unavailable, 502: .unavailable, 503: .unavailable, 504: .unavailable,
    ]
    for status in UInt16(100)...599 {
      #expect(GRPCStatus(httpStatus: status) == known[status] ?? .unknown)
    }
  }

  @Test("a code that nobody knows is UNKNOWN")
  func codes() {
    for code in UInt16(0)...16 { #expect(GRPCStatus(code: code).rawValue == code) }
    #expect(GRPCStatus(code: 17) == .unknown)
    #expect("\(GRPCStatus.internalError.name)" == "INTERNAL")
  }
}
