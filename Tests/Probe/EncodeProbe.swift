import Configuration
import Gateway
import HPACK
import Primitives
import Spool

/// `probe encode --encoding WORD --node ID --stream NAME [--type TYPE] [--content-type TYPE]
/// [--epoch N] [--records N]`: each line of the standard input is a record, `SEQUENCE NANOSECONDS
/// QUALITY SOURCE SUBJECT PAYLOAD`, the last three in hexadecimal with a `-` in front. As many as
/// may stand together, and N at most, become a request: `header NAME VALUE` lines, then `body BYTES
/// COUNT BOUND`, with the number of records and the most bytes that the encoder had announced.
enum EncodeProbe {
  static func run(_ input: ProbeInput) {
    let target = TargetConfiguration.host(
      HostConfiguration(isTLS: false, host: "localhost", port: 80))
    var stream = StreamConfiguration(
      name: input.option("--stream") ?? "state", target: target, path: "/")
    stream.encoding = encoding(input)
    if let type = input.option("--type") { stream.type = type }
    if let type = input.option("--content-type") { stream.contentType = type }
    var encoder = RequestEncoder(node: input.option("--node") ?? "node", stream: stream)
    let most = Int(input.number("--records", or: 1))
    var batch = RecordBatch()
    var bound = encoder.bodyBytesOverhead
    var record = SpooledRecord()
    for line in input.readLines() {
      read(line, into: &record, input)
      record.epoch = input.number("--epoch", or: 0xE1)
      if batch.count == most || !encoder.mayJoin(record, batch) {
        write(batch, &encoder, bound: bound)
        batch.removeAll()
        bound = encoder.bodyBytesOverhead
      }
      batch.append(record)
      bound += encoder.bodyBytesMax(of: record)
    }
    if !batch.isEmpty { write(batch, &encoder, bound: bound) }
  }

  private static func encoding(_ input: ProbeInput) -> Encoding {
    let word = input.option("--encoding") ?? "cloudevents"
    if word == "cloudevents" { return .cloudEvents }
    if word == "cloudevents-batch" { return .cloudEventsBatch }
    if word == "protobuf" { return .protobuf }
    if word == "grpc" { return .grpc }
    input.fail("unknown encoding: " + word.description)
  }

  private static func read(
    _ line: ByteString, into record: inout SpooledRecord, _ input: ProbeInput
  ) {
    let parts = line.bytes.split(separator: UInt8(ascii: " "))
    guard parts.count == 6 else { input.fail("not a record: " + line.description) }
    record.sequence = number(Array(parts[0]))
    record.time = WallTime(nanoseconds: Int64(number(Array(parts[1]))))
    record.quality = ClockQuality(rawValue: UInt8(number(Array(parts[2])))) ?? .synced
    record.source = Hex.decode(Array(parts[3].dropFirst()))
    record.subject = Hex.decode(Array(parts[4].dropFirst()))
    record.payload = Hex.decode(Array(parts[5].dropFirst()))
  }

  private static func number(_ digits: [UInt8]) -> UInt64 {
    var value: UInt64 = 0
    for digit in digits { value = value * 10 + UInt64(digit - UInt8(ascii: "0")) }
    return value
  }

  private static func write(
    _ batch: borrowing RecordBatch, _ encoder: inout RequestEncoder, bound: Int
  ) {
    var headers = HeaderList()
    var body: [UInt8] = []
    encoder.encode(batch, 0..<batch.count, headers: &headers, body: &body)
    for index in 0..<headers.count {
      print(
        "header " + headers.name(index).description + " " + headers.value(index).description)
    }
    var text: [UInt8] = []
    Hex.append(body.span, to: &text)
    print("body -" + ByteString(text).description + " \(batch.count) \(bound)")
  }
}
