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
      var full: [UInt8] = Array("cluster.".utf8)
      full.append(contentsOf: cluster.bytes)
      full.append(UInt8(ascii: "."))
      full.append(contentsOf: ByteString(name).bytes)
      statistics.add(ByteString(full), isGauge ? .gauge : .counter, value)
    }
    core.visitCauses { name, value in
      statistics.add("spoke.http2." + ByteString(name), .counter, value)
    }
    for index in uplinks.indices { addStream(index, &statistics) }
    for port in ports { addPort(port, &statistics) }
    addBroker(&statistics)
    addSpool(&statistics)
    addControlPlane(&statistics)
    for pool in pools() {
      let prefix = ByteString("spoke.memory." + pool.name + ".")
      statistics.add(prefix + "limit", .gauge, UInt64(pool.limit))
      statistics.add(prefix + "used", .gauge, UInt64(pool.used))
      statistics.add(prefix + "high", .gauge, UInt64(pool.high))
    }
    statistics.add("spoke.reports.made", .counter, reports.made)
    statistics.add("spoke.reports.not_stored", .counter, reports.notStored)
    statistics.add("spoke.log.lines_lost", .counter, logLinesLost)
    statistics.add("server.live", .gauge, 1)
  }

  private func addStream(_ index: Int, _ statistics: inout Statistics) {
    let prefix: ByteString = "spoke.stream." + configuration.streams[index].name + "."
    let counters = uplinks[index].counters
    let backlog = backlog(index)
    statistics.add(prefix + "records_in", .counter, counters.recordsIn)
    statistics.add(prefix + "recovered", .counter, counters.recovered)
    statistics.add(prefix + "delivered", .counter, counters.delivered)
    statistics.add(prefix + "retried", .counter, counters.retried)
    statistics.add(prefix + "dropped", .counter, counters.dropped)
    statistics.add(prefix + "expired", .counter, counters.expired)
    statistics.add(prefix + "parked", .counter, counters.parked)
    statistics.add(prefix + "held", .gauge, uplinks[index].hold == nil ? 0 : 1)
    statistics.add(prefix + "backlog_records", .gauge, backlog.records)
    statistics.add(prefix + "backlog_bytes", .gauge, backlog.bytes)
  }

  private func addPort(_ port: SerialInput, _ statistics: inout Statistics) {
    let prefix: ByteString = "spoke.serial." + port.configuration.name + "."
    statistics.add(prefix + "bytes", .counter, port.bytes)
    statistics.add(prefix + "frames", .counter, port.frames)
    statistics.add(prefix + "bad_frames", .counter, port.framer.counters.badFrames)
    statistics.add(prefix + "resyncs", .counter, port.framer.counters.resyncs)
    statistics.add(prefix + "reopens", .counter, port.reopens)
    statistics.add(prefix + "damaged_bytes", .counter, port.damagedBytes)
    statistics.add(prefix + "breaks", .counter, port.breaks)
    statistics.add(prefix + "garbage_alarms", .counter, port.garbage.alarms)
    guard port.errors.isKnown else { return }
    statistics.add(prefix + "frame_errors", .counter, port.errors.frame)
    statistics.add(prefix + "parity_errors", .counter, port.errors.parity)
    statistics.add(prefix + "break_interrupts", .counter, port.errors.brk)
    statistics.add(prefix + "overruns", .counter, port.errors.overrun)
    statistics.add(prefix + "buffer_overruns", .counter, port.errors.bufOverrun)
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
    statistics.add("spoke.spool.bytes_written", .counter, spool.bytesWritten)
    statistics.add("spoke.spool.degraded", .gauge, spool.isDegraded ? 1 : 0)
  }
}
