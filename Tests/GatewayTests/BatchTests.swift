import Primitives
import Testing

@testable import Gateway

/// A spool that is soon full.
let smallSpool = """
  [spool]
  size = "512KiB"
  segment = "64KiB"
  free_floor = "64KiB"
  commit = { bytes = "4KiB" }

  """

/// One stream with the keys that a test is about, fed over MQTT, and the reports.
func batching(_ keys: String, other: String = "") -> String {
  """
  [node]
  id = "scooter-1"
  [mqtt]
  broker = "mqtt://127.0.0.1"
  [[mqtt.subscribe]]
  filter = "state/+"
  stream = "state"
  [[mqtt.subscribe]]
  filter = "other"
  stream = "other"
  [[stream]]
  name = "state"
  target = "http://192.0.2.1:443"
  path = "/v1/state"
  content_type = "application/json"
  \(keys)
  [[stream]]
  name = "other"
  target = "http://192.0.2.1:443"
  path = "/v1/other"
  content_type = "application/json"
  \(other)
  [[stream]]
  name = "health"
  target = "http://192.0.2.1:443"
  path = "/v1/health"
  [reports]
  stream = "health"
  """
}

extension SeenRequest {
  /// The sequence numbers of the events in a CloudEvents batch.
  var sequences: [Int] {
    text.pieces(between: "\"id\":\"", and: "\"").compactMap { id in
      Int(id.split(separator: "-").last ?? "")
    }
  }
}

extension String {
  func pieces(between start: String, and end: String) -> [String] {
    var pieces: [String] = []
    var rest = Substring(self)
    while let range = rest.firstOccurrence(of: start) {
      rest = rest[range.upperBound...]
      guard let close = rest.firstOccurrence(of: end) else { return pieces }
      pieces.append(String(rest[..<close.lowerBound]))
      rest = rest[close.upperBound...]
    }
    return pieces
  }
}

extension Substring {
  func firstOccurrence(of text: String) -> Range<Index>? {
    var place = startIndex
    while place < endIndex {
      if self[place...].hasPrefix(text) { return place..<index(place, offsetBy: text.count) }
      place = index(after: place)
    }
    return nil
  }
}

extension World {
  /// Publishes `{"n":first}` … one message each.
  func publishNumbers(_ range: ClosedRange<Int>, to topic: String = "state/a", qos: UInt8 = 0) {
    for number in range {
      publish(topic, "{\"n\":\(number)}", qos: qos, id: UInt16(number % 60_000 + 1))
    }
  }

  func batches(_ path: String = "/v1/state") -> [[Int]] { delivered(path).map { $0.sequences } }

  func retryNow() {
    gateway.retryNow(clocks: clocks)
    turn()
  }

  /// What came in is what left and what waits.
  func isExact(_ stream: Int) -> Bool {
    let counters = counters(stream)
    return counters.recordsIn + counters.recovered == counters.settled + wholeBacklog(stream)
  }

  func wholeBacklog(_ stream: Int) -> UInt64 { gateway.backlog(stream).records }
  func hasDelivery(_ stream: Int) -> Bool { gateway.hasDelivery(of: stream) }
  var isDrained: Bool { gateway.isDrained }
}

private let tens = "encoding = \"cloudevents-batch\"\nbatch = { records = 10, linger = \"2s\" }"

@Suite("Batches")
struct BatchTests {
  @Test("a batch leaves when it is full")
  func full() {
    let world = World(batching(tens))
    world.publishNumbers(1...25)
    #expect(world.batches() == [Array(1...10), Array(11...20)])
    #expect(world.wholeBacklog(0) == 5)
  }

  @Test("a batch that is not full leaves when its oldest record has waited linger")
  func linger() {
    let world = World(batching(tens))
    world.publishNumbers(1...1)
    world.advance(.milliseconds(1_500))
    world.publishNumbers(2...3)
    world.advance(.milliseconds(400))
    #expect(world.batches() == [])
    world.advance(.milliseconds(200))
    #expect(world.batches() == [[1, 2, 3]])
    #expect(world.counters(0).delivered == 3)
  }

  @Test("records of a sync stream linger from when they were taken, too")
  func lingerOnDisk() {
    let world = World(batching(tens + "\ndurability = \"sync\""))
    world.publishNumbers(1...1, qos: 1)
    world.advance(.seconds(1))
    world.publishNumbers(2...2, qos: 1)
    world.advance(.milliseconds(900))
    #expect(world.batches() == [])
    world.advance(.milliseconds(200))
    #expect(world.batches() == [[1, 2]])
  }

  @Test("a backlog does not wait for linger")
  func backlogDoesNotLinger() {
    let text = batching(
      "encoding = \"cloudevents-batch\"\nbatch = { records = 10, linger = \"1h\" }\ndurability = \"sync\""
    )
    let world = World(text)
    world.publishNumbers(1...3, qos: 1)
    world.advance(.seconds(1))
    #expect(world.batches() == [])
    let next = world.restarted(text)
    next.advance(.seconds(1))
    #expect(next.batches() == [[1, 2, 3]])
  }

  @Test("a drain does not wait for linger")
  func drainDoesNotLinger() {
    let world = World(batching(tens))
    world.publishNumbers(1...3)
    world.gateway.drain()
    world.turn()
    #expect(world.batches() == [[1, 2, 3]])
    #expect(world.isDrained)
  }

  @Test("a batch is bounded in bytes, and a record that is larger goes alone")
  func bytes() {
    let world = World(
      batching("encoding = \"protobuf\"\nbatch = { records = 100, bytes = \"1KiB\" }"))
    world.answer = { _ in .silence }
    world.publishNumbers(1...1)
    for number in 2...40 {
      world.publish(
        "state/a", "{\"n\":\(number),\"pad\":\"\(String(repeating: "x", count: 90))\"}", qos: 0)
    }
    world.publish("state/a", "\"" + String(repeating: "y", count: 3_000) + "\"", qos: 0)
    world.answer = { _ in .status(200) }
    world.goDown()
    world.isUp = true
    world.advance(.seconds(60))
    let sizes = world.delivered("/v1/state").map { $0.body.count }
    #expect(sizes.dropLast().allSatisfy { $0 <= 1_024 })
    #expect(sizes.last! > 3_000)
    #expect(world.counters(0).delivered == 41)
  }

  @Test("a retry carries the same records and the same body")
  func retry() {
    let world = World(batching(tens))
    var failures = 3
    world.answer = { request in
      guard request.path == "/v1/state", failures > 0 else { return .status(200) }
      failures -= 1
      return .status(503)
    }
    world.publishNumbers(1...12)
    world.advance(.seconds(60))
    let requests = world.delivered("/v1/state")
    #expect(Set(requests.prefix(4).map { $0.text }).count == 1)
    #expect(world.batches().last == [11, 12])
    #expect(world.counters(0).delivered == 12)
    #expect(world.counters(0).retried == 3)
  }

  @Test(
    "a batch that is rejected goes again in halves until the poison record is alone",
    arguments: [400, 405, 409, 413, 415, 422, 451])
  func bisecting(status: Int) {
    let world = World(
      batching("encoding = \"cloudevents-batch\"\nbatch = { records = 16, linger = \"1s\" }"))
    world.answer = { request in
      request.sequences.contains(11) ? .status(status) : .status(200)
    }
    world.publishNumbers(1...20)
    world.advance(.seconds(5))
    let accepted = world.batches().filter { !$0.contains(11) }.flatMap { $0 }
    #expect(accepted == Array(1...10) + Array(12...20))
    #expect(world.batches().contains([11]))
    // 16, 8, 8, 4, 2, 1: the halves of four rejected parts, and the rest.
    #expect(world.batches().count <= 12)
    #expect(world.counters(0).parked == 1)
    #expect(world.counters(0).delivered == 19)
    let gap = world.delivered("/v1/health").first { $0.text.contains("\"gap\"") }
    #expect(gap?.text.contains("\"first\":11,\"last\":11,\"count\":1") == true)
    #expect(gap?.text.contains("\"reason\":\"rejected\"") == true)
    #expect(world.isExact(0))
  }

  @Test("every record can be poison, and each is parked")
  func allPoison() {
    let world = World(batching(tens))
    world.answer = { .status($0.path == "/v1/state" ? 400 : 200) }
    world.publishNumbers(1...10)
    world.advance(.seconds(5))
    #expect(world.counters(0).parked == 10)
    #expect(world.wholeBacklog(0) == 0)
    #expect(world.isExact(0))
  }

  @Test("what fails in passing while a batch is bisected is tried again as it was")
  func transientWhileBisecting() {
    let world = World(batching(tens))
    var random = SplitMix64(seed: 3)
    world.answer = { request in
      if request.path == "/v1/state", random.below(2) == 0 { return .status(503) }
      return .status(request.sequences.contains(4) ? 422 : 200)
    }
    world.publishNumbers(1...10)
    world.advance(.seconds(3_000))
    #expect(world.counters(0).parked == 1)
    #expect(world.counters(0).delivered == 9)
    #expect(world.isExact(0))
  }

  @Test("a held stream probes with one batch every 30 s", arguments: [401, 403, 404])
  func held(status: Int) {
    let world = World(batching(tens))
    var isHeld = true
    world.answer = { request in
      .status(request.path == "/v1/state" && isHeld ? status : 200)
    }
    world.publishNumbers(1...30)
    world.advance(.seconds(61))
    #expect(world.batches() == Array(repeating: Array(1...10), count: 3))
    #expect(world.heldStatus(0) == UInt16(status))
    isHeld = false
    world.advance(.seconds(31))
    #expect(world.batches().suffix(3).flatMap { $0 } == Array(1...30))
    #expect(world.heldStatus(0) == nil)
  }

  @Test("what expires inside a batch leaves it before the next attempt")
  func expiry() {
    let world = World(
      batching("encoding = \"cloudevents-batch\"\nbatch = { records = 10 }\nttl = \"60s\""))
    world.answer = { _ in .silence }
    world.publishNumbers(1...1)
    world.publishNumbers(2...5)
    world.goDown()
    world.advance(.seconds(40))
    world.publishNumbers(6...8)
    world.answer = { _ in .status(200) }
    world.advance(.seconds(30))
    world.isUp = true
    world.retryNow()
    world.advance(.seconds(5))
    #expect(world.batches().suffix(1) == [[6, 7, 8]])
    #expect(world.counters(0).expired == 5)
    #expect(world.counters(0).delivered == 3)
    #expect(world.isExact(0))
  }
}
