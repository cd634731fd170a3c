import Primitives
import Testing

@testable import Gateway

private let sync =
  "encoding = \"cloudevents-batch\"\nbatch = { records = 10 }\ndurability = \"sync\""

@Suite("Fairness")
struct FairnessTests {
  /// A backlog on `state` from a run before, and live records on `other`: how many bytes of each
  /// arrive while both have more to send than they may.
  @Test("live records and a backlog share the way four to one")
  func fourToOne() {
    let text = batching(sync, other: sync)
    let before = World(text)
    before.goDown()
    before.publishNumbers(1...400)
    before.gateway.commit(clocks: before.clocks)
    let world = before.restarted(text, isUp: false)
    world.publishNumbers(1...400, to: "other")
    world.advance(.seconds(1))
    world.isUp = true
    world.answerDelay = .milliseconds(50)
    world.retryNow()
    world.advance(.seconds(2))
    let live = world.delivered("/v1/other").reduce(0) { $0 + $1.body.count }
    let backlog = world.delivered("/v1/state").reduce(0) { $0 + $1.body.count }
    #expect(backlog > 0)
    #expect(live > 3 * backlog)
    #expect(live < 6 * backlog)
    world.advance(.seconds(60))
    #expect(world.wholeBacklog(0) == 0)
    #expect(world.wholeBacklog(1) == 0)
  }

  @Test("a backlog takes the whole way when no live record waits")
  func alone() {
    let text = batching(sync, other: sync)
    let before = World(text)
    before.goDown()
    before.publishNumbers(1...400)
    before.gateway.commit(clocks: before.clocks)
    let world = before.restarted(text, isUp: false)
    world.answerDelay = .milliseconds(50)
    world.isUp = true
    world.retryNow()
    world.advance(.seconds(3))
    #expect(world.wholeBacklog(0) == 0)
  }

  @Test("with order = live-first a live record does not wait for the backlog of its stream")
  func liveFirst() {
    let text = batching(sync + "\norder = \"live-first\"")
    let before = World(text)
    before.goDown()
    before.publishNumbers(1...1_000)
    before.gateway.commit(clocks: before.clocks)
    let world = before.restarted(text, isUp: false)
    world.answerDelay = .milliseconds(50)
    world.isUp = true
    world.retryNow()
    world.advance(.milliseconds(500))
    world.publishNumbers(1_001...1_001, qos: 1)
    world.advance(.milliseconds(300))
    let sent = world.batches()
    #expect(sent.contains([1_001]))
    #expect(sent.count < 25)
    world.advance(.seconds(60))
    let all = world.batches().flatMap { $0 }
    #expect(Set(all) == Set(1...1_001))
    #expect(all.count == 1_001)
    // The backlog itself comes in order.
    #expect(all.filter { $0 <= 1_000 } == Array(1...1_000))
    #expect(world.wholeBacklog(0) == 0)
    #expect(world.isExact(0))
  }

  @Test("live-first: what becomes too old in an outage is backlog, and nothing is lost or repeated")
  func liveFirstOutage() {
    let world = World(batching(sync + "\norder = \"live-first\""))
    world.publishNumbers(1...5)
    world.advance(.seconds(1))
    world.goDown()
    world.publishNumbers(6...200)
    world.advance(.seconds(120))
    world.isUp = true
    world.publishNumbers(201...210)
    world.retryNow()
    world.advance(.seconds(600))
    let all = world.batches().flatMap { $0 }
    #expect(all.count == 210)
    #expect(Set(all) == Set(1...210))
    #expect(world.counters(0).delivered == 210)
    #expect(world.wholeBacklog(0) == 0)
    #expect(world.isExact(0))
  }
}

@Suite("Memory")
struct MemoryTests {
  private let memory =
    "encoding = \"cloudevents-batch\"\nbatch = { records = 100 }\ndurability = \"memory\""

  @Test("records of a memory stream are sent, and are never on disk")
  func neverOnDisk() {
    let world = World(batching(memory))
    world.publishNumbers(1...5, qos: 1)
    let released = world.mayRelease
    #expect(released)
    #expect(world.counters(0).delivered == 5)
    world.goDown()
    world.publishNumbers(6...20, qos: 1)
    world.gateway.commit(clocks: world.clocks)
    #expect(world.backlog(0) == 0)
    #expect(world.wholeBacklog(0) == 15)
    #expect(world.isExact(0))
  }

  @Test("the oldest make room, and one gap report says how many")
  func dropsOldest() {
    let world = World(batching(memory))
    world.goDown()
    world.publishNumbers(1...3_000)
    world.advance(.seconds(2))
    #expect(world.counters(0).dropped == 3_000 - world.wholeBacklog(0))
    #expect(world.isExact(0))
    world.isUp = true
    world.retryNow()
    world.advance(.seconds(60))
    #expect(world.batches().last?.last == 3_000)
    #expect(world.isExact(0))
    let gaps = world.delivered("/v1/health").filter { $0.text.contains("\"reason\":\"memory\"") }
    #expect(gaps.count == 1)
    #expect(gaps[0].text.contains("\"count\":\(world.counters(0).dropped),"))
  }

  @Test(
    "what is left in memory at the end is reported, after a restart the numbers are of another epoch"
  )
  func reportedAtTheEnd() {
    let text = batching(memory)
    let world = World(text)
    world.goDown()
    world.publishNumbers(1...4)
    world.gateway.drain()
    world.turn()
    world.gateway.close(clocks: world.clocks)
    let next = world.restarted(text)
    next.publishNumbers(1...1)
    next.advance(.seconds(5))
    let gap = next.delivered("/v1/health").first { $0.text.contains("\"reason\":\"memory\"") }
    #expect(gap?.text.contains("\"first\":1,\"last\":4,\"count\":4") == true)
    #expect(next.batches() == [[1]])
    #expect(gap?.text.pieces(between: "\"epoch\":\"", and: "\"").first != next.epoch)
  }

  @Test("a poison record of a memory stream is parked, too")
  func poison() {
    let world = World(batching(memory))
    world.answer = { .status($0.sequences.contains(2) ? 422 : 200) }
    world.goDown()
    world.publishNumbers(1...3)
    world.isUp = true
    world.retryNow()
    world.advance(.seconds(5))
    #expect(world.counters(0).parked == 1)
    #expect(world.counters(0).delivered == 2)
    #expect(world.isExact(0))
  }

  @Test("another configuration keeps what is in memory")
  func reload() {
    let world = World(batching(memory))
    world.goDown()
    world.publishNumbers(1...7)
    #expect(world.reload(batching(memory + "\nttl = \"1h\"")))
    world.isUp = true
    world.retryNow()
    world.advance(.seconds(5))
    #expect(world.batches().last?.count ?? 0 > 0)
    #expect(world.counters(0).delivered == 7)
    #expect(world.isExact(0))
  }
}
