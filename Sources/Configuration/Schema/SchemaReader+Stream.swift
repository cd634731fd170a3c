import Primitives

/// `[[stream]]`.
extension SchemaReader {
  /// The tables, with their names in `streamNames`: sources refer to them.
  mutating func streamTables(_ root: SchemaTable) -> [SchemaTable] {
    let tables = tables(
      root, "stream", label: "[[stream]]", limit: ConfigurationLimits.streamsMax)
    streamNames = names(of: tables)
    usedStreams = streamNames.map { _ in false }
    return tables
  }

  mutating func readStream(_ table: SchemaTable) -> StreamConfiguration {
    checkKeys(
      table,
      """
      name target path content_type type encoding priority durability ttl batch in_flight order \
      tls headers authority
      """)
    var stream = StreamConfiguration(
      name: name(table, "name") ?? ByteString(), target: readTarget(table),
      path: readPath(table) ?? ByteString())
    readContent(table, into: &stream)
    readDelivery(table, into: &stream)
    readBatch(table, into: &stream)
    if let headers = self.table(table, "headers", label: "[[stream]] headers") {
      stream.headers = readHeaders(headers)
    }
    if let (text, node) = string(table, "authority") {
      switch Endpoint.parse(text) {
      case .problem(let problem):
        report(
          node, "'authority' in [[stream]] is \(quoted(text, isEndpoint: true)), which \(problem)")
      case .endpoint: stream.authority = text
      }
    } else {
      checkAuthority(of: stream, table)
    }
    return stream
  }

  private mutating func readContent(
    _ table: SchemaTable, into stream: inout StreamConfiguration
  ) {
    if let (text, node) = visible(table, "content_type", limit: 256, allowsSpaces: true) {
      if !isMediaType(text) {
        report(
          node,
          "'content_type' in [[stream]] must be a media type such as \"application/json\", "
            + "found \(quoted(text))")
      }
      stream.contentType = text
    }
    if let type = visible(table, "type", limit: 128) { stream.type = type.text }
    switch choice(table, "encoding", "cloudevents cloudevents-batch protobuf grpc") {
    case 1: stream.encoding = .cloudEventsBatch
    case 2: stream.encoding = .protobuf
    case 3:
      stream.encoding = .grpc
      checkMethod(stream.path, table)
    default: stream.encoding = .cloudEvents
    }
  }

  private mutating func readDelivery(
    _ table: SchemaTable, into stream: inout StreamConfiguration
  ) {
    if let priority = choice(table, "priority", "alarm event telemetry bulk") {
      stream.priority = Priority(rawValue: UInt8(priority)) ?? .telemetry
    }
    if let durability = choice(table, "durability", "sync spill memory") {
      stream.durability = [Durability.sync, .spill, .memory][durability]
    }
    if let ttl = duration(table, "ttl", .zero...(.seconds(3650 * 86_400))) { stream.ttl = ttl }
    if let count = integer(table, "in_flight", 1...32) { stream.inFlight = Int(count) }
    if let order = choice(table, "order", "strict live-first") {
      stream.order = order == 0 ? .strict : .liveFirst
    }
  }

  private mutating func readBatch(
    _ table: SchemaTable, into stream: inout StreamConfiguration
  ) {
    guard let batch = self.table(table, "batch", label: "[[stream]] batch") else { return }
    checkKeys(batch, "records bytes linger")
    if let records = integer(batch, "records", 1...ConfigurationLimits.batchRecordsMax) {
      stream.batch.records = Int(records)
    }
    if let bytes = size(batch, "bytes", 1...ConfigurationLimits.batchBytesMax) {
      stream.batch.bytes = Int(bytes)
    }
    if stream.batch.records > 1, stream.encoding == .cloudEvents,
      let node = tree.child(of: batch.node, "records")
    {
      warn(node, "encoding \"cloudevents\" has one record in a request, whatever 'records' says")
    }
    if let linger = duration(batch, "linger", .zero...(.seconds(3600))) {
      stream.batch.linger = linger
    }
  }

  private mutating func readPath(_ table: SchemaTable) -> ByteString? {
    guard let (text, node) = string(table, "path", isRequired: true) else { return nil }
    guard isVisible(text, limit: 2048, allowsSpaces: false), text.hasPrefix("/"),
      !text.bytes.contains(UInt8(ascii: "#"))
    else {
      report(
        node,
        "'path' in [[stream]] must begin with '/' and have only visible ASCII characters "
          + "without '#', found \(quoted(text))")
      return nil
    }
    return text
  }

  /// The `path` of a gRPC call is `/package.Service/Method`.
  private mutating func checkMethod(_ path: ByteString, _ table: SchemaTable) {
    guard !path.isEmpty, let node = tree.child(of: table.node, "path") else { return }
    let parts = path.bytes.split(
      separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard parts.count != 3 || parts.dropFirst().contains(where: { $0.isEmpty }) else { return }
    report(
      node,
      "'path' in [[stream]] with encoding 'grpc' must be /package.Service/Method, "
        + "found \(quoted(path))")
  }

  private func isMediaType(_ text: ByteString) -> Bool {
    let type = text.bytes.prefix { $0 != UInt8(ascii: ";") }
    let parts = type.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard parts.count == 2 else { return false }
    var subtype = Array(parts[1])
    while subtype.last == UInt8(ascii: " ") { subtype.removeLast() }
    return isToken(Array(parts[0])) && isToken(subtype)
  }

  private mutating func readHeaders(_ table: SchemaTable) -> [Label] {
    let headers = labels(table, limit: ConfigurationLimits.headersMax)
    for header in headers {
      guard let node = tree.child(of: table.node, named: header.name) else { continue }
      if let problem = headerProblem(header.name) {
        reportKey(node, "header \(quoted(header.name)) in [[stream]] \(problem)")
      }
      if !isVisible(header.value, limit: 4096, allowsSpaces: true) {
        report(
          node,
          "the value of header \(quoted(header.name)) in [[stream]] must be 1 to 4096 visible "
            + "ASCII characters")
      }
    }
    return headers
  }

  /// RFC 9113 §8.2: lower case, no pseudo-header, nothing that belongs to a connection.
  private func headerProblem(_ name: ByteString) -> String? {
    if name.hasPrefix(":") { return "is a pseudo-header, which is set from other keys" }
    let lower = ByteString(name.bytes.map { ASCII.lowercase($0) })
    if lower != name { return "must be in lower case: \(quoted(lower))" }
    guard isToken(name.bytes) else { return "is not a header name" }
    let connection = words("connection keep-alive proxy-connection transfer-encoding upgrade te")
    if connection.contains(name) { return "belongs to a connection, which HTTP/2 does not allow" }
    if name == "host" { return "is set with the key 'authority'" }
    if name == "content-type" { return "is set with the key 'content_type'" }
    if name == "content-length" || name.hasPrefix("ce-") { return "is set for each record" }
    if name == "spoke-id" || name == "spoke-count" { return "is set for each call" }
    if name.hasPrefix("grpc-") { return "is reserved by gRPC" }
    return nil
  }

  /// RFC 9110 §5.6.2.
  private func isToken(_ bytes: [UInt8]) -> Bool {
    let marks = Array("!#$%&'*+-.^_`|~".utf8)
    return !bytes.isEmpty
      && bytes.allSatisfy { ASCII.isAlphanumeric($0) || marks.contains($0) }
  }
}
