import Platform
import Primitives

/// Why there is no page.
enum DaemonError: Error {
  /// Nobody answers, or not in HTTP.
  case unreachable(String)
  /// The daemon's own error page.
  case refused(status: UInt16, body: [UInt8])

  var exitCode: Int32 {
    switch self {
    case .unreachable: ExitCode.unavailable
    case .refused: ExitCode.refused
    }
  }
}

/// The daemon behind its admin socket.
struct Daemon {
  let socket: ByteString

  /// A page takes milliseconds; a busy board may take a second.
  private static let timeout = Interval.seconds(5)
  /// The largest page, and its head.
  private static let answerMax = 4 << 20

  /// The body of a page.
  func get(_ target: ByteString) throws(DaemonError) -> [UInt8] { try ask("GET ", target) }

  /// Asks for something to be done; the body of the answer.
  func post(_ target: ByteString) throws(DaemonError) -> [UInt8] { try ask("POST ", target) }

  private func ask(
    _ method: StaticString, _ target: ByteString
  ) throws(DaemonError) -> [UInt8] {
    var request: [UInt8] = []
    request.append(text: method)
    request.append(contentsOf: target.bytes)
    request.append(
      text: " HTTP/1.1\r\nhost: spoke\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    let answer: [UInt8]
    do throws(UnixClient.Failure) {
      answer = try UnixClient.exchange(
        request, with: socket, timeout: Self.timeout, limit: Self.answerMax)
    } catch {
      throw .unreachable(describe(error))
    }
    guard let response = HTTPResponse(parsing: answer.span) else {
      throw .unreachable("\(socket.description): the answer is not HTTP, or is cut short")
    }
    let body = Array(answer[response.body])
    guard response.status == 200 else {
      throw .refused(status: response.status, body: body)
    }
    return body
  }

  /// Prints what `body` returns, or why there is nothing; the answer is the exit code.
  func run(_ body: (Daemon) throws(DaemonError) -> [UInt8]) -> Int32 {
    do throws(DaemonError) {
      var page = try body(self)
      if let last = page.last, last != 0x0A { page.append(0x0A) }
      return Output.print(page)
    } catch {
      return report(error)
    }
  }

  /// Prints why there is nothing; the answer is the exit code.
  func report(_ error: DaemonError) -> Int32 {
    switch error {
    case .unreachable(let reason):
      StandardOutput.writeError("spokectl: \(reason)\n")
    case .refused(let status, let body):
      let text = ByteString(body).description
      StandardOutput.writeError("spokectl: \(status) \(text)")
    }
    return error.exitCode
  }

  private func describe(_ failure: UnixClient.Failure) -> String {
    let path = socket.description
    switch failure {
    case .unreachable(let error), .broken(let error): return "\(path): \(error.reason)"
    case .timedOut: return "\(path): no answer within 5 seconds"
    case .tooLong: return "\(path): an answer above 4 MiB"
    }
  }
}

/// A whole response (RFC 9112 §4), as the admin endpoint writes it: with a Content-Length.
struct HTTPResponse {
  let status: UInt16
  /// The place of the body.
  let body: Range<Int>

  init?(parsing answer: Span<UInt8>) {
    // `HTTP/1.1 200 OK`
    guard answer.count > 12, answer[8] == 0x20, let status = Self.number(answer, 9..<12) else {
      return nil
    }
    self.status = UInt16(status)
    var line = 0
    var length: Int?
    while true {
      var end = line
      while end < answer.count, answer[end] != 0x0A { end += 1 }
      guard end < answer.count else { return nil }
      let isEmpty = end == line || (end == line + 1 && answer[line] == 0x0D)
      if let value = Self.contentLength(answer, line..<end) { length = value }
      line = end + 1
      if isEmpty { break }
    }
    guard let length, length <= answer.count - line else { return nil }
    body = line..<line + length
  }

  private static func contentLength(_ answer: Span<UInt8>, _ line: Range<Int>) -> Int? {
    let name = lengthName.bytes
    guard line.count > name.count else { return nil }
    for index in name.indices {
      let byte = answer[line.lowerBound + index]
      let folded = byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
      guard folded == name[index] else { return nil }
    }
    var start = line.lowerBound + name.count
    var end = line.upperBound
    while start < end, answer[start] == 0x20 { start += 1 }
    while end > start, answer[end - 1] == 0x20 || answer[end - 1] == 0x0D { end -= 1 }
    return number(answer, start..<end)
  }

  /// Up to eight digits: more is no page.
  private static func number(_ text: Span<UInt8>, _ range: Range<Int>) -> Int? {
    guard !range.isEmpty, range.count <= 8 else { return nil }
    var value = 0
    for index in range {
      guard text[index] >= 0x30, text[index] <= 0x39 else { return nil }
      value = value * 10 + Int(text[index] - 0x30)
    }
    return value
  }

  private static let lengthName: ByteString = "content-length:"
}
