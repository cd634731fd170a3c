/// What a regular expression is made of.
indirect enum RegexNode {
  /// Matches the empty text.
  case empty
  case rune(UInt32)
  /// One code point of a set; an empty set matches nothing.
  case set(RuneSet)
  /// `\C`: one byte, whatever it is.
  case byte
  case assert(RegexAssertion)
  /// The group's number counts from 1.
  case group(Int, RegexNode)
  case sequence([RegexNode])
  /// The first is preferred.
  case alternatives([RegexNode])
  /// `max` nil: without bound. A greedy one prefers more.
  case repetition(RegexNode, min: Int, max: Int?, isGreedy: Bool)
}

/// A condition on a place in the text.
enum RegexAssertion: UInt8 {
  case textStart, textEnd, lineStart, lineEnd, wordBoundary, noWordBoundary
}

extension RegexNode {
  /// RE2's bound: the counts of repetitions within each other, multiplied, stay within `budget`.
  func repeatsWithin(_ budget: Int) -> Bool {
    switch self {
    case .empty, .rune, .set, .byte, .assert: true
    case .group(_, let inner): inner.repeatsWithin(budget)
    case .sequence(let nodes), .alternatives(let nodes):
      nodes.allSatisfy { $0.repeatsWithin(budget) }
    case .repetition(let inner, let min, let max, _):
      { (count: Int) in
        let rest = count > 0 ? budget / count : budget
        return rest > 0 && inner.repeatsWithin(rest)
      }(max ?? min)
    }
  }
}
