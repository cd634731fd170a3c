import Configuration
import Platform
import Primitives

/// The MQTT client with what the loop and the gateway need to know of it.
final class BrokerLink {
  let client: MosquittoClient
  /// Nil: plain MQTT.
  let tls: MosquittoTLS?
  let configuration: MQTTConfiguration
  /// Which of the client's connections the gateway has been told of; nil: none at the moment.
  var announced: UInt64?
  /// What the gateway was last told about the lack of a connection.
  var announcedFailure = ByteString()
  /// Taken from the client, not yet by the gateway: there was no room for it.
  var waiting: MQTTMessage?
  var scratch = MQTTMessage()
  /// What earlier configurations of this run subscribed to.
  let formerFilters: [ByteString]

  /// The resolver's number for the broker's name; the networking core's numbers are below.
  static let lookup = UInt64.max

  static let formerFiltersMax = 64

  init(
    _ configuration: MQTTConfiguration, client: MosquittoClient, tls: MosquittoTLS?,
    formerFilters: [ByteString]
  ) {
    self.configuration = configuration
    self.client = client
    self.tls = tls
    self.formerFilters = formerFilters
  }

  var everythingFetched: Bool { waiting == nil && !client.hasMessages }
}
