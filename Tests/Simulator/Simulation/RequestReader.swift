import Configuration
import GRPC
import Primitives
import Protobuf

/// A record as it stands in a request.
struct SeenRecord {
  var key: RecordKey
  var payload: [UInt8]
}

/// A request as an upstream has it so far.
struct SeenRequest {
  var stream: UInt32
  /// The stream of records that its path names; -1: none.
  var records = -1
  var id = ByteString()
  var count = 0
  var body: [UInt8] = []
  /// It was answered before its end; what still comes is dropped.
  var isAnswered = false
}

/// Takes requests apart, each encoding by its own rules.
struct RequestReader {
  let streams: [ByteString]

  /// Nil: the request is not what it should be.
  func records(
    _ request: SeenRequest, _ encoding: Encoding
  ) -> [SeenRecord]? {
    switch encoding {
    case .cloudEvents:
      guard let key = key(request.id.bytes.span) else { return nil }
      return [SeenRecord(key: key, payload: request.body)]
    case .cloudEventsBatch: return events(request.body)
    case .protobuf: return batch(request.body, request.records)
    case .grpc: return messages(request)
    }
  }

  /// `sim/<stream>/<epoch>-<sequence>`.
  func key(_ id: Span<UInt8>) -> RecordKey? {
    var parts: [[UInt8]] = [[]]
    for index in id.indices {
      if id[index] == UInt8(ascii: "/") || (id[index] == UInt8(ascii: "-") && parts.count == 3) {
        parts.append([])
      } else {
        parts[parts.count - 1].append(id[index])
      }
    }
    guard parts.count == 4, ByteString(parts[0]) == "sim",
      let stream = streams.firstIndex(of: ByteString(parts[1])),
      let epoch = hexadecimal(parts[2]), let sequence = decimal(parts[3])
    else { return nil }
    return RecordKey(stream: stream, epoch: epoch, sequence: sequence)
  }

  func hexadecimal(_ text: [UInt8]) -> UInt64? {
    guard !text.isEmpty, text.count <= 16 else { return nil }
    var value: UInt64 = 0
    for byte in text {
      switch byte {
      case 0x30...0x39: value = value << 4 | UInt64(byte - 0x30)
      case 0x61...0x66: value = value << 4 | UInt64(byte - 0x57)
      default: return nil
      }
    }
    return value
  }

  func decimal(_ text: [UInt8]) -> UInt64? {
    guard !text.isEmpty, text.count <= 19 else { return nil }
    var value: UInt64 = 0
    for byte in text {
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      value = value * 10 + UInt64(byte - 0x30)
    }
    return value
  }

  // MARK: CloudEvents in JSON

  private func events(_ body: [UInt8]) -> [SeenRecord]? {
    guard let parts = JSONPieces.elements(body) else { return nil }
    var records: [SeenRecord] = []
    for part in parts {
      guard let event = JSONValue(parsing: body.span.extracting(part)), let id = event["id"],
        let key = key(id.text.bytes.span)
      else { return nil }
      if let data = JSONPieces.member("data", of: body, in: part) {
        records.append(SeenRecord(key: key, payload: Array(body[data])))
      } else if let text = event["data_base64"], let payload = base64(text.text.bytes) {
        records.append(SeenRecord(key: key, payload: payload))
      } else {
        return nil
      }
    }
    return records
  }

  private func base64(_ text: [UInt8]) -> [UInt8]? {
    var payload: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for byte in text where byte != UInt8(ascii: "=") {
      let value: UInt8
      switch byte {
      case 0x41...0x5A: value = byte - 0x41
      case 0x61...0x7A: value = byte - 0x61 + 26
      case 0x30...0x39: value = byte - 0x30 + 52
      case UInt8(ascii: "+"): value = 62
      case UInt8(ascii: "/"): value = 63
      default: return nil
      }
      bits = bits << 6 | UInt32(value)
      count += 6
      guard count >= 8 else { continue }
      count -= 8
      payload.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
    }
    return text.count % 4 == 0 ? payload : nil
  }

  // MARK: Protobuf

  private func batch(_ body: [UInt8], _ stream: Int) -> [SeenRecord]? {
    var records: [SeenRecord] = []
    var epoch: UInt64?
    do throws(WireError) {
      var reader = WireReader(body.span)
      while let field = try reader.next(in: body.span) {
        guard let range = field.value.range else { continue }
        switch field.number {
        case 2: guard ByteString(Array(body[range])) == streams[stream] else { return nil }
        case 3: epoch = hexadecimal(Array(body[range]))
        case 5:
          guard let epoch else { return nil }
          var key = RecordKey(stream: stream, epoch: epoch, sequence: 0)
          var payload: [UInt8] = []
          var record = try reader.message(range)
          while let field = try record.next(in: body.span) {
            if field.number == 1 { key.sequence = field.value.uint64 ?? 0 }
            if field.number == 5, let range = field.value.range { payload = Array(body[range]) }
          }
          records.append(SeenRecord(key: key, payload: payload))
        default: break
        }
      }
    } catch { return nil }
    return records.isEmpty ? nil : records
  }

  // MARK: gRPC

  /// Of several messages only the first one's id is said; the numbers of the others follow it.
  private func messages(_ request: SeenRequest) -> [SeenRecord]? {
    guard var key = key(request.id.bytes.span) else { return nil }
    var records: [SeenRecord] = []
    var deframer = MessageDeframer(limit: 1 << 20)
    var offset = 0
    do throws(MessageError) {
      while try deframer.receive(request.body.span, from: &offset) {
        records.append(SeenRecord(key: key, payload: deframer.message))
        key.sequence += 1
      }
      try deframer.finish()
    } catch { return nil }
    return records.count == request.count ? records : nil
  }
}

/// Where the parts of a JSON text are, as it was written.
enum JSONPieces {
  /// The elements of an array.
  static func elements(_ text: [UInt8]) -> [Range<Int>]? {
    guard text.first == UInt8(ascii: "["), text.last == UInt8(ascii: "]") else { return nil }
    var found: [Range<Int>] = []
    var start = 1
    while start < text.count - 1 {
      let end = valueEnd(text, start, text.count - 1)
      found.append(start..<end)
      start = end + 1
    }
    return found
  }

  /// The value of a member of the object in `range`, written without spaces.
  static func member(_ name: ByteString, of text: [UInt8], in range: Range<Int>) -> Range<Int>? {
    var start = range.lowerBound + 1
    while start < range.upperBound - 1 {
      let colon = valueEnd(text, start, range.upperBound - 1)
      let key = text[(start + 1)..<(colon - 1)]
      let end = valueEnd(text, colon + 1, range.upperBound - 1)
      if ByteString(Array(key)) == name { return (colon + 1)..<end }
      start = end + 1
    }
    return nil
  }

  /// Where the value that begins at `start` ends: at a comma or a colon of its own level.
  private static func valueEnd(_ text: [UInt8], _ start: Int, _ end: Int) -> Int {
    var depth = 0
    var isText = false
    var index = start
    while index < end {
      let byte = text[index]
      if isText {
        if byte == UInt8(ascii: "\\") { index += 1 }
        if byte == UInt8(ascii: "\"") { isText = false }
      } else {
        switch byte {
        case UInt8(ascii: "\""): isText = true
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
        case UInt8(ascii: ","), UInt8(ascii: ":"): if depth == 0 { return index }
        default: break
        }
      }
      index += 1
    }
    return end
  }
}
