import NetworkingCore
import Policy
import Primitives
import XDS

/// What Envoy counts of its control plane, under Envoy's names.
extension Gateway where Storage: ~Copyable {
  func addControlPlane(_ statistics: inout Statistics) {
    guard let plane = controlPlane else { return }
    let client = plane.assembler.client
    statistics.add("control_plane.connected_state", .gauge, client.isConnected ? 1 : 0)
    statistics.add("control_plane.identifier_digest", .gauge, digest(client.controlPlane))
    let counters = client.counters
    statistics.add("spoke.xds.streams_opened", .counter, counters.streamsOpened)
    statistics.add("spoke.xds.streams_lost", .counter, counters.streamsLost)
    statistics.add("spoke.xds.streams_refused", .counter, plane.counters.streamsRefused)
    statistics.add("spoke.xds.responses_malformed", .counter, counters.malformed)
    statistics.add("spoke.xds.responses_ignored", .counter, counters.ignoredResponses)
    statistics.add("spoke.xds.resources_ignored", .counter, counters.ignoredResources)
    statistics.add("spoke.xds.resources_unchanged", .counter, counters.unchanged)
    statistics.add("spoke.xds.names_refused", .counter, counters.refusedNames)
    statistics.add("spoke.xds.resources_deleted", .counter, counters.deleted)
    statistics.add("spoke.xds.snapshots", .counter, plane.assembler.counters.snapshots)
    statistics.add("spoke.xds.incomplete_snapshots", .counter, plane.assembler.counters.incomplete)
    statistics.add("spoke.xds.cache_writes", .counter, plane.counters.cacheWrites)
    statistics.add("spoke.xds.cache_write_failures", .counter, plane.counters.cacheWriteFailures)
    statistics.add("spoke.xds.corrupt_files", .counter, plane.counters.corruptFiles)
    statistics.add("spoke.xds.file_resources_refused", .counter, plane.counters.refusedFromFiles)
    addLoadReports(plane, &statistics)
    addManagers(plane, &statistics)
    addSubscriptions(plane, &statistics)
  }

  private func addManagers(_ plane: ControlPlane, _ statistics: inout Statistics) {
    let warming = plane.assembler.warming
    let listeners = UInt64(plane.assembler.snapshot.listeners.count)
    statistics.add("listener_manager.total_listeners_active", .gauge, listeners)
    statistics.add(
      "listener_manager.total_listeners_warming", .gauge, UInt64(warming.listeners))
    statistics.add("cluster_manager.active_clusters", .gauge, UInt64(policy.clusters.count))
    statistics.add("cluster_manager.warming_clusters", .gauge, UInt64(warming.clusters))
    let runtime = plane.assembler.client.typeCounters(.runtime)
    statistics.add("runtime.load_success", .counter, runtime.accepted)
    statistics.add("runtime.load_error", .counter, runtime.rejected)
    statistics.add("runtime.num_keys", .gauge, UInt64(policy.runtime.entries.count))
    statistics.add("runtime.num_layers", .gauge, UInt64(plane.assembler.runtimeLayers.count))
  }

  /// `PREFIX.update_*`: of LDS and CDS by their manager, of the others by the resource's name.
  private func addSubscriptions(_ plane: ControlPlane, _ statistics: inout Statistics) {
    let prefixes: [(ResourceType, ByteString)] = [
      (.listener, "listener_manager.lds."), (.cluster, "cluster_manager.cds."),
      (.routeConfiguration, "spoke.xds.rds."), (.endpoints, "spoke.xds.eds."),
      (.secret, "spoke.xds.sds."), (.runtime, "spoke.xds.rtds."),
    ]
    var failures: UInt64 = 0
    for count in plane.failures { failures += UInt64(count) }
    for (type, prefix) in prefixes {
      let counters = plane.assembler.client.typeCounters(type)
      let attempts = counters.accepted + counters.rejected + counters.timeouts
      statistics.add("update_attempt", .counter, attempts, under: prefix)
      statistics.add("update_success", .counter, counters.accepted, under: prefix)
      statistics.add("update_rejected", .counter, counters.rejected, under: prefix)
      statistics.add("update_failure", .gauge, failures, under: prefix)
      statistics.add("init_fetch_timeout", .counter, counters.timeouts, under: prefix)
      statistics.add("version", .gauge, digest(plane.assembler.client.version(type)), under: prefix)
    }
  }

  /// A version is a text; a statistic is a number that tells whether two are the same.
  private func digest(_ text: ByteString) -> UInt64 {
    text.isEmpty ? 0 : UInt64(CRC32C.of(text.bytes.span))
  }
}
