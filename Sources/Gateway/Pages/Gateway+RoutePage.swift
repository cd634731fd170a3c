import Configuration
import HPACK
import NetworkingCore
import Policy
import Primitives

/// `/route`: which way a request takes now, and why not another one. Its query has `authority` and `path`,
/// and may have `method`, `listener`, any number of `header=NAME=VALUE`, and `format=json`.
extension Gateway where Storage: ~Copyable {
  mutating func routePage(_ request: AdminRequest) -> AdminPage {
    var asked = UpstreamRequest(listener: "", path: "", authority: "")
    var listener: ByteString?
    var isJSON = false
    for parameter in request.query {
      if parameter.name == "authority" {
        asked.authority = parameter.value
      } else if parameter.name == "path" {
        asked.path = parameter.value
      } else if parameter.name == "method" {
        asked.method = parameter.value
      } else if parameter.name == "listener" {
        listener = parameter.value
      } else if parameter.name == "format" {
        isJSON = parameter.value == "json"
      } else if parameter.name == "header" {
        guard asked.headers.add(asked: parameter.value) else {
          return AdminPage(status: 400, line: "usage: /route?header=NAME=VALUE")
        }
      }
    }
    guard !asked.authority.isEmpty, asked.path.hasPrefix("/") else {
      return AdminPage(status: 400, line: "usage: /route?authority=NAME&path=/PATH")
    }
    let name = listener ?? likelyListener(asked.authority)
    let head = RoutingHead(asked)
    var steps = policy.explain(listener: name, head: head, using: &random).map {
      Step(depth: $0.depth, text: $0.text)
    }
    if case .forward(let routed) = policy.route(listener: name, head: head, using: &random) {
      addEndpoints(of: policy.clusters[routed.cluster].name, to: &steps)
    }
    return isJSON ? Self.json(steps) : Self.text(steps)
  }

  /// The listener of the authority's name, of a stream with that authority, or of the first stream.
  private func likelyListener(_ authority: ByteString) -> ByteString {
    if policy.listener(named: authority) != nil { return authority }
    for (index, stream) in configuration.streams.enumerated() where stream.authority == authority {
      return listeners[index]
    }
    for (index, stream) in configuration.streams.enumerated() {
      if case .listener = stream.target { return listeners[index] }
    }
    return authority
  }

  /// What the core knows of the cluster's endpoints.
  private func addEndpoints(of cluster: ByteString, to steps: inout [Step]) {
    var lines: [Step] = []
    var count = 0
    var endpoints = core.endpointReports(of: cluster)
    while let endpoint = core.next(&endpoints) {
      count += 1
      guard count <= Self.endpointsShown else { continue }
      var line = ByteString(endpoint.address.description)
      line.bytes.append(text: ": priority ")
      line.bytes.append(decimal: UInt64(endpoint.priority))
      line.bytes.append(text: ", weight ")
      line.bytes.append(decimal: UInt64(endpoint.weight))
      line.bytes.append(text: ", ")
      line.bytes.append(contentsOf: endpoint.healthWord.bytes.span)
      if endpoint.failures > 0 {
        line.bytes.append(text: ", failures in a row: ")
        line.bytes.append(decimal: endpoint.failures)
      }
      if endpoint.activeConnections > 0 { line.bytes.append(text: ", connected") }
      lines.append(Step(depth: 1, text: line))
    }
    var head = ByteString("endpoints of ") + cluster + ": "
    head.bytes.append(decimal: UInt64(count))
    steps.append(Step(depth: 0, text: head))
    steps += lines
    if count > Self.endpointsShown { steps.append(Step(depth: 1, text: "…")) }
  }

  private static var endpointsShown: Int { 32 }

  private static func text(_ steps: [Step]) -> AdminPage {
    var body: [UInt8] = []
    for step in steps {
      for _ in 0..<step.depth { body.append(text: "  ") }
      body.append(contentsOf: step.text.bytes.span)
      body.append(0x0A)
    }
    return AdminPage(body: body)
  }

  private static func json(_ steps: [Step]) -> AdminPage {
    var json = JSONWriter()
    json.beginObject()
    json.key("steps")
    json.beginArray()
    for step in steps {
      json.beginObject()
      json.member("depth", UInt64(step.depth))
      json.member("text", step.text)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return AdminPage(contentType: .json, body: json.bytes)
  }
}

/// A line of the page.
private struct Step {
  var depth: Int
  var text: ByteString
}

extension HeaderList {
  /// `NAME=VALUE`; false: it is not of that form.
  fileprivate mutating func add(asked header: ByteString) -> Bool {
    guard let equals = header.bytes.firstIndex(of: UInt8(ascii: "=")), equals > 0 else {
      return false
    }
    // RFC 9113 §8.2: names are in lower case.
    let name = header.bytes[..<equals].map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
    append(ByteString(name), ByteString(Array(header.bytes[(equals + 1)...])))
    return true
  }
}

extension EndpointReport {
  /// What the control plane said.
  fileprivate var healthWord: ByteString {
    switch health {
    case .healthy: "healthy"
    case .degraded: "degraded"
    case .unhealthy: "unhealthy"
    }
  }
}
