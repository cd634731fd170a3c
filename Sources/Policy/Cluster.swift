import Primitives

/// `envoy.config.cluster.v3.Cluster`: a group of endpoints that serve the same, and how to reach them.
public struct Cluster: Equatable, Sendable {
  public var name: ByteString
  /// The EDS service name, if it is another one than the cluster's: for load reports.
  public var serviceName = ByteString()
  public var discovery: Discovery
  public var security: Security
  /// TCP and TLS together, for one address.
  public var connectTimeout: Interval
  public var circuitBreakers: CircuitBreakers
  /// For requests of routes with `priority` HIGH.
  public var highPriorityBreakers = CircuitBreakers()
  /// `per_host_thresholds`: connections to one endpoint; nil: no such limit.
  public var perHostMaxConnections: UInt32?
  /// Connections to one endpoint at once; more than one is opened only when the streams of the
  /// others are exhausted.
  public var connectionsPerEndpoint: UInt32
  public var keepAlive: KeepAlive
  /// A connection without streams is closed after this time. Zero: never.
  public var idleTimeout: Interval
  public var http = HTTPOptions()
  public var balancing = Balancing()
  /// `HttpProtocolOptions.retry_policy`: for routes and virtual hosts that have none.
  public var retryPolicy: RetryPolicy?
  /// `lrs_server`: its load is reported to the control plane.
  public var reportsLoad = false
  /// What the control plane asked for and this client does not do, for a person.
  public var notApplied: [ByteString] = []
  /// Values that were above what the device can bear, for a person: what was asked, what holds.
  public var clamped: [ByteString] = []

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

/// `HttpProtocolOptions` and `Http2ProtocolOptions`: nil leaves a value to the client's own limits, which
/// a control plane can only lower.
public struct HTTPOptions: Equatable, Sendable {
  public var maxConcurrentStreams: UInt32?
  public var streamWindow: UInt32?
  public var headerTableSize: UInt32?
  public var maxResponseHeadersBytes: UInt32?
  /// What a connection holds before bodies wait in their requests.
  public var outputBytesMax: UInt32?
  /// Of one connection; then it drains. Zero: no limit.
  public var maxRequestsPerConnection: UInt32 = 0
  /// A connection drains when it is this old. Zero: never.
  public var maxConnectionDuration = Interval.zero
  /// Of streams whose route says nothing. Nil: no limit.
  public var maxStreamDuration: Interval?

  public init() {}
}

/// `CommonLbConfig` and the load balancing policy.
public struct Balancing: Equatable, Sendable {
  /// In percent: a priority of which less is healthy uses all its endpoints. 0: never.
  public var panicThreshold: UInt32 = 50
  /// In a panic requests fail instead.
  public var failsInPanic = false
  /// `close_connections_on_host_health_failure`: an endpoint that becomes unhealthy loses its connections
  /// at once, with all that is on them.
  public var cutsUnhealthy = false
  /// Localities get their share by weight; otherwise those of a priority are one.
  public var weighsLocalities = false

  public init() {}
}

/// How a connection is protected.
public enum Security: Equatable, Sendable {
  /// HTTP/2 by prior knowledge over TCP.
  case plain
  /// TLS with ALPN `h2`. `context` is an index into the configuration's `[tls.NAME]` tables; nil: the
  /// system's roots and no client certificate. `serverName` is verified, and sent as SNI unless it is
  /// an address. `table`: what stands in that table, which another may take the place of.
  case tls(context: UInt16?, serverName: ByteString, table: ByteString = "")
  /// TLS with ALPN `h2` as a control plane wants it.
  indirect case policy(TLSPolicy)
  /// TLS that cannot be had, and why: a secret did not come. Nothing is sent.
  case unavailable(ByteString)

  /// Whether connections of the one may carry requests that want the other. New contents of a secret
  /// concern new connections only (XDS "SDS": rotation does not reset connections); anything else that
  /// differs is another peer or another identity.
  public func continues(_ other: Security) -> Bool {
    if case .policy(let policy) = self, case .policy(let other) = other {
      return policy == other || policy.origin != 0 && policy.origin == other.origin
    }
    return self == other
  }
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
  /// `interval_jitter`: the interval is longer by up to this share of it.
  public var jitterPercent: UInt32 = 0
  /// `connection_idle_interval`: a connection without streams for so long is asked with the next one.
  /// Zero: the interval decides alone.
  public var idleInterval = Interval.zero

  public init(
    interval: Interval = .seconds(45), timeout: Interval = .seconds(15),
    withoutStreams: Bool = false
  ) {
    self.interval = interval
    self.timeout = timeout
    self.withoutStreams = withoutStreams
  }
}
