import Configuration
import Ingest
import Primitives
import Testing

/// Streams beside the one of `minimal`.
private func streams(_ count: Int) -> String {
  var text = minimal
  for number in 0..<count {
    text += "[[stream]]\nname = \"s\(number)\"\ntarget = \"http://h\"\npath = \"/\"\n"
  }
  return text
}

@Suite("[memory] budget holds what the configuration asks for")
struct BudgetTests {
  @Test("more than it holds is refused at its place, with what asks for how much")
  func tooMuch() {
    let found = problems(streams(12) + "[memory]\nbudget = \"3MiB\"\n")
    #expect(found.count == 1)
    #expect(
      found.first?.hasPrefix("57:10: 'budget' in [memory] is 3MiB, but must be at least ") == true)
    #expect(
      found.first?.contains(" for spool (commit.bytes decides), ") == true, "\(found)")
    #expect(found.first?.contains(" for uplinks of 13 streams, 256KiB for requests, ") == true)
    #expect(found.first?.hasSuffix(", 128KiB for admin") == true, "\(found)")
    #expect(problems(streams(12)).isEmpty)
  }

  @Test(
    "the default holds as many streams as there may be, with all that a gateway can have besides")
  func defaults() throws {
    var text = streams(31) + "[mqtt]\nbroker = \"mqtts://b\"\ntls = \"t\"\n"
    text += "[tls.t]\nca = \"/ca\"\n[xds]\nservers = [\"http://x\"]\n"
    #expect(problems(text).isEmpty, "with the system's roots, too")
    let read = try configuration(text.replacing("https://", with: "http://"))
    #expect(read.streams.count == 32)
    #expect(read.memory.budget == 6 << 20)
    let limits = read.memoryNeeds.limits(of: read.memory.budget)
    #expect(limits.reduce(0, +) <= read.memory.budget)
    // 64 clusters of 256 endpoints and 512 routes take 500 KiB, with all their names and policies 864 KiB.
    #expect(read.memoryLimit(.resources) >= 768 << 10)
    #expect(read.memoryLimit(.discovery) - MemoryNeeds.sentMessageBytes >= 768 << 10)
    let one = try configuration(
      minimal.replacing("https://", with: "http://") + "[xds]\nservers = [\"http://x\"]\n"
        + "[mqtt]\nbroker = \"mqtts://b\"\ntls = \"t\"\n[tls.t]\nca = \"/ca\"\n")
    #expect(one.memoryLimit(.resources) >= 960 << 10)
    #expect(one.memoryLimit(.discovery) - MemoryNeeds.sentMessageBytes >= 960 << 10)
    let shares = try #require(read.laneShares)
    #expect(shares.certain >= 8 << 10)
    #expect(shares.common >= 2 * ConfigurationLimits.recordBytesMax)
  }

  @Test("what it is said to need is enough, and less is not")
  func least() throws {
    let text = streams(12) + "[memory]\nbudget = \"64MiB\"\n"
    let least = try configuration(text).memoryNeeds.sum
    #expect(problems(streams(12) + "[memory]\nbudget = \"\(least)B\"\n").isEmpty)
    #expect(problems(streams(12) + "[memory]\nbudget = \"\(least - 1)B\"\n").count == 1)
  }

  @Test("the smallest budget is enough for a stream and a port, whose commits are then smaller")
  func smallest() throws {
    let text = serial("") + "[memory]\nbudget = \"2MiB\"\n"
    let read = try configuration(text.replacing("https://", with: "http://"))
    #expect(read.spool.commitBytes == 16 << 10)
    #expect(read.memoryNeeds.sum <= 2 << 20)
    #expect(try configuration(minimal).spool.commitBytes == 64 << 10)
  }

  // Seed 1 of the simulator, once in many runs: 16,432 bytes of 16,416. How much an array gets beyond what it
  // asks for is not the same each time.
  @Test("a port's pool has room for what the allocator gives beyond what was asked")
  func rounding() throws {
    let read = try configuration(serial(""))
    let port = read.serial[0]
    let memory = Framer(port.framing, baud: port.baud).memory
    #expect(read.memoryLimit(.serial) >= memory + 256)
  }

  @Test("more requests at once need no larger budget: they share what is left of it")
  func shared() throws {
    let read = try configuration(
      stream(
        "in_flight = 32\nbatch = { records = 4096, bytes = \"256KiB\" }\nencoding = \"protobuf\""))
    #expect(read.memoryNeeds.more(.uplinks) > read.memory.budget)
    #expect(read.memoryNeeds.limits(of: read.memory.budget).reduce(0, +) <= read.memory.budget)
  }

  @Test(
    "limits are what is needed and a share of what is left, and their sum is the budget at most")
  func shares() throws {
    let text = minimal + "[xds]\nservers = [\"http://x\"]\n[mqtt]\nbroker = \"mqtt://b\"\n"
    let needs = try configuration(text).memoryNeeds
    for budget in stride(from: needs.sum, to: 64 << 20, by: 999_983) {
      let limits = needs.limits(of: budget)
      #expect(limits.reduce(0, +) <= budget)
      for pool in MemoryPool.all {
        let most = needs.least(pool) + needs.more(pool)
        #expect((needs.least(pool)...most).contains(limits[pool.rawValue]))
      }
    }
    #expect(needs.limits(of: needs.sum)[MemoryPool.mqtt.rawValue] == needs.least(.mqtt))
    #expect(needs.limits(of: 64 << 20)[MemoryPool.resources.rawValue] == 1 << 20)
  }
}
