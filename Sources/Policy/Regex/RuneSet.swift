/// A set of code points as ranges, for a character class.
struct RuneSet {
  /// Inclusive.
  struct Range: Equatable {
    var low: UInt32
    var high: UInt32
  }
  static let highest: UInt32 = 0x10_FFFF

  private(set) var ranges: [Range] = []

  init() {}

  mutating func insert(_ low: UInt32, _ high: UInt32) {
    ranges.append(Range(low: low, high: high))
  }

  mutating func insert(_ other: RuneSet) { ranges += other.ranges }

  /// In order, without overlap and without gaps between neighbours.
  mutating func normalize() {
    // Classes are short, or come in order from a table.
    for index in ranges.indices.dropFirst() {
      let range = ranges[index]
      var place = index
      while place > 0, ranges[place - 1].low > range.low {
        ranges[place] = ranges[place - 1]
        place -= 1
      }
      ranges[place] = range
    }
    var merged: [Range] = []
    for range in ranges {
      if let last = merged.last, range.low <= last.high &+ 1 {
        merged[merged.count - 1].high = max(last.high, range.high)
      } else {
        merged.append(range)
      }
    }
    ranges = merged
  }

  /// All other code points. The set is normalized before and after.
  mutating func invert() {
    var inverted: [Range] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.low > next { inverted.append(Range(low: next, high: range.low - 1)) }
      next = range.high + 1
    }
    if next <= Self.highest { inverted.append(Range(low: next, high: Self.highest)) }
    ranges = inverted
  }

  /// Adds what differs from a member in letter case alone. The set is normalized before.
  mutating func fold() {
    for range in ranges { CaseFolding.visit(range.low, range.high) { insert($0, $1) } }
    normalize()
  }
}
