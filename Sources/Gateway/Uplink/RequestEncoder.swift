import Configuration
import HPACK
import Primitives
import Spool

/// Turns records into the header fields and the body of a request, by the stream's `encoding`
/// (DESIGN: "Records and their delivery"). One for each stream; it keeps the parts that every request
/// repeats, and on the steady path it allocates nothing.
struct RequestEncoder {
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
  var scratch: [UInt8] = []

  init(node: ByteString, stream: StreamConfiguration) {
    let slash = UInt8(ascii: "/")
    encoding = stream.encoding
    sourcePrefix = [slash] + node.bytes + [slash]
    idPrefix = node.bytes + [slash] + stream.name.bytes + [slash]
    type = stream.type.bytes
    contentType = stream.contentType.bytes
    extra = stream.headers
  }

  /// The most records that one request carries, whatever the configuration says.
  var recordsMax: Int {
    switch encoding {
    case .cloudEvents: 1
    }
  }

  /// Whether the record may stand behind the last one of the batch: in an empty one always, else
  /// when the encoding can say in one request what both are.
  func mayJoin(_ record: borrowing SpooledRecord, _ batch: borrowing RecordBatch) -> Bool {
    guard !batch.isEmpty else { return true }
    guard batch.count < recordsMax, record.epoch == batch.epoch else { return false }
    switch encoding {
    case .cloudEvents: return false
    }
  }

  /// The most bytes that the record adds to a body, as `batch.bytes` bounds it.
  func bodyBytesMax(of record: borrowing SpooledRecord) -> Int {
    switch encoding {
    case .cloudEvents: record.payload.count
    }
  }

  /// The most bytes of a body that no record accounts for; to be counted once.
  var bodyBytesOverhead: Int {
    switch encoding {
    case .cloudEvents: 0
    }
  }

  /// Fills `headers` with everything but the pseudo-headers, and `body`. The range is not empty.
  mutating func encode(
    _ batch: borrowing RecordBatch, _ range: Range<Int>, headers: inout HeaderList,
    body: inout [UInt8]
  ) {
    precondition(!range.isEmpty && range.count <= recordsMax, "RequestEncoder: a wrong range")
    headers.removeAll()
    body.removeAll(keepingCapacity: true)
    switch encoding {
    case .cloudEvents: encodeCloudEvent(batch, range.lowerBound, &headers, &body)
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
