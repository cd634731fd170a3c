import Primitives
import Testing

@testable import Gateway

/// A serial port and a broker, three streams on one upstream.
let scooter = """
  [node]
  id = "scooter-1"
  [[serial]]
  name = "gnss"
  device = "/dev/ttyS1"
  baud = 9600
  framing = "line"
  stream = "lines"
  [mqtt]
  broker = "mqtt://127.0.0.1"
  [[mqtt.subscribe]]
  filter = "state/+"
  stream = "state"
  [[mqtt.subscribe]]
  filter = "alarm"
  stream = "alarm"
  [[stream]]
  name = "lines"
  target = "http://192.0.2.1:443"
  path = "/v1/lines"
  content_type = "text/plain"
  [[stream]]
  name = "state"
  target = "http://192.0.2.1:443"
  path = "/v1/state"
  durability = "sync"
  headers = { "x-tenant" = "berlin" }
  [[stream]]
  name = "alarm"
  target = "http://192.0.2.1:443"
  path = "/v1/alarm"
  priority = "alarm"
  durability = "sync"
  [[stream]]
  name = "health"
  target = "http://192.0.2.1:443"
  path = "/v1/health"
  [reports]
  stream = "health"
  """

extension World {
  func delivered(_ path: String) -> [SeenRequest] { requests.filter { $0.path == path } }
}

@Suite("Delivery")
struct DeliveryTests {
  @Test("a serial line becomes one request in CloudEvents binary mode")
  func serialLine() {
    let world = World(scooter)
    world.serial("hello\r\n")
    let request = world.delivered("/v1/lines")[0]
    let epoch = world.epoch
    #expect(request[":method"] == "POST")
    #expect(request[":authority"] == "192.0.2.1:443")
    #expect(request["content-type"] == "text/plain")
    #expect(request["ce-specversion"] == "1.0")
    #expect(request["ce-type"] == "dev.spoke.record")
    #expect(request["ce-source"] == "/scooter-1/gnss")
    #expect(request["ce-id"] == "scooter-1/lines/\(epoch)-1")
    #expect(request["ce-time"] == "2027-01-15T08:00:00.000Z")
    #expect(request["ce-subject"] == nil)
    #expect(request["ce-clock"] == nil)
    #expect(request.text == "hello")
  }

  @Test("an MQTT message carries its topic, and the stream's own headers")
  func mqttMessage() {
    let world = World(scooter)
    world.publish("state/battery one", "81")
    let request = world.delivered("/v1/state")[0]
    #expect(request["ce-source"] == "/scooter-1/mqtt")
    #expect(request["ce-subject"] == "state/battery%20one")
    #expect(request["x-tenant"] == "berlin")
    #expect(request.text == "81")
  }

  @Test("before the clock's floor there is no ce-time, and the clock is called unsynced")
  func clockFloor() {
    let world = World(scooter)
    world.clocks.wall = WallTime(nanoseconds: 12_000_000_000)
    world.clocks.quality = .unsynced
    world.serial("early\n")
    let request = world.delivered("/v1/lines")[0]
    #expect(request["ce-time"] == nil)
    #expect(request["ce-clock"] == "unsynced")
  }

  @Test("sequence numbers count up from 1, and the next record waits for the one before")
  func orderInAStream() {
    let world = World(scooter)
    world.answer = { _ in .silence }
    for number in 1...5 { world.serial("\(number)\n") }
    #expect(world.delivered("/v1/lines").count == 1)
    let stuck = world
    stuck.goDown()
    stuck.isUp = true
    stuck.answer = { _ in .status(200) }
    stuck.advance(.seconds(120))
    let texts = stuck.delivered("/v1/lines").map { $0.text }
    #expect(texts.suffix(5) == ["1", "2", "3", "4", "5"])
  }

  @Test(
    "408, 425, 429 and 5xx are tried again with the same id and body until they succeed",
    arguments: [408, 425, 429, 500, 502, 503, 504, 599])
  func transient(status: Int) {
    let world = World(scooter)
    var failures = 3
    world.answer = { request in
      guard request.path == "/v1/state", failures > 0 else { return .status(200) }
      failures -= 1
      return .status(status)
    }
    world.publish("state/a", "x")
    world.advance(.seconds(600))
    let attempts = world.delivered("/v1/state")
    #expect(attempts.count == 4)
    #expect(Set(attempts.map { $0.id }).count == 1)
    #expect(Set(attempts.map { $0.text }) == ["x"])
    #expect(world.counters(1).delivered == 1)
    #expect(world.counters(1).retried == 3)
  }

  @Test("Retry-After is a lower bound for the next attempt")
  func retryAfter() {
    let world = World(scooter)
    world.answer = { request in
      request.path == "/v1/state" ? .status(503, [("retry-after", "40")]) : .status(200)
    }
    world.publish("state/a", "x")
    world.advance(.seconds(39))
    #expect(world.delivered("/v1/state").count == 1)
    world.advance(.seconds(3))
    #expect(world.delivered("/v1/state").count == 2)
  }

  @Test(
    "401, 403, 404 and redirects hold the stream: nothing is lost, and a probe goes out every 30 s",
    arguments: [401, 403, 404, 307])
  func held(status: Int) {
    let world = World(scooter)
    var isHeld = true
    world.answer = { request in
      request.path == "/v1/state" && isHeld ? .status(status) : .status(200)
    }
    for number in 1...3 { world.publish("state/a", "\(number)", id: UInt16(number)) }
    world.advance(.seconds(29))
    #expect(world.delivered("/v1/state").count == 1)
    world.advance(.seconds(2))
    #expect(world.delivered("/v1/state").count == 2)
    #expect(world.heldStatus(1) == UInt16(status))
    isHeld = false
    world.advance(.seconds(31))
    #expect(world.delivered("/v1/state").suffix(3).map { $0.text } == ["1", "2", "3"])
    #expect(world.heldStatus(1) == nil)
    #expect(world.delivered("/v1/health").contains { $0.text.contains("\"held\"") })
  }

  @Test("a held stream whose probe cannot connect waits quietly, and goes on afterwards")
  func heldThenDown() {
    let world = World(scooter)
    world.answer = { request in .status(request.path == "/v1/state" ? 404 : 200) }
    world.publish("state/a", "1")
    world.goDown()
    world.advance(.seconds(1_000))
    world.answer = { _ in .status(200) }
    world.isUp = true
    world.advance(.seconds(400))
    #expect(world.delivered("/v1/state").last?.text == "1")
    #expect(world.counters(1).delivered == 1)
    #expect(world.heldStatus(1) == nil)
  }

  @Test("a held record that expires leaves no hold that nothing can end")
  func heldThenExpired() {
    let text = scooter.replacingFirst(
      "durability = \"sync\"", "durability = \"sync\"\nttl = \"60s\"")
    let world = World(text)
    var isHeld = true
    world.answer = { request in
      .status(request.path == "/v1/state" && isHeld ? 403 : 200)
    }
    world.publish("state/a", "old")
    world.advance(.seconds(100))
    isHeld = false
    world.publish("state/a", "new", id: 2)
    world.advance(.seconds(60))
    #expect(world.delivered("/v1/state").last?.text == "new")
    #expect(world.heldStatus(1) == nil)
  }

  @Test(
    "any other 4xx parks the one record, reports it, and the stream goes on",
    arguments: [400, 405, 409, 410, 413, 415, 418, 422, 431, 451])
  func rejected(status: Int) {
    let world = World(scooter)
    world.answer = { request in request.text == "poison" ? .status(status) : .status(200) }
    for text in ["a", "poison", "b"] { world.publish("state/a", text) }
    world.advance(.seconds(2))
    #expect(world.delivered("/v1/state").map { $0.text } == ["a", "poison", "b"])
    #expect(world.counters(1).parked == 1)
    #expect(world.backlog(1) == 0)
    let gap = world.delivered("/v1/health").first { $0.text.contains("\"gap\"") }
    #expect(gap?.text.contains("\"stream\":\"state\"") == true)
    #expect(gap?.text.contains("\"first\":2,\"last\":2,\"count\":1") == true)
    #expect(gap?.text.contains("\"reason\":\"rejected\"") == true)
    let time = world.delivered("/v1/state")[1]["ce-time"] ?? "none"
    #expect(gap?.text.contains("\"from\":\"\(time)\",\"to\":\"\(time)\"") == true)
    #expect(gap?["content-type"] == "application/json")
  }

  @Test("a reset response is not a delivery")
  func resetResponse() {
    let world = World(scooter)
    var resets = 2
    world.answer = { request in
      guard request.path == "/v1/state", resets > 0 else { return .status(200) }
      resets -= 1
      return .reset
    }
    world.publish("state/a", "x")
    world.advance(.seconds(60))
    #expect(world.delivered("/v1/state").count == 3)
    #expect(world.counters(1).delivered == 1)
  }

  @Test("a record that outlived its ttl while the upstream was away is dropped with a report")
  func expires() {
    let text = scooter.replacingFirst(
      "durability = \"sync\"", "durability = \"sync\"\nttl = \"60s\"")
    let world = World(text)
    world.goDown()
    world.publish("state/a", "old")
    world.advance(.seconds(90))
    world.publish("state/a", "new", id: 2)
    world.isUp = true
    world.advance(.seconds(400))
    #expect(world.delivered("/v1/state").map { $0.text } == ["new"])
    #expect(world.counters(1).expired == 1)
    #expect(world.delivered("/v1/health").contains { $0.text.contains("\"reason\":\"expired\"") })
  }

  @Test("alarms go out before all that waits")
  func alarmsFirst() {
    let world = World(scooter)
    world.goDown()
    world.serial("line\n")
    world.publish("state/a", "state")
    world.publish("alarm", "fire", id: 2)
    world.advance(.seconds(1))
    world.isUp = true
    world.gateway.retryNow(clocks: world.clocks)
    world.advance(.seconds(120))
    let order = world.requests.map { $0.path }
    #expect(order.firstIndex(of: "/v1/alarm")! < order.firstIndex(of: "/v1/state")!)
    #expect(order.firstIndex(of: "/v1/alarm")! < order.firstIndex(of: "/v1/lines")!)
  }

  @Test("a result that comes about amid a turn's actions is taken at once, not at the next event")
  func resultAmidActions() {
    let world = World(scooter)
    world.goDown()
    world.publish("state/a", "1")
    world.isUp = true
    for _ in 0..<200 where !world.waitingResult.exists {
      guard world.moveToDeadline() else { break }
      world.turnWithFailingWrites()
    }
    #expect(world.waitingResult.exists)
    #expect(world.waitingResult.isDue)
    let retried = world.counters(1).retried
    #expect(world.moveToDeadline())
    world.turnWithFailingWrites()
    #expect(world.counters(1).retried == retried + 1)
  }
}

extension String {
  func replacingFirst(_ text: String, _ other: String) -> String {
    guard let range = firstRange(of: text) else { return self }
    return replacingCharacters(range, other)
  }

  private func firstRange(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }

  private func replacingCharacters(_ range: Range<Index>, _ other: String) -> String {
    String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
  }
}
