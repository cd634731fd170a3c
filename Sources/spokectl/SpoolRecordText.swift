import Gateway
import Primitives
import Spool

/// A record as one line of JSON: its identity, where it came from, its payload as text when it is
/// text, in Base64 otherwise.
enum SpoolRecordText {
  static func line(
    _ record: SpooledRecord, stream: ByteString, node: ByteString, status: UInt16? = nil
  ) -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.member("id", identity(record, stream: stream, node: node))
    json.member("stream", stream)
    json.time("time", record.time)
    json.member("clock", clock(record.quality))
    if !record.source.isEmpty { json.member("source", ByteString(record.source)) }
    if !record.subject.isEmpty { json.member("subject", ByteString(record.subject)) }
    if let status { json.member("status", UInt64(status)) }
    if isText(record.payload.span) {
      json.member("payload", ByteString(record.payload))
    } else {
      var text: [UInt8] = []
      Base64.append(record.payload.span, to: &text)
      json.member("payload_base64", ByteString(text))
    }
    json.endObject()
    return json.bytes + [0x0A]
  }

  private static func identity(
    _ record: SpooledRecord, stream: ByteString, node: ByteString
  ) -> ByteString {
    var text = node.bytes
    text.append(UInt8(ascii: "/"))
    text.append(contentsOf: stream.bytes)
    text.append(UInt8(ascii: "/"))
    text.append(contentsOf: EpochText.of(record.epoch).bytes)
    text.append(UInt8(ascii: "-"))
    text.append(decimal: record.sequence)
    return ByteString(text)
  }

  private static func clock(_ quality: ClockQuality) -> ByteString {
    switch quality {
    case .synced: "synced"
    case .unsynced: "unsynced"
    case .restamped: "restamped"
    }
  }

  /// Text that a JSON string carries unchanged to a reader's eye: UTF-8 without control characters
  /// other than tabs and line ends.
  private static func isText(_ bytes: Span<UInt8>) -> Bool {
    for index in bytes.indices where bytes[index] < 0x20 {
      guard bytes[index] == 0x09 || bytes[index] == 0x0A || bytes[index] == 0x0D else {
        return false
      }
    }
    return UTF8Sequence.isWellFormed(bytes)
  }
}
