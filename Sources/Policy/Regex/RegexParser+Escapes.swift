import Primitives

/// What begins with a backslash.
extension RegexParser {
  /// Outside of brackets.
  mutating func escape(into nodes: inout [RegexNode]) throws(RegexError) {
    switch peek(1) {
    case UInt8(ascii: "A"): nodes.append(assertion(.textStart))
    case UInt8(ascii: "z"): nodes.append(assertion(.textEnd))
    case UInt8(ascii: "b"): nodes.append(assertion(.wordBoundary))
    case UInt8(ascii: "B"): nodes.append(assertion(.noWordBoundary))
    case UInt8(ascii: "C"):
      index += 2
      nodes.append(.byte)
    case UInt8(ascii: "Q"):
      index += 2
      quoted(into: &nodes)
    default:
      if let set = try classEscape() {
        nodes.append(.set(set))
      } else {
        nodes.append(literal(try escapedRune()))
      }
    }
  }

  private mutating func assertion(_ assertion: RegexAssertion) -> RegexNode {
    index += 2
    return .assert(assertion)
  }

  /// `\Q…\E`: everything stands for itself; the `\E` may be missing.
  private mutating func quoted(into nodes: inout [RegexNode]) {
    while !isAtEnd {
      if peek() == UInt8(ascii: "\\"), peek(1) == UInt8(ascii: "E") {
        index += 2
        return
      }
      nodes.append(literal(takeRune()))
    }
  }

  /// `\d \D \s \S \w \W`, `\pN`, `\p{Name}` and their opposites. Nil: another escape.
  mutating func classEscape() throws(RegexError) -> RuneSet? {
    guard let letter = peek(1) else { return nil }
    var set = RuneSet()
    switch lowercased(letter) {
    case UInt8(ascii: "d"): set.insert(0x30, 0x39)
    case UInt8(ascii: "s"):
      set.insert(0x09, 0x0A)
      set.insert(0x0C, 0x0D)
      set.insert(0x20, 0x20)
    case UInt8(ascii: "w"): set = Self.word
    case UInt8(ascii: "p"): return try unicodeClass()
    default: return nil
    }
    index += 2
    complete(&set, isNegated: letter != lowercased(letter))
    return set
  }

  static var word: RuneSet {
    var set = RuneSet()
    set.insert(0x30, 0x39)
    set.insert(0x41, 0x5A)
    set.insert(0x5F, 0x5F)
    set.insert(0x61, 0x7A)
    return set
  }

  /// A named class: first it is folded, then negated.
  func complete(_ set: inout RuneSet, isNegated: Bool) {
    set.normalize()
    if flags.ignoresCase { set.fold() }
    if isNegated { set.invert() }
  }

  private mutating func unicodeClass() throws(RegexError) -> RuneSet {
    let start = index
    var isNegated = peek(1) == UInt8(ascii: "P")
    index += 2
    guard !isAtEnd else { throw RegexError("an invalid class", start) }
    var name: [UInt8] = []
    if take("{") {
      if take("^") { isNegated.toggle() }
      while let byte = peek(), byte != UInt8(ascii: "}") {
        name.append(byte)
        index += 1
      }
      guard take("}") else { throw RegexError("missing }", start) }
    } else {
      let first = index
      _ = takeRune()
      name = [UInt8](bytes[first..<index])
    }
    guard var set = UnicodeClass.named(name) else {
      throw RegexError("\\p{\(ByteString(name))} is not supported", start)
    }
    complete(&set, isNegated: isNegated)
    return set
  }

  /// A code point by its number or its letter, or a character that has a meaning of its own otherwise.
  mutating func escapedRune() throws(RegexError) -> UInt32 {
    let start = index
    index += 1
    guard let byte = peek() else { throw RegexError("a \\ at the end", start) }
    index += 1
    switch byte {
    case UInt8(ascii: "a"): return 0x07
    case UInt8(ascii: "f"): return 0x0C
    case UInt8(ascii: "n"): return 0x0A
    case UInt8(ascii: "r"): return 0x0D
    case UInt8(ascii: "t"): return 0x09
    case UInt8(ascii: "v"): return 0x0B
    case UInt8(ascii: "x"): return try hexadecimal(start)
    case UInt8(ascii: "0")...UInt8(ascii: "7"): return try octal(byte, start)
    case UInt8(ascii: "_"): return UInt32(byte)
    case 0..<0x80 where !isWordByte(byte): return UInt32(byte)
    default: throw RegexError("an unknown escape", start)
    }
  }

  /// `\0`, and two or three digits. A single one from 1 on would be a back reference.
  private mutating func octal(_ first: UInt8, _ start: Int) throws(RegexError) -> UInt32 {
    var rune = UInt32(first - UInt8(ascii: "0"))
    var digits = 1
    while digits < 3, let byte = peek(), byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "7") {
      rune = rune * 8 + UInt32(byte - UInt8(ascii: "0"))
      digits += 1
      index += 1
    }
    guard first == UInt8(ascii: "0") || digits > 1 else {
      throw RegexError("a back reference", start)
    }
    return rune
  }

  /// `\x7F`, `\x{10FFFF}`.
  private mutating func hexadecimal(_ start: Int) throws(RegexError) -> UInt32 {
    let isBraced = take("{")
    var rune: UInt32 = 0
    var digits = 0
    while isBraced || digits < 2, let byte = peek(), let digit = hexadecimalValue(byte) {
      rune = rune * 16 + UInt32(digit)
      guard rune <= RuneSet.highest else { break }
      digits += 1
      index += 1
    }
    let isComplete = isBraced ? digits > 0 && take("}") : digits == 2
    guard isComplete else { throw RegexError("an invalid code point", start) }
    return rune
  }
}
