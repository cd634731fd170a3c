import Primitives
import TestSupport
import Testing

@testable import Gateway

/// What was found by reading the code, not by a seed: what a reload, or a spool that begins anew, did to reports
/// and to acknowledgements.
@Suite("Found by reading")
struct FoundByReadingTests {
  /// `state` takes what comes over MQTT; the reports go to `reports`.
  private static func text(_ streams: [String], reports: String? = "health") -> String {
    var text = """
      [node]
      id = "scooter-1"
      [mqtt]
      broker = "mqtt://127.0.0.1"
      [[mqtt.subscribe]]
      filter = "state/+"
      stream = "state"

      """
    for name in streams {
      text += """
        [[stream]]
        name = "\(name)"
        target = "http://192.0.2.1:443"
        path = "/v1/\(name)"
        durability = "\(name == "state" ? "spill" : "sync")"

        """
    }
    return text + (reports.map { "[reports]\nstream = \"\($0)\"\n" } ?? "")
  }

  private static func refuseMessage(_ world: World, id: UInt16) {
    let topic = Array("state/a".utf8)
    let isTaken = world.gateway.receiveMQTT(
      topic: topic.span, payload: Span(), qos: 1, messageID: id, oversize: 1_000_000,
      clocks: world.clocks)
    #expect(isTaken)
  }

  @Test("a report that a reload makes goes to the stream of the reports, wherever that is by now")
  func reportOfAReload() {
    let world = World(Self.text(["other", "health", "state"]), isUp: false)
    world.advance(.seconds(2))
    Self.refuseMessage(world, id: 1)
    // It is due, and the turn that tells of it is that of the reload.
    world.clocks.now = world.clocks.now + .seconds(1)
    let isReloaded = world.reload(Self.text(["health", "state"]))
    #expect(isReloaded)
    world.isUp = true
    world.advance(.seconds(400))
    let reports = world.requests.filter { $0.text.contains("\"gap\"") }
    #expect(!reports.isEmpty)
    #expect(reports.allSatisfy { $0.path == "/v1/health" }, "\(reports.map { $0.path })")
  }

  @Test("reports go on after a reload that leaves those without a stream that wait for one")
  func reportsWithoutStream() {
    let world = World(Self.text(["health", "state"]))
    world.advance(.seconds(2))
    world.disk.failing = [.write: .readOnly, .sync: .readOnly, .create: .readOnly]
    world.publish("state/a", "1")
    world.advance(.seconds(40))
    for number in 0..<40 { world.refuse(ByteString("filter\(number)")) }
    #expect(world.reportsWaiting == ReportCounters.waitingMax)
    let isReloaded = world.reload(Self.text(["health", "state"], reports: nil))
    #expect(isReloaded)
    world.disk.failing = [:]
    world.advance(.seconds(400))
    Self.refuseMessage(world, id: 2)
    world.advance(.seconds(5))
    let hasReports = world.gateway.spool.hasReports
    #expect(world.reportsWaiting == 0 && !hasReports)
    #expect(world.gateway.reports.losses.isEmpty)
  }

  @Test("another stream for the reports does not make those of the former one safe")
  func anotherStreamForReports() {
    let world = World(Self.text(["health", "state"]), isUp: false)
    world.advance(.seconds(2))
    for number in 1...3 { world.publish("state/a", "\(number)", id: UInt16(number)) }
    world.advance(.seconds(40))
    world.publish("state/a", "4", id: 4)
    world.advance(.seconds(40))
    world.gateway.spool.discard(
      stream: 1, sequence: 4, reason: .rejected, clocks: world.clocks)
    world.gateway.takeSpoolReports(clocks: world.clocks)
    let unsafe = world.gateway.reports.unsafe.map(\.sequence)
    #expect(unsafe.count == 1 && unsafe[0] <= 4, "`state` has had that number long since")
    let isReloaded = world.reload(Self.text(["health", "state"], reports: "state"))
    #expect(isReloaded)
    world.gateway.confirmReports()
    #expect(world.gateway.reports.unsafe.map(\.sequence) == unsafe)
  }

  @Test("what a spool loses that begins anew is named after a crash right behind that")
  func crashAfterStartingOver() {
    let disk = CrashingDisk()
    let text = Self.text(["health", "state"])
    var world: World?
    for run in 0..<2 {
      disk.kill()
      disk.failing = [.list: .failed(5)]
      // The clock is the same each time: the numbers of both runs begin with the same one.
      let current = World(text, disk: disk, isUp: false)
      for number in 1...3 { current.publish("state/a", "\(run)-\(number)", id: UInt16(number)) }
      current.advance(.seconds(30))
      disk.failing = [:]
      if run == 0 {
        current.advance(.seconds(61))
        current.gateway.close(clocks: current.clocks)
        continue
      }
      for _ in 0..<6100 where current.gateway.timesStartedOver == 0 {
        current.clocks.now = current.clocks.now + .milliseconds(10)
        current.gateway.finishTurn(clocks: current.clocks)
      }
      #expect(current.gateway.timesStartedOver == 1)
      #expect(current.mayRelease, "the broker forgets them")
      world = current
    }
    guard let after = world?.restarted(text) else { return }
    after.advance(.seconds(400))
    let gaps = after.delivered("/v1/health").filter {
      $0.text.contains("\"stream\":\"state\"") && $0.text.contains("\"reason\":\"memory\"")
    }
    #expect(gaps.count == 1, "\(after.requests.map { $0.text })")
  }

  @Test("a message of another broker is new, whatever its id and its content")
  func anotherBroker() {
    let text = Self.text(["health", "state"])
    let world = World(text)
    world.publish("state/a", "alive", id: 1)
    world.advance(.seconds(2))
    let isReloaded = world.reload(text.replacingFirst("127.0.0.1", "127.0.0.2"))
    #expect(isReloaded)
    world.gateway.mqttConnected(sessionPresent: true, clocks: world.clocks)
    world.publish("state/a", "alive", id: 1)
    world.advance(.seconds(40))
    #expect(world.duplicates == 0)
    #expect(world.delivered("/v1/state").count == 2)
  }
}
