import Ingest
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
      """
      name device baud data_bits parity stop_bits flow framing delimiter deliver stream rs485 \
      low_latency
      """, later: "suppress_echo")
    var port = SerialConfiguration(
      name: name(table, "name") ?? ByteString(),
      device: path(table, "device", isRequired: true) ?? ByteString(),
      baud: UInt32(integer(table, "baud", 1...20_000_000, isRequired: true) ?? 1),
      framing: readFraming(table) ?? .nmea,
      stream: streamReference(table) ?? 0)
    if let bits = integer(table, "data_bits", 5...8) { port.dataBits = UInt8(bits) }
    if let bits = integer(table, "stop_bits", 1...2) { port.stopBits = UInt8(bits) }
    if let parity = choice(table, "parity", "none even odd mark space") {
      port.parity = [.none, .even, .odd, .mark, .space][parity]
    }
    if let flow = choice(table, "flow", "none rts-cts xon-xoff") {
      port.flow = [.none, .rtsCts, .xonXoff][flow]
    }
    port.rs485 = readRS485(table, flow: port.flow)
    port.lowLatency = boolean(table, "low_latency") ?? false
    return port
  }
}
