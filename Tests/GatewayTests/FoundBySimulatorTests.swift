import Primitives
import TestSupport
import Testing

@testable import Gateway

/// What the simulator found in the whole daemon, each as small as it goes.
@Suite("Found by the simulator")
struct FoundBySimulatorTests {
  @Test("fewer deliveries at once after a reload: order holds in what is in memory only")
  func orderAfterReload() {
    func text(_ inFlight: Int) -> String {
      batching("durability = \"memory\"\nin_flight = \(inFlight)")
    }
    let world = World(text(2))
    world.answer = { _ in .status(503) }
    for id in UInt16(1)...2 { world.publish("state/a", "\(id)", id: id) }
    let isTaken = world.reload(text(1))
    #expect(isTaken)
    // Each is refused once, and the next one must wait for it.
    var refused: Set<String> = []
    var taken: [String] = []
    world.answer = { request in
      guard request.path == "/v1/state" else { return .status(200) }
      guard refused.contains(request.id) else {
        refused.insert(request.id)
        return .status(503)
      }
      taken.append(request.text)
      return .status(200)
    }
    for id in UInt16(3)...8 { world.publish("state/a", "\(id)", id: id) }
    world.advance(.seconds(600))
    #expect(taken == (1...8).map { "\($0)" })
  }

  @Test("a call's records have numbers that follow each other, so that their ids are known")
  func callsWithoutHoles() {
    let world = World(
      batching(
        "encoding = \"grpc\"\nbatch = { records = 10 }\ndurability = \"sync\""), isUp: false)
    for id in UInt16(1)...6 { world.publish("state/a", "\(id)", id: id) }
    world.advance(.seconds(1))
    // The fourth one has left, as a record does that was refused in an earlier run.
    world.gateway.spool.rewind(stream: 0)
    world.gateway.uplinks[0].giveBack()
    world.gateway.spool.acknowledge(stream: 0, sequence: 4, now: world.clocks.now)
    world.isUp = true
    world.answer = { request in
      request.path == "/v1/state" ? .trailers([("grpc-status", "0")]) : .status(200)
    }
    world.advance(.seconds(400))
    let calls = world.delivered("/v1/state")
    #expect(calls.map { $0["spoke-count"] } == ["3", "2"])
    #expect(calls.map { $0["spoke-id"]?.hasSuffix("-1") } == [true, false])
    #expect(calls.last?["spoke-id"]?.hasSuffix("-5") == true)
  }

  @Test("a spool that cannot be joined with its directory starts over, without a restart")
  func stranded() {
    let disk = CrashingDisk()
    let text = batching("durability = \"spill\"")
    var delivered: [String] = []
    for run in 0..<2 {
      disk.kill()
      disk.failing = [.list: .failed(5)]
      // The clock is the same each time: the numbers of both runs begin with the same one.
      let world = World(text, disk: disk, isUp: false)
      world.publish("state/a", "\(run)", id: UInt16(run + 1))
      world.advance(.seconds(30))
      disk.failing = [:]
      world.advance(.seconds(61))
      let isDegraded = world.gateway.isDegraded
      #expect(!isDegraded)
      guard run == 1 else { continue }
      world.isUp = true
      world.retryNow()
      world.advance(.seconds(400))
      delivered = world.delivered("/v1/state").map { $0.text }
      let gaps = world.delivered("/v1/health").filter {
        $0.text.contains("\"stream\":\"state\"") && $0.text.contains("\"reason\":\"memory\"")
      }
      // How many there were is not known for certain: the numbers that it may have given out are named.
      #expect(gaps.count == 1)
      let left = world.wholeBacklog(0)
      #expect(left == 0)
    }
    #expect(delivered == ["0"])
  }

  @Test("a batch keeps its records when the next one finds too little room", arguments: 1...14)
  func roomForTheNext(size: Int) {
    let busy = (0..<28).map { number in
      """
      [[mqtt.subscribe]]
      filter = "busy\(number)"
      stream = "busy\(number)"
      [[stream]]
      name = "busy\(number)"
      target = "http://192.0.2.2:443"
      path = "/v1/busy"
      durability = "spill"

      """
    }
    let text = batching("encoding = \"protobuf\"\nbatch = { records = 10 }")
      .replacingFirst("[mqtt]", "[memory]\nbudget = \"3MiB\"\n[mqtt]")
    let world = World(text + "\n" + busy.joined())
    world.answerDelay = .seconds(10)
    // Requests that are under way leave little room.
    for number in 0..<28 {
      world.publish(
        "busy\(number)", String(repeating: "b", count: 20_000), id: UInt16(number + 100))
    }
    // The others are read at once, when the first one is answered.
    let texts = (0..<6).map {
      $0 == 4
        ? String(repeating: "x", count: size * 4_096)
        : "record \($0)"
    }
    for (id, text) in texts.enumerated() { world.publish("state/a", text, id: UInt16(id + 1)) }
    world.advance(.seconds(900))
    let delivered = world.delivered("/v1/state").map { $0.text }
    #expect(delivered.joined(separator: ",").contains("xx"))
    for (number, text) in texts.enumerated() where number != 4 {
      #expect(delivered.contains { $0.contains(text) }, "record \(number)")
    }
    let left = world.wholeBacklog(0)
    #expect(left == 0)
    #expect(world.counters(0).delivered == 6)
  }

  @Test("live-first: what left without room to note that is sent again, and takes nothing with it")
  func manyOutages() {
    let text = batching("durability = \"sync\"\norder = \"live-first\"")
    let before = World(text, isUp: false)
    before.publish("state/a", "first", id: 1)
    before.gateway.commit(clocks: before.clocks)
    let world = before.restarted(text, isUp: false)
    // The backlog stands still, and of each outage one record is left behind in it.
    var refused: Set<String> = ["first"]
    world.answer = { .status(refused.contains($0.text) ? 503 : 200) }
    world.isUp = true
    world.retryNow()
    for number in 0..<70 {
      refused.insert("live \(number)")
      world.publish("state/a", "live \(number)", id: UInt16(2 * number + 2))
      world.publish("state/a", "late \(number)", id: UInt16(2 * number + 3))
      world.advance(.seconds(40))
      refused.remove("live \(number)")
      world.retryNow()
      world.advance(.seconds(1))
    }
    // Nothing that is late comes behind it: no reader would ever get to it again.
    world.publish("state/a", "last", id: 1_000)
    world.advance(.seconds(1))
    // 64 of the live ones are noted, and all of those that are not count as waiting.
    #expect(world.wholeBacklog(0) == 1 + 70 + 71 - 64)
    refused = []
    world.retryNow()
    world.advance(.seconds(60))
    var sent: [String: Int] = [:]
    for request in world.delivered("/v1/state") where request.text.hasPrefix("la") {
      sent[request.text, default: 0] += 1
    }
    #expect(sent.count == 71)
    #expect(sent.values.allSatisfy { $0 <= 2 })
    #expect(world.wholeBacklog(0) == 0)
    #expect(world.isExact(0))
    world.gateway.close(clocks: world.clocks)
    let next = world.restarted(text)
    #expect(next.wholeBacklog(0) == 0)
    #expect(!next.delivered("/v1/health").contains { $0.text.contains("gap") })
  }

  @Test("what was on its way when the directory came back goes once more, and then it has ended")
  func twins() {
    let text = batching("durability = \"spill\"\nin_flight = 2")
    let before = World(text, isUp: false)
    before.publish("state/a", "old", id: 1)
    before.gateway.commit(clocks: before.clocks)
    before.disk.kill()
    before.disk.failing = [.list: .failed(5)]
    let world = World(text, disk: before.disk)
    world.answer = { _ in .status(503, [("retry-after", "300")]) }
    world.publish("state/a", "new", id: 2)
    world.answer = { _ in .status(200) }
    world.disk.failing = [:]
    world.advance(.seconds(70))
    #expect(world.delivered("/v1/state").map(\.text) == ["new", "old", "new"])
    #expect(world.wholeBacklog(0) == 0)
    // Nothing of it waits any more, but for its next attempt.
    #expect(world.hasDelivery(0))
    world.advance(.seconds(300))
    let seen = world.delivered("/v1/state")
    #expect(seen.map(\.text) == ["new", "old", "new", "new"])
    #expect(seen[0].id == seen[2].id && seen[0].id == seen[3].id)
    #expect(!world.hasDelivery(0))
    #expect(world.counters(0).delivered == 2)
  }

  // Seed 1554: the load alone, and a backlog that ended at 1.
  @Test(
    "live-first: the record that a delivery begins with is on its way while the next one is looked for",
    arguments: [3, 900])
  func firstOfDelivery(count: Int) {
    let text =
      smallSpool
      + batching(
        "encoding = \"cloudevents-batch\"\nbatch = { records = 10, bytes = \"2KiB\" }\n"
          + "durability = \"sync\"\norder = \"live-first\"\nin_flight = 2")
    let world = World(text)
    let pad = String(repeating: "x", count: 1_000)
    func publish(_ number: Int) { world.publish("state/a", "\"\(number)\(pad)\"", qos: 0) }
    publish(1)
    world.goDown()
    // One commit: all three are live. The last one is read, finds no place in either delivery, and begins
    // the next one when the upstream is there again; what follows it has become backlog.
    for number in 2...4 { publish(number) }
    world.advance(.seconds(1))
    for number in 5...(4 + count) {
      publish(number)
      world.advance(.milliseconds(60))
    }
    world.advance(.seconds(60))
    // Of many, the first have made room for the last: what is on its way is still to arrive.
    #expect((world.counters(0).dropped > 100) == (count > 100))
    world.isUp = true
    world.answerDelay = .seconds(1)
    world.retryNow()
    world.advance(.seconds(1_000))
    let sent = world.batches().flatMap { $0 }
    #expect(sent.starts(with: [1, 2, 3, 4]), "\(sent.prefix(10))")
    #expect(Set(sent).count == sent.count)
    let counters = world.counters(0)
    #expect(counters.delivered == UInt64(sent.count))
    #expect(counters.delivered + counters.dropped == UInt64(4 + count))
    #expect(world.wholeBacklog(0) == 0)
    #expect(world.isExact(0))
  }

  /// With fifty records of a `memory` stream behind as many reports as may wait, and a disk that takes none.
  private func worldFullOfReports() -> (World, String) {
    let text = batching("durability = \"memory\"").replacingFirst(
      "path = \"/v1/health\"", "path = \"/v1/health\"\ndurability = \"sync\"")
    let world = World(text, isUp: false)
    world.disk.failing = [.write: .failed(5), .create: .failed(5)]
    // Most of them push out another one, each in a second of its own.
    let pad = String(repeating: "x", count: 60_000)
    for number in 1...50 {
      world.publish("state/a", "\(number) \(pad)", qos: 0)
      world.advance(.milliseconds(1_500))
    }
    let waiting = world.reportsWaiting
    #expect(waiting == ReportCounters.waitingMax)
    return (world, text)
  }

  // Seed 13519: what was lost was neither in a report nor in the log.
  @Test("a stop without a disk names in the log what is in memory")
  func namedInTheLog() {
    let (world, _) = worldFullOfReports()
    world.gateway.drain()
    world.gateway.close(clocks: world.clocks)
    world.turn()
    var named: Set<Int> = []
    for line in world.log where line.contains(" dropped, ") {
      let numbers = line.split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) }
      if numbers.count == 3 { named.formUnion(numbers[1]...numbers[2]) }
    }
    #expect(named == Set(1...50))
  }

  // Seed 33938.
  @Test(
    "a clean stop names what is in memory, also behind as many reports as may wait, whatever fails once",
    arguments: 0...12)
  func namedBehindReports(failing: Int) {
    let (world, text) = worldFullOfReports()
    world.disk.failing = [:]
    // 0: an operation that is over.
    world.disk.failAt = (world.disk.operations + failing, .failed(5))
    world.gateway.drain()
    world.gateway.close(clocks: world.clocks)
    let next = world.restarted(text)
    next.advance(.seconds(60))
    var named: Set<Int> = []
    for report in next.delivered("/v1/health") {
      let first = report.text.pieces(between: "\"first\":", and: ",").compactMap { Int($0) }
      let last = report.text.pieces(between: "\"last\":", and: ",").compactMap { Int($0) }
      if let first = first.first, let last = last.first { named.formUnion(first...last) }
    }
    #expect(named == Set(1...50))
  }

  // Seed 32031.
  @Test("less room after a reload: what is in memory only stays, and no more comes to it")
  func lessRoomAfterReload() throws {
    func text(_ inFlight: Int) -> String {
      batching("durability = \"memory\"\nin_flight = \(inFlight)")
    }
    let world = World(text(16))
    world.answer = { .status($0.path == "/v1/state" ? 503 : 200) }
    let pad = String(repeating: "x", count: 60_000)
    for number in 1...16 {
      world.publish("state/a", "\(number) \(pad)", qos: 0)
      world.advance(.milliseconds(60))
    }
    let isTaken = world.reload(text(2))
    #expect(isTaken)
    world.turn()
    let before = try #require(world.pool("uplinks"))
    #expect(before.used > before.limit)
    for number in 17...30 {
      world.publish("state/a", "\(number)", qos: 0)
      world.advance(.seconds(1))
      let now = try #require(world.pool("uplinks"))
      #expect(now.used <= before.used)
    }
    world.answer = { _ in .status(200) }
    world.advance(.seconds(600))
    #expect(world.counters(0).delivered == 30)
    let after = try #require(world.pool("uplinks"))
    #expect(after.used <= after.limit)
    let deliveries = world.deliveries(0)
    #expect(deliveries == 2)
  }

  // Seed 6717: behind 64 lines of a turn the log lost the others, and their reports had been given up for room.
  @Test("as many gaps as there may be in a turn are all in the log")
  func manyGaps() {
    let world = World(batching("durability = \"spill\""), isUp: false)
    for number in 1...200 { world.publish("state/a", "\(number)", id: UInt16(number)) }
    world.advance(.seconds(40))
    // Of two reasons in turn: neighbours of one reason are one report.
    for number in UInt64(1)...150 {
      let isDropped = world.gateway.spool.discard(
        stream: 0, sequence: number, reason: number % 2 == 0 ? .rejected : .expired,
        clocks: world.clocks)
      #expect(isDropped)
    }
    world.advance(.seconds(1))
    var sum = 0
    for line in world.log where line.contains("records dropped") {
      let words = line.split(separator: " ")
      guard let place = words.firstIndex(of: "records"), place > 0 else { continue }
      sum += Int(words[place - 1]) ?? 0
    }
    #expect(sum == 150 && world.gateway.logLinesLost == 0)
  }
}
