import Primitives

/// `[[serial]]`.
extension SchemaReader {
  mutating func readSerial(_ root: SchemaTable) -> [SerialConfiguration] {
    let tables = tables(
      root, "serial", label: "[[serial]]", limit: ConfigurationLimits.serialPortsMax)
    _ = names(of: tables)
    var ports: [SerialConfiguration] = []
    for table in tables {
      let port = readPort(table)
      let first = ports.firstIndex { $0.device == port.device }
      if let first, !port.device.isEmpty {
        report(
          tree.child(of: table.node, "device") ?? table.node,
          "a second [[serial]] opens \(quoted(port.device)); the first is at "
            + place(of: tables[first].node))
      }
      ports.append(port)
    }
    return ports
  }

  private mutating func readPort(_ table: SchemaTable) -> SerialConfiguration {
    checkKeys(
      table,
      [
        "name", "device", "baud", "data_bits", "parity", "stop_bits", "flow", "framing",
        "delimiter", "deliver", "stream", "rs485", "low_latency",
      ], later: ["suppress_echo"])
    var port = SerialConfiguration(
      name: name(table, "name") ?? ByteString(),
      device: path(table, "device", isRequired: true) ?? ByteString(),
      baud: UInt32(integer(table, "baud", 1...20_000_000, isRequired: true) ?? 1),
      framing: readFraming(table) ?? .nmea,
      stream: streamReference(table) ?? 0)
    if let bits = integer(table, "data_bits", 5...8) { port.dataBits = UInt8(bits) }
    if let bits = integer(table, "stop_bits", 1...2) { port.stopBits = UInt8(bits) }
    if let parity = choice(table, "parity", ["none", "even", "odd", "mark", "space"]) {
      port.parity = [.none, .even, .odd, .mark, .space][parity]
    }
    if let flow = choice(table, "flow", ["none", "rts-cts", "xon-xoff"]) {
      port.flow = [.none, .rtsCts, .xonXoff][flow]
    }
    port.rs485 = readRS485(table, flow: port.flow)
    port.lowLatency = boolean(table, "low_latency") ?? false
    return port
  }

  /// `framing = "line"` with its keys beside it, or a table with `type` and its keys inside.
  private mutating func readFraming(_ port: SchemaTable) -> FramingConfiguration? {
    guard let node = find(port, "framing", isRequired: true) else { return nil }
    switch tree[node].value {
    case .string(let type):
      return framing(type, node, keys: port)
    case .table:
      let table = SchemaTable(node: node, label: "[[serial]] framing")
      for key: ByteString in ["delimiter", "deliver"] {
        guard let misplaced = tree.child(of: port.node, key) else { continue }
        reportKey(
          misplaced,
          "\(quoted(key)) in [[serial]] belongs into the table 'framing', which this port has")
      }
      guard let (type, typeNode) = string(table, "type", isRequired: true) else { return nil }
      let framing = framing(type, typeNode, keys: table)
      // The keys of a framing that is not known are not known either.
      if SchemaReader.framings.contains(type) {
        checkKeys(table, ["type", "delimiter", "deliver"])
      }
      return framing
    default:
      report(
        node,
        "'framing' in [[serial]] must be a string or a table, found \(tree[node].value.kind)")
      return nil
    }
  }

  private mutating func framing(
    _ type: ByteString, _ node: Int, keys table: SchemaTable
  ) -> FramingConfiguration? {
    if SchemaReader.laterFramings.contains(type) {
      report(node, "framing \(quoted(type)) is not available in this version")
      return nil
    }
    guard SchemaReader.framings.contains(type) else {
      report(
        node,
        "unknown framing \(quoted(type)) in [[serial]]"
          + suggestion(type, among: SchemaReader.framings + SchemaReader.laterFramings)
          + "; available are \(alternatives(SchemaReader.framings))")
      return nil
    }
    if type != "line" { refuse(table, "delimiter", "framing 'line'", type) }
    if type != "vesc" { refuse(table, "deliver", "framing 'vesc'", type) }
    if type == "line" { return .line(delimiter: delimiter(table)) }
    if type == "nmea" { return .nmea }
    return .vesc(deliver: choice(table, "deliver", ["frame", "payload"]) == 0 ? .frame : .payload)
  }

  private mutating func refuse(
    _ table: SchemaTable, _ key: ByteString, _ owner: String, _ type: ByteString
  ) {
    guard let node = tree.child(of: table.node, key) else { return }
    reportKey(
      node, "\(quoted(key)) in \(table.label) belongs to \(owner), but framing is \(quoted(type))")
  }

  private mutating func delimiter(_ table: SchemaTable) -> UInt8 {
    guard let (text, node) = string(table, "delimiter") else { return UInt8(ascii: "\n") }
    guard text.count == 1 else {
      report(
        node,
        "'delimiter' in \(table.label) must be one ASCII character such as \"\\n\" or \";\", "
          + "found \(quoted(text))")
      return UInt8(ascii: "\n")
    }
    return text.bytes[0]
  }

  private static var framings: [ByteString] { ["line", "nmea", "vesc"] }

  private static var laterFramings: [ByteString] {
    [
      "json-lines", "slip", "cobs", "hdlc", "stx-etx", "xiaomi", "ninebot", "daly", "jbd", "ubx",
      "rtcm3", "mavlink", "modbus-rtu", "modbus-ascii", "length",
    ]
  }
}
