import Configuration
import GRPC
import HPACK
import NetworkingCore
import Primitives
import Spool
import Testing

@testable import Gateway

/// One stream of MQTT messages; `keys` are further ones of the stream.
private func oneStream(_ keys: String) -> String {
  """
  [node]
  id = "scooter-1"
  [mqtt]
  broker = "mqtt://127.0.0.1"
  [[mqtt.subscribe]]
  filter = "state/+"
  stream = "state"
  [[stream]]
  name = "health"
  target = "http://192.0.2.1:443"
  path = "/v1/health"
  [reports]
  stream = "health"
  [[stream]]
  name = "state"
  target = "http://192.0.2.1:443"
  \(keys)
  """
}

private let call = oneStream("encoding = 'grpc'\npath = '/spoke.test.Ingest/Put'")

@Suite("Encodings")
struct EncodingTests {
  @Test("a gRPC call carries the payload as its message, and is delivered by its status")
  func grpcCall() {
    let world = World(call)
    world.answer = { request in
      request.path == "/v1/health" ? .status(200) : .trailers([("grpc-status", "0")])
    }
    world.publish("state/a", "81")
    let request = world.delivered("/spoke.test.Ingest/Put")[0]
    let epoch = world.epoch
    #expect(request.body == [0, 0, 0, 0, 2, 0x38, 0x31])
    #expect(request["content-type"] == "application/grpc")
    #expect(request["te"] == "trailers")
    #expect(request["spoke-id"] == "scooter-1/state/\(epoch)-1")
    #expect(request["spoke-count"] == "1")
    let delivered = world.counters(1).delivered
    #expect(delivered == 1)
  }

  @Test("a status that holds is reported as one of gRPC, with what the upstream said")
  func grpcHold() {
    let world = World(call)
    world.answer = { request in
      guard request.path != "/v1/health" else { return .status(200) }
      return .status(200, [("grpc-status", "16"), ("grpc-message", "no%20token")])
    }
    world.publish("state/a", "81")
    let held = world.heldStatus(1)
    #expect(held == 16)
    #expect(world.log.contains { $0.contains("grpc-status 16 (UNAUTHENTICATED)") })
    #expect(
      world.delivered("/v1/health").contains {
        $0.text == "{\"held\":{\"stream\":\"state\",\"grpc_status\":16}}"
      })
  }

  @Test("a status that is transient is tried again, and the log has the message")
  func grpcTransient() {
    let world = World(call)
    var failures = 1
    world.answer = { request in
      guard request.path != "/v1/health", failures > 0 else {
        return .trailers([("grpc-status", "0")])
      }
      failures -= 1
      return .trailers([("grpc-status", "14"), ("grpc-message", "over%20load")])
    }
    world.publish("state/a", "81")
    world.advance(.seconds(2))
    #expect(world.delivered("/spoke.test.Ingest/Put").count == 2)
    #expect(world.log.contains { $0.contains("grpc-status 14 (UNAVAILABLE): over load") })
    let delivered = world.counters(1).delivered
    #expect(delivered == 1)
  }

  @Test("the outcome of a call is that of its status", arguments: UInt16(0)...17)
  func outcomes(code: UInt16) {
    let outcome = DeliveryOutcome.of(
      .response(status: 200, grpcStatus: code, retryAfter: .seconds(7)), retriesConflict: false,
      isCall: true)
    switch code {
    case 0: #expect(outcome == .delivered)
    case 2, 4, 8, 10, 13, 14, 17: #expect(outcome == .transient(retryAfter: .seconds(7)))
    case 5, 7, 12, 16: #expect(outcome == .hold(status: code))
    default: #expect(outcome == .rejected(status: code))
    }
  }

  @Test("a call without a status counts by HTTP; a 2xx alone does not deliver it")
  func outcomesWithoutStatus() {
    let expected: [UInt16: DeliveryOutcome] = [
      200: .transient(retryAfter: nil), 204: .transient(retryAfter: nil),
      401: .hold(status: 401), 403: .hold(status: 403), 404: .hold(status: 404),
      400: .rejected(status: 400), 413: .rejected(status: 413), 415: .rejected(status: 415),
      429: .transient(retryAfter: nil), 503: .transient(retryAfter: nil),
    ]
    for (status, outcome) in expected {
      #expect(
        DeliveryOutcome.of(
          .response(status: status, grpcStatus: nil, retryAfter: nil), retriesConflict: false,
          isCall: true) == outcome)
    }
    // Outside of a call the field means nothing.
    #expect(
      DeliveryOutcome.of(
        .response(status: 200, grpcStatus: 14, retryAfter: nil), retriesConflict: false)
        == .delivered)
  }

  @Test("one record is a batch of one", arguments: ["cloudevents-batch", "protobuf"])
  func singles(word: String) {
    let world = World(oneStream("path = '/v1/state'\nencoding = '\(word)'"))
    world.publish("state/a", "{\"v\":81}")
    let request = world.delivered("/v1/state")[0]
    let epoch = world.epoch
    if word == "protobuf" {
      #expect(request["content-type"] == "application/x-protobuf")
    } else {
      #expect(request["content-type"] == "application/cloudevents-batch+json")
      #expect(
        request.text == "[{\"specversion\":\"1.0\",\"type\":\"dev.spoke.record\","
          + "\"datacontenttype\":\"application/octet-stream\",\"source\":\"/scooter-1/mqtt\","
          + "\"id\":\"scooter-1/state/\(epoch)-1\",\"subject\":\"state/a\","
          + "\"time\":\"2027-01-15T08:00:00.000Z\",\"data_base64\":\"eyJ2Ijo4MX0=\"}]")
    }
  }

  private func encoder(_ encoding: Encoding) -> RequestEncoder {
    let target = TargetConfiguration.host(
      HostConfiguration(isTLS: false, host: "h", port: 80))
    var stream = StreamConfiguration(name: "state", target: target, path: "/")
    stream.encoding = encoding
    return RequestEncoder(node: "n", stream: stream)
  }

  @Test(
    "a part of a batch is encoded as if it were the whole",
    arguments: [Encoding.cloudEventsBatch, .protobuf, .grpc])
  func parts(encoding: Encoding) {
    var encoder = encoder(encoding)
    var whole = RecordBatch()
    var part = RecordBatch()
    for sequence in UInt64(1)...8 {
      var record = SpooledRecord()
      record.epoch = 5
      record.sequence = sequence
      record.source = Array("mqtt".utf8)
      record.subject = Array("topic/\(sequence / 4)".utf8)
      record.payload = [UInt8](repeating: UInt8(sequence), count: Int(sequence) * 40)
      #expect(encoder.mayJoin(record, whole))
      whole.append(record)
      if (3...6).contains(sequence) { part.append(record) }
    }
    var headers = HeaderList()
    var body: [UInt8] = []
    encoder.encode(whole, 2..<6, headers: &headers, body: &body)
    var expectedHeaders = HeaderList()
    var expected: [UInt8] = []
    encoder.encode(part, 0..<4, headers: &expectedHeaders, body: &expected)
    #expect(body == expected)
    #expect(headers.bytes == expectedHeaders.bytes)
    #expect(whole.withPayload(7) { $0.count } == 320)
  }

  @Test("a record of another epoch does not join, and binary mode takes one only")
  func joining() {
    var batch = RecordBatch()
    var record = SpooledRecord()
    record.epoch = 5
    record.source = Array("mqtt".utf8)
    for encoding in [Encoding.cloudEvents, .cloudEventsBatch, .protobuf, .grpc] {
      batch.removeAll()
      let encoder = encoder(encoding)
      #expect(encoder.mayJoin(record, batch))
      batch.append(record)
      record.sequence += 1
      #expect(encoder.mayJoin(record, batch) == (encoding != .cloudEvents))
      record.epoch = 6
      #expect(!encoder.mayJoin(record, batch))
      record.epoch = 5
    }
  }
}
