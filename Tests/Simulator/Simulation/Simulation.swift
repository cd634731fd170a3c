import Primitives

/// What came of a seed.
public struct Outcome: Sendable {
  public let seed: UInt64
  /// Of everything that happened.
  public let hash: UInt64
  public let complaints: [String]
  public let faults: FaultCounts
  /// In simulated time.
  public let duration: Interval
  public let records: Int
  public let delivered: Int
  public let duplicates: Int
  public let runs: Int
  public let turns: Int

  public var isGood: Bool { complaints.isEmpty }
}

/// The whole daemon in a world of faults, out of one seed.
public enum Simulation {
  /// Plays a seed. `hours`: how long faults happen; nil: as long as the seed wants. `print`: takes the
  /// trace, line by line.
  public static func run(
    seed: UInt64, hours: Interval? = nil, print: ((ByteString) -> Void)? = nil
  ) -> Outcome {
    let world = World(seed: seed, hours: hours, print: print)
    world.play()
    return Outcome(
      seed: seed, hash: world.trace.hash.value, complaints: world.complaints,
      faults: world.counts, duration: world.now - Instant(nanoseconds: 1_000_000_000),
      records: world.ledger.entries.count, delivered: world.ledger.delivered,
      duplicates: world.ledger.duplicates, runs: world.run, turns: world.turns)
  }
}
