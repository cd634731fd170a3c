import Primitives

/// Smooth weighted round robin: of weights 5, 1, 1 it makes `a a b a c a a`, not `a a a a a b c`.
/// Each pick raises every candidate's credit by its weight, takes the highest and charges it the sum.
/// It keeps the credits only; weights stand elsewhere and are asked for.
public struct SmoothRoundRobin: Sendable {
  private var credits: [Int64] = []

  public init() {}

  public var count: Int { credits.count }

  /// Takes a new membership. `previous[i]` is the former place of the one that is now `i`: it keeps its
  /// credit, so that an update does not send everyone to the first one again.
  public mutating func replace(previous: [Int?]) {
    var replaced: [Int64] = []
    replaced.reserveCapacity(previous.count)
    for place in previous {
      let isKnown = place.map { credits.indices.contains($0) } ?? false
      replaced.append(isKnown ? credits[place ?? 0] : 0)
    }
    credits = replaced
  }

  /// The next of those in `range` whose weight is not 0. Weights are below 2⁵⁴ together.
  public mutating func next(in range: Range<Int>, weight: (Int) -> Int64) -> Int? {
    var best: Int?
    var total: Int64 = 0
    for index in range {
      let weight = weight(index)
      guard weight > 0 else { continue }
      credits[index] += weight
      total += weight
      if let found = best, credits[found] >= credits[index] { continue }
      best = index
    }
    if let best { credits[best] -= total }
    return best
  }

  /// Draws where the first round starts, so that a fleet that was given the same members at the same
  /// time does not start in lockstep.
  public mutating func rotate(
    in range: Range<Int>, using random: inout SplitMix64, weight: (Int) -> Int64
  ) {
    guard range.count > 1 else { return }
    var cycle: UInt64 = 0
    for index in range { cycle += UInt64(weight(index)) }
    // Equal weights need at most one round; a long weighted cycle is sampled in its first part.
    for _ in 0..<random.below(min(cycle, UInt64(max(range.count, 64)))) {
      _ = next(in: range, weight: weight)
    }
  }
}
