import Primitives

/// `[…]`.
extension RegexParser {
  mutating func bracket() throws(RegexError) -> RuneSet {
    let start = index
    index += 1
    let isNegated = take("^")
    var set = RuneSet()
    // A `]` that comes first stands for itself.
    var isFirst = true
    while isFirst || peek() != UInt8(ascii: "]") {
      guard !isAtEnd else { throw RegexError("missing ]", start) }
      isFirst = false
      if let named = try posixClass() {
        set.insert(named)
      } else if peek() == UInt8(ascii: "\\"), let named = try classEscape() {
        set.insert(named)
      } else {
        try range(into: &set, start)
      }
    }
    index += 1
    set.normalize()
    if isNegated { set.invert() }
    return set
  }

  private mutating func range(into set: inout RuneSet, _ start: Int) throws(RegexError) {
    let first = index
    let low = try bracketRune(start)
    var high = low
    if peek() == UInt8(ascii: "-"), let next = peek(1), next != UInt8(ascii: "]") {
      index += 1
      high = try bracketRune(start)
      guard high >= low else { throw RegexError("an invalid range", first) }
    }
    set.insert(low, high)
    if flags.ignoresCase { CaseFolding.visit(low, high) { set.insert($0, $1) } }
  }

  private mutating func bracketRune(_ start: Int) throws(RegexError) -> UInt32 {
    guard !isAtEnd else { throw RegexError("missing ]", start) }
    return peek() == UInt8(ascii: "\\") ? try escapedRune() : takeRune()
  }

  /// `[:alpha:]` and `[:^alpha:]`. Nil: something else, maybe just a `[`.
  private mutating func posixClass() throws(RegexError) -> RuneSet? {
    guard peek() == UInt8(ascii: "["), peek(1) == UInt8(ascii: ":") else { return nil }
    var end = index + 2
    while end + 1 < bytes.count,
      bytes[end] != UInt8(ascii: ":") || bytes[end + 1] != UInt8(ascii: "]")
    {
      end += 1
    }
    guard end + 1 < bytes.count else { return nil }
    var first = index + 2
    let isNegated = bytes[first] == UInt8(ascii: "^")
    if isNegated { first += 1 }
    let name = ByteString([UInt8](bytes[min(first, end)..<end]))
    guard var set = posixSet(name) else {
      throw RegexError("[:\(name):] is not a class", index)
    }
    index = end + 2
    complete(&set, isNegated: isNegated)
    return set
  }
}

private func posixSet(_ name: ByteString) -> RuneSet? {
  var set = RuneSet()
  for (other, ranges) in posixClasses where other == name {
    for (low, high) in ranges { set.insert(low, high) }
    return set
  }
  return nil
}

private let posixClasses: [(ByteString, [(UInt32, UInt32)])] = [
  ("alnum", [(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)]),
  ("alpha", [(0x41, 0x5A), (0x61, 0x7A)]),
  ("ascii", [(0x00, 0x7F)]),
  ("blank", [(0x09, 0x09), (0x20, 0x20)]),
  ("cntrl", [(0x00, 0x1F), (0x7F, 0x7F)]),
  ("digit", [(0x30, 0x39)]),
  ("graph", [(0x21, 0x7E)]),
  ("lower", [(0x61, 0x7A)]),
  ("print", [(0x20, 0x7E)]),
  ("punct", [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)]),
  ("space", [(0x09, 0x0D), (0x20, 0x20)]),
  ("upper", [(0x41, 0x5A)]),
  ("word", [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]),
  ("xdigit", [(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
]
