import Policy
import Primitives

/// `envoy.config.cluster.v3.Cluster` of CDS, with the names of what belongs to it.
public struct ClusterResource: Equatable, Sendable {
  /// Without the endpoints of EDS and without secrets.
  public var cluster: Cluster
  /// The EDS resource; nil: the endpoints stand in the cluster.
  public var endpointsName: ByteString?
  /// The SDS resources that its TLS needs.
  public var secretNames: [ByteString] { tls?.secretNames ?? [] }
  var tls: TLSTemplate?

  /// Decodes the resource, or says why it is refused. `fault` says what is wrong with
  /// certificates and keys, which takes more than this module knows.
  public static func decode(
    _ bytes: Span<UInt8>, limits: DeviceLimits = DeviceLimits(),
    fault: (TLSPart) -> ByteString? = { _ in nil }
  ) throws(ResourceRejection) -> ClusterResource {
    let message = try ResourceReader(bytes)
    var decoder = ClusterDecoder(message, limits)
    try decoder.read(fault)
    return decoder.resource
  }

  /// The cluster as it comes into force. Nil endpoints: they did not come. A secret that did not come
  /// leaves a cluster whose connections fail.
  public func assembled(
    assignment: Assignment?, secret: (ByteString) -> SecretResource?
  ) -> Cluster {
    var cluster = cluster
    if endpointsName != nil { cluster.discovery = .endpoints(assignment ?? Assignment()) }
    if let tls { cluster.security = tls.security(secret) }
    return cluster
  }
}

/// Reads one cluster.
struct ClusterDecoder {
  let message: ResourceReader
  let limits: DeviceLimits
  var resource: ClusterResource
  /// `auto_sni`, `auto_san_validation`.
  var usesAuthority = false
  var validatesAuthority = false

  init(_ message: ResourceReader, _ limits: DeviceLimits) {
    self.message = message
    self.limits = limits
    resource = ClusterResource(
      cluster: Cluster(name: ByteString(), discovery: .endpoints(Assignment())))
    // Envoy's default, where the client's own clusters have a shorter one.
    resource.cluster.idleTimeout = .seconds(3600)
  }

  mutating func read(
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) {
    let name = try message.text(1, "name")
    guard !name.isEmpty else { throw message.rejection("name", "empty") }
    resource.cluster.name = name
    if let timeout = try message.positiveDuration(4, "connect_timeout") {
      resource.cluster.connectTimeout = timeout
    }
    try readDiscovery()
    try readBalancing()
    try readBreakers()
    try readProtocol()
    try readSecurity(fault)
    try readReporting()
    try readRest()
  }

  // MARK: Notes

  /// Asked for, and not done.
  mutating func note(_ text: StaticString) {
    guard resource.cluster.notApplied.count < ClusterLimits.notesMax else { return }
    resource.cluster.notApplied.append(ByteString(text))
  }

  /// The lower of what is asked for and what the device can bear.
  mutating func clamp(_ name: StaticString, _ asked: UInt32?, _ most: UInt32) -> UInt32? {
    guard let asked, asked > most else { return asked }
    if resource.cluster.clamped.count < ClusterLimits.notesMax {
      var text = ByteString(name)
      text.bytes.append(": \(asked), the device takes \(most)")
      resource.cluster.clamped.append(text)
    }
    return most
  }

  // MARK: Small parts

  /// 42 lrs_server, 57 lrs_report_endpoint_metrics.
  private mutating func readReporting() throws(ResourceRejection) {
    if let server = try message.message(42, "lrs_server") {
      guard try server.member([1, 2, 3, 5, 8]) == 5 else {
        throw message.rejection("lrs_server", "not self")
      }
      resource.cluster.reportsLoad = true
    }
    if try message.has(57) { note("lrs_report_endpoint_metrics") }
  }

  /// What changes where requests go is refused if it cannot be done; what makes them better or worse
  /// served is noted.
  private mutating func readRest() throws(ResourceRejection) {
    let refused: [(UInt32, StaticString)] = [
      (43, "transport_socket_matches"), (59, "transport_socket_matcher"), (48, "upstream_config"),
    ]
    for (number, name) in refused where try message.has(number) {
      throw message.rejection(name, "not supported")
    }
    if let subset = try message.message(22, "lb_subset_config"), try subset.has(3) {
      throw message.rejection("lb_subset_config.subset_selectors", "not supported")
    }
    if try message.has(8) { note("health_checks") }
    if let outliers = try message.message(19, "outlier_detection") {
      try Self.checkOutliers(outliers)
      note("outlier_detection")
    }
    if try message.has(21) { note("upstream_bind_config") }
    if let options = try message.message(30, "upstream_connection_options") {
      if try options.has(1) { note("upstream_connection_options.tcp_keepalive") }
      if try options.bool(2) {
        note("upstream_connection_options.set_local_interface_name_on_upstream_connections")
      }
      if try options.has(3) { note("upstream_connection_options.happy_eyeballs_config") }
    }
    resource.cluster.balancing.cutsUnhealthy = try message.bool(31)
    if try message.has(50) { note("preconnect_policy") }
    let resolvers: [UInt32] = [18, 53, 55]
    if try message.member(resolvers) != nil { note("dns_resolvers") }
    if let requests = try message.wrappedUInt32(9, "max_requests_per_connection"),
      resource.cluster.http.maxRequestsPerConnection == 0
    {
      resource.cluster.http.maxRequestsPerConnection = requests
    }
    if try message.has(40) { note("filters") }
    let buffer = try message.wrappedUInt32(5, "per_connection_buffer_limit_bytes")
    resource.cluster.http.outputBytesMax = clamp(
      "per_connection_buffer_limit_bytes", buffer, limits.outputBytesMax)
  }

  /// `OutlierDetection`, which a later version applies: what is wrong in it is refused now.
  static func checkOutliers(_ outliers: ResourceReader) throws(ResourceRejection) {
    let percentages: [(UInt32, StaticString)] = [
      (4, "max_ejection_percent"), (5, "enforcing_consecutive_5xx"),
      (6, "enforcing_success_rate"), (11, "enforcing_consecutive_gateway_failure"),
      (14, "enforcing_consecutive_local_origin_failure"),
      (15, "enforcing_local_origin_success_rate"), (16, "failure_percentage_threshold"),
      (17, "enforcing_failure_percentage"), (18, "enforcing_failure_percentage_local_origin"),
    ]
    for (number, name) in percentages {
      if let percent = try outliers.wrappedUInt32(number, name), percent > 100 {
        throw outliers.rejection(name, "\(percent) is above 100")
      }
    }
    _ = try outliers.positiveDuration(2, "interval")
    let base = try outliers.positiveDuration(3, "base_ejection_time") ?? .seconds(30)
    if let most = try outliers.positiveDuration(21, "max_ejection_time"), most < base {
      throw outliers.rejection("max_ejection_time", "below base_ejection_time")
    }
    _ = try outliers.duration(22, "max_ejection_time_jitter")
  }
}
