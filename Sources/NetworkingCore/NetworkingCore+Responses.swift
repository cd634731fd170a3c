import HPACK
import HTTP2
import Policy
import Primitives

/// Responses: what is kept of them, and what they mean for the request.
extension NetworkingCore {
  mutating func receivedHeaders(
    _ request: Int, _ slot: Int, _ kind: HeadersKind, endStream: Bool
  ) {
    if kind == .response { requests[request].perTryDeadline = .never }
    noteProgress(request)
    let list = connections[slot].http[0].receivedHeaders
    switch kind {
    case .informational, .request:
      return
    case .trailers:
      readGRPCStatus(request, list)
    case .response:
      requests[request].status = connections[slot].http[0].receivedStatus
      readGRPCStatus(request, list)
      requests[request].retryAfter = retryAfter(list)
      guard !retriedResponse(request, slot, list, endStream: endStream) else { return }
      guard let lead = commit(request, endStream: endStream) else { return }
      if endStream {
        completed(lead)
      } else if requests[lead].duplex >= 0 {
        streams[requests[lead].duplex].tellsHeaders = true
      }
      return
    }
    if endStream { completed(request) }
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
    requests[request].tallyEnd = .response
    let outcome = RequestResult.Outcome.response(
      status: requests[request].status, grpcStatus: requests[request].grpcStatus,
      retryAfter: requests[request].retryAfter)
    if isSuccess(request) { requests[request].retryEnd = .none }
    guard requests[request].duplex < 0 else { return streamCompleted(request, outcome) }
    leaveAttempt(request, resetting: requests[request].isSent ? nil : .cancel)
    end(request, outcome)
  }

  private func isSuccess(_ request: Int) -> Bool {
    (200...299).contains(requests[request].status) && (requests[request].grpcStatus ?? 0) == 0
  }

  /// Whether the response's headers led to another attempt, or to none as another one is under way.
  private mutating func retriedResponse(
    _ request: Int, _ slot: Int, _ list: HeaderList, endStream: Bool
  ) -> Bool {
    let cluster = requests[request].cluster
    let lead = lead(of: request)
    clusters[cluster].statistics.charge(status: requests[request].status)
    let outcome = outcome(request, list)
    guard requests[lead].policy.retries(outcome) else {
      if requests[lead].attempts > 1 { clusters[cluster].statistics.retrySuccesses += 1 }
      return false
    }
    let pause = pause(lead, list)
    let refusal = responseRefusal(request, outcome, pause)
    if let refusal, !hasCompanions(request) {
      requests[lead].retryEnd = refusal
      return false
    }
    if endStream { served(slot) }
    requests[request].tallyEnd = .response
    let isOver = endStream && requests[request].isSent
    guard leaveAttempt(request, resetting: isOver ? nil : .cancel) else { return true }
    if refusal == nil {
      schedule(request, after: pause)
    } else {
      // What the others bring may be better.
      abandon(request, .limit, .reset, "")
    }
    return true
  }

  private func outcome(_ request: Int, _ list: HeaderList) -> AttemptOutcome {
    var hasRetriableHeader = false
    let lead = lead(of: request)
    if requests[lead].policy.conditions.contains(.retriableHeaders) {
      for matcher in requests[lead].policy.retriableHeaders
      where matcher.matches(list.joinedValue(of: matcher.name)) {
        hasRetriableHeader = true
      }
    }
    return .response(
      status: requests[request].status, grpcStatus: requests[request].grpcStatus,
      isRateLimited: list.firstIndex(of: "x-envoy-ratelimited") != nil,
      hasRetriableHeader: hasRetriableHeader)
  }

  /// Why the response is not retried; nil: it is. The attempt goes on meanwhile, as the response may be
  /// the request's; but the retry that it was, and its stream, no longer count.
  private mutating func responseRefusal(
    _ request: Int, _ outcome: AttemptOutcome, _ pause: Interval?
  ) -> RetryEnd? {
    let cluster = requests[request].cluster
    let priority = requests[request].priority
    if requests[request].holdsRetry {
      requests[request].holdsRetry = false
      clusters[cluster].load[priority].retries -= 1
    }
    clusters[cluster].load[priority].active -= 1
    let refusal = refusal(request, outcome)
    clusters[cluster].load[priority].active += 1
    guard refusal == nil, let pause else { return refusal }
    // The upstream's own answer now is worth more than a timeout later.
    let lead = lead(of: request)
    let end = min(
      requests[lead].idleDeadline,
      min(requests[lead].routeDeadline, requests[lead].durationDeadline))
    return now + pause >= end ? .tooLate : nil
  }

  /// The delay that the upstream asks for, if the policy heeds that.
  private mutating func pause(_ lead: Int, _ list: HeaderList) -> Interval? {
    guard let rateLimited = requests[lead].policy.rateLimited else { return nil }
    for header in rateLimited.resetHeaders {
      guard let interval = resetInterval(header, list), rateLimited.accepts(interval) else {
        continue
      }
      return RateLimitedBackOff.delay(interval, using: &random)
    }
    return nil
  }

  private func resetInterval(
    _ header: RateLimitedBackOff.ResetHeader, _ list: HeaderList
  ) -> Interval? {
    var number: UInt64?
    for index in 0..<list.count where number == nil {
      number = list.withField(index) { name, value in
        equal(name, header.name.bytes.span) ? decimal(value) : nil
      }
    }
    guard let number, number <= UInt64(UInt32.max) else { return nil }
    switch header.format {
    case .seconds: return .seconds(Int64(number))
    case .unixTimestamp:
      guard let reference = reference(list) else { return nil }
      let seconds = Int64(number) - reference
      return 1...Int64(UInt32.max) ~= seconds ? .seconds(seconds) : nil
    }
  }

  /// Seconds since 1970: of the response itself, which needs no clock here, or of the wall clock if it
  /// is trusted.
  private func reference(_ list: HeaderList) -> Int64? {
    if let index = list.firstIndex(of: "date"), let sent = HTTPDate.parse(list.value(index).bytes) {
      return sent
    }
    return wall.map { ($0.nanoseconds + (now - wallRead).nanoseconds) / 1_000_000_000 }
  }

  private mutating func readGRPCStatus(_ request: Int, _ list: HeaderList) {
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

  /// RFC 9110 §10.2.3: seconds, or a date.
  private func retryAfter(_ list: HeaderList) -> Interval? {
    guard let index = list.firstIndex(of: "retry-after") else { return nil }
    let text = list.value(index)
    if let seconds = decimal(text.bytes.span) {
      return .seconds(Int64(min(seconds, UInt64(UInt32.max))))
    }
    guard let date = HTTPDate.parse(text.bytes) else { return nil }
    guard let reference = reference(list) else { return nil }
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
