import Primitives

/// A target of the configuration that names a host instead of a listener.
public struct DirectTarget: Equatable, Sendable {
  /// A name, or an address; an IPv6 address with or without brackets.
  public var host: ByteString
  public var port: UInt16
  public var security: Security

  public init(host: ByteString, port: UInt16, security: Security) {
    self.host = host
    self.port = port
    self.security = security
  }

  /// `HOST_PORT`: the name of its listener and of its cluster.
  public var name: ByteString {
    var name = bareHost
    name.bytes.append("_\(port)")
    return name
  }

  /// Without brackets, in lower case.
  var bareHost: ByteString {
    var bytes = host.bytes
    if bytes.count > 2, bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") {
      bytes.removeFirst()
      bytes.removeLast()
    }
    for index in bytes.indices { bytes[index] = lowercased(bytes[index]) }
    return ByteString(bytes)
  }
}

extension PolicySnapshot {
  /// The snapshot of static targets: for each a listener and a cluster of its name, one virtual host
  /// `*`, one route `/`. Targets that are equal share them.
  public static func direct(targets: [DirectTarget]) -> PolicySnapshot {
    var snapshot = PolicySnapshot()
    let names = directNames(targets: targets)
    for (target, name) in zip(targets, names) where snapshot.cluster(named: name) == nil {
      snapshot.clusters.append(directCluster(target, name: name))
      snapshot.listeners.append(directListener(name: name))
    }
    return snapshot
  }

  /// The listener of each target, in their order. It is `HOST_PORT`, and `HOST_PORT_2` and so on for
  /// a target that differs from an earlier one of that name in its security alone.
  public static func directNames(targets: [DirectTarget]) -> [ByteString] {
    var names: [ByteString] = []
    for (index, target) in targets.enumerated() {
      let plain = target.name
      var securities: [Security] = []
      for other in targets[...index] where other.name == plain {
        if !securities.contains(other.security) { securities.append(other.security) }
      }
      guard let place = securities.firstIndex(of: target.security), place > 0 else {
        names.append(plain)
        continue
      }
      var name = plain
      name.bytes.append("_\(place + 1)")
      names.append(name)
    }
    return names
  }

  private static func directCluster(_ target: DirectTarget, name: ByteString) -> Cluster {
    let host = target.bareHost
    if let address = SocketAddress(literal: host, port: target.port) {
      return Cluster(
        name: name, discovery: .endpoints(Assignment(endpoints: [Endpoint(address: address)])),
        security: target.security)
    }
    // An answer of the system's resolver carries no TTL; a minute is short beside a DNS change and
    // long beside the price of a lookup on a metered link.
    let dns = DNSDiscovery(
      host: host, port: target.port, kind: .logical, refresh: .seconds(60))
    return Cluster(name: name, discovery: .dns(dns), security: target.security)
  }

  private static func directListener(name: ByteString) -> Listener {
    let action = ForwardAction(
      clusters: [WeightedCluster(name: name)], timeout: .seconds(15),
      retryPolicy: RetryPolicy(
        conditions: [.reset, .connectFailure, .refusedStream], retries: 1))
    let route = Route(name: name, path: .prefix("/"), action: .forward(action))
    let host = VirtualHost(name: name, domains: [.any], routes: [route])
    return Listener(name: name, routes: RouteConfiguration(name: name, virtualHosts: [host]))
  }
}
