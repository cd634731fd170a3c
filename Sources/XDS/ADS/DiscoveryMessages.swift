import GRPC
import Primitives
import Protobuf

/// A request of either transport, before it is encoded (`envoy.service.discovery.v3`):
///
///     DiscoveryRequest       1 version_info   2 node            3 resource_names  4 type_url
///                            5 response_nonce 6 error_detail
///     DeltaDiscoveryRequest  1 node           2 type_url        3 subscribe       4 unsubscribe
///                            5 initial_resource_versions        6 response_nonce  7 error_detail
struct DiscoveryRequest {
  var type: ResourceType
  /// Encoded; empty: not the first request of its stream.
  var node: [UInt8] = []
  var version = ByteString()
  var nonce = ByteString()
  /// `resource_names`, or `resource_names_subscribe`.
  var names: [ByteString] = []
  var unsubscribed: [ByteString] = []
  /// Name and version.
  var known: [(ByteString, ByteString)] = []
  /// Nil: not a NACK.
  var rejection: [UInt8]?

  func encoded(_ transport: DiscoveryTransport) -> [UInt8] {
    let isDelta = transport == .incremental
    var writer = WireWriter()
    if !node.isEmpty { writer.bytes(isDelta ? 1 : 2, node.span) }
    if !isDelta { writer.text(1, version) }
    let url = TypeURL.of(type.messageName)
    writer.bytes(isDelta ? 2 : 4, url.span)
    for name in names { writer.text(3, name) }
    for name in unsubscribed { writer.text(4, name) }
    for (name, version) in known {
      writer.message(5) { pair in
        pair.text(1, name)
        pair.text(2, version)
      }
    }
    writer.text(isDelta ? 6 : 5, nonce)
    if let rejection {
      writer.message(isDelta ? 7 : 6) { status in
        status.varint(1, UInt64(GRPCStatus.invalidArgument.rawValue))
        status.bytes(2, rejection.span)
      }
    }
    return writer.bytes
  }
}

/// What a response says besides its resources (`envoy.service.discovery.v3`):
///
///     DiscoveryResponse       1 version_info         2 resources (Any)       4 type_url  5 nonce
///                             6 control_plane        7 resource_errors
///     DeltaDiscoveryResponse  1 system_version_info  2 resources (Resource)  4 type_url  5 nonce
///                             6 removed_resources    7 control_plane
///                             8 removed_resource_names                       9 resource_errors
struct ResponseHeader {
  var version = ByteString()
  var nonce = ByteString()
  var typeURL = 0..<0
  var controlPlane = ByteString()

  /// Reads every field of the message, so that what follows meets no broken one at this level.
  init(_ bytes: Span<UInt8>, _ transport: DiscoveryTransport) throws(WireError) {
    var reader = WireReader(bytes)
    while let field = try reader.next(in: bytes) {
      switch field.number {
      case 1:
        if let text = try reader.text(field.value, in: bytes) {
          version = ByteString(copying: bytes.extracting(text))
        }
      case 4: typeURL = try reader.text(field.value, in: bytes) ?? typeURL
      case 5:
        if let text = try reader.text(field.value, in: bytes) {
          nonce = ByteString(copying: bytes.extracting(text))
        }
      case transport == .incremental ? 7 : 6:
        guard let range = field.value.range else { break }
        let message = try reader.message(range)
        if let name = try DiscoveryWire.firstText(message, in: bytes) {
          controlPlane = ByteString(copying: bytes.extracting(name.prefix(256)))
        }
      default: break
      }
    }
  }
}

/// One resource as a response carries it: an `Any`, or a `Resource` with an `Any` inside.
struct ReceivedResource {
  /// The wrapper's; nil: there is no wrapper, or it has none.
  var name: Range<Int>?
  var version: Range<Int>?
  var typeURL = 0..<0
  /// Nil: a heartbeat.
  var value: Range<Int>?
  var ttl: Interval?
  var hasInvalidTTL = false
}

/// The small messages that both transports share.
enum DiscoveryWire {
  /// `Resource`: 1 version, 2 resource, 3 name, 6 ttl, 8 resource_name.
  static func wrapper(
    _ message: WireReader, in bytes: Span<UInt8>
  ) throws(WireError) -> ReceivedResource {
    var reader = message
    var resource = ReceivedResource()
    while let field = try reader.next(in: bytes) {
      switch field.number {
      case 1: resource.version = try reader.text(field.value, in: bytes) ?? resource.version
      case 2:
        guard let range = field.value.range else { break }
        try readAny(try reader.message(range), in: bytes, into: &resource)
      case 3: resource.name = try reader.text(field.value, in: bytes) ?? resource.name
      case 6:
        guard let range = field.value.range else { break }
        resource.ttl = try duration(try reader.message(range), in: bytes)
        resource.hasInvalidTTL = resource.ttl == nil
      case 8:
        guard let range = field.value.range else { break }
        resource.name = try firstText(try reader.message(range), in: bytes) ?? resource.name
      default: break
      }
    }
    return resource
  }

  /// An `Any`, taken out of its wrapper if it is one.
  static func resource(
    _ message: WireReader, in bytes: Span<UInt8>
  ) throws(WireError) -> ReceivedResource {
    var resource = ReceivedResource()
    try readAny(message, in: bytes, into: &resource)
    if let value = resource.value,
      TypeURL.names("envoy.service.discovery.v3.Resource", bytes.extracting(resource.typeURL))
    {
      return try wrapper(try message.message(value), in: bytes)
    }
    return resource
  }

  /// `Any`: 1 type_url, 2 value. An empty value is left out on the wire.
  private static func readAny(
    _ message: WireReader, in bytes: Span<UInt8>, into resource: inout ReceivedResource
  ) throws(WireError) {
    var reader = message
    if resource.value == nil { resource.value = 0..<0 }
    while let field = try reader.next(in: bytes) {
      switch field.number {
      case 1: resource.typeURL = try reader.text(field.value, in: bytes) ?? resource.typeURL
      case 2: resource.value = field.value.range ?? resource.value
      default: break
      }
    }
  }

  /// `ResourceError`: 1 resource_name, 2 error_detail (`Status`: 1 code, 2 message).
  static func resourceError(
    _ message: WireReader, in bytes: Span<UInt8>
  ) throws(WireError) -> (name: Range<Int>?, status: GRPCStatus, text: Range<Int>) {
    var reader = message
    var name: Range<Int>?
    var status = GRPCStatus.ok
    var text = 0..<0
    while let field = try reader.next(in: bytes) {
      guard let range = field.value.range else { continue }
      var inner = try reader.message(range)
      if field.number == 1 {
        name = try firstText(inner, in: bytes)
      } else if field.number == 2 {
        while let part = try inner.next(in: bytes) {
          if part.number == 1, let code = part.value.int32 {
            status = GRPCStatus(code: UInt16(exactly: code) ?? .max)
          } else if part.number == 2 {
            text = try inner.text(part.value, in: bytes) ?? text
          }
        }
      }
    }
    return (name, status, text)
  }

  /// The string with the number 1: the name in every resource, in `ResourceName` and `ControlPlane`.
  static func firstText(
    _ message: WireReader, in bytes: Span<UInt8>
  ) throws(WireError) -> Range<Int>? {
    var reader = message
    var text: Range<Int>?
    while let field = try reader.next(in: bytes) {
      if field.number == 1 { text = try reader.text(field.value, in: bytes) ?? text }
    }
    return text
  }

  /// `google.protobuf.Duration`: nil when it is out of its range, or not above zero.
  static func duration(
    _ message: WireReader, in bytes: Span<UInt8>
  ) throws(WireError) -> Interval? {
    var reader = message
    var seconds: Int64 = 0
    var nanoseconds: Int32 = 0
    while let field = try reader.next(in: bytes) {
      if field.number == 1 { seconds = field.value.int64 ?? seconds }
      if field.number == 2 { nanoseconds = field.value.int32 ?? nanoseconds }
    }
    let interval = interval(seconds, nanoseconds)
    return interval == .zero ? nil : interval
  }

  /// Nil: not a valid duration, or a negative one.
  static func interval(_ seconds: Int64, _ nanoseconds: Int32) -> Interval? {
    guard seconds >= 0, seconds <= 315_576_000_000, nanoseconds >= 0, nanoseconds < 1_000_000_000
    else { return nil }
    // An interval holds 292 years.
    guard seconds < 9_000_000_000 else { return Interval(nanoseconds: .max) }
    return Interval(nanoseconds: seconds * 1_000_000_000 + Int64(nanoseconds))
  }
}
