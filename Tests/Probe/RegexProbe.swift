import Policy
import Primitives

/// `probe regex`: a case a line, all in hexadecimal: PATTERN SUBSTITUTION TEXT…. Prints `error REASON`, or
/// the size of the program and for each text whether all of it matches, and the text with all matches
/// replaced (`-` if the substitution is none).
enum RegexProbe {
  static func run() {
    var io = ProbeIO()
    while let line = io.readLine() {
      let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        .map { Hex.decode(Array($0)) }
      guard words.count >= 2 else { ProbeIO.fail("usage: PATTERN SUBSTITUTION TEXT…") }
      answer(words, &io.output)
      io.output.append(0x0A)
    }
    io.flush()
  }

  private static func answer(_ words: [[UInt8]], _ output: inout [UInt8]) {
    do throws(RegexError) {
      let expression = try RegularExpression(ByteString(words[0]))
      output.append("\(expression.instructionCount)")
      let substitution = substitution(expression, words[1])
      for text in words[2...] {
        output.append(expression.matches(text.span) ? " 1:" : " 0:")
        if let substitution {
          Hex.append(substitution.replaceAll(text.span).bytes.span, to: &output)
        } else {
          output.append("-")
        }
      }
    } catch {
      output.append("error \(error.text)")
    }
  }

  private static func substitution(
    _ expression: RegularExpression, _ text: [UInt8]
  ) -> RegexSubstitution? {
    do throws(RegexError) {
      return try RegexSubstitution(expression, substitution: ByteString(text))
    } catch {
      return nil
    }
  }
}
