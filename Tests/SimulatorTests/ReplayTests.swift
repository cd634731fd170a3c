import Primitives
import Testing
import simulate

@Suite("Simulator")
struct ReplayTests {
  @Test("two runs of a seed are the same run", arguments: [UInt64(1), 2])
  func replays(seed: UInt64) {
    let first = Simulation.run(seed: seed, hours: .seconds(300))
    let second = Simulation.run(seed: seed, hours: .seconds(300))
    #expect(first.hash == second.hash)
    #expect(first.complaints == second.complaints)
    #expect(first.records > 0)
  }

  @Test("another seed is another run")
  func differs() {
    let first = Simulation.run(seed: 1, hours: .seconds(60))
    let second = Simulation.run(seed: 2, hours: .seconds(60))
    #expect(first.hash != second.hash)
  }
}
