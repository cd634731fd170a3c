import Primitives

/// A message that a broker delivered. Reused: its arrays keep their room.
public struct MQTTMessage: Sendable {
  public var topic: [UInt8] = []
  public var payload: [UInt8] = []
  public var qos: UInt8 = 0
  /// The packet identifier of a QoS 1 message: the broker repeats it with the message.
  public var id: UInt16 = 0
  public var isRetained = false
  /// Larger than the client's limit: it came without its payload, which had so many bytes.
  public var oversizeBytes = 0

  public init() {}

  var bytes: Int { topic.count + payload.count }
  /// Bytes held, for the memory ledger.
  public var memory: Int { topic.capacity + payload.capacity }
}

/// A topic filter to subscribe to. QoS 2 is not offered: libmosquitto keeps a QoS 2 message in
/// memory alone between its two acknowledgements, and a crash there loses it.
public struct MQTTFilter: Sendable {
  public var topic: ByteString
  /// 0 or 1.
  public var qos: UInt8

  public init(topic: ByteString, qos: UInt8) {
    precondition(qos <= 1, "MQTT: QoS 2 is refused by the configuration")
    self.topic = topic
    self.qos = qos
  }
}

/// How a `MosquittoClient` introduces itself and what it asks for.
public struct MosquittoSettings: Sendable {
  public var clientID: ByteString
  /// Empty: none.
  public var username: ByteString = ""
  public var password: [UInt8] = []
  public var filters: [MQTTFilter]
  /// Filters of an earlier configuration, which a session that the broker kept still holds: they are
  /// unsubscribed at each connection.
  public var formerFilters: [ByteString] = []
  /// Seconds.
  public var keepAlive: UInt16 = 60
  /// Messages taken from the broker and not yet fetched.
  public var messagesMax = 64
  /// With these many bytes of them nothing more is read.
  public var messagesBytesFull = 65_536
  /// A payload that is larger with its topic is reported, not delivered.
  public var messageBytesMax = 65_536
  /// A longer message never reaches libmosquitto: two bytes each are the topic's length and the identifier.
  var packetBytesMax: Int { messageBytesMax + 4 }
  /// Published and not yet acknowledged by the broker.
  public var publishedMax = 32

  public init(clientID: ByteString, filters: [MQTTFilter]) {
    self.clientID = clientID
    self.filters = filters
  }
}

/// The outcome of a `publish`.
public struct Publication: Equatable, Sendable {
  public let id: Int32
  /// QoS 1: the broker has it. QoS 0: it was written. False: the connection ended before that.
  public let isDelivered: Bool
}

/// What `/mqtt` shows.
public struct MosquittoStatus: Sendable {
  public var isConnected = false
  /// The broker had kept our session: what was published meanwhile follows.
  public var sessionPresent = false
  /// Why the last connection ended or was refused; empty before the first time.
  public var lastFailure = ""
  /// Former filters that the broker has not unsubscribed yet.
  public var formerFilters = 0
  /// Filters that the broker refused.
  public var refusedFilters: [ByteString] = []
  public var messages: UInt64 = 0
  public var connections: UInt64 = 0
  /// QoS 1 messages that the broker has no acknowledgement of.
  public var unacknowledged = 0
}
