import Configuration
import HPACK
import Primitives
import Spool

/// CloudEvents 1.0 HTTP binary mode (§3.1 of its HTTP protocol binding): one record, one request;
/// the attributes are `ce-` headers and the body is the payload as it is.
struct CloudEvents {
  private let specversion = Array("1.0".utf8)
  /// `/<node.id>/`
  private let sourcePrefix: [UInt8]
  /// `<node.id>/<stream>/`
  private let idPrefix: [UInt8]
  private let type: [UInt8]
  private let contentType: [UInt8]
  private let extra: [Label]
  private let reportSource = CloudEvents.reportSource.bytes
  private let reportContentType = Array("application/json".utf8)
  private let unsynced = Array("unsynced".utf8)
  private let restamped = Array("restamped".utf8)
  private var scratch: [UInt8] = []

  /// The `ce-source` name of the daemon's own reports; their payload is always JSON.
  static let reportSource: ByteString = "spoke"

  init(node: ByteString, stream: StreamConfiguration) {
    let slash = UInt8(ascii: "/")
    sourcePrefix = [slash] + node.bytes + [slash]
    idPrefix = node.bytes + [slash] + stream.name.bytes + [slash]
    type = stream.type.bytes
    contentType = stream.contentType.bytes
    extra = stream.headers
  }

  /// Fills `headers` with everything but the pseudo-headers. Fields whose value differs in every
  /// request stay out of the HPACK table: they would only push out those that repeat.
  mutating func encode(_ record: SpooledRecord, into headers: inout HeaderList) {
    headers.removeAll()
    if equal(record.source.span, reportSource.span) {
      headers.append(name: "content-type", value: reportContentType.span)
    } else {
      headers.append(name: "content-type", value: contentType.span)
    }
    headers.append(name: "ce-specversion", value: specversion.span)
    headers.append(name: "ce-type", value: type.span)
    appendSource(record, to: &headers)
    appendID(record, to: &headers)
    if !record.subject.isEmpty {
      scratch.removeAll(keepingCapacity: true)
      HeaderText.append(record.subject.span, to: &scratch)
      headers.append(name: "ce-subject", value: scratch.span)
    }
    if record.time.nanoseconds > 0 {
      scratch.removeAll(keepingCapacity: true)
      TimestampText.append(record.time, to: &scratch)
      headers.append(name: "ce-time", value: scratch.span, indexing: .no)
    }
    switch record.quality {
    case .synced: break
    case .unsynced: headers.append(name: "ce-clock", value: unsynced.span)
    case .restamped: headers.append(name: "ce-clock", value: restamped.span)
    }
    for field in extra { headers.append(field.name, field.value) }
  }

  private mutating func appendSource(_ record: SpooledRecord, to headers: inout HeaderList) {
    scratch.removeAll(keepingCapacity: true)
    scratch.append(contentsOf: sourcePrefix)
    scratch.append(contentsOf: record.source)
    headers.append(name: "ce-source", value: scratch.span)
  }

  private mutating func appendID(_ record: SpooledRecord, to headers: inout HeaderList) {
    scratch.removeAll(keepingCapacity: true)
    scratch.append(contentsOf: idPrefix)
    EpochText.append(record.epoch, to: &scratch)
    scratch.append(UInt8(ascii: "-"))
    DecimalText.append(record.sequence, to: &scratch)
    headers.append(name: "ce-id", value: scratch.span, indexing: .no)
  }
}

/// Decimal digits without a detour over `String`.
enum DecimalText {
  static func append(_ value: UInt64, to text: inout [UInt8]) {
    var divisor: UInt64 = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      text.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
      divisor /= 10
    }
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
