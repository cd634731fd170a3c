import Configuration
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
    let found = problems(streams(20) + "[memory]\nbudget = \"3MiB\"\n")
    #expect(found.count == 1)
    #expect(
      found.first?.hasPrefix("89:10: 'budget' in [memory] is 3MiB, but must be at least ") == true)
    #expect(
      found.first?.contains(" for the spool (commit.bytes decides), 512KiB for requests, ") == true)
    #expect(found.first?.hasSuffix(" for 21 streams") == true, "\(found)")
    #expect(problems(streams(20)).isEmpty)
  }

  @Test("what it is said to need is enough, and less is not")
  func least() throws {
    let text = streams(20) + "[memory]\nbudget = \"64MiB\"\n"
    let least = try configuration(text).memoryNeeds.least
    #expect(problems(streams(20) + "[memory]\nbudget = \"\(least)B\"\n").isEmpty)
    #expect(problems(streams(20) + "[memory]\nbudget = \"\(least - 1)B\"\n").count == 1)
  }

  @Test("the smallest budget is enough for a stream and a port, whose commits are then smaller")
  func smallest() throws {
    let read = try configuration(serial("") + "[memory]\nbudget = \"2MiB\"\n")
    #expect(read.spool.commitBytes == 16 << 10)
    #expect(read.memoryNeeds.least <= 2 << 20)
    #expect(try configuration(minimal).spool.commitBytes == 64 << 10)
  }

  @Test("more requests at once need no larger budget: they share what is left of it")
  func shared() throws {
    let read = try configuration(
      stream(
        "in_flight = 32\nbatch = { records = 4096, bytes = \"256KiB\" }\nencoding = \"protobuf\""))
    #expect(read.memoryNeeds.furtherUplinks > read.memory.budget)
  }
}
