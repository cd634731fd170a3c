import Primitives

/// A message that a device published at the local broker.
struct PublishedMessage {
  var source: Int
  var topic: [UInt8]
  var payload: [UInt8]
  var hash: UInt64
  var qos: UInt8
  /// The records that were made of it, by their places in the ledger: more than one when the broker
  /// repeated it and the daemon could not know it again.
  var entries: [Int] = []
  /// Its PUBACK left the daemon: the source need not keep it.
  var isAcknowledged = false
}

/// The broker as mosquitto is: it keeps the session of a client, has 20 messages under way to it, and
/// sends again after a reconnect what was not acknowledged.
struct Broker {
  var messages: [PublishedMessage] = []
  var isUp = true
  var hasSession = false
  /// Places in `messages`.
  var queue: [Int] = []
  var inFlight: [(id: UInt16, message: Int)] = []
  var lastID: UInt16 = 0
  /// The connection that is up; 0: none.
  var link = 0
  var links = 0
  /// When the last message that set out arrives.
  var lastDue = Instant(nanoseconds: 0)

  static let inFlightMax = 20

  mutating func nextID() -> UInt16 {
    repeat { lastID = lastID == .max ? 1 : lastID + 1 } while inFlight.contains { $0.id == lastID }
    return lastID
  }
}

/// The client's side of that connection, as libmosquitto has it: an acknowledgement is queued when its
/// message is read, and all that are queued leave together.
struct BrokerClient {
  var link = 0
  var isConnected = false
  var isPaused = false
  /// Arrived, but not read.
  var socket: [(message: Int, id: UInt16)] = []
  /// Read, and not handed over.
  var ring: [(message: Int, id: UInt16)] = []
  /// The first of them found no room.
  var isWaiting = false
  /// Their acknowledgements are queued.
  var withheld: [(message: Int, id: UInt16)] = []
  var withheldSince: Instant?

  static let ringMax = 64
  /// PINGREQ waits behind withheld acknowledgements: a broker gives a client up after one and a half
  /// times its keep-alive time.
  static let patience = Interval.seconds(90)
}
