import Primitives

/// `envoy.config.cluster.v3.Cluster`: a group of endpoints that serve the same, and how to reach them.
public struct Cluster: Equatable, Sendable {
  public var name: ByteString
  public var discovery: Discovery
  public var security: Security
  /// TCP and TLS together, for one address.
  public var connectTimeout: Interval
  public var circuitBreakers: CircuitBreakers
  /// Connections to one endpoint at once; more than one is opened only when the streams of the
  /// others are exhausted.
  public var connectionsPerEndpoint: UInt32
  public var keepAlive: KeepAlive
  /// A connection without streams is closed after this time. Zero: never.
  public var idleTimeout: Interval

  public init(
    name: ByteString, discovery: Discovery, security: Security = .plain,
    connectTimeout: Interval = .seconds(5), circuitBreakers: CircuitBreakers = CircuitBreakers(),
    connectionsPerEndpoint: UInt32 = 1, keepAlive: KeepAlive = KeepAlive(),
    idleTimeout: Interval = .seconds(300)
  ) {
    self.name = name
    self.discovery = discovery
    self.security = security
    self.connectTimeout = connectTimeout
    self.circuitBreakers = circuitBreakers
    self.connectionsPerEndpoint = connectionsPerEndpoint
    self.keepAlive = keepAlive
    self.idleTimeout = idleTimeout
  }
}

/// Where a cluster's endpoints come from.
public enum Discovery: Equatable, Sendable {
  /// STATIC, and EDS once the control plane has answered.
  case endpoints([Endpoint])
  /// STRICT_DNS and LOGICAL_DNS.
  case dns(DNSDiscovery)
}

/// `envoy.config.endpoint.v3.LbEndpoint`.
public struct Endpoint: Equatable, Sendable {
  public var address: SocketAddress
  /// At least 1.
  public var weight: UInt32

  public init(address: SocketAddress, weight: UInt32 = 1) {
    self.address = address
    self.weight = weight
  }
}

/// A name that is resolved when a connection is needed.
public struct DNSDiscovery: Equatable, Sendable {
  /// How the addresses of a name become endpoints (`Cluster.DiscoveryType`).
  public enum Kind: Sendable {
    /// STRICT_DNS: every address is an endpoint of its own.
    case strict
    /// LOGICAL_DNS: all addresses are one endpoint; they are tried in order, families alternating,
    /// and the one that worked is kept. One connection serves the name.
    case logical
  }
  public var host: ByteString
  public var port: UInt16
  public var kind: Kind
  /// How long an answer without a TTL of its own is good for. Names are looked up again only while
  /// there are requests for them, so that an idle device stays silent.
  public var refresh: Interval

  public init(host: ByteString, port: UInt16, kind: Kind, refresh: Interval = .seconds(5)) {
    self.host = host
    self.port = port
    self.kind = kind
    self.refresh = refresh
  }
}

/// How a connection is protected.
public enum Security: Hashable, Sendable {
  /// HTTP/2 by prior knowledge over TCP.
  case plain
  /// TLS with ALPN `h2`. `context` is an index into the configuration's `[tls.NAME]` tables; nil: the
  /// system's roots and no client certificate. `serverName` is verified, and sent as SNI unless it is
  /// an address.
  case tls(context: UInt16?, serverName: ByteString)
}

/// `envoy.config.core.v3.KeepaliveSettings`.
public struct KeepAlive: Equatable, Sendable {
  /// A PING is sent when a connection was silent for this long. Zero: off.
  public var interval: Interval
  /// A connection that stays silent for this long after a PING is dead.
  public var timeout: Interval
  /// Also while the connection has no streams. Off by default: on a metered radio link an idle
  /// connection should cost nothing.
  public var withoutStreams: Bool

  public init(
    interval: Interval = .seconds(45), timeout: Interval = .seconds(15),
    withoutStreams: Bool = false
  ) {
    self.interval = interval
    self.timeout = timeout
    self.withoutStreams = withoutStreams
  }
}
