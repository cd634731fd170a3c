import Primitives

/// Smooth weighted round robin: of weights 5, 1, 1 it makes `a a b a c a a`, not `a a a a a b c`.
/// Each pick raises every candidate's credit by its weight, takes the highest and charges it the sum.
public struct SmoothRoundRobin: Sendable {
  private struct Entry {
    var weight: Int64
    var credit: Int64
  }
  private var entries: [Entry] = []

  public init() {}

  public var count: Int { entries.count }

  /// Takes a new membership. `previous[i]` is the former place of the one that is now `i`: it keeps its
  /// credit, so that an update does not send everyone to the first endpoint again. When nobody is
  /// left of the former ones the start is drawn, so that a fleet does not start in lockstep.
  public mutating func replace(
    weights: [UInt32], previous: [Int?], using random: inout SplitMix64
  ) {
    precondition(weights.count == previous.count, "SmoothRoundRobin: lists differ in length")
    var replaced: [Entry] = []
    replaced.reserveCapacity(weights.count)
    var isNew = true
    for (weight, place) in zip(weights, previous) {
      var credit: Int64 = 0
      if let place, entries.indices.contains(place) {
        credit = entries[place].credit
        isNew = false
      }
      replaced.append(Entry(weight: Int64(max(weight, 1)), credit: credit))
    }
    entries = replaced
    if isNew { advance(using: &random) }
  }

  /// The next candidate, among those that are eligible.
  public mutating func next(where isEligible: (Int) -> Bool) -> Int? {
    var best: Int?
    var total: Int64 = 0
    for index in entries.indices where isEligible(index) {
      entries[index].credit += entries[index].weight
      total += entries[index].weight
      if let found = best, entries[found].credit >= entries[index].credit { continue }
      best = index
    }
    if let best { entries[best].credit -= total }
    return best
  }

  private mutating func advance(using random: inout SplitMix64) {
    var cycle: UInt64 = 0
    for entry in entries { cycle += UInt64(entry.weight) }
    // Equal weights need at most one round; a long weighted cycle is sampled in its first part.
    guard entries.count > 1 else { return }
    for _ in 0..<random.below(min(cycle, 256)) { _ = next { _ in true } }
  }
}
