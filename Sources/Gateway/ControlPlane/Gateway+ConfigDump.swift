import Configuration
import GRPC
import NetworkingCore
import Policy
import Primitives
import XDS

/// `/config_dump`: every resource, asked for or received, and what became of it. Of secrets the names and
/// versions, never a value.
extension Gateway where Storage: ~Copyable {
  func configDumpPage() -> [UInt8] {
    var json = JSONWriter(limit: pageBytesMax)
    json.beginObject()
    json.key("resources")
    json.beginArray()
    if let assembler = controlPlane?.assembler {
      for raw in 0..<UInt8(ResourceType.count) {
        guard let type = ResourceType(rawValue: raw) else { continue }
        for entry in assembler.client.store.entries(type) {
          write(entry, type, assembler.remarks(type, entry.name), &json)
        }
      }
    }
    json.endArray()
    json.key("control_plane")
    writeControlPlane(&json)
    json.endObject()
    return json.bytes
  }

  private func write(
    _ entry: ResourceEntry, _ type: ResourceType,
    _ remarks: (notApplied: [ByteString], clamped: [ByteString]), _ json: inout JSONWriter
  ) {
    // Nobody will ever send what no file has, or what a file has in vain.
    let isNowhere = controlPlane?.servers.isEmpty == true && !entry.hasValue
    let nowhere = entry.failure == nil ? ResourceState.doesNotExist : .nacked
    json.beginObject()
    json.member("type", type.word)
    json.member("type_url", ByteString(TypeURL.of(type.messageName)))
    json.member("name", entry.name)
    json.member("version", entry.version)
    let state = isNowhere && entry.state == .requested ? nowhere : entry.state
    json.member("state", ByteString(state.name))
    json.member("source", ByteString(entry.source.name))
    json.time("last_updated", entry.updated)
    if let failure = entry.failure {
      json.key("error")
      json.beginObject()
      json.member("version", failure.version)
      json.time("time", failure.time)
      json.member("message", failure.text)
      if let status = failure.status { json.member("grpc_status", ByteString(status.name)) }
      json.endObject()
    }
    write("not_applied", remarks.notApplied, &json)
    write("clamped", remarks.clamped, &json)
    json.endObject()
  }

  func write(_ key: StaticString, _ remarks: [ByteString], _ json: inout JSONWriter) {
    guard !remarks.isEmpty else { return }
    json.key(key)
    json.beginArray()
    for remark in remarks { json.string(remark) }
    json.endArray()
  }

  private func writeControlPlane(_ json: inout JSONWriter) {
    json.beginObject()
    defer { json.endObject() }
    json.member("configured", controlPlane != nil)
    guard let plane = controlPlane else { return }
    let client = plane.assembler.client
    let isDelta = client.settings.transport == .incremental
    json.member("connected", client.isConnected)
    if !plane.servers.isEmpty {
      json.member("server", plane.servers[client.activeServer ?? 0].authority)
      json.key("servers")
      json.beginArray()
      for server in plane.servers { json.string(server.authority) }
      json.endArray()
    }
    json.member("transport", isDelta ? "delta" : "sotw")
    json.member("identifier", client.controlPlane)
    for server in plane.servers.indices {
      guard let end = plane.channel.lastEnd(server: server) else { continue }
      json.member("last_failure", end.text)
      json.member("last_status", ByteString(end.status.name))
      break
    }
    if !client.lastRejection.isEmpty { json.member("last_rejection", client.lastRejection) }
    json.member("snapshots", plane.assembler.counters.snapshots)
    writeLoadReports(plane, &json)
    json.key("listeners")
    json.beginArray()
    for name in plane.assembler.settings.listeners {
      json.beginObject()
      json.member("name", name)
      json.member("in_force", policy.listener(named: name) != nil)
      json.endObject()
    }
    json.endArray()
  }

  /// `/runtime`, as Envoy has it: the layers' names, and by key the value in force and those of the layers.
  func runtimePage() -> [UInt8] {
    let layers = controlPlane?.assembler.runtimeLayers ?? []
    var json = JSONWriter()
    json.beginObject()
    json.key("layers")
    json.beginArray()
    for layer in layers { json.string(layer.name) }
    json.endArray()
    json.key("entries")
    json.beginObject()
    for entry in policy.runtime.entries {
      json.key(named: entry.key)
      json.beginObject()
      json.member("final_value", entry.value.text)
      json.key("layer_values")
      json.beginArray()
      for layer in layers {
        var value = ByteString()
        for own in layer.entries where own.key == entry.key { value = own.value.text }
        json.string(value)
      }
      json.endArray()
      json.endObject()
    }
    json.endObject()
    json.endObject()
    return json.bytes
  }
}

extension RuntimeValue {
  /// As text, like all values of Envoy's page.
  var text: ByteString {
    switch self {
    case .number(let number):
      // Whole numbers, which is what keys hold, without a point; of others three digits.
      let whole = number.rounded(.towardZero)
      let isExact = whole == number || number.magnitude > 1e15
      guard number.magnitude < 1e18 else { return number < 0 ? "-1e18" : "1e18" }
      var bytes: [UInt8] = []
      if number < 0 { bytes.append(UInt8(ascii: "-")) }
      bytes.append(decimal: UInt64(whole.magnitude))
      guard !isExact else { return ByteString(bytes) }
      let thousandths = UInt64(((number - whole).magnitude * 1000).rounded(.down))
      bytes.append(UInt8(ascii: "."))
      for divisor in [100, 10, 1] as [UInt64] {
        bytes.append(UInt8(ascii: "0") + UInt8(thousandths / divisor % 10))
      }
      return ByteString(bytes)
    case .bool(let value): return value ? "true" : "false"
    case .text(let text): return text
    case .fraction(let share):
      return ByteString("\(share.numerator)/\(share.denominator.rawValue)")
    }
  }
}
