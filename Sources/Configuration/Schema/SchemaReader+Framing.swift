import Ingest
import Primitives

/// `framing` of a `[[serial]]` table.
extension SchemaReader {
  /// `framing = "line"` with `delimiter` or `deliver` beside it, or a table with `type` and its keys
  /// inside.
  mutating func readFraming(_ port: SchemaTable) -> FramingSpecification? {
    guard let node = find(port, "framing", isRequired: true) else { return nil }
    switch tree[node].value {
    case .string(let type):
      return framing(type, node, keys: port, isTable: false)
    case .table:
      let table = SchemaTable(node: node, label: "[[serial]] framing")
      for key: StaticString in ["delimiter", "deliver"] {
        guard let misplaced = tree.child(of: port.node, key) else { continue }
        reportKey(
          misplaced,
          "\(subject(misplaced, port)) belongs into the table 'framing', which this port has")
      }
      guard let (type, typeNode) = string(table, "type", isRequired: true) else { return nil }
      return framing(type, typeNode, keys: table, isTable: true)
    default:
      report(
        node,
        "'framing' in [[serial]] must be a string or a table, found \(tree[node].value.kind)")
      return nil
    }
  }

  private mutating func framing(
    _ type: ByteString, _ node: Int, keys table: SchemaTable, isTable: Bool
  ) -> FramingSpecification? {
    let framings = SchemaReader.framings
    guard framings.contains(type) else {
      let hint = suggestion(type, among: framings)
      report(
        node,
        "unknown framing \(quoted(type)) in [[serial]]\(hint); available are "
          + alternatives(framings))
      return nil
    }
    let isLength = SchemaReader.lengthFramings.contains(type)
    if type != "line" { refuse(table, "delimiter", "framing 'line'", type) }
    if !isLength { refuse(table, "deliver", "framings with a payload field", type) }
    if isTable {
      // The two that are refused above with the reason are no unknown keys.
      checkKeys(table, words("type delimiter deliver") + words(SchemaReader.keys(of: type)))
    } else if type == "length" {
      report(
        node,
        "framing 'length' needs a table with its description: framing = { type = \"length\", … }")
      return nil
    }
    if isLength { return lengthFraming(type, table, isTable: isTable) }
    // Only a table has keys of its own; beside a string stand the port's.
    return isTable ? framing(type, table) : framing(type, table, isPlain: true)
  }

  private mutating func framing(
    _ type: ByteString, _ table: SchemaTable, isPlain: Bool = false
  ) -> FramingSpecification {
    switch type {
    case "line": return .line(delimiter: delimiter(table))
    case "json-lines": return .jsonLines
    case "nmea":
      let checksum = isPlain ? 0 : choice(table, "checksum", "required optional")
      return .sentences(allowsMissingChecksum: checksum == 1)
    case "slip": return .slip(maximum: isPlain ? escapedDefault : escapedMaximum(table))
    case "cobs": return .cobs(maximum: isPlain ? escapedDefault : escapedMaximum(table))
    case "hdlc": return .hdlc(maximum: isPlain ? escapedDefault : escapedMaximum(table))
    case "stx-etx": return .stxEtx(isPlain ? STXETXFraming() : stxEtx(table))
    case "modbus-rtu":
      let latency = isPlain ? nil : duration(table, "latency", .zero...(.milliseconds(500)))
      return .modbusRTU(latency: latency ?? .zero)
    default: return .modbusASCII
    }
  }

  private mutating func lengthFraming(
    _ type: ByteString, _ table: SchemaTable, isTable: Bool
  ) -> FramingSpecification? {
    var deliver: FramingSpecification.Deliver = type == "vesc" ? .payload : .frame
    if let choice = choice(table, "deliver", "frame payload") {
      deliver = choice == 0 ? .frame : .payload
    }
    switch type {
    case "vesc": return .length(LengthFraming.vesc, deliver: deliver)
    case "xiaomi": return .length(LengthFraming.xiaomi, deliver: deliver)
    case "ninebot": return .length(LengthFraming.ninebot, deliver: deliver)
    case "daly": return .length(LengthFraming.daly, deliver: deliver)
    case "jbd": return .length(LengthFraming.jbd, deliver: deliver)
    case "ubx": return .length(LengthFraming.ubx, deliver: deliver)
    case "rtcm3": return .length(LengthFraming.rtcm3, deliver: deliver)
    case "mavlink":
      let messages = isTable ? mavlinkMessages(table) : []
      return .length(LengthFraming.mavlink(adding: messages), deliver: deliver)
    default:
      guard let format = describedFraming(table) else { return nil }
      return .length([format], deliver: deliver)
    }
  }

  private mutating func refuse(
    _ table: SchemaTable, _ key: StaticString, _ owner: String, _ type: ByteString
  ) {
    guard let node = tree.child(of: table.node, key) else { return }
    reportKey(
      node, "\(subject(node, table)) belongs to \(owner), but framing is \(quoted(type))")
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

  private var escapedDefault: Int { FramingLimits.escapedFrameDefault }

  private mutating func escapedMaximum(_ table: SchemaTable) -> Int {
    let size = size(table, "max", 1...UInt64(FramingLimits.escapedFrameMax))
    return size.map { Int($0) } ?? escapedDefault
  }

  private mutating func stxEtx(_ table: SchemaTable) -> STXETXFraming {
    var framing = STXETXFraming(maximum: escapedMaximum(table))
    if let choice = choice(table, "check", ["none"] + words(SchemaReader.algorithmNames)) {
      framing.check = choice == 0 ? nil : SchemaReader.algorithms[choice - 1]
    }
    framing.isStuffed = choice(table, "stuffing", "none dle") == 1
    return framing
  }

  /// `crc_extra = { 42000 = 17 }`: message ids, and the CRC_EXTRA of each.
  private mutating func mavlinkMessages(_ table: SchemaTable) -> [MAVLinkMessage] {
    guard let extra = self.table(table, "crc_extra", label: "[[serial]] framing.crc_extra") else {
      return []
    }
    var messages: [MAVLinkMessage] = []
    for child in tree.children(of: extra.node) {
      let key = tree[child].key
      guard let id = parseMessageID(key) else {
        reportKey(child, "\(subject(child, extra)) is no message id from 0 to 16777215")
        continue
      }
      guard messages.count < ConfigurationLimits.mavlinkMessagesMax else {
        reportKey(
          child, "more than \(ConfigurationLimits.mavlinkMessagesMax) keys in \(extra.label)")
        break
      }
      guard let seed = integer(extra, at: child, 0...255) else { continue }
      messages.append(MAVLinkMessage(id: id, crcExtra: UInt8(seed)))
    }
    return messages
  }

  private func parseMessageID(_ text: ByteString) -> UInt32? {
    guard (1...8).contains(text.count) else { return nil }
    var value: UInt32 = 0
    for byte in text.bytes {
      guard byte >= 0x30 && byte <= 0x39 else { return nil }
      value = value * 10 + UInt32(byte - 0x30)
    }
    return value <= 0xFF_FFFF ? value : nil
  }

  private static var framings: [ByteString] {
    words("line json-lines nmea slip cobs hdlc stx-etx modbus-rtu modbus-ascii") + lengthFramings
  }

  private static var lengthFramings: [ByteString] {
    words("vesc xiaomi ninebot daly jbd ubx rtcm3 mavlink length")
  }

  /// The keys of a framing's table besides `type`, `delimiter` and `deliver`.
  private static func keys(of type: ByteString) -> StaticString {
    switch type {
    case "nmea": "checksum"
    case "slip", "cobs", "hdlc": "max"
    case "stx-etx": "check stuffing max"
    case "modbus-rtu": "latency"
    case "mavlink": "crc_extra"
    case "length": "sync length size header_check check trailer payload max"
    default: ""
    }
  }
}
