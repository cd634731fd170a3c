import Primitives

/// Makes a program of an expression, from its end to its start: each node is compiled with the
/// instruction that follows it.
struct RegexCompiler {
  private(set) var program = RegexProgram()

  static func compile(_ node: RegexNode) throws(RegexError) -> RegexProgram {
    var compiler = RegexCompiler()
    let match = try compiler.emit(.match)
    let inner = try compiler.compile(node, match, slotEnd: 1)
    compiler.program.start = try compiler.emit(.save, 0, next: inner)
    return compiler.program
  }

  private mutating func emit(
    _ operation: RegexProgram.Operation, _ argument: UInt32 = 0, next: Int = 0, other: Int = 0
  ) throws(RegexError) -> Int {
    guard program.instructions.count < RegexLimits.instructionsMax else {
      throw RegexError(
        "a program of more than \(RegexLimits.instructionsMax) instructions", 0)
    }
    program.instructions.append(
      RegexProgram.Instruction(
        operation: operation, argument: argument, next: UInt16(next), other: UInt16(other)))
    return program.instructions.count - 1
  }

  /// The whole expression is group 0.
  private mutating func compile(
    _ node: RegexNode, _ next: Int, slotEnd: UInt32
  ) throws(RegexError) -> Int {
    let end = try emit(.save, slotEnd, next: next)
    return try compile(node, next: end)
  }

  private mutating func compile(_ node: RegexNode, next: Int) throws(RegexError) -> Int {
    switch node {
    case .empty: return next
    case .rune(let rune): return try emit(.rune, rune, next: next)
    case .set(let set): return try compile(set, next: next)
    case .byte: return try emit(.byte, next: next)
    case .assert(let assertion): return try emit(.assert, UInt32(assertion.rawValue), next: next)
    case .group(let number, let inner):
      let end = try emit(.save, UInt32(2 * number + 1), next: next)
      return try emit(.save, UInt32(2 * number), next: try compile(inner, next: end))
    case .sequence(let nodes):
      var next = next
      for node in nodes.reversed() { next = try compile(node, next: next) }
      return next
    case .alternatives(let nodes):
      var entry: Int?
      for node in nodes.reversed() {
        let start = try compile(node, next: next)
        entry =
          try entry.map { (other) throws(RegexError) in
            try emit(.split, next: start, other: other)
          } ?? start
      }
      return entry ?? next
    case .repetition(let inner, let min, let max, let isGreedy):
      return try compile(inner, min: min, max: max, isGreedy: isGreedy, next: next)
    }
  }

  private mutating func compile(_ set: RuneSet, next: Int) throws(RegexError) -> Int {
    guard !set.ranges.isEmpty else { return try emit(.fail) }
    let start = program.ranges.count
    guard start + set.ranges.count <= RegexLimits.rangesMax else {
      throw RegexError("classes of more than \(RegexLimits.rangesMax) ranges", 0)
    }
    program.ranges += set.ranges
    program.classes.append(
      RegexProgram.Class(start: UInt32(start), end: UInt32(program.ranges.count)))
    return try emit(.set, UInt32(program.classes.count - 1), next: next)
  }

  /// `x{2,4}` is `xx(x(x)?)?`, `x{2,}` is `xx+`.
  private mutating func compile(
    _ node: RegexNode, min: Int, max: Int?, isGreedy: Bool, next: Int
  ) throws(RegexError) -> Int {
    var entry = next
    var copies = min
    if let max {
      for _ in min..<max {
        entry = try option(try compile(node, next: entry), next, isGreedy)
      }
    } else if min == 0 {
      // Behind an empty round the order of preference would be lost: the loop is `(x+)?` then.
      let loop = try repeated(node, isGreedy, next)
      return node.isNullable
        ? try option(loop.body, next, isGreedy) : loop.split
    } else {
      entry = try repeated(node, isGreedy, next).body
      copies -= 1
    }
    for _ in 0..<copies { entry = try compile(node, next: entry) }
    return entry
  }

  private mutating func option(
    _ body: Int, _ next: Int, _ isGreedy: Bool
  ) throws(RegexError) -> Int {
    isGreedy
      ? try emit(.split, next: body, other: next) : try emit(.split, next: next, other: body)
  }

  /// A loop: the split that begins it, and its body, which returns to the split.
  private mutating func repeated(
    _ node: RegexNode, _ isGreedy: Bool, _ next: Int
  ) throws(RegexError) -> (split: Int, body: Int) {
    let split = try emit(.split)
    let body = try compile(node, next: split)
    program.instructions[split].next = UInt16(isGreedy ? body : next)
    program.instructions[split].other = UInt16(isGreedy ? next : body)
    return (split, body)
  }
}

extension RegexNode {
  /// Whether it can match the empty text.
  var isNullable: Bool {
    switch self {
    case .empty, .assert: true
    case .rune, .set, .byte: false
    case .group(_, let inner): inner.isNullable
    case .sequence(let nodes): nodes.allSatisfy { $0.isNullable }
    case .alternatives(let nodes): nodes.contains { $0.isNullable }
    case .repetition(let inner, let min, _, _): min == 0 || inner.isNullable
    }
  }
}
