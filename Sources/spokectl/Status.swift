import Primitives

/// `spokectl status`: the pages of the daemon on one.
enum Status {
  static func report(_ daemon: Daemon, json: Bool) throws(DaemonError) -> [UInt8] {
    let server = try daemon.get("/server_info")
    let streams = try daemon.get("/streams")
    let serial = try daemon.get("/serial")
    let broker = try daemon.get("/mqtt")
    let spool = try daemon.get("/spool")
    if json {
      var writer = JSONWriter()
      writer.beginObject()
      for (name, page) in [
        ("server_info" as StaticString, server), ("streams", streams), ("serial", serial),
        ("mqtt", broker), ("spool", spool),
      ] {
        writer.key(name)
        writer.raw(page.span)
      }
      writer.endObject()
      return writer.bytes
    }
    var text: [UInt8] = []
    append(server: try parse(server, "/server_info"), to: &text)
    append(streams: try parse(streams, "/streams"), to: &text)
    append(serial: try parse(serial, "/serial"), to: &text)
    append(broker: try parse(broker, "/mqtt"), to: &text)
    append(spool: try parse(spool, "/spool"), to: &text)
    return text
  }

  private static func parse(_ page: [UInt8], _ path: String) throws(DaemonError) -> JSONValue {
    guard let value = JSONValue(parsing: page.span) else {
      throw .unreachable("\(path) is not JSON")
    }
    return value
  }

  private static func append(server: JSONValue, to text: inout [UInt8]) {
    let node = server["node"]?["id"]
    text.append(
      "spoke \(show(server["version"])), \(show(server["state"])), node \(show(node)), "
        + "up \(show(server["uptime_current_epoch"]))\n")
    if let status = server["status"], !status.text.isEmpty {
      text.append("\(show(status))\n")
    }
  }

  private static func append(streams page: JSONValue, to text: inout [UInt8]) {
    var table = TextTable(
      ["STREAM", "IN", "DELIVERED", "RETRIED", "DROPPED", "PARKED", "WAITING", "STATE"])
    for stream in page["streams"]?.elements ?? [] {
      var dropped: UInt64 = 0
      for name in ["dropped", "expired"] as [ByteString] {
        dropped += stream[name]?.unsigned ?? 0
      }
      var state = "ok"
      if let status = stream["held_status"] { state = "held \(show(status))" }
      if let status = stream["held_grpc_status"] { state = "held grpc-status \(show(status))" }
      if let failure = stream["last_failure"] { state += ", last failure \(show(failure))" }
      table.add([
        show(stream["name"]), show(stream["records_in"]), show(stream["delivered"]),
        show(stream["retried"]), "\(dropped)", show(stream["parked"]),
        show(stream["backlog_records"]),
        state,
      ])
    }
    table.append(to: &text)
  }

  private static func append(serial page: JSONValue, to text: inout [UInt8]) {
    var table = TextTable(
      ["PORT", "DEVICE", "LINE", "FRAMES", "BAD", "ERRORS", "RESYNCS", "STATE"])
    for port in page["ports"]?.elements ?? [] {
      var state = show(port["state"])
      if port["garbage"] == .bool(true) { state += ", garbage: check baud, parity, framing" }
      if let detail = port["detail"], !detail.text.isEmpty { state += ", \(show(detail))" }
      table.add([
        show(port["name"]), show(port["device"]), line(of: port), show(port["frames"]),
        show(port["bad_frames"]), "\(lineErrors(of: port))", show(port["resyncs"]), state,
      ])
    }
    table.append(to: &text)
  }

  /// The settings by the names of termios and linux/serial.h.
  private static func line(of port: JSONValue) -> String {
    var line = show(port["termios"])
    if let rs485 = port["rs485"], !rs485.text.isEmpty { line += " \(show(rs485))" }
    if port["low_latency"] == .bool(true) { line += " ASYNC_LOW_LATENCY" }
    return line
  }

  /// What the driver has counted, or, where it does not count, what it has marked.
  private static func lineErrors(of port: JSONValue) -> UInt64 {
    var sum: UInt64 = 0
    guard let counts = port["icount"], counts["frame"] != nil else {
      for name in ["damaged_bytes", "breaks"] as [ByteString] {
        sum += port[name]?.unsigned ?? 0
      }
      return sum
    }
    for name in ["frame", "overrun", "parity", "brk", "buf_overrun"] as [ByteString] {
      sum += counts[name]?.unsigned ?? 0
    }
    return sum
  }

  private static func append(broker page: JSONValue, to text: inout [UInt8]) {
    guard page["configured"] != .bool(false) else { return }
    let state = page["connected"] == .bool(true) ? "connected" : "not connected"
    text.append(
      "\nmqtt: \(state), \(show(page["host"])):\(show(page["port"])), "
        + "\(show(page["messages"])) messages, \(show(page["unacknowledged"])) unacknowledged\n")
    if let detail = page["detail"], !detail.text.isEmpty {
      text.append("      \(show(detail))\n")
    }
  }

  private static func append(spool page: JSONValue, to text: inout [UInt8]) {
    let degraded = page["degraded"] == .bool(true) ? ", DEGRADED" : ""
    text.append(
      "\nspool: \(size(page["bytes"])) of \(size(page["size"])), "
        + "\(show(page["records"])) records in \(show(page["segments"])) segments, "
        + "\(show(page["corrupt_frames"])) corrupt frames\(degraded)\n")
  }

  /// A value for a terminal: `-` when the daemon does not say it, and no control characters.
  static func show(_ value: JSONValue?) -> String {
    guard let text = value?.text, !text.isEmpty else { return "-" }
    var bytes = text.bytes
    for index in bytes.indices where bytes[index] < 0x20 || bytes[index] == 0x7F {
      bytes[index] = UInt8(ascii: "?")
    }
    return ByteString(bytes).description
  }

  private static func size(_ value: JSONValue?) -> String {
    guard let bytes = value?.unsigned else { return show(value) }
    if bytes >= 10 << 20 { return "\(bytes >> 20) MiB" }
    if bytes >= 10 << 10 { return "\(bytes >> 10) KiB" }
    return "\(bytes) bytes"
  }
}
