import Policy
import Primitives

/// What a route does.
extension RouteDecoder {
  private static let members: [UInt32] = [2, 3, 7, 17, 18]

  /// Nil: nothing that a client can do.
  mutating func action(_ route: ResourceReader) throws(ResourceRejection) -> RouteAction? {
    switch try route.member(Self.members) {
    case 2:
      guard let action = try route.message(2, "route", among: Self.members) else { break }
      return try forward(action).map { .forward($0) }
    case 3:
      guard let action = try route.message(3, "redirect", among: Self.members) else { break }
      return .redirect(try redirect(action))
    case 7:
      guard let action = try route.message(7, "direct_response", among: Self.members) else { break }
      return .respond(status: try directResponse(action))
    case 17: notes.add(route, "filter_action", "route skipped: not supported")
    case 18: notes.add(route, "non_forwarding_action", "route skipped: not supported")
    default: notes.add(route, "", "route skipped: no action that this client knows")
    }
    return nil
  }

  private mutating func forward(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> ForwardAction? {
    guard var action = try clusters(reader) else { return nil }
    action.notFoundStatus = try notFoundStatus(reader)
    // Beside `max_stream_duration` there is no timeout by default. Envoy passes over one that is set,
    // too; here it holds.
    let otherwise: Interval = try reader.has(36) ? .zero : .seconds(15)
    action.timeout = try reader.duration(8, "timeout") ?? otherwise
    action.idleTimeout = try reader.duration(24, "idle_timeout")
    action.streamDuration = try streamDuration(reader)
    if let policy = try reader.message(9, "retry_policy") {
      action.retryPolicy = try retryPolicy(policy)
    }
    action.hedgesOnPerTryTimeout = try hedgePolicy(reader, 27)
    switch try reader.int32(11) {
    case 0: action.priority = .default
    case 1: action.priority = .high
    case let other: throw reader.rejection("priority", "\(other) is not one of its values")
    }
    action.mirrors = try mirrors(reader, 30)
    action.pathRewrite = try pathRewrite(reader)
    action.hostRewrite = try hostRewrite(reader)
    action.appendsForwardedHost = try reader.bool(38)
    try notes.addPresent(
      reader,
      [
        (4, "metadata_match"), (13, "rate_limits"), (15, "hash_policy"),
        (26, "internal_redirect_action"), (33, "retry_policy_typed_config"),
        (34, "internal_redirect_policy"), (42, "flush_timeout"),
      ])
    return action
  }

  // MARK: Clusters

  /// Nil: a plugin chooses the cluster.
  private mutating func clusters(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> ForwardAction? {
    let members: [UInt32] = [1, 2, 3, 37, 39]
    switch try reader.member(members) {
    case 1:
      let name = try reader.text(1, "cluster")
      guard !name.isEmpty else { throw reader.rejection("cluster", "empty") }
      return ForwardAction(clusters: [WeightedCluster(name: name)])
    case 2:
      let name = try headerName(reader, 2, "cluster_header", mayBePseudo: true)
      guard !name.isEmpty else { throw reader.rejection("cluster_header", "empty") }
      return ForwardAction(clusters: [WeightedCluster(header: name)])
    case 3:
      guard let weighted = try reader.message(3, "weighted_clusters", among: members) else {
        throw reader.rejection("weighted_clusters", "empty")
      }
      return try weightedClusters(weighted)
    case 37:
      notes.add(reader, "cluster_specifier_plugin", "route skipped: not supported")
      return nil
    case 39:
      notes.add(reader, "inline_cluster_specifier_plugin", "route skipped: not supported")
      return nil
    default: throw reader.rejection("", "no cluster specifier")
    }
  }

  private mutating func weightedClusters(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> ForwardAction {
    var action = ForwardAction(clusters: [])
    var total: UInt64 = 0
    for entry in try reader.messages(1, "clusters", limit: RouteLimits.weightedClustersMax) {
      let cluster = try clusterWeight(entry)
      total += UInt64(cluster.weight)
      action.clusters.append(cluster)
    }
    // `total_weight` is deprecated: the sum counts (gRPC A28).
    guard total > 0 else { throw reader.rejection("clusters", "the weights are 0 together") }
    guard total <= UInt64(UInt32.max) else {
      throw reader.rejection("clusters", "the weights are \(total) together, beyond 4294967295")
    }
    action.runtimeKeyPrefix = try reader.text(2, "runtime_key_prefix")
    action.randomHeader = try headerName(reader, 4, "header_name", mayBePseudo: true)
    try notes.addPresent(reader, [(5, "use_hash_policy")])
    return action
  }

  private mutating func clusterWeight(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> WeightedCluster {
    var cluster = WeightedCluster(
      name: try reader.text(1, "name"), weight: try reader.wrappedUInt32(2, "weight") ?? 0)
    cluster.header = try headerName(reader, 12, "cluster_header", mayBePseudo: true)
    guard cluster.name.isEmpty != cluster.header.isEmpty else {
      throw reader.rejection("name", "one of name and cluster_header has to be set")
    }
    cluster.mutations = try mutations(reader, add: 4, remove: 9)
    cluster.hostRewrite = try headerValue(reader, 11, "host_rewrite_literal")
    try filterOverrides(reader, 10)
    try notes.addPresent(
      reader,
      [
        (3, "metadata_match"), (5, "response_headers_to_add"), (6, "response_headers_to_remove"),
      ])
    return cluster
  }

  private func notFoundStatus(_ reader: ResourceReader) throws(ResourceRejection) -> UInt16 {
    switch try reader.int32(20) {
    case 0: return 503
    case 1: return 404
    case 2: return 500
    case let other:
      throw reader.rejection(
        "cluster_not_found_response_code", "\(other) is not one of its values")
    }
  }

  // MARK: Time

  private func streamDuration(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> StreamDuration {
    var duration = StreamDuration()
    if let message = try reader.message(36, "max_stream_duration") {
      duration.maximum = try message.duration(1, "max_stream_duration")
      duration.grpcTimeoutMaximum = try message.duration(2, "grpc_timeout_header_max")
      duration.grpcTimeoutOffset =
        try message.duration(3, "grpc_timeout_header_offset") ?? .zero
    } else {
      // The deprecated way to the same.
      duration.grpcTimeoutMaximum = try reader.duration(23, "max_grpc_timeout")
      duration.grpcTimeoutOffset = try reader.duration(28, "grpc_timeout_offset") ?? .zero
    }
    return duration
  }

  // MARK: Rewrites

  private mutating func pathRewrite(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> PathRewrite {
    if try reader.has(41) { throw reader.rejection("path_rewrite_policy", "not supported") }
    if try reader.has(45) { throw reader.rejection("path_rewrite", "not supported") }
    let prefix = try headerValue(reader, 5, "prefix_rewrite")
    if let regex = try substitution(reader, 32, "regex_rewrite") {
      guard prefix.isEmpty else {
        throw reader.rejection("regex_rewrite", "prefix_rewrite is set, too")
      }
      return .regex(regex)
    }
    return prefix.isEmpty ? .none : .prefix(prefix)
  }

  private mutating func hostRewrite(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> HostRewrite {
    let members: [UInt32] = [6, 7, 29, 35, 44]
    switch try reader.member(members) {
    case 6:
      let name = try headerValue(reader, 6, "host_rewrite_literal")
      return name.isEmpty ? .none : .literal(name)
    case 7: return try reader.wrappedBool(7, "auto_host_rewrite") == true ? .endpoint : .none
    case 29:
      let name = try headerName(reader, 29, "host_rewrite_header", mayBePseudo: true)
      return name.isEmpty ? .none : .header(name)
    case 35:
      let regex = try substitution(reader, 35, "host_rewrite_path_regex", among: members)
      return regex.map { .path($0) } ?? .none
    case 44: throw reader.rejection("host_rewrite", "not supported")
    default: return .none
    }
  }

  // MARK: Answers

  private mutating func redirect(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> RedirectAction {
    var action = RedirectAction()
    let codes: [UInt16] = [301, 302, 303, 307, 308]
    let code = try reader.int32(3)
    guard code >= 0, code < codes.count else {
      throw reader.rejection("response_code", "\(code) is not one of its values")
    }
    action.status = codes[Int(code)]
    switch try reader.member([4, 7]) {
    case 4: action.isHTTPS = try reader.bool(4)
    case 7: action.scheme = try headerValue(reader, 7, "scheme_redirect")
    default: break
    }
    action.host = try headerValue(reader, 1, "host_redirect")
    let port = try reader.uint32(8)
    guard port <= 65_535 else { throw reader.rejection("port_redirect", "\(port) is above 65535") }
    action.port = UInt16(port)
    let members: [UInt32] = [2, 5, 9]
    switch try reader.member(members) {
    case 2:
      let path = try headerValue(reader, 2, "path_redirect")
      if !path.isEmpty { action.path = .whole(path) }
    case 5:
      let prefix = try headerValue(reader, 5, "prefix_rewrite")
      if !prefix.isEmpty { action.path = .prefix(prefix) }
    case 9:
      let regex = try substitution(reader, 9, "regex_rewrite", among: members)
      action.path = regex.map { .regex($0) } ?? .keep
    default: break
    }
    action.stripsQuery = try reader.bool(6)
    return action
  }

  /// The status. A body goes to nobody here, but one that is too large is refused all the same.
  private func directResponse(_ reader: ResourceReader) throws(ResourceRejection) -> UInt16 {
    let status = try reader.uint32(1)
    guard status >= 200, status < 600 else {
      throw reader.rejection("status", "\(status) is not between 200 and 599")
    }
    if let body = try reader.message(2, "body") {
      let size = max(try body.data(2).count, try body.data(3).count)
      guard size <= Int(clamping: bodyMax) else {
        throw reader.rejection("body", "\(size) bytes, the limit is \(bodyMax)")
      }
    }
    return UInt16(status)
  }
}
