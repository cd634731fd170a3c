import Policy
import Primitives
import XDS

/// Clusters, endpoints and secrets as JSON, for `probe resource`.
enum ClusterProbe {
  static func describe(_ resource: ClusterResource, _ json: inout JSONWriter) {
    let cluster = resource.cluster
    json.text("name", cluster.name)
    json.text("serviceName", cluster.serviceName)
    json.key("endpointsName")
    if let name = resource.endpointsName { json.string(name) } else { json.null() }
    json.texts("secretNames", resource.secretNames)
    json.integer("connectTimeout", cluster.connectTimeout.milliseconds)
    json.integer("idleTimeout", cluster.idleTimeout.milliseconds)
    describe(cluster.circuitBreakers, "breakers", &json)
    describe(cluster.highPriorityBreakers, "highPriorityBreakers", &json)
    json.integer("perHostMaxConnections", cluster.perHostMaxConnections)
    json.integer("keepAliveInterval", cluster.keepAlive.interval.milliseconds)
    json.integer("keepAliveTimeout", cluster.keepAlive.timeout.milliseconds)
    json.integer("panicThreshold", cluster.balancing.panicThreshold)
    json.flag("failsInPanic", cluster.balancing.failsInPanic)
    json.flag("weighsLocalities", cluster.balancing.weighsLocalities)
    json.flag("reportsLoad", cluster.reportsLoad)
    json.flag("hasRetryPolicy", cluster.retryPolicy != nil)
    json.texts("notApplied", cluster.notApplied)
    json.texts("clamped", cluster.clamped)
    describe(cluster.http, &json)
    switch cluster.discovery {
    case .endpoints(let assignment): describe(assignment, &json)
    case .dns(let dns): describe(dns, &json)
    }
    describe(cluster.security, &json)
  }

  private static func describe(
    _ breakers: CircuitBreakers, _ key: StaticString, _ json: inout JSONWriter
  ) {
    json.key(key)
    json.beginArray()
    json.number(UInt64(breakers.maxConnections))
    json.number(UInt64(breakers.maxPendingRequests))
    json.number(UInt64(breakers.maxRequests))
    json.number(UInt64(breakers.maxRetries))
    if let budget = breakers.retryBudget {
      json.number(UInt64(budget.basisPoints))
      json.number(UInt64(budget.minimumConcurrency))
    }
    json.endArray()
  }

  private static func describe(_ http: HTTPOptions, _ json: inout JSONWriter) {
    json.integer("maxConcurrentStreams", http.maxConcurrentStreams)
    json.integer("streamWindow", http.streamWindow)
    json.integer("headerTableSize", http.headerTableSize)
    json.integer("maxResponseHeadersBytes", http.maxResponseHeadersBytes)
    json.integer("maxRequestsPerConnection", http.maxRequestsPerConnection)
    json.integer("maxConnectionDuration", http.maxConnectionDuration.milliseconds)
    json.integer("maxStreamDuration", http.maxStreamDuration?.milliseconds ?? -1)
  }

  static func describe(_ assignment: Assignment, _ json: inout JSONWriter) {
    json.integer("overprovisioning", assignment.overprovisioning)
    json.flag("weighsHealth", assignment.weighsHealth)
    json.key("drops")
    json.beginArray()
    for drop in assignment.drops {
      json.beginArray()
      json.string(drop.category)
      json.number(UInt64(drop.share.perMillion))
      json.endArray()
    }
    json.endArray()
    json.key("localities")
    json.beginArray()
    for locality in assignment.localities {
      json.beginObject()
      describe(locality, &json)
      json.key("endpoints")
      json.beginArray()
      for index in locality.endpoints { describe(assignment, index, &json) }
      json.endArray()
      json.endObject()
    }
    json.endArray()
  }

  private static func describe(_ locality: LocalityEndpoints, _ json: inout JSONWriter) {
    json.texts(
      "locality",
      [locality.locality.region, locality.locality.zone, locality.locality.subZone])
    json.integer("priority", locality.priority)
    json.integer("weight", locality.weight)
  }

  private static func describe(
    _ assignment: Assignment, _ index: Int, _ json: inout JSONWriter
  ) {
    let endpoint = assignment.endpoints[index]
    json.beginObject()
    json.texts(
      "addresses", assignment.addresses(of: index).map { ByteString($0.description) })
    json.integer("weight", endpoint.weight)
    json.integer("health", UInt32(endpoint.health.rawValue))
    json.text("hostname", assignment.hostname(of: index))
    json.flag("canary", assignment.details(of: index)?.isCanary ?? false)
    json.endObject()
  }

  private static func describe(_ dns: DNSDiscovery, _ json: inout JSONWriter) {
    json.flag("isLogical", dns.kind == .logical)
    json.integer("refresh", dns.refresh.milliseconds)
    json.integer("family", UInt32(dns.family.rawValue))
    json.flag("respectsTTL", dns.respectsTTL)
    json.integer("jitter", dns.jitter.milliseconds)
    json.key("failureRefresh")
    json.beginArray()
    if let backOff = dns.failureRefresh {
      json.number(backOff.base.milliseconds)
      json.number(backOff.maximum.milliseconds)
    }
    json.endArray()
    json.key("hosts")
    json.beginArray()
    for host in dns.hosts {
      json.beginObject()
      json.text("host", host.host)
      json.integer("port", UInt32(host.port))
      json.text("hostname", host.hostname)
      json.integer("hostWeight", host.weight)
      describe(dns.localities[host.locality], &json)
      json.endObject()
    }
    json.endArray()
  }

  // MARK: TLS

  private static func describe(_ security: Security, _ json: inout JSONWriter) {
    json.key("tls")
    guard case .policy(let policy) = security else {
      if case .unavailable(let reason) = security { json.string(reason) } else { json.null() }
      return
    }
    json.beginObject()
    json.text("sni", policy.serverName)
    json.flag("usesHost", policy.usesHostAsServerName)
    json.flag("validatesServerName", policy.validatesServerName)
    json.flag("resumes", policy.resumes)
    json.integer("minimum", UInt32(policy.minimum.rawValue))
    json.integer("maximum", UInt32(policy.maximum.rawValue))
    describe(policy.roots, &json)
    json.flag("hasIdentity", policy.identity != nil)
    describe(policy.subjectNames, &json)
    json.integer("hashes", UInt32(policy.certificateHashes.count))
    json.integer("pins", UInt32(policy.publicKeyHashes.count))
    json.endObject()
  }

  private static func describe(_ roots: TLSRoots?, _ json: inout JSONWriter) {
    switch roots {
    case nil: json.text("roots", "none")
    case .system: json.text("roots", "system")
    case .source(.file(let path)): json.text("roots", "file " + path)
    case .source(.inline(let text)): json.text("roots", "inline " + text)
    }
  }

  private static func describe(_ matchers: [SubjectNameMatcher], _ json: inout JSONWriter) {
    json.key("subjectNames")
    json.beginArray()
    for matcher in matchers {
      json.number(matcher.kind.map { Int64($0.rawValue) } ?? -1)
    }
    json.endArray()
  }

  static func describe(_ secret: SecretResource, _ json: inout JSONWriter) {
    json.text("name", secret.name)
    switch secret.content {
    case .identity: json.flag("hasIdentity", true)
    case .validation(let validation):
      describe(validation.roots, &json)
      describe(validation.subjectNames, &json)
      json.integer("hashes", UInt32(validation.certificateHashes.count))
      json.integer("pins", UInt32(validation.publicKeyHashes.count))
      json.flag("allowsExpired", validation.allowsExpired)
    }
  }
}
