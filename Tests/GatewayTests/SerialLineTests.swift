import Primitives
import Spool
import Testing

@testable import Gateway

private let line = """
  node = { id = "n" }
  [[serial]]
  name = "ecu"
  device = "/dev/ttyS1"
  baud = 9600
  framing = "line"
  stream = "s"
  [[stream]]
  name = "s"
  target = "http://up:80"
  path = "/s"
  [[stream]]
  name = "health"
  target = "http://up:80"
  path = "/health"
  [reports]
  stream = "health"
  """

@Suite("What a serial line does beside bytes")
struct SerialLineTests {
  private func open(_ world: World, _ change: (inout SerialOpening) -> Void = { _ in }) {
    var opening = SerialOpening()
    opening.device = "/dev/ttyUSB0"
    opening.marksErrors = true
    change(&opening)
    world.gateway.serialOpened(0, opening, clocks: world.clocks)
    world.turn()
  }

  private func receive(_ world: World, _ bytes: [UInt8]) {
    world.gateway.receiveSerial(0, bytes.span, clocks: world.clocks)
    world.turn()
  }

  private func bodies(_ world: World, _ path: String = "/s") -> [String] {
    world.requests.filter { $0.path == path }.map { $0.text }
  }

  private func page(_ world: World) -> String {
    String(decoding: world.gateway.serialPage(), as: UTF8.self)
  }

  @Test("27: a marked byte spoils its frame, a break the one under way; both are counted")
  func marks() {
    let world = World(line)
    open(world)
    receive(world, Array("good\nba".utf8) + [0xFF, 0x00] + Array("d\n".utf8))
    receive(world, Array("hal".utf8) + [0xFF, 0x00, 0x00] + Array("f\n\u{0}".utf8))
    receive(world, Array("fine ".utf8) + [0xFF])
    receive(world, [0xFF, 0x0A])
    world.advance(.seconds(1))
    #expect(world.requests.filter { $0.path == "/s" }.map { $0.body.last } == [0x64, 0xFF])
    #expect(page(world).contains(#""damaged_bytes":1,"breaks":1,"#))
    #expect(page(world).contains(#""line-error":2"#))
  }

  @Test("errors that the driver counted before the opening are not ours; counters wrap")
  func counts() {
    let world = World(line)
    open(world)
    #expect(page(world).contains(#""icount":null"#))
    var errors = SerialErrors()
    errors.frame = .max
    errors.overrun = 7
    world.gateway.serialCounted(0, errors, clocks: world.clocks)
    errors.frame = 2
    errors.overrun = 9
    errors.bufOverrun = 1
    errors.brk = 4
    world.gateway.serialCounted(0, errors, clocks: world.clocks)
    #expect(
      page(world).contains(
        #""icount":{"frame":3,"overrun":2,"parity":0,"brk":4,"buf_overrun":1}"#))
    world.advance(.seconds(1))
    #expect(bodies(world, "/health").contains(#"{"overrun":{"port":"ecu","characters":3}}"#))
    open(world)
    world.gateway.serialCounted(0, SerialErrors(), clocks: world.clocks)
    #expect(page(world).contains(#""icount":{"frame":3,"overrun":2,"#))
  }

  @Test("28: a line of garbage is one report, and its end is seen")
  func garbage() {
    let world = World(line.replacingFirst("\"line\"", "\"nmea\""))
    open(world)
    for _ in 0..<30 {
      receive(world, [UInt8](repeating: 0x9C, count: 20))
      world.advance(.milliseconds(500))
    }
    world.advance(.seconds(1))
    let alarms = bodies(world, "/health").filter { $0.contains("garbage") }
    #expect(alarms.count == 1)
    #expect(alarms.first?.hasPrefix(#"{"garbage":{"port":"ecu","bytes":"#) == true)
    #expect(page(world).contains(#""garbage":true,"garbage_alarms":1"#))
    for _ in 0..<30 {
      receive(world, Array("$GPTXT,1*52\r\n".utf8))
      world.advance(.milliseconds(500))
    }
    #expect(page(world).contains(#""garbage":false,"garbage_alarms":1"#))
  }

  @Test("20: another device under the same name is told, and no frame is made of both")
  func otherDevice() {
    let world = World(line)
    open(world) { $0.hardware = "0403:6001:A1" }
    receive(world, Array("torn".utf8))
    world.gateway.serialClosed(0, reason: "hung up", clocks: world.clocks)
    open(world) { $0.hardware = "1a86:7523:" }
    receive(world, Array("whole\n".utf8))
    world.advance(.seconds(1))
    #expect(bodies(world) == ["whole"])
    let last = bodies(world, "/health").last { $0.contains("port_up") }
    #expect(last?.contains(#""hardware":"1a86:7523:","other_device":true"#) == true)
  }

  @Test("19: the same device under another name is not another one")
  func otherName() {
    let world = World(line)
    open(world) { $0.hardware = "0403:6001:A1" }
    world.gateway.serialClosed(0, reason: "hung up", clocks: world.clocks)
    open(world) {
      $0.hardware = "0403:6001:A1"
      $0.device = "/dev/ttyUSB1"
    }
    world.advance(.seconds(1))
    #expect(!bodies(world, "/health").contains { $0.contains("other_device") })
    #expect(page(world).contains(#""opened_device":"/dev/ttyUSB1""#))
  }

  @Test(
    "24: a message goes out while bytes come in; 29: one that the board never takes is answered")
  func transmit() {
    let world = World(line)
    let message = Array("reset\n".utf8)
    #expect(!send(world, message, 1), "the port is closed")
    open(world)
    #expect(send(world, message, 2) && send(world, message, 3))
    receive(world, Array("one\ntw".utf8))
    world.gateway.consumeSerialOutput(0, message.count, now: world.clocks.now)
    receive(world, Array("o\n".utf8))
    #expect(results(world) == ["2 sent"])
    world.gateway.consumeSerialOutput(0, 2, now: world.clocks.now)
    world.advance(.seconds(6))
    #expect(results(world) == ["3 timedOut"])
    let waits = world.gateway.hasSerialOutput(0)
    #expect(!waits)
    #expect(send(world, message, 4))
    world.gateway.serialClosed(0, reason: "hung up", clocks: world.clocks)
    #expect(results(world) == ["4 portDown"])
    #expect(bodies(world) == ["one", "two"])
    #expect(
      page(world).contains(
        #""transmit":{"waiting_bytes":0,"sent":1,"timed_out":1,"port_down":1,"refused":1,"#))
  }

  @Test("23: on a half-duplex line what was sent is no record, what the board says is")
  func echo() {
    let world = World(line)
    world.gateway.ports[0].echo = .init()
    open(world)
    let message = Array("status?\n".utf8)
    #expect(send(world, message, 1))
    world.gateway.consumeSerialOutput(0, message.count, now: world.clocks.now)
    receive(world, message + Array("status ok\nsta".utf8))
    #expect(send(world, message, 2))
    world.gateway.consumeSerialOutput(0, message.count, now: world.clocks.now)
    receive(world, Array("ble\nst".utf8))
    world.advance(.seconds(7))
    receive(world, Array("ill\n".utf8))
    #expect(bodies(world) == ["status ok", "stable", "still"])
    #expect(page(world).contains(#""echoes":1,"echoes_missing":1}"#))
  }

  private func send(_ world: World, _ bytes: [UInt8], _ token: UInt64) -> Bool {
    world.gateway.transmit(0, bytes.span, token: token, clocks: world.clocks)
  }

  private func results(_ world: World) -> [String] {
    var results: [String] = []
    while let result = world.gateway.nextTransmitResult(0) {
      results.append("\(result.token) \(result.outcome)")
    }
    return results
  }
}
