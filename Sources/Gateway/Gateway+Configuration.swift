import Configuration
import NetworkingCore
import Policy
import Primitives
import Spool

/// How the configuration becomes what each room wants to know.
extension Configuration {
  var directTargets: [DirectTarget] {
    streams.map { stream in
      let target = stream.target
      let context = target.tls.map { UInt16($0) }
      return DirectTarget(
        host: target.host, port: target.port,
        security: target.isTLS ? .tls(context: context, serverName: target.host) : .plain)
    }
  }

  /// A static target is a policy with one cluster: a control plane only replaces the snapshot.
  var directSnapshot: PolicySnapshot { PolicySnapshot.direct(targets: directTargets) }

  /// The listener of each stream, in the streams' order.
  var listenerNames: [ByteString] { PolicySnapshot.directNames(targets: directTargets) }

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
    recordBytesMax = GatewayLimits.recordBytesMax
  }
}
