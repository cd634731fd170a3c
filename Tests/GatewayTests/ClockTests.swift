import Primitives
import Spool
import Testing

@testable import Gateway

extension World {
  /// Since the board was switched on; nobody has told it the time.
  func forgetTheTime() {
    clocks.wall = WallTime(nanoseconds: 5_000_000_000)
    clocks.quality = .unsynced
    turn()
  }

  /// 2027-01-15T08:00:00Z, and the kernel vouches for it.
  func learnTheTime() {
    clocks.wall = WallTime(nanoseconds: 1_800_000_000_000_000_000)
    clocks.quality = .synced
    turn()
  }

  var floor: WallTime { gateway.clockFloor }
}

private func lines(_ durability: String) -> String {
  """
  [node]
  id = "scooter-1"
  [[serial]]
  name = "ecu"
  device = "/dev/ttyS1"
  baud = 115200
  framing = "line"
  stream = "lines"
  [[stream]]
  name = "lines"
  target = "http://192.0.2.1:443"
  path = "/v1/lines"
  durability = "\(durability)"
  """
}

@Suite("Clocks that learn the time late")
struct ClockTests {
  /// Learns the time, takes a third line, and sees all three delivered with these times: two of them put right.
  private func expectRestamped(_ world: World, _ expected: [String]) {
    world.learnTheTime()
    world.serial("third\n")
    world.isUp = true
    world.advance(.seconds(600))
    let seen = world.delivered("/v1/lines")
    #expect(seen.map { $0.text } == ["first", "second", "third"])
    #expect(seen.map { $0["ce-clock"] } == ["restamped", "restamped", nil])
    let times = seen.map { ($0["ce-time"]?.prefix(19)).map(String.init) }
    #expect(times == expected)
  }

  @Test(
    "records that were taken before the clock was set get the time at which they were taken",
    arguments: ["sync", "spill", "memory"])
  func restamped(durability: String) {
    let world = World(lines(durability))
    world.forgetTheTime()
    world.isUp = false
    world.goDown()
    world.serial("first\n")
    world.advance(.seconds(10))
    world.serial("second\n")
    world.advance(.seconds(20))
    expectRestamped(world, ["2027-01-15T07:59:30", "2027-01-15T07:59:40", "2027-01-15T08:00:00"])
  }

  @Test("a clock that was set by hand gives times, but is not vouched for")
  func setByHand() {
    let world = World(lines("sync"))
    world.forgetTheTime()
    world.goDown()
    world.serial("first\n")
    world.advance(.seconds(10))
    world.learnTheTime()
    world.clocks.quality = .unsynced
    world.isUp = true
    world.advance(.seconds(600))
    let seen = world.delivered("/v1/lines")
    #expect(seen.map { $0["ce-clock"] } == ["unsynced"])
    #expect(seen.first?["ce-time"]?.prefix(19) == "2027-01-15T07:59:50")
  }

  @Test("after a restart nobody knows when a record without a time was taken")
  func earlierRun() {
    let text = lines("sync")
    var world = World(text)
    world.forgetTheTime()
    world.goDown()
    world.serial("first\n")
    world.advance(.seconds(1))
    world = world.restarted(text)
    world.advance(.seconds(600))
    let seen = world.delivered("/v1/lines")
    #expect(seen.map { $0.text } == ["first"])
    #expect(seen.map { $0["ce-clock"] } == ["unsynced"])
    #expect(seen.map { $0["ce-time"] } == [nil])
  }

  @Test("a clock that is not vouched for is wrong before the newest record of one that was")
  func floorOfTheSpool() {
    let text = lines("sync")
    var world = World(text)
    world.goDown()
    world.serial("first\n")
    world.advance(.seconds(1))
    let newest = world.clocks.wall
    world = world.restarted(text, isUp: false)
    #expect(world.floor > GatewayLimits.clockFloor)
    #expect(world.floor <= newest)
    // A real-time clock whose battery is weak: a year behind.
    world.clocks.wall.nanoseconds -= 365 * 86_400 * 1_000_000_000
    world.clocks.quality = .unsynced
    world.turn()
    world.serial("second\n")
    world.isUp = true
    world.advance(.seconds(600))
    let seen = world.delivered("/v1/lines")
    #expect(seen.map { $0["ce-clock"] } == [nil, "unsynced"])
    #expect(seen.map { $0["ce-time"] == nil } == [false, true])
  }

  @Test("a clock that is right is written down every hour, and is the floor of the next start")
  func persisted() {
    let text = lines("sync")
    var world = World(text)
    world.serial("first\n")
    world.advance(.seconds(60))
    let before = world.clocks.wall
    world.advance(.seconds(7_300))
    let after = world.clocks.wall
    world = world.restarted(text)
    #expect(world.floor.nanoseconds > before.nanoseconds + 7_000_000_000_000)
    #expect(world.floor <= after)
    // One that nobody vouches for is not written down, wherever it stands.
    let floor = world.floor
    world.clocks.quality = .unsynced
    world.clocks.wall.nanoseconds += 365 * 86_400 * 1_000_000_000
    world.advance(.seconds(7_300))
    world = world.restarted(text)
    #expect(world.floor == floor)
  }

  @Test("every step of a clock that was set more than once counts, back and forth")
  func twoSteps() {
    let world = World(lines("sync"))
    world.forgetTheTime()
    world.goDown()
    world.serial("first\n")
    world.advance(.seconds(10))
    // Set by hand, five hours ahead of what is right.
    world.clocks.wall = WallTime(nanoseconds: 1_800_018_000_000_000_000)
    world.turn()
    world.serial("second\n")
    world.advance(.seconds(10))
    expectRestamped(world, ["2027-01-15T07:59:40", "2027-01-15T07:59:50", "2027-01-15T08:00:00"])
  }

  @Test("what the kernel vouches for is later than the spool's newest record or not: it is right")
  func synchronised() {
    let text = lines("sync")
    var world = World(text)
    world.goDown()
    world.serial("first\n")
    world.advance(.seconds(1))
    world = world.restarted(text, isUp: false)
    world.clocks.wall.nanoseconds -= 3_600 * 1_000_000_000
    world.turn()
    world.serial("second\n")
    world.isUp = true
    world.advance(.seconds(600))
    #expect(world.delivered("/v1/lines").map { $0["ce-clock"] } == [nil, nil])
    #expect(world.delivered("/v1/lines").allSatisfy { $0["ce-time"] != nil })
  }
}
