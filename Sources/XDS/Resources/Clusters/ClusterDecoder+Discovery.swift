import Policy
import Primitives

/// Where a cluster's endpoints come from.
extension ClusterDecoder {
  /// 2 type and 38 cluster_type are one oneof; without either a cluster is STATIC.
  mutating func readDiscovery() throws(ResourceRejection) {
    let members: [UInt32] = [2, 38]
    if try message.member(members) == 38 { return try readCustomType(members) }
    switch try message.int32(2) {
    case 0: try readStatic()
    case 1: try readNames(.strict)
    case 2: try readNames(.logical)
    case 3: try readEDS()
    case 4: throw message.rejection("type", "ORIGINAL_DST is not supported")
    case let type: throw message.rejection("type", "\(type) is not one of its values")
    }
  }

  private mutating func readStatic() throws(ResourceRejection) {
    guard let load = try message.message(33, "load_assignment") else { return }
    var decoder = AssignmentDecoder(requiresLocality: false)
    try decoder.readEndpoints(load)
    resource.cluster.discovery = .endpoints(try decoder.assignment(load))
  }

  private mutating func readEDS() throws(ResourceRejection) {
    guard let config = try message.message(3, "eds_cluster_config") else {
      throw message.rejection("eds_cluster_config", "missing")
    }
    guard let source = try config.message(1, "eds_config") else {
      throw config.rejection("eds_config", "missing")
    }
    try source.requireAggregatedSource()
    let service = try config.text(2, "service_name")
    let name = resource.cluster.name
    guard !service.isEmpty || !name.hasPrefix("xdstp:") else {
      throw config.rejection("service_name", "missing, and the cluster's name is no EDS name")
    }
    resource.cluster.serviceName = service
    resource.endpointsName = service.isEmpty ? name : service
  }

  // MARK: Names

  private func readHosts(
    _ kind: DNSDiscovery.Kind
  ) throws(ResourceRejection) -> DNSDiscovery {
    guard let load = try message.message(33, "load_assignment") else {
      throw message.rejection("load_assignment", "missing")
    }
    var decoder = AssignmentDecoder(requiresLocality: false)
    try decoder.readEndpoints(load)
    let dns = try decoder.names(load, kind: kind)
    switch kind {
    case .logical:
      guard dns.localities.count == 1, dns.hosts.count == 1 else {
        throw load.rejection("endpoints", "not exactly one locality with one endpoint")
      }
    case .strict:
      guard !dns.hosts.isEmpty else { throw load.rejection("endpoints", "empty") }
    }
    return dns
  }

  /// The cluster's own fields, deprecated: 16 dns_refresh_rate, 17 dns_lookup_family,
  /// 39 respect_dns_ttl, 44 dns_failure_refresh_rate, 58 dns_jitter.
  private mutating func readNames(_ kind: DNSDiscovery.Kind) throws(ResourceRejection) {
    let families: [DNSFamily] = [.auto, .v4Only, .v6Only, .v4Preferred, .all]
    var dns = try readHosts(kind)
    dns.family = try family(message, 17, families)
    dns.refresh = try refresh(message, 16)
    dns.respectsTTL = try message.bool(39)
    dns.failureRefresh = try failureRefresh(message, 44)
    dns.jitter = try message.duration(58, "dns_jitter") ?? .zero
    resource.cluster.discovery = .dns(dns)
  }

  /// `CustomClusterType`: 1 name, 2 typed_config.
  private mutating func readCustomType(
    _ members: [UInt32]
  ) throws(ResourceRejection) {
    guard let type = try message.message(38, "cluster_type", among: members) else {
      throw message.rejection("cluster_type", "missing")
    }
    let config = try type.any(2, "typed_config")
    guard let config, config.names("envoy.extensions.clusters.dns.v3.DnsCluster") else {
      let name = try type.text(1, "name")
      throw message.rejection("cluster_type", "\(name.description) is not supported")
    }
    try readDNSCluster(config.message)
  }

  /// `DnsCluster`: 3 dns_refresh_rate, 4 dns_failure_refresh_rate, 5 respect_dns_ttl, 6 dns_jitter,
  /// 7 typed_dns_resolver_config, 8 dns_lookup_family, 9 all_addresses_in_single_endpoint. Its family
  /// begins with UNSPECIFIED, which is AUTO.
  private mutating func readDNSCluster(_ config: ResourceReader) throws(ResourceRejection) {
    let families: [DNSFamily] = [.auto, .auto, .v4Only, .v6Only, .v4Preferred, .all]
    var dns = try readHosts(try config.bool(9) ? .logical : .strict)
    dns.family = try family(config, 8, families)
    dns.refresh = try refresh(config, 3)
    dns.respectsTTL = try config.bool(5)
    dns.failureRefresh = try failureRefresh(config, 4)
    dns.jitter = try config.duration(6, "dns_jitter") ?? .zero
    if try config.has(7) { note("cluster_type.typed_config.typed_dns_resolver_config") }
    resource.cluster.discovery = .dns(dns)
  }

  private func family(
    _ reader: ResourceReader, _ number: UInt32, _ families: [DNSFamily]
  ) throws(ResourceRejection) -> DNSFamily {
    let value = try reader.int32(number)
    guard value >= 0, value < families.count else {
      throw reader.rejection("dns_lookup_family", "\(value) is not one of its values")
    }
    return families[Int(value)]
  }

  /// Above one millisecond; 5 s if it is not there.
  private mutating func refresh(
    _ reader: ResourceReader, _ number: UInt32
  ) throws(ResourceRejection) -> Interval {
    guard let refresh = try reader.duration(number, "dns_refresh_rate") else {
      return .seconds(5)
    }
    guard refresh > .milliseconds(1) else {
      throw reader.rejection("dns_refresh_rate", "not above 1 ms")
    }
    let milliseconds = UInt32(clamping: refresh.milliseconds)
    let least = UInt32(clamping: limits.refreshMin.milliseconds)
    if milliseconds < least, resource.cluster.clamped.count < ClusterLimits.notesMax {
      resource.cluster.clamped.append(
        ByteString("dns_refresh_rate: \(milliseconds) ms, the device takes \(least) ms"))
    }
    return max(refresh, limits.refreshMin)
  }

  /// `RefreshRate`: 1 base_interval, 2 max_interval (ten times the base).
  private func failureRefresh(
    _ reader: ResourceReader, _ number: UInt32
  ) throws(ResourceRejection) -> BackOff? {
    guard let rate = try reader.message(number, "dns_failure_refresh_rate") else { return nil }
    guard let base = try rate.duration(1, "base_interval"), base > .milliseconds(1) else {
      throw rate.rejection("base_interval", "not above 1 ms")
    }
    guard let most = try rate.duration(2, "max_interval") else {
      let (tenfold, overflow) = base.nanoseconds.multipliedReportingOverflow(by: 10)
      return BackOff(base: base, maximum: overflow ? base : Interval(nanoseconds: tenfold))
    }
    guard most >= base else { throw rate.rejection("max_interval", "below base_interval") }
    return BackOff(base: base, maximum: most)
  }
}
