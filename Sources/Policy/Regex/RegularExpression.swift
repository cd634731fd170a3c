import Primitives

/// A regular expression in the syntax of RE2.
public struct RegularExpression: Equatable, Sendable {
  public let pattern: ByteString
  public var instructionCount: Int { pattern.count }
  var literalPrefix: ByteString { pattern }

  public init(_ pattern: ByteString) throws(RegexError) {
    for byte in pattern.bytes where special.contains(byte) {
      throw RegexError(reason: "not a literal", offset: 0)
    }
    self.pattern = pattern
  }

  /// Whether the expression matches all of the text.
  public func matches(_ text: Span<UInt8>) -> Bool { equal(text, pattern.bytes.span) }
}

private let special: [UInt8] = Array("\\^$.|?*+()[]{}".utf8)

/// Why a text is not a regular expression.
public struct RegexError: Error, Equatable, Sendable {
  public var reason: ByteString
  /// Where in the text.
  public var offset: Int
  public var text: ByteString { reason }
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
public struct RegexSubstitution: Equatable, Sendable {
  public let expression: RegularExpression
  public let substitution: ByteString

  public init(_ expression: RegularExpression, substitution: ByteString) throws(RegexError) {
    self.expression = expression
    self.substitution = substitution
  }

  func replaceAll(_ text: Span<UInt8>) -> ByteString { ByteString(copying: text) }
}
