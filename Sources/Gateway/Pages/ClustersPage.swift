import NetworkingCore
import Policy
import Primitives
import XDS

/// `/clusters`: Envoy's text, `CLUSTER::HOST::NAME::VALUE` a line, or with `format=json` its
/// `envoy.admin.v3.Clusters`. `filter=NAME` asks for the clusters whose names have NAME in them.
extension Gateway where Storage: ~Copyable {
  func clustersPage(_ request: AdminRequest) -> AdminPage {
    var isJSON = false
    var filter: NamePattern?
    for parameter in request.query {
      if parameter.name == "format" {
        isJSON = parameter.value == "json"
        if !isJSON, parameter.value != "text" {
          return AdminPage(status: 400, line: "usage: /clusters?format=(text|json)")
        }
      } else if parameter.name == "filter" {
        do throws(NamePattern.Rejection) {
          filter = try NamePattern(parameter.value.bytes.span)
        } catch {
          return AdminPage(status: 400, line: error.description)
        }
      }
    }
    let clusters = core.clusterReports.filter { filter?.matches($0.name.bytes.span) ?? true }
    return isJSON ? json(clusters) : text(clusters)
  }

  /// Whether the control plane defined it.
  private func isAdded(_ cluster: Cluster) -> Bool {
    controlPlane?.assembler.snapshot.cluster(named: cluster.name) != nil
  }

  // MARK: Text

  private func text(_ clusters: [Cluster]) -> AdminPage {
    var page = ClusterText()
    for cluster in clusters {
      page.cluster = cluster.name
      page.add("observability_name", cluster.name)
      for (word, breakers) in [
        ("default_priority::" as ByteString, cluster.circuitBreakers),
        ("high_priority::", cluster.highPriorityBreakers),
      ] {
        page.add("max_connections", UInt64(breakers.maxConnections), of: word)
        page.add("max_pending_requests", UInt64(breakers.maxPendingRequests), of: word)
        page.add("max_requests", UInt64(breakers.maxRequests), of: word)
        page.add("max_retries", UInt64(breakers.maxRetries), of: word)
      }
      page.add("added_via_api", isAdded(cluster) ? "true" : "false")
      if !cluster.serviceName.isEmpty { page.add("eds_service_name", cluster.serviceName) }
      var endpoints = core.endpointReports(of: cluster.name)
      while !page.isFull, let endpoint = core.next(&endpoints) { page.add(endpoint) }
      guard !page.isFull else { break }
    }
    return AdminPage(body: page.finished())
  }

  // MARK: JSON

  private func json(_ clusters: [Cluster]) -> AdminPage {
    var json = JSONWriter()
    var isFull = false
    json.beginObject()
    json.key("cluster_statuses")
    json.beginArray()
    for cluster in clusters where !isFull {
      json.beginObject()
      json.member("name", cluster.name)
      json.member("observability_name", cluster.name)
      json.member("added_via_api", isAdded(cluster))
      if !cluster.serviceName.isEmpty { json.member("eds_service_name", cluster.serviceName) }
      json.key("circuit_breakers")
      json.beginObject()
      json.key("thresholds")
      json.beginArray()
      write(cluster.circuitBreakers, "DEFAULT", &json)
      write(cluster.highPriorityBreakers, "HIGH", &json)
      json.endArray()
      json.endObject()
      json.key("host_statuses")
      json.beginArray()
      var endpoints = core.endpointReports(of: cluster.name)
      while !isFull, let endpoint = core.next(&endpoints) {
        endpoint.write(to: &json)
        isFull = json.bytes.count > ClusterText.bytesMax
      }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    if isFull { json.member("truncated", true) }
    json.endObject()
    return AdminPage(contentType: .json, body: json.bytes)
  }

  private func write(
    _ breakers: CircuitBreakers, _ priority: ByteString, _ json: inout JSONWriter
  ) {
    json.beginObject()
    json.member("priority", priority)
    json.member("max_connections", UInt64(breakers.maxConnections))
    json.member("max_pending_requests", UInt64(breakers.maxPendingRequests))
    json.member("max_requests", UInt64(breakers.maxRequests))
    json.member("max_retries", UInt64(breakers.maxRetries))
    json.endObject()
  }
}

/// The lines of the text form.
private struct ClusterText {
  /// A page has 1 MiB; one endpoint has less than 4 KiB of lines.
  static let bytesMax = AdminLimits.pageMax - 16_384
  var cluster = ByteString()
  private var bytes: [UInt8] = []

  var isFull: Bool { bytes.count > Self.bytesMax }

  /// `of`: what stands before the name, with its `::`.
  @inline(never)
  mutating func add(_ name: StaticString, _ value: ByteString, of part: ByteString = ByteString()) {
    let cluster = cluster.bytes
    bytes.append(contentsOf: cluster.span)
    bytes.append(text: "::")
    bytes.append(contentsOf: part.bytes.span)
    bytes.append(text: name)
    bytes.append(text: "::")
    bytes.append(contentsOf: value.bytes.span)
    bytes.append(0x0A)
  }

  @inline(never)
  mutating func add(_ name: StaticString, _ value: UInt64, of part: ByteString = ByteString()) {
    var digits: [UInt8] = []
    digits.append(decimal: value)
    add(name, ByteString(digits), of: part)
  }

  mutating func add(_ endpoint: EndpointReport) {
    let host = ByteString(endpoint.address.description) + "::"
    add("cx_active", endpoint.activeConnections, of: host)
    add("cx_connect_fail_in_a_row", endpoint.failures, of: host)
    add("rq_active", endpoint.activeRequests, of: host)
    add("hostname", endpoint.hostname, of: host)
    add("health_flags", endpoint.healthFlags, of: host)
    add("weight", UInt64(endpoint.weight), of: host)
    add("region", endpoint.locality.region, of: host)
    add("zone", endpoint.locality.zone, of: host)
    add("sub_zone", endpoint.locality.subZone, of: host)
    add("canary", endpoint.isCanary ? "true" : "false", of: host)
    add("priority", UInt64(endpoint.priority), of: host)
  }

  mutating func finished() -> [UInt8] {
    if isFull { bytes.append(text: "further endpoints are left out: use ?filter=CLUSTER\n") }
    return bytes
  }
}

extension EndpointReport {
  /// As Envoy writes what the control plane said.
  fileprivate var healthFlags: ByteString {
    switch health {
    case .healthy: "healthy"
    case .degraded: "/degraded_eds_health"
    case .unhealthy: "/failed_eds_health"
    }
  }

  fileprivate func write(to json: inout JSONWriter) {
    json.beginObject()
    json.key("address")
    json.beginObject()
    json.key("socket_address")
    json.beginObject()
    json.member("address", ByteString(address.host))
    json.member("port_value", UInt64(address.port))
    json.endObject()
    json.endObject()
    json.key("stats")
    json.beginArray()
    for (name, value) in [
      ("cx_active" as ByteString, activeConnections), ("rq_active", activeRequests),
    ] {
      json.beginObject()
      json.member("type", "GAUGE")
      json.member("name", name)
      json.member("value", ByteString("\(value)"))
      json.endObject()
    }
    json.endArray()
    json.key("health_status")
    json.beginObject()
    switch health {
    case .healthy: json.member("eds_health_status", "HEALTHY")
    case .degraded: json.member("eds_health_status", "DEGRADED")
    case .unhealthy: json.member("eds_health_status", "UNHEALTHY")
    }
    json.endObject()
    json.member("weight", UInt64(weight))
    if !hostname.isEmpty { json.member("hostname", hostname) }
    json.key("locality")
    json.beginObject()
    json.member("region", locality.region)
    json.member("zone", locality.zone)
    json.member("sub_zone", locality.subZone)
    json.endObject()
    json.member("priority", UInt64(priority))
    json.member("canary", isCanary)
    json.endObject()
  }
}
