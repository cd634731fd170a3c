import HPACK
import Policy
import Primitives

/// One place in the table of requests.
///
///     free ─submit→ pending ⇄ streaming → finished ─nextResult→ free
///                      ↑  ↘      ↓            ↑
///                      └── waiting ───────────┘        (waiting: the back-off before a retry)
///
/// A request has one attempt under way, its own. A hedge is a second one beside it and a mirror is a copy
/// of the request for another cluster: each has a slot of the spare ones, which goes through the same
/// phases and is free again without a result.
///
/// A long-lived stream whose response is complete is `draining` until its body was taken.
struct RequestSlot: Sendable {
  enum Phase: UInt8 { case free, pending, streaming, waiting, draining, finished }

  var generation: UInt32 = 1
  var phase: Phase = .free
  var token: UInt64 = 0
  /// The place in the table of long-lived streams; -1: an ordinary request.
  var duplex = -1

  /// The request that this is a hedge of; -1: none.
  var owner = -1
  /// Nobody waits for its result.
  var isMirror = false
  /// Hedges that are under way for this request.
  var hedges = 0

  // What is sent, kept for retries. Its bytes are accounted for in the core's pool.
  var headers = HeaderList()
  var body: [UInt8] = []
  var accountedBytes = 0
  /// What is different in each attempt.
  var attemptFields: AttemptFields = []

  // What its route said.
  var cluster = -1
  var timeout: Interval = .zero
  var idleTimeout: Interval = .zero
  var policy: RetryPolicy = .none
  // Of the policy, what each attempt asks for.
  var perTryIdleTimeout: Interval = .zero
  var avoidsTried = false
  var priority = RoutingPriority.default
  var isHedged = false
  /// Why there is no retry, as far as it is known before an attempt has ended.
  var retryEnd = RetryEnd.none

  // Its attempts.
  var attempts = 0
  /// Endpoints that were tried, if the policy avoids them.
  var tried: [UInt32] = []
  var grpcDeadline = Instant.never

  // This attempt.
  /// Its number, which a transparent retry does not change.
  var number = 0
  var holdsRetry = false
  /// It was sent again after it may have reached the peer.
  var wasReplayed = false
  /// How often it was sent again before anything of it had left.
  var unsentReplays: UInt8 = 0
  /// The attempt before timed out.
  var followsTimeout = false
  /// It timed out, and a hedge took its turn: it is not retried again.
  var hasSuccessor = false
  /// The endpoint picked for this attempt; 0: none yet, the cluster's name is being resolved.
  var endpoint: UInt32 = 0
  var connection = -1
  var stream: UInt32 = 0
  var bodySent = 0
  var isSent = false
  /// Bytes written on the connection when the last of the request is among them; 0: it has not been queued, or
  /// has left.
  var leavesAt: UInt64 = 0
  var startedAt = Instant(nanoseconds: 0)
  /// Where this attempt's stream begins, in bytes written on the connection.
  var connectionBytesBefore: UInt64 = 0

  /// Where its cluster counts it; -1: it does not.
  var tallyPlace: Int16 = -1
  var tallyEnd = TallyEnd.failure

  // The response of this attempt.
  var status: UInt16 = 0
  var grpcStatus: UInt16?
  var retryAfter: Interval?
  var responseBytes: UInt64 = 0

  var routeDeadline = Instant.never
  /// The end of `max_stream_duration` or of the request's own `grpc-timeout`.
  var durationDeadline = Instant.never
  var perTryDeadline = Instant.never
  var perTryIdleDeadline = Instant.never
  /// When the peer must have let the whole body go out.
  var sendDeadline = Instant.never
  var idleDeadline = Instant.never
  var backOffEnd = Instant.never

  var outcome = RequestResult.Outcome.failure(.cancelled)
  var details = ByteString()
  var reconnectAfter: Interval?

  var deadline: Instant {
    min(
      min(min(routeDeadline, perTryDeadline), min(idleDeadline, backOffEnd)),
      min(sendDeadline, min(durationDeadline, perTryIdleDeadline)))
  }

  /// Forgets what belongs to one attempt.
  mutating func beginAttempt() {
    tallyPlace = -1
    connection = -1
    stream = 0
    endpoint = 0
    bodySent = 0
    isSent = false
    leavesAt = 0
    status = 0
    grpcStatus = nil
    retryAfter = nil
    responseBytes = 0
    details = ByteString()
    perTryDeadline = .never
    perTryIdleDeadline = .never
    sendDeadline = .never
    backOffEnd = .never
  }

  /// Takes the place of a hedge: from here on its attempt is this request's own.
  mutating func takeAttempt(of hedge: RequestSlot) {
    phase = hedge.phase
    number = hedge.number
    holdsRetry = hedge.holdsRetry
    wasReplayed = hedge.wasReplayed
    unsentReplays = hedge.unsentReplays
    followsTimeout = hedge.followsTimeout
    hasSuccessor = hedge.hasSuccessor
    endpoint = hedge.endpoint
    connection = hedge.connection
    stream = hedge.stream
    bodySent = hedge.bodySent
    isSent = hedge.isSent
    leavesAt = hedge.leavesAt
    startedAt = hedge.startedAt
    connectionBytesBefore = hedge.connectionBytesBefore
    tallyPlace = hedge.tallyPlace
    tallyEnd = hedge.tallyEnd
    status = hedge.status
    grpcStatus = hedge.grpcStatus
    retryAfter = hedge.retryAfter
    responseBytes = hedge.responseBytes
    details = hedge.details
    perTryDeadline = hedge.perTryDeadline
    perTryIdleDeadline = hedge.perTryIdleDeadline
    sendDeadline = hedge.sendDeadline
    backOffEnd = hedge.backOffEnd
  }

  /// Forgets the request before, and keeps the buffers.
  mutating func reset(token: UInt64) {
    beginAttempt()
    self.token = token
    owner = -1
    isMirror = false
    hedges = 0
    attemptFields = []
    cluster = -1
    perTryIdleTimeout = .zero
    avoidsTried = false
    isHedged = false
    retryEnd = .none
    attempts = 0
    if !tried.isEmpty { tried = [] }
    grpcDeadline = .never
    number = 0
    holdsRetry = false
    wasReplayed = false
    unsentReplays = 0
    followsTimeout = false
    hasSuccessor = false
    routeDeadline = .never
    durationDeadline = .never
    idleDeadline = .never
    reconnectAfter = nil
  }

  /// A stream goes on until one of its ends has enough of it.
  mutating func makeEndless() {
    body.removeAll(keepingCapacity: true)
    timeout = .zero
    idleTimeout = .zero
    policy = .none
    retryEnd = .noPolicy
  }

  /// Builds what goes on the wire: pseudo-header fields first (RFC 9113 §8.3).
  mutating func fill(
    _ request: borrowing UpstreamRequest, isTLS: Bool, rewrite: borrowing RequestRewrite
  ) {
    headers.removeAll()
    headers.append(name: ":method", value: request.method.bytes.span)
    headers.append(name: ":scheme", text: isTLS ? "https" : "http")
    let authority = rewrite.authority ?? request.authority
    headers.append(name: ":authority", value: authority.bytes.span)
    let path = rewrite.path ?? request.path
    headers.append(name: ":path", value: path.bytes.span)
    if rewrite.mutations.isEmpty {
      headers.append(request.headers)
    } else {
      headers.append(request.headers, mutations: rewrite.mutations)
    }
    body.removeAll(keepingCapacity: true)
    body.append(contentsOf: request.body.span)
  }
}

extension Instant {
  /// No deadline.
  static var never: Instant { Instant(nanoseconds: .max) }

  /// `interval` from here; never, for an interval that means "off".
  func after(_ interval: Interval) -> Instant {
    interval.nanoseconds > 0 ? self + interval : .never
  }
}
