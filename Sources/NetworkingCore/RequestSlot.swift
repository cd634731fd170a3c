import HPACK
import Policy
import Primitives

/// One place in the table of requests.
///
///     free ─submit→ pending ⇄ streaming → finished ─nextResult→ free
///                      ↑  ↘      ↓            ↑
///                      └── waiting ───────────┘        (waiting: the back-off before a retry)
///
/// A long-lived stream whose response is complete is `draining` until its body was taken.
struct RequestSlot: Sendable {
  enum Phase: UInt8 { case free, pending, streaming, waiting, draining, finished }

  var generation: UInt32 = 1
  var phase: Phase = .free
  var token: UInt64 = 0
  /// The place in the table of long-lived streams; -1: an ordinary request.
  var duplex = -1

  // What is sent, kept for retries. Its bytes are accounted for in the core's pool.
  var headers = HeaderList()
  var body: [UInt8] = []
  var accountedBytes = 0

  // What its route said.
  var cluster = -1
  var timeout: Interval = .zero
  var idleTimeout: Interval = .zero
  var policy: RetryPolicy = .none

  // Its attempts.
  var attempts = 0
  var holdsRetry = false
  var wasReplayed = false
  /// The endpoint picked for this attempt; 0: none yet, the cluster's name is being resolved.
  var endpoint: UInt32 = 0
  var connection = -1
  var stream: UInt32 = 0
  var bodySent = 0
  var isSent = false
  var startedAt = Instant(nanoseconds: 0)
  /// The bytes that had left on the connection when this attempt's stream was opened.
  var connectionBytesBefore: UInt64 = 0

  // The response of this attempt.
  var status: UInt16 = 0
  var grpcStatus: UInt16?
  var retryAfter: Interval?
  var responseBytes: UInt64 = 0

  var routeDeadline = Instant.never
  var perTryDeadline = Instant.never
  /// When the peer must have let the whole body go out.
  var sendDeadline = Instant.never
  var idleDeadline = Instant.never
  var backOffEnd = Instant.never

  var outcome = RequestResult.Outcome.failure(.cancelled)
  var details = ByteString()
  var reconnectAfter: Interval?

  var deadline: Instant {
    min(min(min(routeDeadline, perTryDeadline), min(idleDeadline, backOffEnd)), sendDeadline)
  }

  /// Forgets what belongs to one attempt.
  mutating func beginAttempt() {
    connection = -1
    stream = 0
    endpoint = 0
    bodySent = 0
    isSent = false
    status = 0
    grpcStatus = nil
    retryAfter = nil
    responseBytes = 0
    details = ByteString()
    perTryDeadline = .never
    sendDeadline = .never
    backOffEnd = .never
  }

  /// Forgets the request before, and keeps the buffers.
  mutating func reset(token: UInt64) {
    beginAttempt()
    self.token = token
    cluster = -1
    attempts = 0
    holdsRetry = false
    wasReplayed = false
    routeDeadline = .never
    idleDeadline = .never
    reconnectAfter = nil
  }

  /// A stream goes on until one of its ends has enough of it.
  mutating func makeEndless() {
    body.removeAll(keepingCapacity: true)
    timeout = .zero
    idleTimeout = .zero
    policy = .none
  }

  /// Builds what goes on the wire: pseudo-header fields first (RFC 9113 §8.3).
  mutating func fill(_ request: borrowing UpstreamRequest, isTLS: Bool) {
    headers.removeAll()
    headers.append(name: ":method", value: request.method.bytes.span)
    headers.append(name: ":scheme", value: (isTLS ? https : http).bytes.span)
    headers.append(name: ":authority", value: request.authority.bytes.span)
    headers.append(name: ":path", value: request.path.bytes.span)
    for index in 0..<request.headers.count {
      let indexing = request.headers.fields[index].indexing
      request.headers.withField(index) { name, value in
        headers.append(name: name, value: value, indexing: indexing)
      }
    }
    body.removeAll(keepingCapacity: true)
    body.append(contentsOf: request.body.span)
  }
}

private let https: ByteString = "https"
private let http: ByteString = "http"

extension Instant {
  /// No deadline.
  static var never: Instant { Instant(nanoseconds: .max) }

  /// `interval` from here; never, for an interval that means "off".
  func after(_ interval: Interval) -> Instant {
    interval.nanoseconds > 0 ? self + interval : .never
  }
}
