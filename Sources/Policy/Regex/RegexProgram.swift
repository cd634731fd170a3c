/// A compiled regular expression: a non-deterministic automaton, whose states are its instructions.
struct RegexProgram: Sendable {
  enum Operation: UInt8 {
    /// The code point `argument`.
    case rune
    /// A code point of the class `argument`.
    case set
    /// Any byte.
    case byte
    /// `next` is preferred to `other`.
    case split
    /// Notes the place in the text in the slot `argument`: 2n is the start of group n, 2n + 1 its end.
    case save
    /// The `RegexAssertion` with the number `argument`.
    case assert
    case match
    /// Leads nowhere.
    case fail
  }
  struct Instruction: Sendable {
    var operation: Operation
    var argument: UInt32 = 0
    var next: UInt16 = 0
    var other: UInt16 = 0
  }
  /// A class: a part of `ranges`.
  struct Class: Sendable {
    var start: UInt32
    var end: UInt32
  }

  var instructions: [Instruction] = []
  var classes: [Class] = []
  var ranges: [RuneSet.Range] = []
  var start = 0

  /// Whether the code point is of the class; its ranges are in order.
  func contains(_ rune: UInt32, class index: Int) -> Bool {
    var low = Int(classes[index].start)
    var high = Int(classes[index].end)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].high < rune { low = middle + 1 } else { high = middle }
    }
    return low < Int(classes[index].end) && ranges[low].low <= rune
  }
}
