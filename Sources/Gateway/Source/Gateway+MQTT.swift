import Configuration
import Ingest
import Primitives
import Spool

/// The MQTT connection as the gateway sees it (`/mqtt`, `spoke.mqtt.*`).
struct MQTTInput {
  var isConnected = false
  var detail = "not connected yet"
  var messages: UInt64 = 0
  /// Messages of a topic that no subscription covers any more.
  var unmatched: UInt64 = 0
  var duplicates: UInt64 = 0
  var connections: UInt64 = 0
  /// Filters that the broker refused on this connection.
  var refused: [ByteString] = []
  /// Filters whose refusal was reported already, on this connection or an earlier one.
  var reportedRefusals: [ByteString] = []
  var refusals: UInt64 = 0
  /// The tokens of the newest messages, to know those again that the broker sends a second time.
  var recent = RecentMessages()
}

/// The newest QoS 1 messages by message id and content. After a reconnect that resumes the session
/// the broker repeats, before all else, what it has no acknowledgement for; those that were taken
/// already, in this run or, by what the spool still knows, in the one before, are not taken twice.
struct RecentMessages {
  /// A message of this run, and the record that was made of it.
  struct Taken {
    var token: UInt64
    var stream: Int
    var sequence: UInt64
  }

  private var taken = FixedQueue<Taken>(capacity: capacity)
  /// Of the run before, until the first session is established and its repetitions are over.
  private var stored: [UInt64]
  /// Until when messages may be repetitions. The broker sends them at once; and not every message
  /// with a known id and content is one: a broker that was killed gives ids out again.
  private var repetitionsEnd: Instant?

  static let capacity = SourceAcknowledgements.capacity
  /// Of those on disk. A busy broker has more in flight than it says when it is connected to again and again.
  static let storedMax = 4 * capacity
  static let repetitionsLast = Interval.seconds(5)

  /// `stored`: the tokens of the newest records that the spool had when it was opened.
  init(stored: [UInt64] = []) { self.stored = stored }

  /// 16 bits of message id and 32 of content; never 0.
  static func token(messageID: UInt16, topic: Span<UInt8>, payload: Span<UInt8>) -> UInt64 {
    var crc = CRC32C()
    crc.update(topic)
    crc.update(0)
    crc.update(payload)
    return 1 << 48 | UInt64(messageID) << 32 | UInt64(crc.value)
  }

  mutating func sessionResumed(now: Instant) { repetitionsEnd = now + Self.repetitionsLast }

  mutating func sessionStarted() {
    taken.removeAll()
    stored = []
    repetitionsEnd = nil
  }

  mutating func remember(_ message: Taken) {
    if taken.isFull { _ = taken.popFirst() }
    _ = taken.append(message)
  }

  /// Every record that was made of a message is on disk, and streams have other numbers from now on.
  mutating func everythingIsSafe() {
    for index in 0..<taken.count { stored.append(taken[index].token) }
    if stored.count > Self.storedMax { stored.removeFirst(stored.count - Self.storedMax) }
    taken.removeAll()
  }

  enum Repetition {
    /// It is new.
    case none
    /// Its record was on disk when the spool was opened.
    case stored
    /// It was taken in this run: its record may still be on its way to the disk.
    case taken(stream: Int, sequence: UInt64)
  }

  /// Whether this message was taken before the connection broke. Among the repetitions there may be
  /// new ones: of two streams one may have been on disk when the daemon was killed and the other not.
  mutating func repetition(_ token: UInt64, now: Instant) -> Repetition {
    guard let end = repetitionsEnd else { return .none }
    guard now < end else {
      repetitionsEnd = nil
      stored = []
      return .none
    }
    for index in 0..<taken.count where taken[index].token == token {
      return .taken(stream: taken[index].stream, sequence: taken[index].sequence)
    }
    return stored.contains(token) ? .stored : .none
  }
}

extension Gateway where Storage: ~Copyable {
  /// `sessionPresent`: the broker kept the session, and with it what was not acknowledged.
  public mutating func mqttConnected(sessionPresent: Bool, clocks: Clocks) {
    mqtt.isConnected = true
    mqtt.connections += 1
    mqtt.refused = []
    mqtt.detail = sessionPresent ? "session resumed" : "new session"
    acknowledgements.reset()
    if sessionPresent {
      mqtt.recent.sessionResumed(now: clocks.now)
    } else {
      mqtt.recent.sessionStarted()
    }
    log(.info, "mqtt: connected, \(mqtt.detail)")
  }

  /// The broker does not let us subscribe: nothing comes of this filter. It is asked again with every
  /// connection, and reported once.
  public mutating func mqttSubscriptionRefused(_ filter: ByteString, clocks: Clocks) {
    guard !mqtt.refused.contains(filter) else { return }
    mqtt.refused.append(filter)
    mqtt.refusals += 1
    log(.error, "mqtt: the broker refused the subscription to '\(filter.description)'")
    guard !mqtt.reportedRefusals.contains(filter) else { return }
    if mqtt.reportedRefusals.count == ConfigurationLimits.subscriptionsMax {
      mqtt.reportedRefusals.removeFirst()
    }
    mqtt.reportedRefusals.append(filter)
    report("subscription_refused", clocks: clocks) { $0.member("filter", filter) }
  }

  /// The connection is gone or could not be made. Repeats with the same words are not logged.
  public mutating func mqttDisconnected(reason: String, clocks: Clocks) {
    let isNews = mqtt.isConnected || ByteString(mqtt.detail) != ByteString(reason)
    mqtt.isConnected = false
    mqtt.detail = reason
    acknowledgements.reset()
    if isNews { log(.warning, "mqtt: \(reason)") }
  }

  /// Takes a message; false: there is no room for it at the moment, and the driver keeps it, reads
  /// no other and asks again. `oversize`: it was too large to be taken from the broker, and comes
  /// without its payload of so many bytes.
  public mutating func receiveMQTT(
    topic: Span<UInt8>, payload: Span<UInt8>, qos: UInt8, messageID: UInt16, oversize: Int,
    clocks: Clocks
  ) -> Bool {
    guard let subscription = topics.match(topic), let configured = configuration.mqtt else {
      mqtt.unmatched += 1
      if qos > 0 { acknowledgements.addSafe() }
      return true
    }
    let token =
      qos == 0
      ? 0 : RecentMessages.token(messageID: messageID, topic: topic, payload: payload)
    if qos > 0, takeRepetition(token, now: clocks.now) { return true }
    let stream = configured.subscriptions[subscription].stream
    if oversize > 0 {
      mqtt.messages += 1
      let bytes = oversize + topic.count + MQTTSource.name.count
      refuse(stream: stream, bytes: bytes, clocks: clocks)
      if qos > 0 { acknowledgements.addSafe() }
      return true
    }
    let source = MQTTSource.name.bytes
    switch take(
      stream: stream, source: source.span, subject: topic, token: token,
      payload: payload, clocks: clocks)
    {
    case .taken(let sequence):
      mqtt.messages += 1
      guard qos > 0 else { return true }
      mqtt.recent.remember(
        RecentMessages.Taken(token: token, stream: stream, sequence: sequence))
      acknowledgements.add(stream: stream, sequence: sequence, now: clocks.now)
      return true
    case .dropped:
      mqtt.messages += 1
      if qos > 0 { acknowledgements.addSafe() }
      return true
    case .noRoom:
      // QoS 0 promises nothing and the broker does not keep it: waiting would only delay others.
      guard qos == 0 else { return false }
      shed(stream: stream, clocks: clocks)
      return true
    }
  }

  /// What was taken already is not taken twice; it is acknowledged once its record is safe, as the
  /// first time. False: the message is new.
  private mutating func takeRepetition(_ token: UInt64, now: Instant) -> Bool {
    switch mqtt.recent.repetition(token, now: now) {
    case .none: return false
    case .stored: acknowledgements.addSafe()
    case .taken(let stream, let sequence):
      acknowledgements.add(stream: stream, sequence: sequence, now: now)
    }
    mqtt.duplicates += 1
    return true
  }

  /// Whether one more may be taken of the messages that have already come. While any are left no acknowledgement
  /// leaves, and the broker sends nothing that would wake the program.
  public var mayReadMQTT: Bool { !draining && acknowledgements.mayRead }

  /// Whether the connection may be read. More would only make the wait for durability longer.
  public func mayReceiveMQTT(now: Instant) -> Bool {
    mayReadMQTT && acknowledgements.mayReceive && !acknowledgements.isPressing(now: now)
  }

  /// Everything read so far is safe: its acknowledgements may leave.
  public var mayReleaseMQTT: Bool {
    acknowledgements.unacknowledged == 0 || isMutated(.acknowledgeEarly)
  }

  /// The acknowledgements that were withheld have been released to the broker.
  public mutating func mqttReleased() { acknowledgements.released() }
}

/// The `ce-source` name of MQTT records.
enum MQTTSource {
  static let name: ByteString = "mqtt"
}
