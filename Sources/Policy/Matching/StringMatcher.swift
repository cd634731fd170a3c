import Primitives

/// `envoy.type.matcher.v3.StringMatcher`.
public struct StringMatcher: Equatable, Sendable {
  /// What is compared, and how.
  public enum Pattern: Equatable, Sendable {
    case exact(ByteString)
    case prefix(ByteString)
    case suffix(ByteString)
    case contains(ByteString)
    /// The whole text; `ignoresCase` does not concern it.
    case regex(RegularExpression)
  }

  public var pattern: Pattern
  /// Of ASCII letters.
  public var ignoresCase: Bool

  public init(_ pattern: Pattern, ignoresCase: Bool = false) {
    self.pattern = pattern
    self.ignoresCase = ignoresCase
  }

  /// Whether the text is, begins with, ends with or contains what is expected.
  public func matches(_ text: ByteString) -> Bool {
    switch pattern {
    case .exact(let expected):
      return text.count == expected.count && same(text.bytes, at: 0, expected.bytes)
    case .prefix(let expected):
      return text.count >= expected.count && same(text.bytes, at: 0, expected.bytes)
    case .suffix(let expected):
      return text.count >= expected.count
        && same(text.bytes, at: text.count - expected.count, expected.bytes)
    case .contains(let expected):
      guard text.count >= expected.count else { return false }
      for start in 0...text.count - expected.count
      where same(text.bytes, at: start, expected.bytes) {
        return true
      }
      return false
    case .regex(let expression):
      return expression.matches(text.bytes.span)
    }
  }

  /// Whether `expected` stands at `start`; it fits.
  private func same(_ text: [UInt8], at start: Int, _ expected: [UInt8]) -> Bool {
    for index in expected.indices where text[start + index] != expected[index] {
      guard ignoresCase, lowercased(text[start + index]) == lowercased(expected[index])
      else { return false }
    }
    return true
  }
}
