import Configuration
import GRPC
import HPACK
import Primitives
import Protobuf
import Spool

/// Turns records into the header fields and the body of a request, by the stream's `encoding`
/// (DESIGN: "Records and their delivery"). One for each stream; it keeps the parts that every request
/// repeats, and on the steady path it allocates nothing.
package struct RequestEncoder {
  /// The name under which the daemon's own reports stand as a source; their payload is always JSON.
  static let reportSource: ByteString = "spoke"

  let encoding: Encoding
  /// `/<node.id>/`
  let sourcePrefix: [UInt8]
  /// `<node.id>/<stream>/`
  let idPrefix: [UInt8]
  let type: [UInt8]
  let contentType: [UInt8]
  let extra: [Label]
  let reportSource = RequestEncoder.reportSource.bytes
  let json = Array("application/json".utf8)
  let event: EventText
  let node: [UInt8]
  let name: [UInt8]
  var scratch: [UInt8] = []

  package init(node: ByteString, stream: StreamConfiguration) {
    let slash = UInt8(ascii: "/")
    encoding = stream.encoding
    sourcePrefix = [slash] + node.bytes + [slash]
    idPrefix = node.bytes + [slash] + stream.name.bytes + [slash]
    type = stream.type.bytes
    contentType = stream.contentType.bytes
    extra = stream.headers
    event = EventText(node: node, stream: stream)
    self.node = node.bytes
    name = stream.name.bytes
  }

  /// The most records that one request carries, whatever the configuration says.
  package var recordsMax: Int {
    switch encoding {
    case .cloudEvents: 1
    case .cloudEventsBatch, .protobuf, .grpc: Int.max
    }
  }

  /// Whether the record may stand behind the last one of the batch: in an empty one always, else
  /// when the encoding can say in one request what both are.
  package func mayJoin(_ record: borrowing SpooledRecord, _ batch: borrowing RecordBatch) -> Bool {
    guard let last = batch.entries.last else { return true }
    guard batch.count < recordsMax, record.epoch == batch.epoch else { return false }
    let isReport = equal(record.source.span, reportSource.span)
    switch encoding {
    case .cloudEvents: return false
    case .cloudEventsBatch: return true
    // Only the first one's id is said, and those of the others must follow from it. The daemon's own
    // reports have another content type, and a batch has one.
    case .grpc:
      return record.sequence == last.sequence + 1
        && isReport == self.isReport(batch, batch.count - 1)
    case .protobuf:
      // An empty field means "as in the record before": a record cannot say that it has none when
      // that one has.
      return isReport == self.isReport(batch, batch.count - 1)
        && (last.source.isEmpty || !record.source.isEmpty)
        && (last.subject.isEmpty || !record.subject.isEmpty)
    }
  }

  /// The most bytes that the record adds to a body, as `batch.bytes` bounds it.
  package func bodyBytesMax(of record: borrowing SpooledRecord) -> Int {
    switch encoding {
    case .cloudEvents: record.payload.count
    case .cloudEventsBatch: eventBytesMax(of: record)
    case .protobuf: recordBytesMax(of: record)
    case .grpc: MessageFraming.prefixBytes + record.payload.count
    }
  }

  /// The most bytes of a body that no record accounts for; to be counted once.
  package var bodyBytesOverhead: Int {
    switch encoding {
    case .cloudEvents, .grpc: 0
    case .cloudEventsBatch: 2
    // Four strings with their tags and lengths, of which the epoch has at most 16 bytes.
    case .protobuf: 4 * 6 + node.count + name.count + 16 + max(contentType.count, json.count)
    }
  }

  /// Fills `headers` with everything but the pseudo-headers, and `body`. The range is not empty.
  package mutating func encode(
    _ batch: borrowing RecordBatch, _ range: Range<Int>, headers: inout HeaderList,
    body: inout [UInt8]
  ) {
    precondition(!range.isEmpty && range.count <= recordsMax, "RequestEncoder: a wrong range")
    headers.removeAll()
    body.removeAll(keepingCapacity: true)
    switch encoding {
    case .cloudEvents: encodeCloudEvent(batch, range.lowerBound, &headers, &body)
    case .cloudEventsBatch: encodeEventBatch(batch, range, &headers, &body)
    case .protobuf: encodeRecordBatch(batch, range, &headers, &body)
    case .grpc: encodeCall(batch, range, &headers, &body)
    }
    for index in extra.indices {
      headers.append(extra[index].name, extra[index].value)
    }
  }

  /// Whether the record is one of the daemon's own.
  func isReport(_ batch: borrowing RecordBatch, _ index: Int) -> Bool {
    equal(batch.bytes.span.extracting(batch.entries[index].source), reportSource.span)
  }

  /// The record's identity, `<node.id>/<stream>/<epoch>-<sequence>`, into `scratch`.
  mutating func writeID(_ batch: borrowing RecordBatch, _ index: Int) {
    scratch.removeAll(keepingCapacity: true)
    scratch.append(contentsOf: idPrefix)
    EpochText.append(batch.epoch, to: &scratch)
    scratch.append(UInt8(ascii: "-"))
    scratch.append(decimal: batch.entries[index].sequence)
  }
}
