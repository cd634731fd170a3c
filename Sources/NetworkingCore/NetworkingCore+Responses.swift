import HPACK
import HTTP2
import Policy
import Primitives

/// Responses: what is kept of them, and what they mean for the request.
extension NetworkingCore {
  mutating func receivedHeaders(
    _ request: Int, _ slot: Int, _ kind: HeadersKind, endStream: Bool
  ) {
    noteProgress(request)
    switch kind {
    case .informational, .request:
      return
    case .trailers:
      readGRPCStatus(request, slot)
    case .response:
      readStatus(request, slot)
      readGRPCStatus(request, slot)
      requests[request].retryAfter = retryAfter(slot)
      guard !retriedResponse(request, slot, endStream: endStream) else { return }
    }
    if endStream {
      completed(request)
    } else if requests[request].duplex >= 0 {
      streams[requests[request].duplex].tellsHeaders = true
    }
  }

  mutating func receivedBody(_ request: Int, _ count: Int, endStream: Bool) {
    requests[request].responseBytes += UInt64(count)
    noteProgress(request)
    if requests[request].responseBytes > limits.responseBytesMax {
      brokenAttempt(
        request, .responseTooLarge, "local_reset",
        "a response body over \(limits.responseBytesMax) bytes", resetting: .cancel)
    } else if endStream {
      completed(request)
    }
  }

  /// The response has its end. A body that is still being sent has lost its reader.
  mutating func completed(_ request: Int) {
    served(requests[request].connection)
    let outcome = RequestResult.Outcome.response(
      status: requests[request].status, grpcStatus: requests[request].grpcStatus,
      retryAfter: requests[request].retryAfter)
    guard requests[request].duplex < 0 else { return streamCompleted(request, outcome) }
    leaveAttempt(request, resetting: requests[request].isSent ? nil : .cancel)
    end(request, outcome)
  }

  /// Whether the response's headers led to another attempt.
  private mutating func retriedResponse(
    _ request: Int, _ slot: Int, endStream: Bool
  ) -> Bool {
    let cluster = requests[request].cluster
    clusters[cluster].statistics.charge(status: requests[request].status)
    requests[request].perTryDeadline = .never
    rearm(request)
    let list = connections[slot].http[0].receivedHeaders
    let outcome = AttemptOutcome.response(
      status: requests[request].status,
      grpcStatus: endStream ? requests[request].grpcStatus : nil,
      isRateLimited: list.firstIndex(of: "x-envoy-ratelimited") != nil)
    guard requests[request].policy.retries(outcome) else {
      if requests[request].attempts > 1 { clusters[cluster].statistics.retrySuccesses += 1 }
      return false
    }
    // The retry that this attempt was no longer counts when the next one is asked for.
    if requests[request].holdsRetry {
      requests[request].holdsRetry = false
      clusters[cluster].load.retries -= 1
    }
    clusters[cluster].load.active -= 1
    let mayRetry = mayRetry(request, outcome)
    clusters[cluster].load.active += 1
    guard mayRetry else { return false }
    if endStream { served(slot) }
    let isOver = endStream && requests[request].isSent
    leaveAttempt(request, resetting: isOver ? nil : .cancel)
    schedule(request)
    return true
  }

  private mutating func readStatus(_ request: Int, _ slot: Int) {
    // HTTP2 has checked that there is one `:status` of three digits.
    let list = connections[slot].http[0].receivedHeaders
    guard let index = list.firstIndex(of: ":status") else { return }
    requests[request].status = number(list, index) ?? 0
  }

  private mutating func readGRPCStatus(_ request: Int, _ slot: Int) {
    let list = connections[slot].http[0].receivedHeaders
    guard let index = list.firstIndex(of: "grpc-status") else { return }
    // What is no number is status UNKNOWN (gRPC over HTTP/2, "Status").
    requests[request].grpcStatus = number(list, index) ?? 2
    guard requests[request].grpcStatus != 0, let message = list.firstIndex(of: "grpc-message")
    else { return }
    list.withField(message) { _, value in
      let kept = value.extracting(0..<min(value.count, grpcMessageBytesMax))
      requests[request].details = ByteString(copying: kept)
    }
  }

  /// RFC 9110 §10.2.3: seconds, or a date. A date is measured from the response's own, which needs no
  /// clock here; without one, from the wall clock if it is trusted.
  private func retryAfter(_ slot: Int) -> Interval? {
    let list = connections[slot].http[0].receivedHeaders
    guard let index = list.firstIndex(of: "retry-after") else { return nil }
    let text = list.value(index)
    if let seconds = decimal(text.bytes.span) {
      return .seconds(Int64(min(seconds, UInt64(UInt32.max))))
    }
    guard let date = HTTPDate.parse(text.bytes) else { return nil }
    var reference = wall.map { ($0.nanoseconds + (now - wallRead).nanoseconds) / 1_000_000_000 }
    if let index = list.firstIndex(of: "date"), let sent = HTTPDate.parse(list.value(index).bytes) {
      reference = sent
    }
    guard let reference else { return nil }
    return .seconds(min(max(date - reference, 0), Int64(UInt32.max)))
  }

  private func number(_ list: HeaderList, _ index: Int) -> UInt16? {
    list.withField(index) { _, value in decimal(value).flatMap { UInt16(exactly: $0) } }
  }
}

/// What is kept of a `grpc-message`: enough for a log line.
private let grpcMessageBytesMax = 256

/// Decimal digits alone; nil for anything else. Saturates.
func decimal(_ text: Span<UInt8>) -> UInt64? {
  guard !text.isEmpty else { return nil }
  var value: UInt64 = 0
  for index in text.indices {
    guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[index]) else { return nil }
    let (grown, isOver) = value.multipliedReportingOverflow(by: 10)
    let (sum, isOverToo) = grown.addingReportingOverflow(UInt64(text[index] - UInt8(ascii: "0")))
    value = isOver || isOverToo ? .max : sum
  }
  return value
}
