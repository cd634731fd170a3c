import Primitives
import Testing

@testable import Policy

@Suite("Regular expressions (google-re2 is the judge of the rest)")
struct RegexTests {
  private func matches(_ pattern: ByteString, _ text: ByteString) throws -> Bool {
    try RegularExpression(pattern).matches(text.bytes.span)
  }

  @Test("the whole text has to match")
  func whole() throws {
    #expect(try matches("a|ab", "ab"))
    #expect(try !matches("a", "ab"))
    #expect(try matches("", ""))
    #expect(try matches("(?i)STRASSE|k", "\u{212A}"))
    #expect(try matches("\\p{Lu}\\pL+", "Éa漢"))
    #expect(try !matches(".", "\n"))
    #expect(try matches("(?s).", "漢"))
  }

  @Test("what is no expression is refused with its place")
  func refused() {
    for (pattern, text): (ByteString, ByteString) in [
      ("a(b", "missing ) (at byte 1)"), ("a)", "unexpected ) (at byte 1)"),
      ("*", "a repetition of nothing (at byte 0)"),
      ("a**", "a repetition of a repetition (at byte 1)"),
      ("[a", "missing ] (at byte 0)"), ("x[b-a]", "an invalid range (at byte 2)"),
      ("\\p{Greek}", "\\p{Greek} is not supported (at byte 0)"),
      ("\\1", "a back reference (at byte 0)"),
      ("(?=a)", "an unknown kind of group, or look-around (at byte 0)"),
      ("a{2000}", "an invalid count of repetitions (at byte 1)"),
      ("(a{100}){11}", "repeats more than 1000 times (at byte 8)"),
      ("a{999}", "a program of more than 1000 instructions (at byte 0)"),
    ] {
      do throws(RegexError) {
        _ = try RegularExpression(pattern)
        Issue.record("\(pattern.description) was taken")
      } catch {
        #expect(error.text == text)
      }
    }
  }

  @Test("the largest program is taken, the next one is not")
  func size() throws {
    #expect(try RegularExpression("a{997}").instructionCount == 1000)
    #expect(throws: RegexError.self) { try RegularExpression("a{998}") }
    #expect(throws: RegexError.self) { try RegularExpression("((((((a{10}){10}){10})))){1}b") }
    let deep = ByteString([UInt8](repeating: 0x28, count: 5000))
    #expect(throws: RegexError.self) { try RegularExpression(deep) }
  }

  @Test("a text that takes others exponential time takes no longer than others of its length")
  func linear() throws {
    let text = ByteString([UInt8](repeating: 0x61, count: 2000))
    for pattern: ByteString in ["(a*)*b", "(a|aa)+b", "(a?){60}a{60}b", "(.*)(.*)(.*)(.*)x"] {
      #expect(try !matches(pattern, text))
    }
  }

  @Test("all matches are replaced, from the left, empty ones too")
  func replace() throws {
    for (pattern, substitution, text, expected): (ByteString, ByteString, ByteString, ByteString)
      in [
        ("b+", "X", "abbcb", "aXcX"), ("(\\w)(\\w)", "\\2\\1", "abcd", "badc"),
        ("", "-", "ab", "-a-b-"),
        ("x*", "-", "aé", "-a-é-"), ("(a)|b", "[\\1]", "ab", "[a][]"), ("a", "\\\\\\0", "a", "\\a"),
        ("^/v(\\d)", "/api/\\1", "/v1/v2", "/api/1/v2"), ("z", "", "abc", "abc"),
      ]
    {
      let regex = try RegexSubstitution(try RegularExpression(pattern), substitution: substitution)
      #expect(regex.replaceAll(text.bytes.span) == expected, "\(pattern.description)")
    }
    for substitution: ByteString in ["\\1", "\\", "\\x"] {
      #expect(throws: RegexError.self) {
        try RegexSubstitution(try RegularExpression("a"), substitution: substitution)
      }
    }
  }

  @Test("what a whole match must begin with is known")
  func prefixes() throws {
    for (pattern, prefix): (ByteString, ByteString) in [
      ("/v1/.*", "/v1/"), ("^(/a)(b|c)", "/a"), ("(?i)/abc", "/"), ("/a?", "/"), ("a|b", ""),
      ("é.", "é"),
    ] {
      #expect(try RegularExpression(pattern).literalPrefix == prefix)
    }
  }
}
