import Configuration
import Platform
import Primitives

/// What a connection to the broker is made of, all files read: a configuration whose files cannot be
/// read never takes the place of one that works.
struct BrokerPlan {
  let configuration: MQTTConfiguration
  let settings: MosquittoSettings
  /// Nil: plain MQTT.
  var context: TLSContext?
  var tls: MosquittoTLS?
}

/// The MQTT client with what the loop and the gateway need to know of it.
final class BrokerLink {
  let client: MosquittoClient
  /// Nil: plain MQTT.
  let tls: MosquittoTLS?
  let configuration: MQTTConfiguration
  /// What its file held.
  let password: [UInt8]
  /// Which of the client's connections the gateway has been told of; nil: none at the moment.
  var announced: UInt64?
  /// What the gateway was last told about the lack of a connection.
  var announcedFailure = ByteString()
  /// How many refused filters of this connection it knows of.
  var announcedRefusals = 0
  /// Taken from the client, not yet by the gateway: there was no room for it.
  var waiting: MQTTMessage?
  var scratch = MQTTMessage()
  /// What earlier configurations of this run subscribed to.
  var formerFilters: [ByteString]

  /// The resolver's number for its name, so that the answer to a former broker's is not taken for it. From
  /// the greatest number down: the networking core counts up.
  let lookup: UInt64

  static let formerFiltersMax = 64

  /// Bytes held, for the memory ledger.
  var memory: Int { client.memory + scratch.memory + (waiting?.memory ?? 0) }

  init(
    _ plan: BrokerPlan, client: MosquittoClient, lookup: UInt64, formerFilters: [ByteString]
  ) {
    configuration = plan.configuration
    password = plan.settings.password
    self.client = client
    self.lookup = lookup
    tls = plan.tls
    self.formerFilters = formerFilters
  }

  var everythingFetched: Bool { waiting == nil && !client.hasMessages }
}
