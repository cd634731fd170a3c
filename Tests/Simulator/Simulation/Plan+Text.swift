import Configuration
import Primitives

/// The plan as the file that an operator would write: the simulator reads it as the daemon does.
extension Plan {
  var configuration: Configuration {
    switch ConfigurationLoader.load(files: [(name: "simulated.toml", bytes: text.bytes)]) {
    case .valid(let configuration, _): return configuration
    case .invalid(let diagnostics):
      preconditionFailure(
        "Simulation: a plan that is no configuration: " + (diagnostics.first?.description ?? ""))
    }
  }

  var text: ByteString {
    var text: [UInt8] = []
    text.append("[node]\nid = \"sim\"\n[log]\nlevel = \"info\"\n")
    text.append("[spool]\ndirectory = \"/sim\"\nsize = \"\(spoolBytes >> 10)KiB\"\n")
    text.append("segment = \"\(segmentBytes >> 10)KiB\"\nfree_floor = \"0KiB\"\n")
    if isThinning { text.append("thin = true\n") }
    text.append("commit = { bytes = \"\(commitBytes >> 10)KiB\", ")
    text.append("interval = \"\(commitInterval.milliseconds)ms\", ")
    text.append("sync_interval = \"\(syncInterval.milliseconds)ms\" }\n")
    for index in streams.indices { append(stream: index, to: &text) }
    for source in sources { append(source, to: &text) }
    appendBroker(to: &text)
    text.append("[reports]\nstream = \"health\"\n")
    // Seed 1002: four rings and a control plane are more than the default holds.
    if plane != nil, streams.count(where: { $0.durability == .memory }) > 3 {
      text.append("[memory]\nbudget = \"8MiB\"\n")
    }
    if let plane {
      text.append("[xds]\nservers = [\"http://\(hosts[plane.host].name):80\"]\nruntime = []\n")
      if plane.isCached { text.append("cache = \"/sim-xds\"\n") }
    }
    return ByteString(text)
  }

  private func append(stream index: Int, to text: inout [UInt8]) {
    let stream = streams[index]
    let host = hosts[stream.host]
    text.append("[[stream]]\nname = \"\(stream.name)\"\n")
    if plane?.isSteered[index] == true {
      text.append("target = \"xds:///\(stream.name)\"\n")
    } else {
      let scheme = host.isTLS ? "https" : "http"
      text.append("target = \"\(scheme)://\(host.name):\(host.isTLS ? 443 : 80)\"\n")
    }
    let isCall = stream.encoding == .grpc
    text.append("path = \"/\(isCall ? "sim.Up/" : "")\(stream.name)\"\n")
    if stream.isJSON { text.append("content_type = \"application/json\"\n") }
    text.append("encoding = \"\(Self.word(stream.encoding))\"\n")
    text.append("priority = \"\(Self.word(stream.priority))\"\n")
    text.append("durability = \"\(Self.word(stream.durability))\"\n")
    text.append("order = \"\(stream.isLiveFirst ? "live-first" : "strict")\"\n")
    text.append("in_flight = \(stream.inFlight)\n")
    text.append("ttl = \"\(stream.ttl.milliseconds)ms\"\n")
    text.append(
      "batch = { records = \(stream.records), bytes = \"\(stream.batchBytes >> 10)KiB\", ")
    text.append("linger = \"\(stream.linger.milliseconds)ms\" }\n")
  }

  private func append(_ source: SourcePlan, to text: inout [UInt8]) {
    guard case .serial(let port, let framing) = source.kind else { return }
    var word: [UInt8] = []
    word.append(text: framing.word)
    text.append("[[serial]]\nname = \"p\(port)\"\ndevice = \"/dev/p\(port)\"\nbaud = 115200\n")
    text.append("framing = \"\(ByteString(word))\"\nstream = \"\(streams[source.stream].name)\"\n")
  }

  private func appendBroker(to text: inout [UInt8]) {
    var isFirst = true
    for source in sources {
      guard case .mqtt(let qos) = source.kind else { continue }
      if isFirst { text.append("[mqtt]\nbroker = \"mqtt://127.0.0.1:1883\"\n") }
      isFirst = false
      let name = streams[source.stream].name
      text.append("[[mqtt.subscribe]]\nfilter = \"\(name)/+\"\nqos = \(Int(qos))\n")
      text.append("stream = \"\(name)\"\n")
    }
  }

  private static func word(_ encoding: Encoding) -> ByteString {
    switch encoding {
    case .cloudEvents: "cloudevents"
    case .cloudEventsBatch: "cloudevents-batch"
    case .protobuf: "protobuf"
    case .grpc: "grpc"
    }
  }

  private static func word(_ priority: Priority) -> ByteString {
    switch priority {
    case .alarm: "alarm"
    case .event: "event"
    case .telemetry: "telemetry"
    case .bulk: "bulk"
    }
  }

  private static func word(_ durability: Durability) -> ByteString {
    switch durability {
    case .sync: "sync"
    case .spill: "spill"
    case .memory: "memory"
    }
  }
}
