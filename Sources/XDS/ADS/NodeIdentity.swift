import Primitives
import Protobuf

/// Who asks (`envoy.config.core.v3.Node`).
public struct NodeIdentity: Equatable, Sendable {
  /// A key of the node's metadata, whose values are strings.
  public struct Attribute: Equatable, Sendable {
    public var key: ByteString
    public var value: ByteString

    public init(key: ByteString, value: ByteString) {
      self.key = key
      self.value = value
    }
  }
  public var id: ByteString
  public var cluster: ByteString
  public var region: ByteString
  public var zone: ByteString
  public var subZone: ByteString
  public var metadata: [Attribute]

  public init(
    id: ByteString, cluster: ByteString, region: ByteString = "", zone: ByteString = "",
    subZone: ByteString = "", metadata: [Attribute] = []
  ) {
    self.id = id
    self.cluster = cluster
    self.region = region
    self.zone = zone
    self.subZone = subZone
    self.metadata = metadata
  }

  /// Features of an ADS stream. The wrapping of resources has a name in the specification and
  /// another one in grpc-go, which servers have learnt.
  static let discoveryFeatures: [StaticString] = [
    "xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw",
    "xds.config.resource-in-sotw",
  ]
  /// Features of an LRS stream.
  static let loadFeatures: [StaticString] = ["envoy.lrs.supports_send_all_clusters"]

  /// The message, without a field around it.
  func encoded(features: [StaticString]) -> [UInt8] {
    var writer = WireWriter()
    writer.text(1, id)
    writer.text(2, cluster)
    if !metadata.isEmpty {
      writer.message(3) { fields in
        for attribute in metadata {
          fields.message(1) { pair in
            pair.text(1, attribute.key)
            // `google.protobuf.Value`, a oneof: an empty string is written, too.
            pair.message(2) { value in value.bytes(3, attribute.value.bytes.span) }
          }
        }
      }
    }
    if !(region.isEmpty && zone.isEmpty && subZone.isEmpty) {
      writer.message(4) { $0.locality(region: region, zone: zone, subZone: subZone) }
    }
    writer.text(6, "spoke")
    writer.text(7, ProjectVersion.text)
    for feature in features { writer.text(10, ByteString(feature)) }
    return writer.bytes
  }
}

extension WireWriter {
  /// A `string` field of proto3: left out when it is empty.
  mutating func text(_ number: UInt32, _ value: ByteString) {
    guard !value.isEmpty else { return }
    bytes(number, value.bytes.span)
  }

  /// The fields of an `envoy.config.core.v3.Locality`.
  mutating func locality(region: ByteString, zone: ByteString, subZone: ByteString) {
    text(1, region)
    text(2, zone)
    text(3, subZone)
  }
}
