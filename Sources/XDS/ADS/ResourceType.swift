import Primitives

/// The kinds of resources that a control plane sends (xDS, "Resource types").
public enum ResourceType: UInt8, Sendable {
  /// LDS.
  case listener = 0
  /// RDS.
  case routeConfiguration = 1
  /// CDS.
  case cluster = 2
  /// EDS.
  case endpoints = 3
  /// SDS.
  case secret = 4
  /// RTDS.
  case runtime = 5

  /// How many there are; their raw values are 0 to `count` − 1.
  public static let count = 6

  /// The message's full name: what stands behind the last `/` of a type URL.
  public var messageName: StaticString {
    switch self {
    case .listener: "envoy.config.listener.v3.Listener"
    case .routeConfiguration: "envoy.config.route.v3.RouteConfiguration"
    case .cluster: "envoy.config.cluster.v3.Cluster"
    case .endpoints: "envoy.config.endpoint.v3.ClusterLoadAssignment"
    case .secret: "envoy.extensions.transport_sockets.tls.v3.Secret"
    case .runtime: "envoy.service.runtime.v3.Runtime"
    }
  }

  /// The type that a URL names; nil: one that this client does not know.
  public init?(typeURL url: Span<UInt8>) {
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      if TypeURL.names(type.messageName, url) {
        self = type
        return
      }
    }
    return nil
  }

  /// A response of the state of the world lists every resource of the type that the client asked
  /// for: one that was there before and is absent is deleted. The other types' responses are partial.
  var isFullState: Bool { self == .listener || self == .cluster }
}

/// The URL of a `google.protobuf.Any`.
public enum TypeURL {
  /// Whether the URL is for the message: what stands behind its last `/` counts.
  public static func names(_ message: StaticString, _ url: Span<UInt8>) -> Bool {
    var start = 0
    for index in url.indices where url[index] == UInt8(ascii: "/") { start = index + 1 }
    let name = ByteString(message).bytes
    return equal(name.span, url.extracting(start..<url.count))
  }

  /// The URL of the message.
  public static func of(_ message: StaticString) -> [UInt8] {
    var url: [UInt8] = []
    url.append(text: "type.googleapis.com/")
    url.append(text: message)
    return url
  }
}
