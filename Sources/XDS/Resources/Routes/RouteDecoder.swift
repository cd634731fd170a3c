import Policy
import Primitives

/// Reads `envoy.config.route.v3.RouteConfiguration`, and keeps the counts that concern all of it.
struct RouteDecoder {
  /// What is asked for and not done, with the field's path.
  var notes = Notes()
  /// Routes, those left out too.
  var count = 0
  var instructions = 0
  /// `max_direct_response_body_size_bytes`.
  var bodyMax = RouteLimits.directResponseBodyMax
}

/// A list for a person, of bounded length.
struct Notes {
  private(set) var texts: [ByteString] = []
  private var more = 0

  /// The list, at its end how many were left out.
  var all: [ByteString] { more == 0 ? texts : texts + [ByteString("and \(more) more")] }

  @inline(never)
  mutating func add(_ reader: ResourceReader, _ name: StaticString, _ reason: String) {
    guard texts.count < RouteLimits.notesMax else {
      more += 1
      return
    }
    texts.append(ResourceRejection(field: reader.path.text(name), reason: ByteString(reason)).text)
  }

  /// Notes each of the fields that is there.
  mutating func addPresent(
    _ reader: ResourceReader, _ fields: [(number: UInt32, name: StaticString)]
  ) throws(ResourceRejection) {
    for field in fields where try reader.has(field.number) {
      add(reader, field.name, "not applied")
    }
  }
}

extension RouteConfiguration {
  /// A resource of RDS.
  public static func decode(_ bytes: Span<UInt8>) throws(ResourceRejection) -> RouteConfiguration {
    let reader = try ResourceReader(bytes)
    guard try !reader.text(1, "name").isEmpty else { throw reader.rejection("name", "empty") }
    return try decode(reader)
  }

  /// One within a listener, whose name may be empty.
  static func decode(_ reader: ResourceReader) throws(ResourceRejection) -> RouteConfiguration {
    var decoder = RouteDecoder()
    return try decoder.routeConfiguration(reader)
  }
}

extension RouteDecoder {
  mutating func routeConfiguration(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> RouteConfiguration {
    var routes = RouteConfiguration(name: try reader.text(1, "name"), virtualHosts: [])
    if try reader.has(9) { throw reader.rejection("vhds", "not supported") }
    try notes.addPresent(
      reader, [(4, "response_headers_to_add"), (5, "response_headers_to_remove")])
    bodyMax =
      try reader.wrappedUInt32(11, "max_direct_response_body_size_bytes") ?? bodyMax
    routes.mutations = try mutations(reader, add: 6, remove: 8)
    routes.mostSpecificMutationsWin = try reader.bool(10)
    routes.mirrors = try mirrors(reader, 13)
    routes.ignoresPort = try reader.bool(14)
    routes.ignoresPathParameters = try reader.bool(15)
    routes.hostHeader = try headerName(reader, 18, "vhost_header", mayBePseudo: true)
    try filterOverrides(reader, 16)
    let hosts = try reader.messages(2, "virtual_hosts", limit: RouteLimits.virtualHostsMax)
    var virtualHosts: [VirtualHost] = []
    for host in hosts { virtualHosts.append(try virtualHost(host)) }
    routes.virtualHosts = virtualHosts
    // One name cannot lead to two virtual hosts, as Envoy sees it too, and `*` is a name.
    if let duplicate = routes.duplicateDomain {
      throw hosts[duplicate.host].rejection(
        "domains", "\"\(duplicate.domain)\" stands there twice or in a virtual host before")
    }
    routes.notApplied = notes.all
    return routes
  }

  private mutating func virtualHost(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> VirtualHost {
    let name = try reader.text(1, "name")
    guard !name.isEmpty else { throw reader.rejection("name", "empty") }
    var host = VirtualHost(name: name, domains: try domains(reader), routes: [])
    if try reader.has(21) { throw reader.rejection("matcher", "not supported") }
    if try reader.int32(4) != 0 { notes.add(reader, "require_tls", "not applied") }
    try notes.addPresent(
      reader,
      [
        (6, "rate_limits"), (10, "response_headers_to_add"), (11, "response_headers_to_remove"),
        (20, "retry_policy_typed_config"),
      ])
    host.mutations = try mutations(reader, add: 7, remove: 13)
    host.addsAttemptCount = try reader.bool(14)
    host.addsTimeoutRetryHeader = try reader.bool(23)
    if let policy = try reader.message(16, "retry_policy") {
      host.retryPolicy = try retryPolicy(policy)
    }
    host.hedgesOnPerTryTimeout = try hedgePolicy(reader, 17) ?? false
    host.bodyLimit = try bodyLimit(reader, limit: 25, deprecated: 18)
    host.mirrors = try mirrors(reader, 22)
    try filterOverrides(reader, 15)
    var routes: [Route] = []
    for element in try reader.messages(3, "routes", limit: RouteLimits.routesMax) {
      count += 1
      guard count <= RouteLimits.routesMax else {
        throw reader.rejection(
          "routes", "more than \(RouteLimits.routesMax) routes in the route configuration")
      }
      if let route = try route(element) { routes.append(route) }
    }
    host.routes = routes
    return host
  }

  private func domains(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> [DomainPattern] {
    let texts = try reader.texts(2, "domains", limit: RouteLimits.domainsPerHostMax)
    guard !texts.isEmpty else { throw reader.rejection("domains", "empty") }
    var domains: [DomainPattern] = []
    domains.reserveCapacity(texts.count)
    for (index, text) in texts.enumerated() {
      guard let domain = DomainPattern(text) else {
        throw reader.rejection(
          "domains", "[\(index)], \"\(text)\", is neither a name nor one with * at an end")
      }
      domains.append(domain)
    }
    return domains
  }

  /// `request_body_buffer_limit`, and its predecessor of 32 bits.
  func bodyLimit(
    _ reader: ResourceReader, limit: UInt32, deprecated: UInt32
  ) throws(ResourceRejection) -> UInt64? {
    if let limit = try reader.wrappedUInt64(limit, "request_body_buffer_limit") { return limit }
    let old = try reader.wrappedUInt32(deprecated, "per_request_buffer_limit_bytes")
    return old.map { UInt64($0) }
  }

  /// `HedgePolicy.hedge_on_per_try_timeout`; nil: there is no policy.
  mutating func hedgePolicy(
    _ reader: ResourceReader, _ number: UInt32
  ) throws(ResourceRejection) -> Bool? {
    guard let policy = try reader.message(number, "hedge_policy") else { return nil }
    let initial = try policy.wrappedUInt32(1, "initial_requests") ?? 1
    guard initial > 0 else { throw policy.rejection("initial_requests", "not above zero") }
    // Envoy reads these two and does nothing with them.
    if initial > 1 { notes.add(policy, "initial_requests", "not applied") }
    try notes.addPresent(policy, [(2, "additional_request_chance")])
    return try policy.bool(3)
  }

  mutating func mirrors(
    _ reader: ResourceReader, _ number: UInt32
  ) throws(ResourceRejection) -> [MirrorPolicy] {
    var policies: [MirrorPolicy] = []
    let name: StaticString = "request_mirror_policies"
    for reader in try reader.messages(number, name, limit: RouteLimits.mirrorsMax) {
      var policy = MirrorPolicy(cluster: try reader.text(1, "cluster"))
      policy.header = try headerName(reader, 5, "cluster_header", mayBePseudo: true)
      guard policy.cluster.isEmpty != policy.header.isEmpty else {
        throw reader.rejection("cluster", "one of cluster and cluster_header has to be set")
      }
      policy.fraction = try runtimeFraction(reader, 3) ?? policy.fraction
      policy.appendsShadowSuffix = try !reader.bool(6)
      policies.append(policy)
    }
    return policies
  }

  /// `RuntimeFractionalPercent`: 1 default_value, 2 runtime_key.
  func runtimeFraction(
    _ reader: ResourceReader, _ number: UInt32
  ) throws(ResourceRejection) -> RuntimeFraction? {
    guard let fraction = try reader.message(number, "runtime_fraction") else { return nil }
    guard let value = try fraction.fraction(1, "default_value") else {
      throw fraction.rejection("default_value", "missing")
    }
    return RuntimeFraction(value, key: try fraction.text(2, "runtime_key"))
  }
}
