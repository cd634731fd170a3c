import Primitives
import Spool
import Testing

@testable import Gateway

@Suite("Sources are acknowledged after durability")
struct SourceTests {
  @Test("a message to a sync stream may be acknowledged only when its record is on disk")
  func syncWaitsForTheDisk() {
    let world = World(scooter)
    world.goDown()
    // The first commit starts the interval; the second message falls into it.
    world.publish("state/a", "1", id: 1)
    #expect(world.mayRelease)
    world.gateway.mqttReleased()
    world.publish("state/a", "2", id: 2)
    #expect(!world.mayRelease)
    world.advance(.milliseconds(51))
    #expect(world.mayRelease)
  }

  @Test("a disk that fails keeps the acknowledgement back")
  func diskFails() {
    let world = World(scooter)
    world.goDown()
    world.disk.failing[.sync] = .failed(5)
    world.publish("state/a", "1")
    world.advance(.seconds(1))
    #expect(!world.mayRelease)
    #expect(world.log.contains { $0.contains("spool:") })
    world.disk.failing = [:]
    world.advance(.seconds(130))
    #expect(world.mayRelease)
    world.isUp = true
    world.advance(.seconds(600))
    #expect(world.delivered("/v1/state").map { $0.text } == ["1"])
  }

  @Test("a message to a spill stream is safe as soon as it is delivered, and nothing is written")
  func spillIsSafeWhenDelivered() {
    let text = scooter.replacingFirst("durability = \"sync\"", "durability = \"spill\"")
    let world = World(text)
    let commits = world.commits
    world.publish("state/a", "1")
    #expect(world.delivered("/v1/state").count == 1)
    #expect(world.mayRelease)
    #expect(world.commits == commits)
  }

  @Test("with the upstream away a spill message is written before the broker has to wait long")
  func spillIsWrittenUnderPressure() {
    let text = scooter.replacingFirst("durability = \"sync\"", "durability = \"spill\"")
    let world = World(text)
    world.goDown()
    world.publish("state/a", "1")
    #expect(!world.mayRelease)
    world.advance(.seconds(6))
    #expect(world.mayRelease)
    world.gateway.mqttReleased()
    for id in 2...17 { world.publish("state/a", "\(id)", id: UInt16(id)) }
    #expect(world.mayRelease, "sixteen waiting messages are written at once")
  }

  @Test("what the broker repeats after a resumed session is taken once")
  func repetitions() {
    let world = World(scooter)
    world.gateway.mqttConnected(sessionPresent: false, clocks: world.clocks)
    world.publish("state/a", "1", id: 1)
    world.publish("state/a", "2", id: 2)
    world.gateway.mqttDisconnected(reason: "gone", clocks: world.clocks)
    world.gateway.mqttConnected(sessionPresent: true, clocks: world.clocks)
    world.publish("state/a", "2", id: 2)
    world.publish("state/a", "3", id: 3)
    world.publish("state/a", "3", id: 4)
    world.advance(.seconds(1))
    #expect(world.delivered("/v1/state").map { $0.text } == ["1", "2", "3", "3"])
    #expect(world.duplicates == 1)
  }

  @Test("what is repeated before its record is on disk is acknowledged no earlier than that")
  func repetitionsWaitForTheDisk() {
    let text = scooter.replacingFirst("durability = \"sync\"", "durability = \"spill\"")
    let world = World(text)
    world.goDown()
    world.gateway.mqttConnected(sessionPresent: false, clocks: world.clocks)
    world.publish("state/a", "1", id: 1)
    #expect(!world.mayRelease)
    world.gateway.mqttDisconnected(reason: "gone", clocks: world.clocks)
    world.gateway.mqttConnected(sessionPresent: true, clocks: world.clocks)
    world.publish("state/a", "1", id: 1)
    #expect(world.duplicates == 1)
    #expect(!world.mayRelease)
    world.advance(.seconds(6))
    #expect(world.mayRelease)
    let after = world.restarted(text)
    after.advance(.seconds(5))
    #expect(after.delivered("/v1/state").map { $0.text } == ["1"])
  }

  @Test("after a SIGKILL what was acknowledged is delivered, with the id it had")
  func killed() {
    let world = World(scooter)
    world.goDown()
    for number in 1...20 { world.publish("state/a", "\(number)", id: UInt16(number)) }
    world.advance(.seconds(1))
    #expect(world.mayRelease)
    let epoch = world.epoch
    let after = world.restarted(scooter)
    after.advance(.seconds(5))
    let seen = after.delivered("/v1/state")
    #expect(seen.map { $0.text } == (1...20).map { "\($0)" })
    #expect(seen.map { $0.id } == (1...20).map { "scooter-1/state/\(epoch)-\($0)" })
  }

  @Test("a SIGKILL between sending and acknowledging repeats the record with the same id and body")
  func killedWhileSending() {
    let world = World(scooter)
    world.answer = { _ in .silence }
    world.publish("state/a", "1")
    world.advance(.milliseconds(100))
    let first = world.delivered("/v1/state")[0]
    let after = world.restarted(scooter)
    after.advance(.seconds(5))
    let second = after.delivered("/v1/state")[0]
    #expect(first.id == second.id)
    #expect(first.body == second.body)
  }

  @Test("numbers of a spill stream are never used for two bodies, whatever a SIGKILL forgets")
  func noNumberTwice() {
    var bodies: [String: String] = [:]
    var world = World(scooter)
    for round in 0..<20 {
      for number in 0..<7 { world.serial("round \(round) line \(number)\n") }
      world.advance(.seconds(1))
      for request in world.delivered("/v1/lines") {
        #expect(bodies[request.id] == nil || bodies[request.id] == request.text)
        bodies[request.id] = request.text
      }
      world = world.restarted(scooter)
    }
    #expect(bodies.count == 140)
  }

  @Test("what the broker repeats after a SIGKILL is taken once, and keeps its id")
  func repetitionsAfterRestart() {
    let world = World(scooter)
    world.goDown()
    world.publish("alarm", "first", id: 1)
    for number in 2...40 { world.publish("state/a", "\(number)", id: UInt16(number)) }
    world.advance(.seconds(1))
    #expect(world.mayRelease)
    let after = world.restarted(scooter)
    after.gateway.mqttConnected(sessionPresent: true, clocks: after.clocks)
    after.publish("alarm", "first", id: 1)
    // This one was not on disk when the daemon was killed.
    after.publish("state/a", "new", id: 41)
    for number in 20...40 { after.publish("state/a", "\(number)", id: UInt16(number)) }
    #expect(after.duplicates == 22)
    after.advance(.seconds(6))
    after.publish("state/a", "40", id: 40)
    after.advance(.seconds(1))
    #expect(after.duplicates == 22, "later the same id and content is another message")
    let seen = after.delivered("/v1/state")
    #expect(seen.map { $0.text } == (2...40).map { "\($0)" } + ["new", "40"])
    #expect(Set(seen.map { $0.id }).count == seen.count)
    #expect(after.delivered("/v1/alarm").count == 1)
  }

  @Test("a new session repeats nothing: what has a known id and content is another message")
  func newSession() {
    let world = World(scooter)
    world.goDown()
    world.publish("state/a", "1", id: 1)
    world.advance(.seconds(1))
    let after = world.restarted(scooter)
    after.gateway.mqttConnected(sessionPresent: false, clocks: after.clocks)
    after.publish("state/a", "1", id: 1)
    after.advance(.seconds(1))
    #expect(after.duplicates == 0)
    #expect(after.delivered("/v1/state").map { $0.text } == ["1", "1"])
  }

  @Test("a record larger than the limit is refused with a count, a log line and a report")
  func tooLarge() {
    let world = World(scooter)
    world.publish("state/a", String(repeating: "x", count: 70_000))
    world.advance(.seconds(3))
    #expect(world.counters(1).dropped == 1)
    #expect(world.mayRelease)
    #expect(world.log.contains { $0.contains("larger than") })
    #expect(world.delivered("/v1/health").contains { $0.text.contains("\"reason\":\"rejected\"") })
  }

  @Test("an outage of a port is one report, however its reason changes")
  func onePortDown() {
    let world = World(scooter)
    for round in 1...3 {
      world.gateway.serialOpened(0, SerialOpening(), clocks: world.clocks)
      world.serial("line\n")
      for reason in ["hung up", "No such file or directory", "Permission denied"] {
        world.gateway.serialClosed(0, reason: reason, clocks: world.clocks)
        world.advance(.seconds(1))
      }
      let reports = world.delivered("/v1/health").filter { $0.text.contains("\"port_down\"") }
      #expect(reports.count == round)
      #expect(reports.allSatisfy { $0.text.contains("hung up") })
    }
  }

  @Test("a wrong frame never stops a port")
  func wrongFrames() {
    let text = scooter.replacingFirst("framing = \"line\"", "framing = \"nmea\"")
    let world = World(text)
    world.serial("$GPTXT,01*00\r\n")
    world.serial("$GPTXT,01,01,02,ok*24\r\n$nonsense")
    world.serial("\u{1}\u{2}\r\n$GPGLL,4916.45,N,12311.12,W,225444,A*31\r\n")
    let good = world.delivered("/v1/lines").map { $0.text }
    #expect(good.last == "$GPGLL,4916.45,N,12311.12,W,225444,A*31")
    #expect(world.badFrames >= 2)
  }

  @Test("a reload keeps what is stored and renames nothing")
  func reload() {
    let world = World(scooter)
    world.goDown()
    for number in 1...5 { world.publish("state/a", "\(number)", id: UInt16(number)) }
    let text = scooter.replacingFirst("/v1/lines", "/v2/lines")
    #expect(world.reload(text))
    world.isUp = true
    world.serial("after\n")
    world.advance(.seconds(60))
    #expect(world.delivered("/v1/state").map { $0.text } == ["1", "2", "3", "4", "5"])
    #expect(world.delivered("/v2/lines").map { $0.text } == ["after"])
  }
}
