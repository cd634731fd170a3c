import Primitives

extension TOMLParser {
  /// A value of any kind into a node that is already in its table.
  mutating func parseValue(into node: Int) throws(TOMLError) {
    tree[node].offset = index
    switch peek() {
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      tree[node].value = .string(ByteString(try parseString()))
    case UInt8(ascii: "["): try parseArray(into: node)
    case UInt8(ascii: "{"): try parseInlineTable(into: node)
    default: tree[node].value = try parsePlainValue()
    }
  }

  private mutating func parseArray(into node: Int) throws(TOMLError) {
    let start = index
    index += 1
    openBrackets += 1
    while true {
      try skipBlankLines()
      if skip(UInt8(ascii: "]")) { break }
      guard peek() != nil else {
        throw TOMLError(offset: start, message: "the array is not closed")
      }
      guard let element = tree.addChild(node, key: nil, file: file, offset: index) else {
        throw limitError(node, index)
      }
      try parseValue(into: element)
      try skipBlankLines()
      if skip(UInt8(ascii: ",")) { continue }
      guard skip(UInt8(ascii: "]")) else {
        if peek() == nil { throw TOMLError(offset: start, message: "the array is not closed") }
        throw TOMLError(
          offset: index, message: "expected ',' or ']' in the array, found \(found())")
      }
      break
    }
    openBrackets -= 1
    tree[node].value = .array
  }

  private mutating func parseInlineTable(into node: Int) throws(TOMLError) {
    let outer = section
    section += 1
    defer { section = outer }
    tree[node].value = .table
    tree[node].form = .closed
    index += 1
    openBrackets += 1
    skipBlanks()
    if skip(UInt8(ascii: "}")) {
      openBrackets -= 1
      return
    }
    while true {
      try refuseNewline()
      try parseKeyValue(into: node)
      skipBlanks()
      if skip(UInt8(ascii: "}")) { break }
      guard skip(UInt8(ascii: ",")) else {
        try refuseNewline()
        throw TOMLError(
          offset: index, message: "expected ',' or '}' in the inline table, found \(found())")
      }
      skipBlanks()
      guard peek() != UInt8(ascii: "}") else {
        throw TOMLError(
          offset: index, message: "an inline table has no comma behind its last value")
      }
    }
    openBrackets -= 1
  }

  private func refuseNewline() throws(TOMLError) {
    switch peek() {
    case UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "#"):
      throw TOMLError(offset: index, message: "an inline table stands on one line")
    case nil:
      throw TOMLError(offset: index, message: "the inline table is not closed")
    default: break
    }
  }

  /// Numbers, booleans, dates and times: a run of letters, digits and `_ + - . :`. One that is none of them is
  /// not shown: it may be a password without its quotes.
  private mutating func parsePlainValue() throws(TOMLError) -> TOMLValue {
    let start = index
    skipPlain()
    // "For the sake of readability, you may replace the T delimiter by a space."
    if index - start == 10 && bytes[start + 4] == UInt8(ascii: "-") && peek() == UInt8(ascii: " "),
      let next = peek(1), ASCII.isDigit(next)
    {
      index += 1
      skipPlain()
    }
    let text = Array(bytes[start..<index])
    guard let first = text.first else {
      throw TOMLError(offset: start, message: "expected a value, found \(found())")
    }
    if let boolean = keyword(text) { return boolean }
    if ASCII.isDigit(first) && TOMLDateTime.looksLike(text) {
      var parser = TOMLDateTimeParser(text)
      guard let value = parser.parse() else {
        throw TOMLError(offset: start, message: "this \(parser.problem)")
      }
      return .dateTime(value)
    }
    guard ASCII.isDigit(first) || first == UInt8(ascii: "+") || first == UInt8(ascii: "-") else {
      throw TOMLError(
        offset: start, message: "this is not a value; text needs quotes")
    }
    var number = TOMLNumberParser(text)
    guard let value = number.parse() else {
      throw TOMLError(offset: start, message: "this \(number.problem)")
    }
    return value
  }

  private mutating func skipPlain() {
    while let byte = peek(),
      ASCII.isBareKey(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: ".")
        || byte == UInt8(ascii: ":")
    { index += 1 }
  }

  private func keyword(_ text: [UInt8]) -> TOMLValue? {
    let word = ByteString(text)
    if word == "true" { return .boolean(true) }
    if word == "false" { return .boolean(false) }
    if word == "inf" || word == "+inf" { return .float(.infinity) }
    if word == "-inf" { return .float(-.infinity) }
    if word == "nan" || word == "+nan" || word == "-nan" { return .float(.nan) }
    return nil
  }
}
