import Primitives

/// Bounds of one regular expression. A match takes at most as many steps as the program has
/// instructions, for each byte of the text.
public enum RegexLimits {
  /// Of the compiled program (Envoy's and gRPC's own bound is of this size).
  public static let instructionsMax = 1000
  /// RE2's, also of repetitions within each other, multiplied.
  static let repeatMax = 1000
  /// Groups within each other: the parser goes down by recursion.
  static let depthMax = 100
  /// Ranges of all its character classes together; `\pL` alone has more than six hundred.
  static let rangesMax = 4000
  static let patternBytesMax = 16_384
}

/// Why a text is not a regular expression, or not one that is taken.
public struct RegexError: Error, Equatable, Sendable {
  public var reason: ByteString
  /// Where in the text, in bytes.
  public var offset: Int

  @inline(never)
  init(_ reason: StaticString, _ offset: Int) {
    self.reason = ByteString(reason)
    self.offset = offset
  }

  init(_ reason: String, _ offset: Int) {
    self.reason = ByteString(reason)
    self.offset = offset
  }

  /// For a rejection.
  public var text: ByteString { ByteString("\(reason) (at byte \(offset))") }
}
