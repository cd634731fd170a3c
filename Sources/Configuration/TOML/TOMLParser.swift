import Primitives

/// A problem that ends a statement; the parser goes on with the next one.
struct TOMLError: Error {
  var offset: Int
  var message: String
  /// A limit is reached: what follows would only reach it again.
  var isFatal = false
}

/// TOML 1.0, the whole language, over bytes. One parser reads one file into the shared tree.
///
///     document  = statement *( newline statement )
///     statement = blank [ header / key "=" value ] blank [ "#" comment ]
///     header    = "[" key "]" / "[[" key "]]"
///     key       = part *( "." part );  part = bare / basic string / literal string
///     value     = string / integer / float / boolean / date-time / array / inline table
struct TOMLParser {
  let bytes: [UInt8]
  let file: Int
  var index = 0
  var tree: TOMLTree
  let root: Int
  /// The table that `key = value` lines go to.
  var table: Int
  /// Takes the keys behind a header that is wrong.
  let scratch: Int
  /// Numbers headers and inline tables: dotted keys may only add to tables of their own section.
  var section = 0
  /// Open `[` and `{` of the current statement: an error inside makes the next lines doubtful.
  var openBrackets = 0
  var findings: [Finding] = []

  init(file: Int, bytes: [UInt8], into tree: consuming TOMLTree) {
    self.bytes = bytes
    self.file = file
    self.tree = tree
    root = self.tree.addDetached(file: file, offset: 0)
    scratch = self.tree.addDetached(file: file, offset: 0)
    table = root
  }

  mutating func parseDocument() {
    guard bytes.count <= ConfigurationLimits.fileBytesMax else {
      return report(
        0, "the file has \(bytes.count) bytes; the limit is \(ConfigurationLimits.fileBytesMax)")
    }
    guard checkEncoding() else { return }
    while index < bytes.count && findings.count <= ConfigurationLimits.diagnosticsMax {
      openBrackets = 0
      do throws(TOMLError) {
        try parseStatement()
      } catch {
        report(error.offset, error.message)
        if error.isFatal { return }
        recover()
      }
    }
  }

  mutating func report(_ offset: Int, _ message: String) {
    findings.append(Finding(file: file, offset: offset, message: message))
  }

  private mutating func parseStatement() throws(TOMLError) {
    skipBlanks()
    switch peek() {
    case nil, UInt8(ascii: "#"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): break
    case UInt8(ascii: "["): try parseHeader()
    default: try parseKeyValue(into: table)
    }
    skipBlanks()
    try skipComment()
    if peek() != nil && !skipNewline() {
      throw TOMLError(offset: index, message: "expected the end of the line, found \(found())")
    }
  }

  /// Goes to the next line. Inside an array the following lines are most likely its elements: skips
  /// to one that can only be a statement, rather than report each of them.
  private mutating func recover() {
    skipLine()
    guard openBrackets > 0 else { return }
    while index < bytes.count && !looksLikeStatement() { skipLine() }
  }

  private mutating func skipLine() {
    while let byte = peek(), byte != UInt8(ascii: "\n") { index += 1 }
    if index < bytes.count { index += 1 }
  }

  /// `name =`, `name.name =` or `[name`, which cannot be an element of an array.
  private func looksLikeStatement() -> Bool {
    var at = index
    func skip(_ wanted: (UInt8) -> Bool) {
      while at < bytes.count && wanted(bytes[at]) { at += 1 }
    }
    skip { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
    let start = at
    skip { $0 == UInt8(ascii: "[") }
    let isHeader = at > start
    guard at < bytes.count, ASCII.isLetter(bytes[at]) else { return false }
    skip { ASCII.isBareKey($0) || $0 == UInt8(ascii: ".") }
    skip { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
    guard at < bytes.count else { return false }
    return bytes[at] == (isHeader ? UInt8(ascii: "]") : UInt8(ascii: "="))
  }
}

extension TOMLParser {
  /// The byte at the index; nil at the end of the file.
  func peek(_ ahead: Int = 0) -> UInt8? {
    index + ahead < bytes.count ? bytes[index + ahead] : nil
  }

  /// Skips `byte` if it is next.
  mutating func skip(_ byte: UInt8) -> Bool {
    guard peek() == byte else { return false }
    index += 1
    return true
  }

  mutating func skipBlanks() {
    while let byte = peek(), byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { index += 1 }
  }

  mutating func skipNewline() -> Bool {
    if peek() == UInt8(ascii: "\r") && peek(1) == UInt8(ascii: "\n") {
      index += 2
      return true
    }
    return skip(UInt8(ascii: "\n"))
  }

  /// Skips a comment up to its newline.
  mutating func skipComment() throws(TOMLError) {
    guard skip(UInt8(ascii: "#")) else { return }
    while let byte = peek(), byte != UInt8(ascii: "\n") {
      if byte == UInt8(ascii: "\r") && peek(1) == UInt8(ascii: "\n") { return }
      guard !ASCII.isForbiddenControl(byte) else {
        throw TOMLError(offset: index, message: "\(found()) is not allowed in a comment")
      }
      index += 1
    }
  }

  /// Blanks, comments and newlines between the elements of an array.
  mutating func skipBlankLines() throws(TOMLError) {
    repeat {
      skipBlanks()
      try skipComment()
    } while skipNewline()
  }

  /// What is at the index, for a message.
  func found() -> String {
    guard let byte = peek() else { return "the end of the file" }
    if byte == UInt8(ascii: "\n") { return "the end of the line" }
    if byte == UInt8(ascii: "\r") {
      return peek(1) == UInt8(ascii: "\n") ? "the end of the line" : "a lone carriage return"
    }
    if byte < 0x20 || byte == 0x7F { return "the control character U+00\(hexByte(byte))" }
    var end = index + 1
    while end < bytes.count && bytes[end] & 0xC0 == 0x80 { end += 1 }
    return quoted(ByteString(Array(bytes[index..<end])))
  }
}

/// Byte classes of the grammar.
enum ASCII {
  static func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
  }

  static func isLetter(_ byte: UInt8) -> Bool {
    (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z")
  }

  static func isAlphanumeric(_ byte: UInt8) -> Bool { isDigit(byte) || isLetter(byte) }

  static func isBareKey(_ byte: UInt8) -> Bool {
    isAlphanumeric(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
  }

  /// Control characters other than the tab.
  static func isForbiddenControl(_ byte: UInt8) -> Bool {
    (byte < 0x20 && byte != UInt8(ascii: "\t")) || byte == 0x7F
  }

  static func lowercase(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
  }
}
