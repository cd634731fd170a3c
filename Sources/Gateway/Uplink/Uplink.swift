import Configuration
import HPACK
import NetworkingCore
import Primitives
import Spool

/// One stream on its way upstream: the records that are in flight, and why the next one waits.
///
/// A slot holds one record from the moment the spool hands it out until it is delivered, parked or
/// dropped:
///
///     empty ── record read ──▶ ready ── submitted ──▶ requesting ── delivered, rejected ──▶ empty
///                                ▲                        │
///                                └── time ── backingOff ◀─┘ transient
///
/// With one slot order holds by construction: the next record is read only into an empty slot.
struct Uplink {
  enum Phase: Equatable {
    case empty
    case ready
    case requesting(RequestID)
    case backingOff(until: Instant)
  }

  struct Slot {
    var phase = Phase.empty
    var record = SpooledRecord()
    /// How often delivery of this record has failed in a row.
    var failures: UInt32 = 0
    /// It failed because the upstream could not be reached, not by its answer.
    var isUnreachable = false
  }

  /// 401, 403, 404 and redirects: everything is kept, and one record probes now and then.
  struct Hold: Equatable {
    var status: UInt16
    var probeAt: Instant
  }

  static let probeInterval = Interval.seconds(30)
  /// How long a request of an alarm keeps the other classes waiting.
  static let precedence = Interval.seconds(1)

  /// The index of the stream in the configuration, in the spool and here.
  let stream: Int
  let configuration: StreamConfiguration
  var slots: [Slot]
  var hold: Hold?
  /// When the newest request set out.
  var sentAt = Instant(nanoseconds: 0)
  /// Why delivery failed last, in words.
  var lastFailure = ByteString()
  var encoder: RequestEncoder
  var counters = UplinkCounters()

  init(stream: Int, configuration: StreamConfiguration, node: ByteString) {
    self.stream = stream
    self.configuration = configuration
    slots = []
    for _ in 0..<configuration.inFlight { slots.append(Slot()) }
    encoder = RequestEncoder(node: node, stream: configuration)
  }

  /// A held stream sends nothing until its probe is due, and then one record at a time.
  func maySend(now: Instant) -> Bool {
    guard let hold else { return true }
    return now >= hold.probeAt && !hasRequest
  }

  var hasRequest: Bool { slots.contains { $0.isRequesting } }
  var isEmpty: Bool { slots.allSatisfy { $0.phase == .empty } }

  /// A request is on its way and has not been for long.
  func precedes(now: Instant) -> Bool { hasRequest && now < sentAt + Self.precedence }

  /// When the others need not wait for it any longer; nil when that has passed.
  func precedenceEnds(now: Instant) -> Instant? {
    precedes(now: now) ? sentAt + Self.precedence : nil
  }

  func slot(of request: RequestID) -> Int? {
    slots.firstIndex { $0.phase == .requesting(request) }
  }

  /// The next moment at which something here changes by itself.
  func nextDeadline() -> Instant? {
    if let hold { return hasRequest ? nil : hold.probeAt }
    var earliest: Instant?
    for slot in slots {
      guard case .backingOff(let until) = slot.phase else { continue }
      earliest = min(earliest ?? until, until)
    }
    return earliest
  }

  /// An alarm goes first: pauses end as they would, and a probe that is due waits a moment.
  mutating func yield(now: Instant) {
    wakeBackoffs(now: now)
    if let due = hold?.probeAt, due <= now { hold?.probeAt = now + Self.precedence }
  }

  /// The upstream is there again: pauses of records that could not reach it are over.
  mutating func endOutage() {
    for index in slots.indices where slots[index].isUnreachable {
      slots[index].isUnreachable = false
      if case .backingOff = slots[index].phase { slots[index].phase = .ready }
    }
  }

  /// A probe was due and there was nothing to send, or no room for it: look again later, not at once.
  mutating func postponeProbe(now: Instant) {
    guard let due = hold?.probeAt, due <= now, !hasRequest else { return }
    hold?.probeAt = now + Uplink.probeInterval
  }

  /// A new policy, a new secret or an operator's SIGHUP: try again now.
  mutating func endWaiting(now: Instant) {
    if hold != nil { hold?.probeAt = now }
    for index in slots.indices {
      if case .backingOff = slots[index].phase { slots[index].phase = .ready }
    }
  }

  mutating func wakeBackoffs(now: Instant) {
    for index in slots.indices {
      if case .backingOff(let until) = slots[index].phase, until <= now {
        slots[index].phase = .ready
      }
    }
  }
}

extension Uplink.Slot {
  var isRequesting: Bool {
    if case .requesting = phase { true } else { false }
  }

  mutating func clear() {
    phase = .empty
    failures = 0
    isUnreachable = false
  }
}

/// `spoke.stream.NAME.*`, what the spool does not count itself.
struct UplinkCounters {
  var recordsIn: UInt64 = 0
  var delivered: UInt64 = 0
  var retried: UInt64 = 0
  var dropped: UInt64 = 0
  var expired: UInt64 = 0
  var parked: UInt64 = 0
}
