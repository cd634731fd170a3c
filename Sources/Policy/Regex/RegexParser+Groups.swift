import Primitives

/// Parentheses.
extension RegexParser {
  /// Nil: it only sets flags for the rest of the group around it.
  mutating func group(depth: Int) throws(RegexError) -> RegexNode? {
    let start = index
    let outer = flags
    index += 1
    var number: Int?
    if peek() == UInt8(ascii: "?") {
      index += 1
      if try takeName(start) {
        groups += 1
        number = groups
      } else if try setFlags(start) {
        return nil
      }
    } else {
      groups += 1
      number = groups
    }
    let inner = try alternatives(depth: depth + 1)
    guard take(")") else { throw RegexError("missing )", start) }
    flags = outer
    if let number { return .group(number, inner) }
    // A node of its own: what is repeated behind it is the whole group.
    return .sequence([inner])
  }

  /// `P<NAME>` or `<NAME>`. Nobody asks for a name later, so it may be there twice, as in RE2.
  private mutating func takeName(_ start: Int) throws(RegexError) -> Bool {
    if peek() == UInt8(ascii: "P"), peek(1) == UInt8(ascii: "<") {
      index += 2
    } else if peek() == UInt8(ascii: "<") {
      index += 1
    } else {
      return false
    }
    let first = index
    while let byte = peek(), byte != UInt8(ascii: ">") {
      // RE2 takes letters of all alphabets.
      guard isWordByte(byte) else { throw RegexError("an invalid group name", start) }
      index += 1
    }
    guard index > first, take(">") else { throw RegexError("an invalid group name", start) }
    return true
  }

  /// `ims-U` and then `)`, answered with true, or `:`, behind which the group begins.
  private mutating func setFlags(_ start: Int) throws(RegexError) -> Bool {
    var isOn = true
    var isComplete = true
    while let byte = peek() {
      index += 1
      switch byte {
      case UInt8(ascii: "i"): flags.ignoresCase = isOn
      case UInt8(ascii: "m"): flags.isMultiline = isOn
      case UInt8(ascii: "s"): flags.dotMatchesNewline = isOn
      case UInt8(ascii: "U"): flags.swapsGreed = isOn
      case UInt8(ascii: "-") where isOn:
        isOn = false
        isComplete = false
        continue
      case UInt8(ascii: ":") where isComplete: return false
      case UInt8(ascii: ")") where isComplete: return true
      default: throw RegexError("an unknown kind of group, or look-around", start)
      }
      isComplete = true
    }
    throw RegexError("missing )", start)
  }
}

/// `\w`, and what counts for `\b`: ASCII.
func isWordByte(_ byte: UInt8) -> Bool {
  isDigit(byte) || byte == UInt8(ascii: "_")
    || (lowercased(byte) >= UInt8(ascii: "a") && lowercased(byte) <= UInt8(ascii: "z"))
}
