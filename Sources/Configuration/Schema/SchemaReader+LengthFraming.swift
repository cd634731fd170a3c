import Ingest
import Primitives

/// `framing = { type = "length", … }`. Places in a frame are counted from its first byte, or, when
/// they are negative, back from behind its last one.
extension SchemaReader {
  static var algorithmNames: StaticString {
    """
    xor sum8 sum8-negated sum16 sum16-inverted sum16-negated fletcher8 crc8 crc8-maxim \
    crc16-xmodem crc16-ccitt-false crc16-kermit crc16-x25 crc16-mcrf4xx crc16-modbus crc16-arc \
    crc24q crc32
    """
  }

  /// In the order of their names.
  static var algorithms: [ChecksumAlgorithm] {
    [
      .xor, .sum8, .sum8Negated, .sum16, .sum16Inverted, .sum16Negated, .fletcher8, .crc8,
      .crc8Maxim, .crc16XModem, .crc16CCITTFalse, .crc16Kermit, .crc16X25, .crc16MCRF4XX,
      .crc16Modbus, .crc16ARC, .crc24Q, .crc32,
    ]
  }

  mutating func describedFraming(_ table: SchemaTable) -> LengthFraming? {
    let problemsBefore = errors.count
    let sync = hexadecimal(table, "sync", 1...4, isRequired: true) ?? [0]
    let trailer = hexadecimal(table, "trailer", 1...8) ?? []
    let field = lengthField(table)
    let headerCheck = readCheck(table, "header_check", sync: sync.count, trailer: 0, isHeader: true)
    let check = readCheck(
      table, "check", sync: sync.count, trailer: trailer.count, isHeader: false)
    var format = LengthFraming(
      sync: sync, size: .fixed(0), headerCheck: headerCheck, check: check, trailer: trailer,
      payloadStart: 0, payloadEnd: .end(trailer.count), maximum: FramingLimits.lengthFrameMax)
    if let field { format.size = .field(field) }
    setPayload(table, &format)
    let maximum = size(table, "max", 2...UInt64(FramingLimits.lengthFrameMax))
    if let size = integer(table, "size", 2...Int64(FramingLimits.lengthFrameMax)) {
      format.size = .fixed(Int(size))
      format.maximum = Int(size)
      for key: StaticString in ["length", "max"] {
        guard let node = tree.child(of: table.node, key) else { continue }
        reportKey(node, "\(quoted(tree[node].key)) and 'size' in \(table.label) exclude each other")
      }
    } else if let field {
      format.maximum = maximum.map { Int($0) } ?? FramingLimits.escapedFrameDefault
      format.size = .field(bounded(field, format))
    } else if tree.child(of: table.node, "length") == nil && isComplete {
      report(table.node, "missing key 'length' or 'size' in \(table.label)")
    }
    guard errors.count == problemsBefore else { return nil }
    if let problem = format.problem {
      report(table.node, "\(table.label) describes no frame: \(explanation(problem))")
      return nil
    }
    return format
  }

  private mutating func lengthField(_ table: SchemaTable) -> LengthFraming.LengthField? {
    guard let length = self.table(table, "length", label: "[[serial]] framing.length") else {
      return nil
    }
    checkKeys(length, "offset width endian bias mask")
    let offset = integer(length, "offset", 1...255, isRequired: true) ?? 1
    let width = integer(length, "width", 1...4) ?? 1
    let bias = integer(length, "bias", -65_536...65_536) ?? 0
    let mask = integer(length, "mask", 1...Int64(UInt32.max)) ?? Int64(UInt32.max)
    return LengthFraming.LengthField(
      offset: Int(offset), width: Int(width), order: order(length), mask: UInt32(mask),
      bias: Int(bias), maximum: 0)
  }

  /// The values that frames have: from the smallest frame that its parts fit, to the greatest.
  private func bounded(
    _ field: LengthFraming.LengthField, _ format: LengthFraming
  ) -> LengthFraming.LengthField {
    var field = field
    var front = max(format.headerBytes, format.payloadStart)
    var back = format.trailer.count
    func include(_ place: LengthFraming.Place, _ width: Int) {
      switch place {
      case .start(let distance): front = max(front, distance + width)
      case .end(let distance): back = max(back, distance)
      }
    }
    include(format.payloadEnd, 0)
    if let check = format.check {
      front = max(front, check.from)
      include(check.to, 0)
      include(check.at, check.algorithm.width)
    }
    field.minimum = UInt32(max(0, front + back - field.bias))
    field.maximum = UInt32(
      min(max(0, format.maximum - field.bias), FramingLimits.lengthFrameMax))
    return field
  }

  private mutating func readCheck(
    _ table: SchemaTable, _ key: StaticString, sync: Int, trailer: Int, isHeader: Bool
  ) -> LengthFraming.Check? {
    let label = "[[serial]] framing." + ByteString(key).description
    guard let check = self.table(table, key, label: label) else { return nil }
    checkKeys(check, "algorithm from to at endian")
    if tree.child(of: check.node, "algorithm") == nil && isComplete {
      reportMissing(check, "algorithm")
    }
    let index = choice(check, "algorithm", SchemaReader.algorithmNames) ?? 0
    let algorithm = SchemaReader.algorithms[index]
    // In a header the places are counted from the start; a frame's check stands before its trailer.
    if isHeader && tree.child(of: check.node, "at") == nil && isComplete {
      reportMissing(check, "at")
    }
    let at = place(check, "at", isHeader) ?? .end(algorithm.width + trailer)
    let from = integer(check, "from", 0...65_536) ?? Int64(sync)
    let to = place(check, "to", isHeader) ?? at
    return LengthFraming.Check(algorithm, from: Int(from), to: to, at: at, order: order(check))
  }

  private mutating func setPayload(_ table: SchemaTable, _ format: inout LengthFraming) {
    format.payloadStart = format.headerBytes
    if let check = format.check, case .end = check.at { format.payloadEnd = check.at }
    guard let payload = self.table(table, "payload", label: "[[serial]] framing.payload") else {
      return
    }
    checkKeys(payload, "from to")
    if let from = integer(payload, "from", 0...65_536) { format.payloadStart = Int(from) }
    if let to = place(payload, "to", false) { format.payloadEnd = to }
  }

  private mutating func place(
    _ table: SchemaTable, _ key: StaticString, _ isHeader: Bool
  ) -> LengthFraming.Place? {
    let lowest: Int64 = isHeader ? 1 : -65_536
    guard let value = integer(table, key, lowest...65_536) else { return nil }
    return value > 0 ? .start(Int(value)) : .end(Int(-value))
  }

  private mutating func order(_ table: SchemaTable) -> LengthFraming.ByteOrder {
    choice(table, "endian", "big little") == 1 ? .little : .big
  }

  private mutating func hexadecimal(
    _ table: SchemaTable, _ key: StaticString, _ count: ClosedRange<Int>, isRequired: Bool = false
  ) -> [UInt8]? {
    guard let (text, node) = string(table, key, isRequired: isRequired) else { return nil }
    var digits: [UInt8] = []
    var isValid = true
    for byte in text.bytes where byte != UInt8(ascii: " ") {
      if let digit = hexadecimalValue(byte) { digits.append(digit) } else { isValid = false }
    }
    guard isValid && digits.count % 2 == 0 && count.contains(digits.count / 2) else {
      report(
        node,
        "\(subject(node, table)) must be \(count.lowerBound) to \(count.upperBound) bytes "
          + "in hexadecimal such as \"55 AA\", found \(quoted(text))")
      return nil
    }
    var bytes: [UInt8] = []
    for index in 0..<digits.count / 2 {
      bytes.append(digits[2 * index] << 4 | digits[2 * index + 1])
    }
    return bytes
  }

  private func explanation(_ problem: LengthFramingProblem) -> String {
    switch problem {
    case .sync: "the sync has 1 to 4 bytes"
    case .length: "the length field lies behind the sync, and its values yield frames"
    case .fixedByte: "a fixed byte lies behind the sync, in the smallest frame"
    case .headerCheck: "the header's check stands behind what it covers, in the smallest frame"
    case .check: "the check and what it covers lie within the smallest frame"
    case .seed: "the seeds belong to ascending messages"
    case .trailer: "the trailer fits behind the header of the smallest frame"
    case .payload: "the payload lies within the smallest frame"
    case .maximum: "the greatest frame is smaller than the smallest, or above 64 KiB"
    }
  }
}
