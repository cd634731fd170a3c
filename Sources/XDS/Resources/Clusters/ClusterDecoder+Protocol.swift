import Policy
import Primitives

/// How HTTP/2 is spoken with a cluster.
extension ClusterDecoder {
  /// 36 typed_extension_protocol_options, and the fields of before: 14 http2_protocol_options,
  /// 29 common_http_protocol_options, 46 upstream_http_protocol_options. Without any of them a client
  /// of gRPC and this one speak HTTP/2, where Envoy would speak HTTP/1.1.
  mutating func readProtocol() throws(ResourceRejection) {
    var options: ResourceReader?
    for entry in try message.messages(36, "typed_extension_protocol_options")
    where try entry.text(1, "key") == "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" {
      guard let value = try entry.any(2, "value"),
        value.names("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
      else { throw entry.rejection("value", "not HttpProtocolOptions") }
      options = value.message
    }
    guard let options else {
      try readCommon(try message.message(29, "common_http_protocol_options"))
      try readUpstream(try message.message(46, "upstream_http_protocol_options"))
      try readHTTP2(try message.message(14, "http2_protocol_options"))
      return
    }
    try readCommon(try options.message(1, "common_http_protocol_options"))
    try readUpstream(try options.message(2, "upstream_http_protocol_options"))
    try readVersion(options)
    if let outliers = try options.message(8, "outlier_detection") {
      try Self.checkOutliers(outliers)
      note("HttpProtocolOptions.outlier_detection")
    }
    if let policy = try options.message(11, "retry_policy") {
      var notes = Notes()
      resource.cluster.retryPolicy = try RetryPolicy.decode(policy, notes: &notes)
      resource.cluster.notApplied += notes.all
    }
  }

  /// The oneof of 3 explicit_http_config (1 http_protocol_options, 2 http2_protocol_options,
  /// 3 http3_protocol_options), 4 use_downstream_protocol_config and 5 auto_config.
  private mutating func readVersion(_ options: ResourceReader) throws(ResourceRejection) {
    let members: [UInt32] = [3, 4, 5]
    switch try options.member(members) {
    case 3:
      let config = try options.message(3, "explicit_http_config", among: members)
      let versions: [UInt32] = [1, 2, 3]
      guard let config, try config.member(versions) == 2 else {
        throw options.rejection("explicit_http_config", "not HTTP/2")
      }
      try readHTTP2(try config.message(2, "http2_protocol_options", among: versions))
    case 4:
      let config = try options.message(4, "use_downstream_protocol_config", among: members)
      try readHTTP2(try config?.message(2, "http2_protocol_options"))
    case 5:
      let config = try options.message(5, "auto_config", among: members)
      try readHTTP2(try config?.message(2, "http2_protocol_options"))
    default:
      break
    }
  }

  /// `HttpProtocolOptions`: 1 idle_timeout, 2 max_headers_count, 3 max_connection_duration,
  /// 4 max_stream_duration, 6 max_requests_per_connection, 7 max_response_headers_kb.
  private mutating func readCommon(_ common: ResourceReader?) throws(ResourceRejection) {
    guard let common else { return }
    if let idle = try common.duration(1, "idle_timeout") { resource.cluster.idleTimeout = idle }
    if let age = try common.duration(3, "max_connection_duration") {
      resource.cluster.http.maxConnectionDuration = age
    }
    resource.cluster.http.maxStreamDuration = try common.duration(4, "max_stream_duration")
    if let requests = try common.wrappedUInt32(6, "max_requests_per_connection") {
      resource.cluster.http.maxRequestsPerConnection = requests
    }
    if try common.has(2) { note("HttpProtocolOptions.max_headers_count") }
    if let kilobytes = try common.wrappedUInt32(7, "max_response_headers_kb") {
      guard kilobytes > 0, kilobytes <= 8192 else {
        throw common.rejection("max_response_headers_kb", "not between 1 and 8192")
      }
      resource.cluster.http.maxResponseHeadersBytes = clamp(
        "max_response_headers_kb", kilobytes * 1024, limits.responseHeadersBytes)
    }
  }

  /// `UpstreamHttpProtocolOptions`: 1 auto_sni, 2 auto_san_validation, 3 override_auto_sni_header. A
  /// connection serves requests of every authority, so that the name it is made for is the endpoint's
  /// and not a request's. What is demanded of the certificate holds all the same.
  private mutating func readUpstream(_ options: ResourceReader?) throws(ResourceRejection) {
    guard let options else { return }
    usesAuthority = try options.bool(1)
    validatesAuthority = try options.bool(2)
    if usesAuthority {
      note("auto_sni: the SNI is the endpoint's host name, not the request's authority")
    }
    if try !options.text(3, "override_auto_sni_header").isEmpty {
      note("override_auto_sni_header")
    }
  }

  /// `Http2ProtocolOptions`: 1 hpack_table_size, 2 max_concurrent_streams, 3 initial_stream_window_size,
  /// 4 initial_connection_window_size, 15 connection_keepalive. The others bound what a peer may do,
  /// and the client's own bounds are narrower.
  private mutating func readHTTP2(_ options: ResourceReader?) throws(ResourceRejection) {
    guard let options else { return }
    let streams = try options.wrappedUInt32(2, "max_concurrent_streams")
    let table = try options.wrappedUInt32(1, "hpack_table_size")
    let stream = try window(options, 3, "initial_stream_window_size")
    let connection = try window(options, 4, "initial_connection_window_size")
    if let streams {
      guard streams > 0, streams <= 0x7FFF_FFFF else {
        throw options.rejection("max_concurrent_streams", "not between 1 and 2147483647")
      }
    }
    resource.cluster.http.maxConcurrentStreams = clamp(
      "max_concurrent_streams", streams, limits.requestsMax)
    resource.cluster.http.headerTableSize = clamp(
      "hpack_table_size", table, limits.headerTableBytes)
    resource.cluster.http.streamWindow = clamp(
      "initial_stream_window_size", stream, limits.streamWindowBytes)
    // The least that may be asked for is what every connection has.
    _ = clamp("initial_connection_window_size", connection, 65_535)
    try readKeepAlive(try options.message(15, "connection_keepalive"))
  }

  private func window(
    _ options: ResourceReader, _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> UInt32? {
    guard let window = try options.wrappedUInt32(number, name) else { return nil }
    guard window >= 65_535, window <= 0x7FFF_FFFF else {
      throw options.rejection(name, "not between 65535 and 2147483647")
    }
    return window
  }

  /// `KeepaliveSettings`: 1 interval, 2 timeout, 3 interval_jitter, 4 connection_idle_interval. A control
  /// plane that sets an interval gets it on idle connections, too.
  private mutating func readKeepAlive(_ settings: ResourceReader?) throws(ResourceRejection) {
    guard let settings else { return }
    guard let timeout = try settings.duration(2, "timeout"), timeout >= .milliseconds(1) else {
      throw settings.rejection("timeout", "not above 1 ms")
    }
    resource.cluster.keepAlive.timeout = timeout
    if let interval = try settings.duration(1, "interval") {
      guard interval >= .milliseconds(1) else {
        throw settings.rejection("interval", "not above 1 ms")
      }
      // More often is a load of its own on a radio link.
      resource.cluster.keepAlive.interval = max(interval, .seconds(1))
      resource.cluster.keepAlive.withoutStreams = true
    }
    // In hundredths of a percent; 15 % without it.
    let jitter = try settings.percent(3, "interval_jitter") ?? 1_500
    resource.cluster.keepAlive.jitterPercent = jitter / 100
    if let idle = try settings.duration(4, "connection_idle_interval") {
      guard idle >= .milliseconds(1) else {
        throw settings.rejection("connection_idle_interval", "not above 1 ms")
      }
      resource.cluster.keepAlive.idleInterval = idle
    }
  }
}
