import Primitives

/// `[mqtt]` and `[[mqtt.subscribe]]`.
extension SchemaReader {
  mutating func readMQTT(_ root: SchemaTable, node: NodeConfiguration) -> MQTTConfiguration? {
    guard let table = table(root, "mqtt", label: "[mqtt]") else { return nil }
    checkKeys(
      table, "broker tls client_id username password_file subscribe")
    var mqtt = MQTTConfiguration(
      host: ByteString(), port: 1883, clientID: "spoke-" + node.id)
    if let (text, node) = string(table, "broker", isRequired: true) {
      readBroker(text, node, into: &mqtt)
    }
    mqtt.tls = tlsReference(table)
    if let tls = tree.child(of: table.node, "tls"), !mqtt.isTLS, !mqtt.host.isEmpty {
      reportKey(tls, "'tls' in [mqtt] needs a broker that begins with mqtts://")
    }
    if let clientID = visible(table, "client_id", limit: 128) { mqtt.clientID = clientID.text }
    if let (username, node) = string(table, "username") {
      if username.isEmpty || username.count > 256 || username.bytes.contains(0) {
        report(node, "'username' in [mqtt] must be 1 to 256 bytes")
      }
      mqtt.username = username
    }
    if let file = path(table, "password_file") { mqtt.passwordFile = file }
    if let node = tree.child(of: table.node, "password_file"),
      tree.child(of: table.node, "username") == nil, isComplete
    {
      // MQTT 3.1.1 §3.1.2.9: no password without a user name.
      reportKey(node, "'password_file' in [mqtt] needs 'username'")
    }
    mqtt.subscriptions = readSubscriptions(table)
    if mqtt.subscriptions.isEmpty && isComplete {
      warn(table.node, "[mqtt] has no [[mqtt.subscribe]]: nothing is received from the broker")
    }
    return mqtt
  }

  private mutating func readBroker(
    _ text: ByteString, _ node: Int, into mqtt: inout MQTTConfiguration
  ) {
    mqtt.isTLS = text.hasPrefix("mqtts://")
    let scheme: ByteString = mqtt.isTLS ? "mqtts://" : "mqtt://"
    guard text.hasPrefix(scheme) else {
      return report(
        node,
        "'broker' in [mqtt] must be mqtt://HOST:PORT or mqtts://HOST:PORT, found "
          + quoted(text, isEndpoint: true))
    }
    switch Endpoint.parse(ByteString(Array(text.bytes.dropFirst(scheme.count)))) {
    case .problem(let problem):
      report(
        node, "'broker' in [mqtt] is \(quoted(text, isEndpoint: true)), which \(problem)")
    case .endpoint(let endpoint):
      mqtt.host = endpoint.host
      mqtt.port = endpoint.port ?? (mqtt.isTLS ? 8883 : 1883)
    }
  }

  private mutating func readSubscriptions(_ mqtt: SchemaTable) -> [MQTTSubscription] {
    var found: [MQTTSubscription] = []
    let tables = tables(
      mqtt, "subscribe", label: "[[mqtt.subscribe]]",
      limit: ConfigurationLimits.subscriptionsMax)
    for table in tables {
      checkKeys(table, "filter qos stream")
      var subscription = MQTTSubscription(
        filter: readFilter(table) ?? ByteString(), stream: streamReference(table) ?? 0)
      if let node = find(table, "qos"), case .integer(2) = tree[node].value {
        report(
          node,
          "'qos' in [[mqtt.subscribe]] cannot be 2: libmosquitto acknowledges a QoS 2 message "
            + "before it is safely stored; use 1")
      } else if let qos = integer(table, "qos", 0...1) {
        subscription.qos = UInt8(qos)
      }
      let first = found.firstIndex { $0.filter == subscription.filter }
      if let first, !subscription.filter.isEmpty {
        report(
          tree.child(of: table.node, "filter") ?? table.node,
          "a second [[mqtt.subscribe]] has the filter \(quoted(subscription.filter)); the first "
            + "is at \(place(of: tables[first].node))")
      }
      found.append(subscription)
    }
    return found
  }

  private mutating func readFilter(_ table: SchemaTable) -> ByteString? {
    guard let (text, node) = string(table, "filter", isRequired: true) else { return nil }
    guard let problem = filterProblem(text) else { return text }
    report(node, "'filter' in [[mqtt.subscribe]] is \(quoted(text)): \(problem)")
    return nil
  }

  /// MQTT 3.1.1 §4.7.1 and §4.7.3.
  private func filterProblem(_ filter: ByteString) -> String? {
    guard (1...65535).contains(filter.count) else { return "it must have 1 to 65535 bytes" }
    guard !filter.bytes.contains(0) else { return "it must not contain U+0000" }
    guard !filter.hasPrefix("$share/") else {
      return "shared subscriptions are not available in this version"
    }
    let levels = filter.bytes.split(
      separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    for (index, level) in levels.enumerated() {
      if level.contains(UInt8(ascii: "+")) && level.count > 1 {
        return "'+' must be alone between two '/'"
      }
      guard level.contains(UInt8(ascii: "#")) else { continue }
      guard level.count == 1 else { return "'#' must be alone behind the last '/'" }
      guard index == levels.count - 1 else { return "'#' must be the last level" }
    }
    return nil
  }
}
