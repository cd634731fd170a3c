import Configuration
import Primitives
import Spool
import Testing

@testable import Gateway

/// One serial port, with the streams in the order given.
private func oneSerialPort(_ streams: [String], framing: String = "\"line\"", more: String = "")
  -> String
{
  var text = """
    [node]
    id = "scooter-1"
    [[serial]]
    name = "ecu"
    device = "/dev/ttyS1"
    baud = 115200
    framing = \(framing)
    stream = "ecu"
    \(more)

    """
  for name in streams {
    text += """
      [[stream]]
      name = "\(name)"
      target = "http://192.0.2.1:443"
      path = "/v1/\(name)"
      durability = "sync"

      """
  }
  return text
}

extension World {
  func stat(_ name: String) -> UInt64? {
    var statistics = Statistics()
    gateway.collect(into: &statistics)
    for entry in statistics.entries
    where ByteString(Array(statistics.bytes[entry.name])) == ByteString(name) {
      return entry.value
    }
    return nil
  }

  func admin(
    _ path: ByteString, _ method: AdminRequest.Method = .get, level: ByteString? = nil
  ) -> AdminPage {
    var request = AdminRequest(method: method, path: path)
    if let level { request.query = [AdminRequest.Parameter(name: "level", value: level)] }
    return gateway.answer(request, clocks: clocks)
  }

  func refuse(_ filter: ByteString) {
    gateway.mqttSubscriptionRefused(filter, clocks: clocks)
    turn()
  }

  func reconnect() { gateway.mqttConnected(sessionPresent: true, clocks: clocks) }
}

@Suite("What a reload leaves alone")
struct ReloadTests {
  @Test("a stream that is put before a port's own does not cost the port the frame it is in")
  func frameSurvives() {
    let world = World(oneSerialPort(["ecu"]))
    world.serial("whole\nhal")
    #expect(world.reload(oneSerialPort(["before", "ecu"])))
    world.serial("ves\n")
    world.advance(.seconds(1))
    #expect(world.delivered("/v1/ecu").map { $0.text } == ["whole", "halves"])
    #expect(world.delivered("/v1/before").isEmpty)
  }

  @Test(
    "another [tls.NAME] in the place of the former one: no record goes by the former's connection")
  func otherIdentity() {
    func text(_ name: String) -> String {
      oneSerialPort(["ecu"]).replacing(
        "target = \"http://192.0.2.1:443\"",
        with: "target = \"https://192.0.2.1:443\"\ntls = \"\(name)\"")
        + "[tls.\(name)]\ncertificate = \"/\(name).pem\"\nkey = \"/\(name).key\"\n"
    }
    let world = World(text("a"))
    world.serial("first\n")
    world.advance(.seconds(1))
    let connections = world.peers.map { $0.id }
    #expect(connections.count == 1)
    #expect(world.reload(text("a")))
    #expect(world.peers.map { $0.id } == connections)
    #expect(world.reload(text("b")))
    world.serial("second\n")
    world.advance(.seconds(1))
    #expect(world.delivered("/v1/ecu").map { $0.text } == ["first", "second"])
    #expect(world.peers.count == 1 && world.peers.map { $0.id } != connections)
  }

  @Test("no counter of a port goes back when its framing changes")
  func countersGoOn() {
    let world = World(oneSerialPort(["ecu"], framing: "\"nmea\""))
    world.serial("$GPGGA,1*00\r\n$GPGGA,1*00\r\n")
    let bad = world.stat("spoke.serial.ecu.bad_frames")
    let resyncs = world.stat("spoke.serial.ecu.resyncs")
    #expect(bad == 2)
    #expect(world.reload(oneSerialPort(["ecu"])))
    #expect(world.stat("spoke.serial.ecu.bad_frames") == bad)
    #expect(world.stat("spoke.serial.ecu.resyncs") == resyncs)
    world.serial("good\n")
    #expect(world.stat("spoke.serial.ecu.frames") == 1)
  }

  @Test("what is settled at the start stays in force, and is named")
  func restartNeeded() {
    let before = World.configuration(oneSerialPort(["ecu"]))
    var after = World.configuration(
      oneSerialPort(["ecu"]) + "[spool]\nsize = \"16MiB\"\n[admin]\nsocket = \"/x\"\n")
    #expect(after.keepWhatNeedsRestart(of: before) == ["[spool]", "[admin]"])
    #expect(after == before)
    let world = World(batching(""))
    world.gateway.restartNeeded(for: ["[spool]", "[admin]"], clocks: world.clocks)
    world.advance(.seconds(1))
    let reports = world.delivered("/v1/health").map { $0.text }
    #expect(reports.contains(#"{"restart_needed":{"tables":["[spool]","[admin]"]}}"#))
  }

  @Test("the streams of subscriptions are no reason to connect to the broker anew")
  func sameSession() throws {
    let before = try #require(World.configuration(batching("")).mqtt)
    var moved = before
    for index in moved.subscriptions.indices { moved.subscriptions[index].stream += 1 }
    #expect(moved.isSameSession(as: before))
    moved.subscriptions[0].filter = "elsewhere"
    #expect(!moved.isSameSession(as: before))
  }
}

@Suite("What an operator sees and sets")
struct OperatorTests {
  @Test("/logging shows the level, sets another one with POST, and a reload takes the file's again")
  func logging() {
    let world = World(batching(""))
    let levels = #""levels":["error","warning","info","debug"]}"#
    #expect(world.admin("/logging").body == Array((#"{"level":"info","# + levels).utf8))
    #expect(world.admin("/logging", level: "debug").status == 405)
    #expect(world.admin("/logging", .post, level: "loud").status == 400)
    #expect(
      world.admin("/logging", .post, level: "debug").body
        == Array((#"{"level":"debug","# + levels).utf8))
    #expect(world.gateway.logLevel == .debug)
    #expect(world.reload(batching("")))
    #expect(world.gateway.logLevel == .info)
  }

  @Test("a reload that is refused, since the spool cannot be written, leaves the level as it is")
  func refusedReload() {
    let world = World(oneSerialPort(["ecu"]))
    world.serial("waits\n")
    world.disk.failing = [.write: .failed(5), .create: .failed(5), .sync: .failed(5)]
    #expect(!world.reload(oneSerialPort(["before", "ecu"]) + "[log]\nlevel = \"debug\"\n"))
    #expect(world.gateway.logLevel == .info)
    world.disk.failing = [:]
  }

  @Test("a subscription that the broker refuses is logged, counted, shown, and reported once")
  func refusedSubscription() {
    let world = World(batching(""))
    world.refuse("other")
    world.refuse("other")
    world.reconnect()
    #expect(world.stat("spoke.mqtt.refused_subscriptions") == 1)
    world.refuse("other")
    world.advance(.seconds(1))
    #expect(world.stat("spoke.mqtt.refused_subscriptions") == 2)
    #expect(world.log.count { $0.contains("refused the subscription to 'other'") } == 2)
    let reports = world.delivered("/v1/health").map { $0.text }
    #expect(reports.filter { $0 == #"{"subscription_refused":{"filter":"other"}}"# }.count == 1)
    let page = String(decoding: world.admin("/mqtt").body, as: UTF8.self)
    #expect(page.contains(#"{"filter":"other","qos":1,"refused":true,"stream":"other"}"#))
    #expect(page.contains(#"{"filter":"state/+","qos":1,"refused":false,"stream":"state"}"#))
  }
}
