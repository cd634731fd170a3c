import Primitives

/// Where a cluster's endpoints come from.
public enum Discovery: Equatable, Sendable {
  /// STATIC, and EDS once the control plane has answered.
  case endpoints(Assignment)
  /// STRICT_DNS and LOGICAL_DNS.
  case dns(DNSDiscovery)

  /// `drop_overloads`.
  public var drops: [DropOverload] {
    switch self {
    case .endpoints(let assignment): assignment.drops
    case .dns(let dns): dns.drops
    }
  }
}

/// Names that are resolved when a connection is needed.
public struct DNSDiscovery: Equatable, Sendable {
  /// How the addresses of a name become endpoints (`Cluster.DiscoveryType`).
  public enum Kind: Sendable {
    /// STRICT_DNS: every address is an endpoint of its own.
    case strict
    /// LOGICAL_DNS: all addresses are one endpoint; they are tried in order, families alternating,
    /// and the one that worked is kept. One connection serves the name.
    case logical
  }
  /// At least one; LOGICAL_DNS has exactly one.
  public var hosts: [DNSHost]
  /// By priority; `DNSHost.locality` leads here.
  public var localities: [LocalityEndpoints]
  public var kind: Kind
  /// How long an answer without a TTL of its own is good for. Names are looked up again only while
  /// there are requests for them, so that an idle device stays silent.
  public var refresh: Interval
  /// Between lookups that fail; nil: the core's own.
  public var failureRefresh: BackOff?
  /// The answer's TTL counts, if the resolver gives one.
  public var respectsTTL: Bool
  /// At most this much, drawn anew each time, is added to the time between two lookups.
  public var jitter: Interval
  public var family: DNSFamily
  /// Of the assignment that the names came in.
  public var drops: [DropOverload]
  public var overprovisioning: UInt32
  public var weighsHealth: Bool

  public init(
    hosts: [DNSHost], localities: [LocalityEndpoints] = [LocalityEndpoints(weight: 1)], kind: Kind,
    refresh: Interval = .seconds(5)
  ) {
    self.hosts = hosts
    self.localities = localities
    self.kind = kind
    self.refresh = refresh
    failureRefresh = nil
    respectsTTL = true
    jitter = .zero
    family = .all
    drops = []
    overprovisioning = 140
    weighsHealth = false
  }

  /// One name.
  public init(host: ByteString, port: UInt16, kind: Kind, refresh: Interval = .seconds(5)) {
    self.init(hosts: [DNSHost(host: host, port: port)], kind: kind, refresh: refresh)
  }
}

/// One name of a cluster, with what its addresses become as endpoints.
public struct DNSHost: Equatable, Sendable {
  public var host: ByteString
  public var port: UInt16
  /// A place in `DNSDiscovery.localities`.
  public var locality: Int
  public var weight: UInt32
  public var health: EndpointHealth
  /// For `auto_host_rewrite` and the SNI; the name itself unless the endpoint has another.
  public var hostname: ByteString

  public init(
    host: ByteString, port: UInt16, locality: Int = 0, weight: UInt32 = 1,
    health: EndpointHealth = .healthy, hostname: ByteString? = nil
  ) {
    self.host = host
    self.port = port
    self.locality = locality
    self.weight = weight
    self.health = health
    self.hostname = hostname ?? host
  }
}

/// `Cluster.DnsLookupFamily`: which addresses of a name are used.
public enum DNSFamily: UInt8, Sendable {
  /// All of IPv6 if there is one, else IPv4.
  case auto
  case v4Only
  case v6Only
  /// All of IPv4 if there is one, else IPv6.
  case v4Preferred
  case all

  /// The addresses that are used, in their order.
  public func select(_ addresses: [SocketAddress]) -> [SocketAddress] {
    switch self {
    case .all: return addresses
    case .v4Only: return addresses.filter { $0.family == .v4 }
    case .v6Only: return addresses.filter { $0.family == .v6 }
    case .auto:
      let wanted = addresses.filter { $0.family == .v6 }
      return wanted.isEmpty ? addresses : wanted
    case .v4Preferred:
      let wanted = addresses.filter { $0.family == .v4 }
      return wanted.isEmpty ? addresses : wanted
    }
  }
}
