import Primitives

/// `[node]`, `[memory]`, `[spool]`, `[tls.NAME]`, `[reports]`, `[admin]`, `[log]`.
extension SchemaReader {
  mutating func readNode(_ root: SchemaTable) -> NodeConfiguration {
    var node = NodeConfiguration(id: ByteString())
    // Without the table, its required key is missing from the file as such.
    guard let table = table(root, "node", label: "[node]") else {
      if isComplete && tree.child(of: root.node, "node") == nil {
        report(root.node, "missing key 'id' in [node]: there is no table [node]")
      }
      return node
    }
    checkKeys(table, "id cluster locality metadata")
    if let id = name(table, "id") { node.id = id }
    if let cluster = string(table, "cluster") { node.cluster = cluster.text }
    if let locality = self.table(table, "locality", label: "[node] locality") {
      checkKeys(locality, "region zone sub_zone")
      if let region = string(locality, "region") { node.region = region.text }
      if let zone = string(locality, "zone") { node.zone = zone.text }
      if let subZone = string(locality, "sub_zone") { node.subZone = subZone.text }
    }
    if let metadata = self.table(table, "metadata", label: "[node] metadata") {
      node.metadata = labels(metadata, limit: ConfigurationLimits.labelsMax)
    }
    return node
  }

  /// Every key of the table with its text.
  mutating func labels(_ table: SchemaTable, limit: Int) -> [Label] {
    var labels: [Label] = []
    for child in tree.children(of: table.node) {
      let key = tree[child].key
      guard labels.count < limit else {
        reportKey(child, "more than \(limit) keys in \(table.label)")
        break
      }
      if case .invalid = tree[child].value { continue }
      if let value = string(table, at: child) { labels.append(Label(name: key, value: value)) }
    }
    return labels
  }

  mutating func readMemory(_ root: SchemaTable) -> MemoryConfiguration {
    var memory = MemoryConfiguration()
    guard let table = table(root, "memory", label: "[memory]") else { return memory }
    checkKeys(table, "budget")
    if let budget = size(table, "budget", (2 << 20)...(1 << 30)) { memory.budget = Int(budget) }
    return memory
  }

  mutating func readSpool(_ root: SchemaTable, budget: Int) -> SpoolConfiguration {
    var spool = SpoolConfiguration()
    // Small commits wear the flash more, but a small budget comes before that.
    if budget < 4 << 20 { spool.commitBytes = budget / 128 }
    let memoryTable = tree.child(of: root.node, "memory")
    guard let table = table(root, "spool", label: "[spool]") else {
      checkCommitBytes(spool, at: memoryTable, budget: budget)
      return spool
    }
    checkKeys(table, "directory size segment free_floor commit thin")
    if let directory = path(table, "directory") { spool.directory = directory }
    if let size = size(table, "size", (256 << 10)...(1 << 40)) { spool.size = size }
    if let segment = size(table, "segment", (64 << 10)...(4 << 20)) {
      spool.segment = UInt32(segment)
    }
    if let floor = size(table, "free_floor", 0...(1 << 40)) { spool.freeFloor = floor }
    var at = table.node
    if let commit = self.table(table, "commit", label: "[spool] commit") {
      readCommit(commit, into: &spool)
      at = tree.child(of: commit.node, "bytes") ?? commit.node
    }
    if let thin = boolean(table, "thin") { spool.thin = thin }
    // Four segments are thinned at once, beside those that are written.
    let least: (count: UInt64, text: StaticString) = spool.thin ? (8, "eight") : (4, "four")
    if UInt64(spool.segment) * least.count > spool.size {
      let node = tree.child(of: table.node, "size") ?? table.node
      report(
        node,
        "'size' in [spool] is \(sizeText(spool.size)), but must be at least \(least.text) segments of "
          + sizeText(UInt64(spool.segment)) + (spool.thin ? " with 'thin'" : ""))
    }
    if spool.commitBytes > Int(spool.segment) {
      report(
        at,
        "'bytes' in [spool] commit is \(sizeText(UInt64(spool.commitBytes))), but must be at "
          + "most one segment of \(sizeText(UInt64(spool.segment)))")
    }
    checkCommitBytes(spool, at: at, budget: budget)
    return spool
  }

  private mutating func readCommit(_ table: SchemaTable, into spool: inout SpoolConfiguration) {
    checkKeys(table, "bytes interval sync_interval")
    if let bytes = size(table, "bytes", (1 << 10)...(4 << 20)) { spool.commitBytes = Int(bytes) }
    if let interval = duration(table, "interval", .milliseconds(1)...(.seconds(3600))) {
      spool.commitInterval = interval
    }
    if let interval = duration(table, "sync_interval", .zero...(.seconds(3600))) {
      spool.syncInterval = interval
    }
    guard spool.syncInterval > spool.commitInterval else { return }
    let node = tree.child(of: table.node, "sync_interval")
    report(
      node ?? tree.child(of: table.node, "interval") ?? table.node,
      "'sync_interval' in [spool] commit is \(durationText(spool.syncInterval)), but must be at "
        + "most 'interval', which is \(durationText(spool.commitInterval))")
  }

  /// Each of the four logs may hold one commit in memory; half of the budget is for the rest.
  private mutating func checkCommitBytes(
    _ spool: SpoolConfiguration, at node: Int?, budget: Int
  ) {
    guard let node, spool.commitBytes > budget / 8 else { return }
    report(
      node,
      "'bytes' in [spool] commit is \(sizeText(UInt64(spool.commitBytes))), but must be at most "
        + "an eighth of [memory] budget, which is \(sizeText(UInt64(budget)))")
  }

  /// The `[tls.NAME]` tables. Their names are in `tlsNames` afterwards.
  mutating func readTLS(_ root: SchemaTable) -> [TLSConfiguration] {
    guard let parent = table(root, "tls", label: "[tls]") else { return [] }
    var found: [TLSConfiguration] = []
    for child in tree.children(of: parent.node) {
      let name = tree[child].key
      if case .invalid = tree[child].value { continue }
      guard case .table = tree[child].value else {
        reportKey(child, "\(quoted(name)) in [tls] must be a table [tls.NAME]")
        continue
      }
      guard found.count < ConfigurationLimits.tlsTablesMax else {
        report(child, "more than \(ConfigurationLimits.tlsTablesMax) [tls.NAME] tables")
        break
      }
      _ = isName(name, child, "the name of [tls.NAME]")
      let label = "[tls." + name.description + "]"
      found.append(readTLS(SchemaTable(node: child, label: label), name: name))
    }
    tlsNames = found.map { $0.name }
    usedTLS = found.map { _ in false }
    return found
  }

  private mutating func readTLS(_ table: SchemaTable, name: ByteString) -> TLSConfiguration {
    var tls = TLSConfiguration(name: name)
    checkKeys(table, "ca certificate key minimum")
    if let ca = path(table, "ca") { tls.ca = ca }
    if let certificate = path(table, "certificate") { tls.certificate = certificate }
    if let key = path(table, "key") { tls.key = key }
    if let minimum = choice(table, "minimum", "1.2 1.3") {
      tls.minimum = minimum == 0 ? .tls12 : .tls13
    }
    let hasCertificate = tree.child(of: table.node, "certificate") != nil
    let hasKey = tree.child(of: table.node, "key") != nil
    if hasCertificate != hasKey && isComplete {
      let keys = hasKey ? ("'certificate'", "'key'") : ("'key'", "'certificate'")
      report(table.node, "missing key \(keys.0) in \(table.label), as it has \(keys.1)")
    }
    return tls
  }

  mutating func readReports(_ root: SchemaTable) -> Int? {
    guard let table = table(root, "reports", label: "[reports]") else { return nil }
    checkKeys(table, "stream")
    return streamReference(table)
  }

  mutating func readAdmin(_ root: SchemaTable) -> AdminConfiguration {
    var admin = AdminConfiguration()
    guard let table = table(root, "admin", label: "[admin]") else { return admin }
    checkKeys(table, "socket listen allow_remote")
    let limit = ConfigurationLimits.socketPathBytesMax
    if let socket = path(table, "socket", limit: limit) { admin.socket = socket }
    let allowsRemote = boolean(table, "allow_remote") ?? false
    guard let (text, node) = string(table, "listen") else { return admin }
    switch Endpoint.parse(text) {
    case .problem(let problem):
      report(node, "'listen' in [admin] is \(quoted(text, isEndpoint: true)), which \(problem)")
    case .endpoint(let endpoint):
      guard let port = endpoint.port else {
        report(node, "'listen' in [admin] is \(quoted(text, isEndpoint: true)), which has no port")
        break
      }
      if let listen = listenAddress(endpoint, port, allowsRemote, text, node) {
        admin.listen = listen
      }
    }
    return admin
  }

  private mutating func listenAddress(
    _ endpoint: Endpoint, _ port: UInt16, _ allowsRemote: Bool, _ text: ByteString, _ node: Int
  ) -> ListenConfiguration? {
    let host: ByteString = endpoint.host == "localhost" ? "127.0.0.1" : endpoint.host
    guard Endpoint.isIPv4(host.bytes) || Endpoint.isIPv6(host.bytes) else {
      report(
        node,
        "'listen' in [admin] is \(quoted(text, isEndpoint: true)), but must be an address, not a name"
      )
      return nil
    }
    guard allowsRemote || endpoint.isLoopback else {
      report(
        node,
        "'listen' in [admin] is \(quoted(text, isEndpoint: true)), which is not a loopback address; "
          + "'allow_remote = true' permits it")
      return nil
    }
    return ListenConfiguration(host: host, port: port)
  }

  mutating func readLog(_ root: SchemaTable) -> LogLevel {
    guard let table = table(root, "log", label: "[log]") else { return .info }
    checkKeys(table, "level")
    let level = choice(table, "level", "error warning info debug")
    return level.flatMap { LogLevel(rawValue: UInt8($0)) } ?? .info
  }
}
