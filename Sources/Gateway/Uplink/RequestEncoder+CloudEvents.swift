import HPACK
import Primitives

/// CloudEvents 1.0 HTTP binary mode (§3.1 of its HTTP protocol binding): one record, one request;
/// the attributes are `ce-` headers and the body is the payload as it is.
extension RequestEncoder {
  /// Fields whose value differs in every request stay out of the HPACK table: they would only push
  /// out those that repeat.
  mutating func encodeCloudEvent(
    _ batch: borrowing RecordBatch, _ index: Int, _ headers: inout HeaderList,
    _ body: inout [UInt8]
  ) {
    let entry = batch.entries[index]
    if isReport(batch, index) {
      headers.append(name: "content-type", value: json.span)
    } else {
      headers.append(name: "content-type", value: contentType.span)
    }
    headers.append(name: "ce-specversion", text: "1.0")
    headers.append(name: "ce-type", value: type.span)
    scratch.removeAll(keepingCapacity: true)
    scratch.append(contentsOf: sourcePrefix)
    scratch.append(contentsOf: batch.bytes.span.extracting(entry.source))
    headers.append(name: "ce-source", value: scratch.span)
    writeID(batch, index)
    headers.append(name: "ce-id", value: scratch.span, indexing: .no)
    if !entry.subject.isEmpty {
      scratch.removeAll(keepingCapacity: true)
      HeaderText.append(batch.bytes.span.extracting(entry.subject), to: &scratch)
      headers.append(name: "ce-subject", value: scratch.span)
    }
    if entry.stampedTime.nanoseconds > 0 {
      scratch.removeAll(keepingCapacity: true)
      TimestampText.append(entry.stampedTime, to: &scratch)
      headers.append(name: "ce-time", value: scratch.span, indexing: .no)
    }
    switch entry.stampedQuality {
    case .synced: break
    case .unsynced: headers.append(name: "ce-clock", text: "unsynced")
    case .restamped: headers.append(name: "ce-clock", text: "restamped")
    }
    body.append(contentsOf: batch.bytes.span.extracting(entry.payload))
  }
}

/// CloudEvents HTTP binding §3.1.3.2: characters outside printable ASCII, space, `"` and `%` are
/// percent-encoded as UTF-8 in a header value.
enum HeaderText {
  static func append(_ value: Span<UInt8>, to text: inout [UInt8]) {
    for index in value.indices {
      let byte = value[index]
      if byte > 0x20, byte < 0x7F, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "%") {
        text.append(byte)
      } else {
        text.append(UInt8(ascii: "%"))
        text.append(hexadecimal(byte >> 4))
        text.append(hexadecimal(byte & 15))
      }
    }
  }

  private static func hexadecimal(_ nibble: UInt8) -> UInt8 {
    nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "A") + nibble - 10
  }
}
