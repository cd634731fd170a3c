import Primitives

/// Which MQTT messages have been taken from the broker but not yet acknowledged to it.
///
/// libmosquitto queues an acknowledgement before the application sees the message, and lets all
/// queued ones go in one `mosquitto_loop_write`. So the unit of release is "everything read so far":
/// writing is withheld until every message read so far is safe. While that takes too long, or too
/// many wait, reading pauses, so that the set can become empty.
struct SourceAcknowledgements {
  struct Waiting {
    var stream: Int
    var sequence: UInt64
  }

  /// mosquitto keeps 20 messages in flight for a client by default (`max_inflight_messages`); below
  /// that count the broker would wait for us while we wait for it.
  static let pressureCount = 16
  /// A broker that permits more is paused here.
  static let capacity = 256
  /// PINGREQ waits behind the withheld acknowledgements: far below the keep-alive of 60 s.
  static let holdMaximum = Interval.seconds(5)

  private var waiting = FixedQueue<Waiting>(capacity: capacity)
  private var oldest: Instant?
  /// Messages whose acknowledgement libmosquitto has queued, safe or not.
  private(set) var withheld = 0

  var unacknowledged: Int { waiting.count }
  /// There is room for one more that is not safe yet.
  var mayRead: Bool { waiting.count < Self.capacity }
  /// No more is to come from the broker while so many acknowledgements are withheld: what is here
  /// already must become safe, and be taken to its last message, before any of them can leave.
  var mayReceive: Bool { withheld < Self.capacity }

  /// A message was read; its record must become safe before anything is written.
  mutating func add(stream: Int, sequence: UInt64, now: Instant) {
    precondition(waiting.append(Waiting(stream: stream, sequence: sequence)), "read past capacity")
    withheld += 1
    if oldest == nil { oldest = now }
  }

  /// A message was read that needs nothing: a duplicate, or one that was dropped with a report.
  mutating func addSafe() { withheld += 1 }

  /// Takes the oldest message out, to look whether it has become safe; one that has not is put back.
  mutating func takeOldest() -> Waiting? { waiting.popFirst() }

  mutating func putBack(_ message: Waiting) {
    precondition(waiting.append(message), "put back what was not taken")
  }

  /// After every waiting message was looked at once.
  mutating func settled() {
    if waiting.isEmpty { oldest = nil }
  }

  /// Every message read so far is safe, and there is something to write.
  var mayRelease: Bool { waiting.isEmpty && withheld > 0 }

  mutating func released() {
    withheld = 0
    oldest = nil
  }

  /// The broker is, or will soon be, waiting for us: commit now.
  func isPressing(now: Instant) -> Bool {
    guard let oldest, !waiting.isEmpty else { return false }
    return waiting.count >= Self.pressureCount || now - oldest >= Self.holdMaximum
  }

  /// Nil after it has passed: everything was committed that could be, and what is not safe yet waits
  /// for its disk or its delivery.
  func nextDeadline(now: Instant) -> Instant? {
    guard let oldest, !waiting.isEmpty else { return nil }
    let deadline = oldest + Self.holdMaximum
    return deadline > now ? deadline : nil
  }

  /// The connection is gone: the broker sends everything again that it has no answer for.
  mutating func reset() {
    waiting.removeAll()
    oldest = nil
    withheld = 0
  }
}
