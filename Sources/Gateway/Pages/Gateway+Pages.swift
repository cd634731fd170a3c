import Configuration
import Ingest
import Policy
import Primitives
import Spool
import XDS

/// The bodies of the admin endpoint's pages.
extension Gateway where Storage: ~Copyable {
  /// One line for a person: ports, broker, backlog, streams that are held.
  public func statusLine() -> String {
    var open = 0
    for port in ports where port.isOpen { open += 1 }
    var backlog: UInt64 = 0
    var held = 0
    for index in uplinks.indices {
      backlog += self.backlog(index).records
      if uplinks[index].hold != nil { held += 1 }
    }
    var line = "serial \(open)/\(ports.count) open"
    if configuration.mqtt != nil {
      line += mqtt.isConnected ? ", mqtt connected" : ", mqtt down"
    }
    line += ", \(backlog) records waiting"
    if held > 0 { line += ", \(held) streams held" }
    if let plane = controlPlane, !plane.servers.isEmpty {
      let isConnected = plane.assembler.client.isConnected
      line += isConnected ? ", control plane connected" : ", control plane down"
    }
    if spool.statistics.isDegraded { line += ", spool degraded" }
    return line
  }

  func serverInfoPage(clocks: Clocks) -> [UInt8] {
    var json = JSONWriter()
    let uptime = ByteString("\((clocks.now - startedAt).milliseconds / 1_000)s")
    json.beginObject()
    json.member("version", ProjectVersion.text)
    json.member("state", draining ? "DRAINING" : "LIVE")
    json.member("uptime_current_epoch", uptime)
    json.member("uptime_all_epochs", uptime)
    json.key("node")
    json.beginObject()
    let node = configuration.node
    json.member("id", node.id)
    json.member("cluster", node.cluster)
    json.key("metadata")
    json.beginObject()
    for label in node.metadata {
      json.key(named: label.name)
      json.string(label.value)
    }
    json.endObject()
    json.key("locality")
    json.beginObject()
    json.member("region", node.region)
    json.member("zone", node.zone)
    json.member("sub_zone", node.subZone)
    json.endObject()
    json.endObject()
    json.member("epoch", EpochText.of(spool.epoch))
    json.member("status", ByteString(statusLine()))
    json.endObject()
    return json.bytes
  }

  func memoryPage() -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.key("pools")
    json.beginArray()
    for pool in pools() {
      json.beginObject()
      json.member("name", ByteString(pool.name))
      json.member("limit", UInt64(pool.limit))
      json.member("used", UInt64(pool.used))
      json.member("high", UInt64(pool.high))
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return json.bytes
  }

  func streamsPage() -> [UInt8] {
    let listeners = configuration.listenerNames
    var json = JSONWriter()
    json.beginObject()
    json.key("streams")
    json.beginArray()
    for index in uplinks.indices { writeStream(index, listeners[index], &json) }
    json.endArray()
    json.endObject()
    return json.bytes
  }

  private func writeStream(_ index: Int, _ listener: ByteString, _ json: inout JSONWriter) {
    let stream = configuration.streams[index]
    let uplink = uplinks[index]
    let counters = counters(index)
    let backlog = backlog(index)
    json.beginObject()
    json.member("name", stream.name)
    json.member("target", listener)
    json.member("path", stream.path)
    json.member("priority", stream.priority.text)
    json.member("durability", stream.durability.text)
    json.member("records_in", counters.recordsIn)
    json.member("recovered", counters.recovered)
    json.member("delivered", counters.delivered)
    json.member("retried", counters.retried)
    json.member("dropped", counters.dropped)
    json.member("expired", counters.expired)
    json.member("parked", counters.parked)
    json.member("held", uplink.hold != nil)
    json.member("awaits_policy", uplink.awaitsPolicy)
    if let hold = uplink.hold {
      json.key(named: "held_" + ByteString(AnswerStatus.member(hold.status)))
      json.number(UInt64(hold.status))
    }
    json.member("in_flight", UInt64(uplink.requests))
    json.member("backlog_records", backlog.records)
    json.member("backlog_bytes", backlog.bytes)
    if !uplink.lastFailure.isEmpty { json.member("last_failure", uplink.lastFailure) }
    json.endObject()
  }

  func mqttPage() -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.member("configured", configuration.mqtt != nil)
    if let broker = configuration.mqtt {
      json.member("host", broker.host)
      json.member("port", UInt64(broker.port))
      json.member("client_id", broker.clientID)
      json.member("connected", mqtt.isConnected)
      json.member("detail", ByteString(mqtt.detail))
      json.member("connections", mqtt.connections)
      json.member("messages", mqtt.messages)
      json.member("unacknowledged", UInt64(acknowledgements.withheld))
      json.member("waiting_for_durability", UInt64(acknowledgements.unacknowledged))
      json.member("duplicates", mqtt.duplicates)
      json.key("subscriptions")
      json.beginArray()
      for subscription in broker.subscriptions {
        json.beginObject()
        json.member("filter", subscription.filter)
        json.member("qos", UInt64(subscription.qos))
        json.member("refused", mqtt.refused.contains(subscription.filter))
        json.member("stream", configuration.streams[subscription.stream].name)
        json.endObject()
      }
      json.endArray()
    }
    json.endObject()
    return json.bytes
  }

  func spoolPage() -> [UInt8] {
    let statistics = spool.statistics
    var json = JSONWriter()
    json.beginObject()
    json.member("directory", configuration.spool.directory)
    json.member("epoch", EpochText.of(spool.epoch))
    json.member("size", configuration.spool.size)
    json.member("bytes", statistics.bytes)
    json.member("records", statistics.records)
    json.member("segments", UInt64(statistics.segments))
    json.member("corrupt_frames", statistics.corruptFrames)
    json.member("commits", statistics.commits)
    json.member("thinned", statistics.thinned)
    json.member("bytes_written", statistics.bytesWritten)
    json.member("degraded", statistics.isDegraded)
    if let failure = statistics.failure { json.member("reason", ByteString(failure.text)) }
    json.endObject()
    return json.bytes
  }
}

extension Durability {
  /// As the configuration has it.
  var text: ByteString {
    switch self {
    case .sync: "sync"
    case .spill: "spill"
    case .memory: "memory"
    }
  }
}

extension Priority {
  /// As the configuration has it.
  var text: ByteString {
    switch self {
    case .alarm: "alarm"
    case .event: "event"
    case .telemetry: "telemetry"
    case .bulk: "bulk"
    }
  }
}
