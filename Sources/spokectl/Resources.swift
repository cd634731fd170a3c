import Primitives

/// `spokectl xds`: what the control plane sent, and what became of it.
enum Resources {
  static func report(_ daemon: Daemon, json: Bool) throws(DaemonError) -> [UInt8] {
    let page = try daemon.get("/config_dump")
    if json { return page }
    guard let value = JSONValue(parsing: page.span) else {
      throw .unreachable("/config_dump is not JSON")
    }
    var text: [UInt8] = []
    append(controlPlane: value["control_plane"], to: &text)
    var table = TextTable(["TYPE", "NAME", "VERSION", "STATE", "SOURCE", "UPDATED", "REMARKS"])
    for resource in value["resources"]?.elements ?? [] {
      table.add([
        Status.show(resource["type"]), Status.show(resource["name"]),
        Status.show(resource["version"]), Status.show(resource["state"]),
        Status.show(resource["source"]), Status.show(resource["last_updated"]),
        remarks(resource),
      ])
    }
    table.append(to: &text)
    return text
  }

  private static func append(controlPlane: JSONValue?, to text: inout [UInt8]) {
    guard let controlPlane, controlPlane["configured"] == .bool(true) else {
      text.append("no control plane is configured\n")
      return
    }
    let state = controlPlane["connected"] == .bool(true) ? "connected" : "not connected"
    text.append(
      "control plane: \(state), \(Status.show(controlPlane["server"])), "
        + "\(Status.show(controlPlane["transport"]))")
    if let identifier = controlPlane["identifier"], !identifier.text.isEmpty {
      text.append(", \(Status.show(identifier))")
    }
    text.append(0x0A)
  }

  /// The last error, then what is not applied and what was clamped.
  private static func remarks(_ resource: JSONValue) -> String {
    var parts: [String] = []
    if let error = resource["error"] {
      let version = error["version"]?.text.isEmpty == false ? error["version"] : nil
      let prefix = version.map { "version \(Status.show($0)): " } ?? ""
      parts.append(prefix + Status.show(error["message"]))
    }
    for remark in resource["not_applied"]?.elements ?? [] {
      parts.append("not applied: " + Status.show(remark))
    }
    for remark in resource["clamped"]?.elements ?? [] {
      parts.append("clamped: " + Status.show(remark))
    }
    var text = ""
    for part in parts { text += text.isEmpty ? part : "; " + part }
    return text.isEmpty ? "-" : text
  }
}
