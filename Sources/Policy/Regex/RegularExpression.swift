import Primitives

/// A regular expression in the syntax of RE2, compiled. A match takes time in proportion to the length of
/// the text, at most `RegexLimits.instructionsMax` steps for a byte.
public struct RegularExpression: Sendable {
  public let pattern: ByteString
  let program: RegexProgram
  let groups: Int
  /// What every text that it matches as a whole begins with: most texts are told by that.
  let literalPrefix: ByteString

  /// Refuses what RE2 refuses, and a program that is too large.
  public init(_ pattern: ByteString) throws(RegexError) {
    let (node, groups) = try RegexParser.parse(pattern)
    program = try RegexCompiler.compile(node)
    self.pattern = pattern
    self.groups = groups
    var prefix: [UInt8] = []
    _ = node.appendLiteral(to: &prefix)
    literalPrefix = ByteString(prefix)
  }

  /// How large its program is.
  public var instructionCount: Int { program.instructions.count }

  /// Whether the expression matches all of the text.
  public func matches(_ text: Span<UInt8>) -> Bool {
    guard text.count >= literalPrefix.count else { return false }
    for index in literalPrefix.bytes.indices where text[index] != literalPrefix.bytes[index] {
      return false
    }
    var machine = RegexMachine(program, slotCount: 0)
    return machine.run(text, from: 0, isWhole: true)
  }
}

extension RegularExpression: Equatable {
  /// The program follows from the pattern.
  public static func == (left: RegularExpression, right: RegularExpression) -> Bool {
    left.pattern == right.pattern
  }
}

extension RegexNode {
  /// Appends the literals that the node begins with. True: that is all of it.
  fileprivate func appendLiteral(to prefix: inout [UInt8]) -> Bool {
    switch self {
    case .empty, .assert(.textStart): return true
    case .rune(let rune):
      guard let scalar = Unicode.Scalar(rune) else { return false }
      prefix.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      return true
    case .group(_, let inner): return inner.appendLiteral(to: &prefix)
    case .sequence(let nodes):
      for node in nodes where !node.appendLiteral(to: &prefix) { return false }
      return true
    case .set, .byte, .assert, .alternatives, .repetition: return false
    }
  }
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`: an expression and what takes the place of its matches.
public struct RegexSubstitution: Equatable, Sendable {
  public let expression: RegularExpression
  /// `\0` is the match, `\1` to `\9` are its groups, `\\` is a backslash.
  public let substitution: ByteString
  private let highestGroup: Int

  /// Refuses a substitution that names a group that the expression does not have.
  public init(
    _ expression: RegularExpression, substitution: ByteString
  ) throws(RegexError) {
    var highest = 0
    var index = 0
    let bytes = substitution.bytes
    while index < bytes.count {
      guard bytes[index] == UInt8(ascii: "\\") else {
        index += 1
        continue
      }
      guard index + 1 < bytes.count else { throw RegexError("a \\ at the end", index) }
      if isDigit(bytes[index + 1]) {
        let group = Int(bytes[index + 1] - UInt8(ascii: "0"))
        guard group <= expression.groups else {
          throw RegexError("\\\(group) of an expression with \(expression.groups) groups", index)
        }
        highest = max(highest, group)
      } else if bytes[index + 1] != UInt8(ascii: "\\") {
        throw RegexError("a \\ without a digit", index)
      }
      index += 2
    }
    self.expression = expression
    self.substitution = substitution
    highestGroup = highest
  }

  /// The text with all matches replaced, from left to right, as RE2's `GlobalReplace` does it: an empty
  /// match right behind the one before does not count.
  public func replaceAll(_ text: Span<UInt8>) -> ByteString {
    var machine = RegexMachine(expression.program, slotCount: 2 * (highestGroup + 1))
    var result: [UInt8] = []
    var position = 0
    var lastEnd = -1
    while position <= text.count, machine.run(text, from: position, isWhole: false) {
      let start = Int(machine.matched[0])
      let end = Int(machine.matched[1])
      result.append(contentsOf: text.extracting(position..<start))
      if start == end, start == lastEnd {
        guard position < text.count else { break }
        let length = max(UTF8Rune.decode(text, at: start).length, 1)
        result.append(contentsOf: text.extracting(start..<start + length))
        position = start + length
        continue
      }
      append(machine.matched, of: text, to: &result)
      position = end
      lastEnd = end
    }
    if position < text.count {
      result.append(contentsOf: text.extracting(position..<text.count))
    }
    return ByteString(result)
  }

  private func append(_ slots: [Int32], of text: Span<UInt8>, to result: inout [UInt8]) {
    let bytes = substitution.bytes
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      guard byte == UInt8(ascii: "\\") else {
        result.append(byte)
        continue
      }
      let escaped = bytes[index]
      index += 1
      guard isDigit(escaped) else {
        result.append(escaped)
        continue
      }
      let group = Int(escaped - UInt8(ascii: "0"))
      let start = Int(slots[2 * group])
      let end = Int(slots[2 * group + 1])
      // A group that took no part is empty.
      if start >= 0, end >= start {
        result.append(contentsOf: text.extracting(start..<end))
      }
    }
  }
}
