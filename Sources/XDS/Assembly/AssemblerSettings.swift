import Primitives

/// What the configuration asks of the policy.
public struct AssemblerSettings: Equatable, Sendable {
  /// The listeners that streams name.
  public var listeners: [ByteString] = []
  /// RTDS layers; later ones win.
  public var runtimeLayers: [ByteString] = []
  /// Names of clusters that are not a control plane's to define: the configuration's own.
  public var reservedClusters: [ByteString] = []
  /// Clusters that requests can name in a header field (`cluster_header`), besides those of routes.
  public var headerClusters: [HeaderCluster] = []

  public init() {}
}

/// A header field that every request of a stream carries.
public struct HeaderCluster: Equatable, Sendable {
  public var listener: ByteString
  public var header: ByteString
  public var value: ByteString

  public init(listener: ByteString, header: ByteString, value: ByteString) {
    self.listener = listener
    self.header = header
    self.value = value
  }
}

/// What the assembler wants of its owner. After each call the owner takes actions until there are none.
public enum AssemblerAction: Equatable, Sendable {
  /// As in `DiscoveryAction`.
  case open(stream: UInt32, server: Int)
  case send(stream: UInt32, message: [UInt8])
  case close(stream: UInt32)
  /// `snapshot` is another one.
  case apply
  /// A resource was refused, or the server has an error for it: the store has the reason.
  case failed(ResourceType, ByteString)
  /// A resource is not there any more, or does not exist.
  case removed(ResourceType, ByteString)
  /// A server could not be reached, or answered nothing.
  case unreachable(server: Int)
}
