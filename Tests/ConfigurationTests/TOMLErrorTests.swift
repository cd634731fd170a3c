import Configuration
import Primitives
import Testing

/// The syntax errors of one document, `LINE:COLUMN: message`.
private func errors(_ text: String) -> [String] { errors(Array(text.utf8)) }

private func errors(_ bytes: [UInt8]) -> [String] {
  TOMLTree.parse([(name: "-", bytes: bytes)]).errors.map {
    "\($0.line):\($0.column): \($0.message)"
  }
}

@Suite("TOML errors have their place")
struct TOMLErrorTests {
  @Test(
    "columns count Unicode scalars, from 1",
    arguments: [
      Wrong("a = 'é世😀' x", "1:11: expected the end of the line, found 'x'"),
      Wrong("\n\r\n  é = 1", "3:3: expected a key, found 'é'"),
      Wrong("a = \"\\q\"", "1:6: no such escape: a backslash before 'q'; use \\\\ or '…'"),
      Wrong("a = \"x", "1:5: the string is not closed on its line"),
      Wrong("a = \"\"\"x\ny", "1:5: the multi-line string is not closed"),
      Wrong("a = '\u{7}'", "1:6: the control character U+0007 is not allowed in a string"),
      Wrong("# \u{7F}", "1:3: the control character U+007F is not allowed in a comment"),
      Wrong("a = 1\rb = 2", "1:6: expected the end of the line, found a lone carriage return"),
      Wrong("a = [1,\n 2", "1:5: the array is not closed"),
      Wrong("a = [1\n 2]", "2:2: expected ',' or ']' in the array, found '2'"),
      Wrong("a = {b = 1,}", "1:12: an inline table has no comma behind its last value"),
      Wrong("a = {b = 1\n}", "1:11: an inline table stands on one line"),
      Wrong("a = {b = 1", "1:11: the inline table is not closed"),
      Wrong("a = hello", "1:5: this is not a value; text needs quotes"),
      Wrong("a = 012", "1:5: this has a leading zero"),
      Wrong("a = 1__0", "1:5: this has an underscore that is not between two digits"),
      Wrong("a = 9223372036854775808", "1:5: this does not fit in 64 bits"),
      Wrong("a = 2021-02-29", "1:5: this is not a date: the month has 28 days"),
      Wrong("a = 25:00:00", "1:5: this is not a date or time"),
      Wrong("a = ", "1:5: expected a value, found the end of the file"),
      Wrong("a", "1:2: expected '=' behind the key, found the end of the file"),
      Wrong("a = 1\n\na = 2", "3:1: 'a' is already set at line 1"),
      Wrong("[a]\n[a]", "2:2: 'a' is already defined at line 1"),
      Wrong("[[a]]\n[a]", "2:2: 'a' is already defined at line 1"),
      Wrong("[a]\n[[a]]", "2:3: 'a' is already defined at line 1, and not as an array of tables"),
      Wrong("a = {}\na.b = 1", "2:1: 'a' is an inline table (line 1): nothing can be added to it"),
      Wrong("a = 1\n[a.b]", "2:2: 'a' is not a table: it is set at line 1"),
      Wrong("[[a]]\n[b]\n[[b.c]]\n[x]\n[b]", "5:2: 'b' is already defined at line 2"),
      Wrong(
        "\u{FEFF}a = 1", "1:1: the file begins with a byte order mark; save it as UTF-8 without one"
      ),
    ])
  func places(_ wrong: Wrong) {
    #expect(errors(wrong.text) == [wrong.message])
  }

  @Test("after an error the next line is read")
  func recovery() {
    #expect(
      errors("a = \nb = 1\nb = 2\n[x\ny = 1\ny = 2\n[z]\nq = 08") == [
        "1:5: expected a value, found the end of the line", "3:1: 'b' is already set at line 2",
        "4:3: expected ']' behind the table's name, found the end of the line",
        "6:1: 'y' is already set at line 5", "8:5: this has a leading zero",
      ])
  }

  @Test("an error in an array of several lines does not make its other lines errors")
  func recoveryInArrays() {
    let text = """
      a = [
        1,
        oops,
        [2, 3],
        "x",
      ]
      b = 01
      [t]
      c = [ 1, ?
      [[u]]
      d = 02
      """
    #expect(
      errors(text) == [
        "3:3: this is not a value; text needs quotes", "7:5: this has a leading zero",
        "9:10: expected a value, found '?'", "11:5: this has a leading zero",
      ])
  }

  @Test("after a syntax error, what is only missing because of it is not reported")
  func noFollowUps() {
    let text = """
      [node]
      id = n
      [[stream]
      name = "s"
      [[serial]]
      name = "p"
      baud 9600
      stream = "s"
      parity = "x"
      """
    #expect(
      problems(text) == [
        "2:6: this is not a value; text needs quotes",
        "3:10: expected ']]' behind the table's name, found the end of the line",
        "7:6: expected '=' behind the key, found '9'",
        "9:10: 'parity' in [[serial]] must be 'none', 'even', 'odd', 'mark' or 'space', found 'x'",
      ])
  }

  @Test("bytes that are not UTF-8 are named, one for each line")
  func encoding() {
    #expect(
      errors(Array("é = 1\na = '".utf8) + [0xFF, 0xFE] + Array("'\n# ".utf8) + [0xC3]) == [
        "2:6: invalid UTF-8: byte 0xFF", "3:3: invalid UTF-8: byte 0xC3",
      ])
  }

  @Test("control characters of a name do not reach the message")
  func quoting() {
    #expect(
      problems("\"a\\u001b[31m\\n\" = 1\nnode.id='n'") == [
        "1:1: unknown key 'a\\u001B[31m\\u000A', did you mean 'stream'?"
      ])
    let long = String(repeating: "k", count: 200)
    #expect(problems("\(long) = 1\nnode.id='n'")[0].count < 150)
  }
}

@Suite("TOML limits")
struct TOMLLimitTests {
  @Test("a file of the largest size is read, a larger one is refused")
  func fileSize() {
    let limit = 256 * 1024
    #expect(errors("#" + String(repeating: "x", count: limit - 1)) == [])
    #expect(
      errors("#" + String(repeating: "x", count: limit)) == [
        "1:1: the file has 262145 bytes; the limit is 262144"
      ])
  }

  @Test("nesting ends at 32 levels, in every form")
  func nesting() {
    func nested(_ open: String, _ close: String, _ count: Int) -> String {
      "a = " + String(repeating: open, count: count) + "1" + String(repeating: close, count: count)
    }
    #expect(errors(nested("[", "]", 31)) == [])
    #expect(errors(nested("[", "]", 32)) == ["1:37: nested deeper than 32 levels"])
    #expect(errors(nested("{a=", "}", 31)) == [])
    #expect(
      errors(nested("{a=", "}", 32)) == [
        "1:99: nested deeper than 32 levels"
      ])
    func dotted(_ count: Int) -> String { (1...count).map { "k\($0)" }.joined(separator: ".") }
    #expect(errors("\(dotted(32)) = 1") == [])
    #expect(errors("\(dotted(33)) = 1") == ["1:1: nested deeper than 32 levels"])
    #expect(errors("[\(dotted(32))]") == [])
    #expect(errors("[\(dotted(32))]\nx = 1") == ["2:1: nested deeper than 32 levels"])
    #expect(errors(nested("[", "", 100_000)).count == 1)
  }

  @Test("4096 keys and 16384 elements are read; the next one ends the reading")
  func counts() {
    func keys(_ count: Int) -> String { (1...count).map { "k\($0)=1\n" }.joined() }
    #expect(errors(keys(4096)) == [])
    #expect(
      errors(keys(5000)) == ["4097:1: more than 4096 keys or 16384 array elements"])
    func elements(_ count: Int) -> String { "a=[" + String(repeating: "1,", count: count) + "]" }
    #expect(errors(elements(16384)) == [])
    #expect(
      errors(elements(16385)) == ["1:32772: more than 4096 keys or 16384 array elements"])
  }

  @Test("problems beyond the hundredth are only counted")
  func problemCount() {
    let found = errors(String(repeating: "x\n", count: 5000))
    #expect(found.count == 101)
    #expect(found[100].hasSuffix(": further problems that are not shown: at least 1"))
    let same = errors("a=1\n" + String(repeating: "a=1\n", count: 5000))
    #expect(same.count == 101)
    let whole = problems(minimal + (0..<120).map { "k\($0) = 1\n" }.joined())
    #expect(whole.count == 101)
    #expect(whole.last == "107:1: further problems that are not shown: 20")
    let inline = errors("a={" + String(repeating: "a=1,", count: 50_000) + "a=1}")
    #expect(inline.count == 101)
  }

  @Test("any bytes end in an answer", arguments: [1, 2, 3, 4] as [UInt64])
  func noise(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let alphabet = Array("ab=.[]{}\"'#,\n\r\t \\u0019-:_TZe+x".utf8) + [0, 0x7F, 0xC3, 0xA9, 0xFF]
    for _ in 0..<3000 {
      let count = Int(random.next() % 60)
      let bytes = (0..<count).map { _ in alphabet[Int(random.next() % UInt64(alphabet.count))] }
      _ = ConfigurationLoader.load(files: [(name: ByteString("noise \(seed)"), bytes: bytes)])
    }
  }
}
