import HPACK
import Primitives
import Protobuf
import Spool

/// `spoke.v1.RecordBatch` of `Proto/spoke/v1/records.proto`. Of a record that has the source or the
/// subject of the one before it, that field is left out; of each record's fields, those that are 0 or
/// empty are, as everywhere in proto3.
extension RequestEncoder {
  mutating func encodeRecordBatch(
    _ batch: borrowing RecordBatch, _ range: Range<Int>, _ headers: inout HeaderList,
    _ body: inout [UInt8]
  ) {
    headers.append(name: "content-type", text: "application/x-protobuf")
    // The writer takes the body's storage over, and gives it back.
    var writer = WireWriter()
    swap(&writer.bytes, &body)
    writer.bytes(1, node.span)
    writer.bytes(2, name.span)
    scratch.removeAll(keepingCapacity: true)
    EpochText.append(batch.epoch, to: &scratch)
    writer.bytes(3, scratch.span)
    if isReport(batch, range.lowerBound) {
      writer.bytes(4, json.span)
    } else {
      writer.bytes(4, contentType.span)
    }
    for index in range {
      appendRecord(batch, index, before: index > range.lowerBound ? index - 1 : nil, to: &writer)
    }
    swap(&writer.bytes, &body)
  }

  private mutating func appendRecord(
    _ batch: borrowing RecordBatch, _ index: Int, before: Int?, to writer: inout WireWriter
  ) {
    let entry = batch.entries[index]
    var source = entry.source
    var subject = entry.subject
    if let before {
      let last = batch.entries[before]
      if isSame(batch, last.source, source) { source = source.lowerBound..<source.lowerBound }
      if isSame(batch, last.subject, subject) { subject = subject.lowerBound..<subject.lowerBound }
    }
    // A reader refuses the whole batch for one string that is not UTF-8.
    scratch.removeAll(keepingCapacity: true)
    UTF8Sequence.append(batch.bytes.span.extracting(subject), to: &scratch)
    let time = RecordTime(entry.stampedTime)

    var size = WireSize.varintField(entry.sequence)
    if !source.isEmpty { size += WireSize.bytesField(source.count) }
    if let time { size += WireSize.bytesField(time.size) }
    if entry.stampedQuality != .synced { size += WireSize.varintField(1) }
    if !entry.payload.isEmpty { size += WireSize.bytesField(entry.payload.count) }
    if !scratch.isEmpty { size += WireSize.bytesField(scratch.count) }

    writer.header(5, length: size)
    let start = writer.bytes.count
    writer.varint(1, entry.sequence)
    if !source.isEmpty { writer.bytes(2, batch.bytes.span.extracting(source)) }
    if let time { time.append(to: &writer) }
    if entry.stampedQuality != .synced { writer.varint(4, UInt64(entry.stampedQuality.rawValue)) }
    if !entry.payload.isEmpty { writer.bytes(5, batch.bytes.span.extracting(entry.payload)) }
    if !scratch.isEmpty { writer.bytes(6, scratch.span) }
    precondition(writer.bytes.count - start == size, "RequestEncoder: a record of another size")
  }

  private func isSame(
    _ batch: borrowing RecordBatch, _ left: Range<Int>, _ right: Range<Int>
  ) -> Bool {
    equal(batch.bytes.span.extracting(left), batch.bytes.span.extracting(right))
  }

  /// The most bytes of one record with its header.
  func recordBytesMax(of record: borrowing SpooledRecord) -> Int {
    // Lengths have at most five bytes, a byte that is not UTF-8 becomes three.
    let sequence = 11
    let time = 2 + 11 + 6
    let clock = 2
    return 6 + sequence + time + clock + (6 + record.source.count) + (6 + record.payload.count)
      + (6 + 3 * record.subject.count)
  }
}

/// `google.protobuf.Timestamp`; there is none for a time at or before 1970.
private struct RecordTime {
  let seconds: UInt64
  let nanoseconds: UInt64
  let size: Int

  init?(_ time: WallTime) {
    guard time.nanoseconds > 0 else { return nil }
    let total = UInt64(time.nanoseconds)
    seconds = total / 1_000_000_000
    nanoseconds = total % 1_000_000_000
    size =
      (seconds > 0 ? WireSize.varintField(seconds) : 0)
      + (nanoseconds > 0 ? WireSize.varintField(nanoseconds) : 0)
  }

  func append(to writer: inout WireWriter) {
    writer.header(3, length: size)
    if seconds > 0 { writer.varint(1, seconds) }
    if nanoseconds > 0 { writer.varint(2, nanoseconds) }
  }
}
