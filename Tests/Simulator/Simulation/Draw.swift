import Primitives

/// Everything that a seed decides. One generator for each concern, split off from the seed's own, so
/// that a draw more in one place does not change all others.
struct Draw {
  private var random: SplitMix64

  init(seed: UInt64) { random = SplitMix64(seed: seed) }

  mutating func next() -> UInt64 { random.next() }

  /// A generator of its own.
  mutating func split() -> Draw { Draw(seed: random.next()) }

  /// Uniform over `0..<bound`.
  mutating func below(_ bound: Int) -> Int {
    bound <= 1 ? 0 : Int(random.below(UInt64(bound)))
  }

  mutating func range(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + below(range.upperBound - range.lowerBound + 1)
  }

  /// True in `numerator` of `denominator` cases.
  mutating func chance(_ numerator: Int, in denominator: Int) -> Bool {
    numerator > 0 && below(denominator) < numerator
  }

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[below(elements.count)]
  }

  /// Uniform, to the microsecond.
  mutating func interval(_ low: Interval, _ high: Interval) -> Interval {
    let span = max((high - low).nanoseconds / 1_000, 0)
    return low + .microseconds(Int64(random.below(UInt64(span) + 1)))
  }

  /// As often short as long: uniform over the doublings from `low` to `high`.
  mutating func scaled(_ low: Interval, _ high: Interval) -> Interval {
    var top = low
    var steps = 0
    while top < high {
      top = top + top
      steps += 1
    }
    var chosen = low
    for _ in 0..<below(steps + 1) { chosen = chosen + chosen }
    return min(interval(chosen, chosen + chosen), high)
  }

  /// The time to the next of events that come every `mean` on the average.
  mutating func wait(_ mean: Interval) -> Interval {
    interval(.milliseconds(1), mean + mean)
  }
}
