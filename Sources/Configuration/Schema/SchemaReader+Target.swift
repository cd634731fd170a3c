import Primitives

/// `target` of a stream, and `[xds]`, whose servers are written like one.
extension SchemaReader {
  private static let listenerScheme: ByteString = "xds:///"

  mutating func readTarget(_ table: SchemaTable) -> TargetConfiguration {
    let tls = tlsReference(table)
    var host = HostConfiguration(isTLS: true, host: ByteString(), port: 443, tls: tls)
    guard let (text, node) = string(table, "target", isRequired: true) else { return .host(host) }
    if text.hasPrefix("xds:") { return readListener(text, node, table) }
    let forms = "https://HOST:PORT, http://HOST:PORT or xds:///NAME"
    guard
      let read = readHost(
        text, node, "'target' in [[stream]]", forms, hint: "; the path stands in 'path'")
    else {
      return .host(host)
    }
    host = read
    host.tls = tls
    if let tls = tree.child(of: table.node, "tls"), !host.isTLS {
      reportKey(tls, "'tls' in [[stream]] needs a target that begins with https://")
    }
    return .host(host)
  }

  /// `https://HOST:PORT` or `http://HOST:PORT`; nil: neither, and reported.
  private mutating func readHost(
    _ text: ByteString, _ node: Int, _ what: String, _ forms: String, hint: String = ""
  ) -> HostConfiguration? {
    let isTLS = text.hasPrefix("https://")
    let scheme: ByteString = isTLS ? "https://" : "http://"
    guard text.hasPrefix(scheme) else {
      report(node, "\(what) must be \(forms), found \(quoted(text, isEndpoint: true))")
      return nil
    }
    let rest = ByteString(Array(text.bytes.dropFirst(scheme.count)))
    switch Endpoint.parse(rest) {
    case .problem(let problem):
      let hasPath = rest.bytes.contains(UInt8(ascii: "/"))
      let value = quoted(text, isEndpoint: true)
      report(node, "\(what) is \(value), which \(problem)" + (hasPath ? hint : ""))
      return HostConfiguration(isTLS: isTLS, host: ByteString(), port: 443)
    case .endpoint(let endpoint):
      return HostConfiguration(
        isTLS: isTLS, host: endpoint.host, port: endpoint.port ?? (isTLS ? 443 : 80))
    }
  }

  // MARK: xds:///NAME

  private mutating func readListener(
    _ text: ByteString, _ node: Int, _ table: SchemaTable
  ) -> TargetConfiguration {
    if let tls = tree.child(of: table.node, "tls") {
      warn(
        tls, "'tls' in [[stream]] is not for an xds: target: the control plane decides on its TLS")
    }
    let scheme = SchemaReader.listenerScheme
    guard text.hasPrefix(scheme) else {
      let hasAuthority = text.hasPrefix("xds://")
      report(
        node,
        "'target' in [[stream]] is \(quoted(text, isEndpoint: true)), but must be xds:///NAME"
          + (hasAuthority ? ": an authority is not available in this version" : ""))
      return .listener(ByteString())
    }
    let name = ByteString(Array(text.bytes.dropFirst(scheme.count)))
    let limit = ConfigurationLimits.listenerNameBytesMax
    if !isVisible(name, limit: limit, allowsSpaces: false) {
      report(
        node,
        "'target' in [[stream]] must be xds:/// and the listener's name, 1 to \(limit) visible "
          + "ASCII characters, found \(quoted(text))")
    }
    listenerTargets.append((name: name, node: node))
    return .listener(name)
  }

  /// Without the key `authority` the listener's name is the authority, if it can be one.
  mutating func checkAuthority(of stream: StreamConfiguration, _ table: SchemaTable) {
    guard case .listener(let name) = stream.target, !name.isEmpty,
      case .problem(let problem) = Endpoint.parse(name)
    else { return }
    report(
      tree.child(of: table.node, "target") ?? table.node,
      "missing key 'authority' in [[stream]]: it is the listener's name unless it is set, and "
        + "\(quoted(name, isEndpoint: true)) \(problem)")
  }

  /// Listeners of a control plane need one, and names that no host has taken (`HOST_PORT`).
  mutating func checkListeners(_ configuration: Configuration, _ root: SchemaTable) {
    if configuration.xds == nil, tree.child(of: root.node, "xds") == nil, isComplete {
      for (name, node) in listenerTargets {
        report(
          node,
          "'target' in [[stream]] is \(quoted(SchemaReader.listenerScheme + name)), which needs a "
            + "table [xds] with 'servers' or 'resources'")
      }
    }
    var hosts = configuration.xds?.servers ?? []
    for stream in configuration.streams {
      if case .host(let host) = stream.target { hosts.append(host) }
    }
    for host in hosts where !host.host.isEmpty {
      let taken = host.host + ByteString("_\(host.port)")
      for (name, node) in listenerTargets where name == taken || name.hasPrefix(taken + "_") {
        report(
          node,
          "'target' in [[stream]]: the name \(quoted(name, isEndpoint: true)) is that of another target, "
            + quoted(host.authority))
      }
    }
  }

  // MARK: [xds]

  mutating func readXDS(_ root: SchemaTable) -> XDSConfiguration? {
    guard let table = table(root, "xds", label: "[xds]") else { return nil }
    checkKeys(
      table,
      "servers transport tls cache fetch_timeout runtime resources keep_deleted")
    var xds = XDSConfiguration()
    xds.servers = readServers(table)
    if choice(table, "transport", "sotw delta") == 1 { xds.transport = .incremental }
    if let (text, node) = string(table, "cache") {
      xds.cache = text
      if text.bytes.contains(0) || text.count > ConfigurationLimits.pathBytesMax {
        report(node, "'cache' in [xds] is not a directory's name; an empty one turns the cache off")
      }
    }
    // gRPC and Envoy wait for 15 s; over a satellite a minute may be short.
    if let timeout = duration(table, "fetch_timeout", .zero...(.seconds(3600))) {
      xds.fetchTimeout = timeout
    }
    if let layers = names(table, "runtime", limit: ConfigurationLimits.runtimeLayersMax) {
      xds.runtime = []
      for (text, node) in layers {
        if xds.runtime.contains(text) { reportTwice(text, node, "'runtime' in [xds]") }
        xds.runtime.append(text)
      }
    }
    if let resources = path(table, "resources") { xds.resources = resources }
    xds.keepDeleted = boolean(table, "keep_deleted") ?? false
    if tree.child(of: table.node, "servers") == nil, xds.resources.isEmpty, isComplete,
      tree.child(of: table.node, "resources") == nil
    {
      report(table.node, "[xds] needs 'servers' or 'resources'")
    }
    return xds
  }

  private mutating func readServers(_ table: SchemaTable) -> [HostConfiguration] {
    let tls = tlsReference(table)
    var servers: [HostConfiguration] = []
    let limit = ConfigurationLimits.managementServersMax
    guard let texts = names(table, "servers", limit: limit) else { return [] }
    if let node = tree.child(of: table.node, "servers"), tree.children(of: node).isEmpty {
      report(node, "'servers' in [xds] is empty; without servers it is left out")
    }
    for (text, node) in texts {
      let forms = "https://HOST:PORT or http://HOST:PORT"
      guard var server = readHost(text, node, "'servers' in [xds]", forms) else { continue }
      if server.isTLS { server.tls = tls }
      if !server.host.isEmpty, servers.contains(server) {
        reportTwice(text, node, "'servers' in [xds]")
      }
      servers.append(server)
    }
    if let tls = tree.child(of: table.node, "tls"), !servers.contains(where: { $0.isTLS }) {
      reportKey(tls, "'tls' in [xds] needs a server that begins with https://")
    }
    return servers
  }

  private mutating func reportTwice(_ text: ByteString, _ node: Int, _ what: String) {
    report(node, "\(what) has \(quoted(text)) twice")
  }

  /// An array of strings; nil: there is none.
  private mutating func names(
    _ table: SchemaTable, _ key: StaticString, limit: Int
  ) -> [(text: ByteString, node: Int)]? {
    guard let node = find(table, key) else { return nil }
    guard case .array = tree[node].value else {
      reportKind(table, key, node, "an array of strings")
      return nil
    }
    var found: [(text: ByteString, node: Int)] = []
    for element in tree.children(of: node) {
      guard case .string(let text) = tree[element].value, !text.isEmpty,
        text.count <= ConfigurationLimits.listenerNameBytesMax
      else {
        reportKind(table, key, element, "an array of strings that are not empty")
        continue
      }
      guard found.count < limit else {
        report(element, "more than \(limit) in \(quoted(tree[node].key)) of \(table.label)")
        break
      }
      found.append((text: text, node: element))
    }
    return found
  }
}
