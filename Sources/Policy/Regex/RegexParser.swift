import Primitives

/// Reads the syntax of RE2 as it is without options (github.com/google/re2/wiki/Syntax): that of Perl
/// without back references and look-around, in UTF-8, `$` at the text's end only.
///
///     alternatives  sequence ('|' sequence)*
///     sequence      (atom repetition?)*
///     repetition    ('*' | '+' | '?' | '{' n (',' m?)? '}') '?'?
struct RegexParser {
  /// What `(?ims-U)` sets.
  struct Flags: Equatable {
    var ignoresCase = false
    var isMultiline = false
    var dotMatchesNewline = false
    var swapsGreed = false
  }

  let bytes: [UInt8]
  var index = 0
  var flags = Flags()
  var groups = 0

  static func parse(_ pattern: ByteString) throws(RegexError) -> (node: RegexNode, groups: Int) {
    guard pattern.count <= RegexLimits.patternBytesMax else {
      throw RegexError("longer than \(RegexLimits.patternBytesMax) bytes", 0)
    }
    guard UTF8Sequence.isWellFormed(pattern.bytes.span) else {
      throw RegexError("invalid UTF-8", 0)
    }
    var parser = RegexParser(bytes: pattern.bytes)
    let node = try parser.alternatives(depth: 0)
    guard parser.isAtEnd else { throw RegexError("unexpected )", parser.index) }
    return (node, parser.groups)
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  // MARK: Reading

  var isAtEnd: Bool { index == bytes.count }
  func peek(_ offset: Int = 0) -> UInt8? {
    index + offset < bytes.count ? bytes[index + offset] : nil
  }

  /// Takes the byte if it is the next one.
  mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(ascii: byte) else { return false }
    index += 1
    return true
  }

  /// The next code point; the text is well-formed and not at its end.
  mutating func takeRune() -> UInt32 {
    let (rune, length) = UTF8Rune.decode(bytes.span, at: index)
    index += length
    return rune
  }

  // MARK: Structure

  mutating func alternatives(depth: Int) throws(RegexError) -> RegexNode {
    guard depth <= RegexLimits.depthMax else { throw RegexError("nested too deeply", index) }
    var nodes = [try sequence(depth: depth)]
    while take("|") { nodes.append(try sequence(depth: depth)) }
    return nodes.count == 1 ? nodes[0] : .alternatives(nodes)
  }

  private mutating func sequence(depth: Int) throws(RegexError) -> RegexNode {
    var nodes: [RegexNode] = []
    // Where the last operator of repetition began, as long as nothing stands behind it.
    var lastRepetition: Int?
    while let byte = peek(), byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
      let start = index
      guard let (min, max) = try repetition() else {
        lastRepetition = nil
        try atom(into: &nodes, depth: depth)
        continue
      }
      var isGreedy = !flags.swapsGreed
      if take("?") { isGreedy.toggle() }
      guard lastRepetition == nil else {
        throw RegexError("a repetition of a repetition", lastRepetition ?? start)
      }
      guard let last = nodes.popLast() else {
        throw RegexError("a repetition of nothing", start)
      }
      let node = RegexNode.repetition(last, min: min, max: max, isGreedy: isGreedy)
      if min >= 2 || (max ?? 0) >= 2 {
        guard node.repeatsWithin(RegexLimits.repeatMax) else {
          throw RegexError("repeats more than \(RegexLimits.repeatMax) times", start)
        }
      }
      nodes.append(node)
      lastRepetition = start
    }
    switch nodes.count {
    case 0: return .empty
    case 1: return nodes[0]
    default: return .sequence(nodes)
    }
  }

  /// An operator of repetition, without the `?` behind it. Nil: something else stands there.
  private mutating func repetition() throws(RegexError) -> (min: Int, max: Int?)? {
    if take("*") { return (0, nil) }
    if take("+") { return (1, nil) }
    if take("?") { return (0, 1) }
    guard peek() == UInt8(ascii: "{") else { return nil }
    let start = index
    index += 1
    guard let min = number() else { return literalBrace(start) }
    var max: Int? = min
    if take(",") {
      max = nil
      if peek() != UInt8(ascii: "}") {
        guard let number = number() else { return literalBrace(start) }
        max = number
      }
    }
    guard take("}") else { return literalBrace(start) }
    guard min <= RegexLimits.repeatMax, max ?? 0 <= RegexLimits.repeatMax, min <= max ?? min else {
      throw RegexError("an invalid count of repetitions", start)
    }
    return (min, max)
  }

  /// What looks like a count and is none stands for itself.
  private mutating func literalBrace(_ start: Int) -> (min: Int, max: Int?)? {
    index = start
    return nil
  }

  /// A decimal number without leading zeros, as RE2 takes it in braces.
  private mutating func number() -> Int? {
    guard let first = peek(), isDigit(first) else { return nil }
    if first == UInt8(ascii: "0"), let second = peek(1), isDigit(second) { return nil }
    var value = 0
    while let digit = peek(), isDigit(digit) {
      value = min(value * 10 + Int(digit - UInt8(ascii: "0")), 1_000_000)
      index += 1
    }
    return value
  }

  private mutating func atom(
    into nodes: inout [RegexNode], depth: Int
  ) throws(RegexError) {
    switch peek() {
    case UInt8(ascii: "("):
      if let node = try group(depth: depth) { nodes.append(node) }
    case UInt8(ascii: "["):
      nodes.append(.set(try bracket()))
    case UInt8(ascii: "."):
      index += 1
      var set = RuneSet()
      if !flags.dotMatchesNewline { set.insert(0x0A, 0x0A) }
      set.invert()
      nodes.append(.set(set))
    case UInt8(ascii: "^"):
      index += 1
      nodes.append(.assert(flags.isMultiline ? .lineStart : .textStart))
    case UInt8(ascii: "$"):
      index += 1
      nodes.append(.assert(flags.isMultiline ? .lineEnd : .textEnd))
    case UInt8(ascii: "\\"):
      try escape(into: &nodes)
    default:
      nodes.append(literal(takeRune()))
    }
  }

  func literal(_ rune: UInt32) -> RegexNode {
    guard flags.ignoresCase else { return .rune(rune) }
    var set = RuneSet()
    set.insert(rune, rune)
    set.fold()
    return set.ranges == [RuneSet.Range(low: rune, high: rune)] ? .rune(rune) : .set(set)
  }
}

func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

/// Code points in UTF-8.
enum UTF8Rune {
  /// The code point at `index`, and how many bytes it takes: 0 when they are not well-formed.
  static func decode(_ bytes: Span<UInt8>, at index: Int) -> (rune: UInt32, length: Int) {
    let first = bytes[index]
    if first < 0x80 { return (UInt32(first), 1) }
    let length = UTF8Sequence.length(at: index, of: bytes)
    guard length > 0 else { return (0, 0) }
    var rune = UInt32(first) & (0x7F >> UInt32(length))
    for offset in 1..<length { rune = rune << 6 | UInt32(bytes[index + offset] & 0x3F) }
    return (rune, length)
  }
}
