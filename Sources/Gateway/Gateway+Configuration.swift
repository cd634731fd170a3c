import Configuration
import NetworkingCore
import Policy
import Primitives
import Spool

/// How the configuration becomes what each room wants to know.
extension Configuration {
  /// The hosts that streams name, in the streams' order, then the management servers.
  var directTargets: [DirectTarget] {
    var targets: [DirectTarget] = []
    for stream in streams {
      if case .host(let host) = stream.target { targets.append(directTarget(host)) }
    }
    for server in xds?.servers ?? [] { targets.append(directTarget(server)) }
    return targets
  }

  private func directTarget(_ host: HostConfiguration) -> DirectTarget {
    guard host.isTLS else {
      return DirectTarget(host: host.host, port: host.port, security: .plain)
    }
    let security = Security.tls(
      context: host.tls.map { UInt16($0) }, serverName: host.host,
      table: host.tls.map { tls[$0].text } ?? "")
    return DirectTarget(host: host.host, port: host.port, security: security)
  }

  /// A static target is a policy with one cluster: a control plane adds to the snapshot.
  var directSnapshot: PolicySnapshot {
    var snapshot = PolicySnapshot.direct(targets: directTargets)
    for server in managementServers {
      guard let cluster = snapshot.cluster(named: server.listener) else { continue }
      // gRPC servers take a PING every five minutes from a client that they have nothing to say to,
      // and close the connection of one that sends more (gRPC A8).
      snapshot.clusters[cluster].keepAlive.interval = .seconds(330)
    }
    return snapshot
  }

  /// The listener of each stream, in the streams' order.
  var listenerNames: [ByteString] {
    let direct = PolicySnapshot.directNames(targets: directTargets)
    var next = 0
    var names: [ByteString] = []
    for stream in streams {
      switch stream.target {
      case .listener(let name): names.append(name)
      case .host:
        names.append(direct[next])
        next += 1
      }
    }
    return names
  }

  /// The streams as the spool sees them.
  package var spoolStreams: [SpoolStream] {
    streams.map { stream in
      SpoolStream(
        name: stream.name, logClass: stream.priority.rawValue,
        durability: stream.durability == .sync ? .sync : .spill, ttl: stream.ttl,
        isLiveFirst: stream.order == .liveFirst && stream.durability != .memory)
    }
  }
}

extension TLSConfiguration {
  /// What tells it from another one that stands in its place after a reload. New contents of its files
  /// concern new connections only, as with a control plane's secrets.
  fileprivate var text: ByteString {
    let version: ByteString = minimum == .tls13 ? "1.3" : "1.2"
    return ca + "\n" + certificate + "\n" + key + "\n" + version
  }
}

extension SpoolLimits {
  /// The bounds that the configuration sets.
  package init(_ configuration: Configuration) {
    let spool = configuration.spool
    self.init()
    totalBytes = spool.size
    segmentBytes = spool.segment
    freeFloorBytes = spool.freeFloor
    commitBytes = spool.commitBytes
    commitInterval = spool.commitInterval
    syncInterval = spool.syncInterval
    isThinning = spool.thin
    recordBytesMax = GatewayLimits.recordBytesMax
    tailBytesMax = configuration.spoolTailBytes
  }
}
