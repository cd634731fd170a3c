import GRPC
import HPACK
import Primitives

/// A gRPC call whose messages are the payloads as they are: one record is a unary call, several a
/// client-streaming one that ends with the last record. On the wire the two are the same. `spoke-id` is
/// the first record's id, and those behind it have the numbers that follow: `mayJoin` sees to that.
extension RequestEncoder {
  mutating func encodeCall(
    _ batch: borrowing RecordBatch, _ range: Range<Int>, _ headers: inout HeaderList,
    _ body: inout [UInt8]
  ) {
    headers.append(name: "content-type", text: "application/grpc")
    headers.append(name: "te", text: "trailers")
    writeID(batch, range.lowerBound)
    headers.append(name: "spoke-id", value: scratch.span, indexing: .no)
    scratch.removeAll(keepingCapacity: true)
    scratch.append(decimal: UInt64(range.count))
    headers.append(name: "spoke-count", value: scratch.span)
    for index in range {
      let payload = batch.entries[index].payload
      MessageFraming.appendPrefix(length: payload.count, to: &body)
      body.append(contentsOf: batch.bytes.span.extracting(payload))
    }
  }
}
