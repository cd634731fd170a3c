import Primitives

/// The four kinds of strings. The whole file is known to be UTF-8 here, so bytes are copied.
extension TOMLParser {
  /// A string value of any kind.
  mutating func parseString() throws(TOMLError) -> [UInt8] {
    let quote = bytes[index]
    let isBasic = quote == UInt8(ascii: "\"")
    if peek(1) == quote && peek(2) == quote { return try parseMultiline(quote, isBasic: isBasic) }
    return isBasic ? try parseBasicString() : try parseLiteralString()
  }

  /// `"…"` on one line, the opening quote at the index.
  mutating func parseBasicString() throws(TOMLError) -> [UInt8] {
    try parseSingleLine(UInt8(ascii: "\""), isBasic: true)
  }

  /// `'…'` on one line, the opening quote at the index.
  mutating func parseLiteralString() throws(TOMLError) -> [UInt8] {
    try parseSingleLine(UInt8(ascii: "'"), isBasic: false)
  }

  private mutating func parseSingleLine(
    _ quote: UInt8, isBasic: Bool
  ) throws(TOMLError) -> [UInt8] {
    let start = index
    index += 1
    var text: [UInt8] = []
    while let byte = peek(), byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "\r") {
      if skip(quote) { return text }
      if isBasic && byte == UInt8(ascii: "\\") {
        try parseEscape(into: &text)
      } else {
        try copyByte(byte, into: &text)
      }
    }
    if peek() == UInt8(ascii: "\r") && peek(1) != UInt8(ascii: "\n") {
      throw TOMLError(offset: index, message: "\(found()) is not allowed in a string")
    }
    throw TOMLError(offset: start, message: "the string is not closed on its line")
  }

  private mutating func parseMultiline(
    _ quote: UInt8, isBasic: Bool
  ) throws(TOMLError) -> [UInt8] {
    let start = index
    index += 3
    // "A newline immediately following the opening delimiter will be trimmed."
    _ = skipNewline()
    var text: [UInt8] = []
    while let byte = peek() {
      if skipNewline() {
        text.append(UInt8(ascii: "\n"))
      } else if byte == quote {
        if skipClosing(quote, into: &text) { return text }
      } else if isBasic && byte == UInt8(ascii: "\\") {
        if !skipLineEndingBackslash() { try parseEscape(into: &text) }
      } else {
        try copyByte(byte, into: &text)
      }
    }
    throw TOMLError(offset: start, message: "the multi-line string is not closed")
  }

  /// Takes a run of quotes. Three close the string; up to two more before them are content.
  private mutating func skipClosing(_ quote: UInt8, into text: inout [UInt8]) -> Bool {
    var count = 0
    while count < 5 && skip(quote) { count += 1 }
    for _ in 0..<(count < 3 ? count : count - 3) { text.append(quote) }
    return count >= 3
  }

  /// A backslash at the end of a line takes the newline and all white space behind it away.
  private mutating func skipLineEndingBackslash() -> Bool {
    let start = index
    index += 1
    skipBlanks()
    guard skipNewline() else {
      index = start
      return false
    }
    repeat { skipBlanks() } while skipNewline()
    return true
  }

  private mutating func copyByte(_ byte: UInt8, into text: inout [UInt8]) throws(TOMLError) {
    guard !ASCII.isForbiddenControl(byte) else {
      throw TOMLError(offset: index, message: "\(found()) is not allowed in a string")
    }
    text.append(byte)
    index += 1
  }

  /// A backslash and what belongs to it.
  private mutating func parseEscape(into text: inout [UInt8]) throws(TOMLError) {
    let start = index
    index += 1
    let escape = peek()
    switch escape {
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): text.append(bytes[index])
    case UInt8(ascii: "u"): return try parseUnicodeEscape(digits: 4, start, into: &text)
    case UInt8(ascii: "U"): return try parseUnicodeEscape(digits: 8, start, into: &text)
    default:
      throw TOMLError(
        offset: start, message: "no such escape: a backslash before \(found()); use \\\\ or '…'")
    }
    index += 1
  }

  private mutating func parseUnicodeEscape(
    digits: Int, _ start: Int, into text: inout [UInt8]
  ) throws(TOMLError) {
    index += 1
    var value: UInt32 = 0
    for _ in 0..<digits {
      guard let byte = peek(), let digit = hexadecimalValue(byte) else {
        throw TOMLError(
          offset: start,
          message: "the escape needs \(digits) hexadecimal digits, found \(found())")
      }
      value = value << 4 | UInt32(digit)
      index += 1
    }
    guard let scalar = Unicode.Scalar(value) else {
      throw TOMLError(offset: start, message: "the escape is not a Unicode scalar value")
    }
    text.append(contentsOf: UTF8.encode(scalar)!)
  }
}
