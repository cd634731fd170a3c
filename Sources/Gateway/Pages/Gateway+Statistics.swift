import Configuration
import Ingest
import NetworkingCore
import Primitives
import Spool

/// Every counter and gauge of the daemon under the name that operators know it by: Envoy's for the
/// networking core, `spoke.` for what is Spoke's own.
extension Gateway where Storage: ~Copyable {
  func collect(into statistics: inout Statistics) {
    core.visitStatistics { cluster, name, value, isGauge in
      statistics.add(
        name, isGauge ? .gauge : .counter, value, under: "cluster." + cluster + ".")
    }
    core.visitCauses { name, value in
      statistics.add(name, .counter, value, under: "spoke.http2.")
    }
    for index in uplinks.indices { addStream(index, &statistics) }
    for port in ports { addPort(port, &statistics) }
    addBroker(&statistics)
    addSpool(&statistics)
    addControlPlane(&statistics)
    for pool in pools() {
      let prefix = ByteString("spoke.memory." + pool.name + ".")
      statistics.add("limit", .gauge, UInt64(pool.limit), under: prefix)
      statistics.add("used", .gauge, UInt64(pool.used), under: prefix)
      statistics.add("high", .gauge, UInt64(pool.high), under: prefix)
    }
    statistics.add("spoke.reports.made", .counter, reports.made)
    statistics.add("spoke.reports.not_stored", .counter, reports.notStored)
    statistics.add("spoke.log.lines_lost", .counter, logLinesLost)
    statistics.add("server.live", .gauge, 1)
  }

  private func addStream(_ index: Int, _ statistics: inout Statistics) {
    let prefix: ByteString = "spoke.stream." + configuration.streams[index].name + "."
    let counters = counters(index)
    let backlog = backlog(index)
    statistics.add("records_in", .counter, counters.recordsIn, under: prefix)
    statistics.add("recovered", .counter, counters.recovered, under: prefix)
    statistics.add("delivered", .counter, counters.delivered, under: prefix)
    statistics.add("retried", .counter, counters.retried, under: prefix)
    statistics.add("dropped", .counter, counters.dropped, under: prefix)
    statistics.add("expired", .counter, counters.expired, under: prefix)
    statistics.add("parked", .counter, counters.parked, under: prefix)
    statistics.add("held", .gauge, uplinks[index].hold == nil ? 0 : 1, under: prefix)
    statistics.add("backlog_records", .gauge, backlog.records, under: prefix)
    statistics.add("backlog_bytes", .gauge, backlog.bytes, under: prefix)
  }

  private func addPort(_ port: SerialInput, _ statistics: inout Statistics) {
    let prefix: ByteString = "spoke.serial." + port.configuration.name + "."
    statistics.add("bytes", .counter, port.bytes, under: prefix)
    statistics.add("frames", .counter, port.frames, under: prefix)
    statistics.add("bad_frames", .counter, port.framer.counters.badFrames, under: prefix)
    statistics.add("resyncs", .counter, port.framer.counters.resyncs, under: prefix)
    statistics.add("reopens", .counter, port.reopens, under: prefix)
    statistics.add("damaged_bytes", .counter, port.damagedBytes, under: prefix)
    statistics.add("breaks", .counter, port.breaks, under: prefix)
    statistics.add("garbage_alarms", .counter, port.garbage.alarms, under: prefix)
    guard port.errors.isKnown else { return }
    statistics.add("frame_errors", .counter, port.errors.frame, under: prefix)
    statistics.add("parity_errors", .counter, port.errors.parity, under: prefix)
    statistics.add("break_interrupts", .counter, port.errors.brk, under: prefix)
    statistics.add("overruns", .counter, port.errors.overrun, under: prefix)
    statistics.add("buffer_overruns", .counter, port.errors.bufOverrun, under: prefix)
  }

  private func addBroker(_ statistics: inout Statistics) {
    statistics.add("spoke.mqtt.connected", .gauge, mqtt.isConnected ? 1 : 0)
    statistics.add("spoke.mqtt.messages", .counter, mqtt.messages)
    statistics.add("spoke.mqtt.unacknowledged", .gauge, UInt64(acknowledgements.withheld))
    statistics.add("spoke.mqtt.duplicates", .counter, mqtt.duplicates)
    statistics.add("spoke.mqtt.unmatched", .counter, mqtt.unmatched)
    statistics.add("spoke.mqtt.refused_subscriptions", .counter, mqtt.refusals)
    statistics.add("spoke.mqtt.connections", .counter, mqtt.connections)
  }

  private func addSpool(_ statistics: inout Statistics) {
    let spool = spool.statistics
    statistics.add("spoke.spool.bytes", .gauge, spool.bytes)
    statistics.add("spoke.spool.records", .gauge, spool.records)
    statistics.add("spoke.spool.segments", .gauge, UInt64(spool.segments))
    statistics.add("spoke.spool.corrupt_frames", .counter, spool.corruptFrames)
    statistics.add("spoke.spool.commits", .counter, spool.commits)
    statistics.add("spoke.spool.thinned", .counter, spool.thinned)
    statistics.add("spoke.spool.bytes_written", .counter, spool.bytesWritten)
    statistics.add("spoke.spool.degraded", .gauge, spool.isDegraded ? 1 : 0)
  }
}
