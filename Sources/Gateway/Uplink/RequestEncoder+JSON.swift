import Configuration
import HPACK
import Primitives
import Spool

/// The parts of a CloudEvent in JSON that every record of a stream repeats, escaped already.
struct EventText {
  /// `{"specversion":"1.0","type":"…","datacontenttype":"…","source":"/<node.id>/`
  let head: [UInt8]
  /// The same for the daemon's own reports, whose payload is always JSON.
  let reportHead: [UInt8]
  /// `<node.id>/<stream>/`
  let idPrefix: [UInt8]
  /// A payload that is valid JSON stands as `data`.
  let isJSON: Bool

  init(node: ByteString, stream: StreamConfiguration) {
    head = Self.head(node, stream.type, stream.contentType)
    reportHead = Self.head(node, stream.type, "application/json")
    var id: [UInt8] = []
    let prefix = (node + "/" + stream.name + "/").bytes
    JSONText.append(prefix.span, to: &id)
    idPrefix = id
    isJSON = Self.isJSON(stream.contentType)
  }

  private static func head(
    _ node: ByteString, _ type: ByteString, _ contentType: ByteString
  ) -> [UInt8] {
    var text: [UInt8] = []
    text.append(text: "{\"specversion\":\"1.0\",\"type\":\"")
    JSONText.append(type.bytes.span, to: &text)
    text.append(text: "\",\"datacontenttype\":\"")
    JSONText.append(contentType.bytes.span, to: &text)
    text.append(text: "\",\"source\":\"/")
    JSONText.append(node.bytes.span, to: &text)
    text.append(text: "/")
    return text
  }

  /// CloudEvents JSON format §3.1: the media subtype is `json`, or ends in `+json`.
  static func isJSON(_ contentType: ByteString) -> Bool {
    var type: [UInt8] = []
    for byte in contentType.bytes {
      if byte == UInt8(ascii: ";") { break }
      let isUpper = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
      type.append(isUpper ? byte | 0x20 : byte)
    }
    while type.last == UInt8(ascii: " ") { type.removeLast() }
    let ends: [ByteString] = ["/json", "+json"]
    guard let end = type.count >= 5 ? ByteString(Array(type.suffix(5))) : nil else { return false }
    return ends.contains(end)
  }
}

/// CloudEvents 1.0 HTTP batched mode (§3.3 of its HTTP protocol binding, §4 of its JSON format): an
/// array of events. `clock` is an extension attribute.
extension RequestEncoder {
  mutating func encodeEventBatch(
    _ batch: borrowing RecordBatch, _ range: Range<Int>, _ headers: inout HeaderList,
    _ body: inout [UInt8]
  ) {
    headers.append(name: "content-type", text: "application/cloudevents-batch+json")
    body.append(UInt8(ascii: "["))
    for index in range {
      if index > range.lowerBound { body.append(UInt8(ascii: ",")) }
      appendEvent(batch, index, &body)
    }
    body.append(UInt8(ascii: "]"))
  }

  private func appendEvent(
    _ batch: borrowing RecordBatch, _ index: Int, _ body: inout [UInt8]
  ) {
    let entry = batch.entries[index]
    let isReport = isReport(batch, index)
    body.append(contentsOf: isReport ? event.reportHead : event.head)
    JSONText.append(batch.bytes.span.extracting(entry.source), to: &body)
    body.append(text: "\",\"id\":\"")
    body.append(contentsOf: event.idPrefix)
    EpochText.append(batch.epoch, to: &body)
    body.append(UInt8(ascii: "-"))
    body.append(decimal: entry.sequence)
    if !entry.subject.isEmpty {
      body.append(text: "\",\"subject\":\"")
      JSONText.append(batch.bytes.span.extracting(entry.subject), to: &body)
    }
    if entry.stampedTime.nanoseconds > 0 {
      body.append(text: "\",\"time\":\"")
      TimestampText.append(entry.stampedTime, to: &body)
    }
    switch entry.stampedQuality {
    case .synced: break
    case .unsynced: body.append(text: "\",\"clock\":\"unsynced")
    case .restamped: body.append(text: "\",\"clock\":\"restamped")
    }
    let payload = batch.bytes.span.extracting(entry.payload)
    if isReport || event.isJSON, JSONValidator.accepts(payload) {
      body.append(text: "\",\"data\":")
      body.append(contentsOf: payload)
      body.append(UInt8(ascii: "}"))
    } else {
      body.append(text: "\",\"data_base64\":\"")
      Base64.append(payload, to: &body)
      body.append(text: "\"}")
    }
  }

  /// The most bytes of one event with the comma before it.
  func eventBytesMax(of record: borrowing SpooledRecord) -> Int {
    // `","id":"` epoch `-` sequence `","subject":"` `","time":"` 24 `","clock":"restamped`
    // `","data_base64":"` `"}` and the comma.
    let fixed = 8 + 16 + 1 + 20 + 13 + 10 + 24 + 20 + 17 + 2 + 1
    return max(event.head.count, event.reportHead.count) + event.idPrefix.count + fixed
      + JSONText.growthMax * (record.source.count + record.subject.count)
      + Base64.length(of: record.payload.count)
  }
}
