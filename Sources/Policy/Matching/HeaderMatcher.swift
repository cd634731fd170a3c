import Primitives

/// `envoy.config.route.v3.HeaderMatcher`. The caller looks the field up: all its values, joined with `,`.
public struct HeaderMatcher: Equatable, Sendable {
  /// What is asked of the value.
  public enum Pattern: Equatable, Sendable {
    /// The field is there, or is not.
    case present(Bool)
    case text(StringMatcher)
    /// A decimal integer from `start` to before `end`.
    case range(start: Int64, end: Int64)
  }

  /// In lower case.
  public var name: ByteString
  public var pattern: Pattern
  /// Turns the answer over, except that of a field that is not there: it matches no pattern but
  /// `present`.
  public var inverts: Bool
  /// A field that is not there counts as one with an empty value.
  public var treatsMissingAsEmpty: Bool

  public init(
    name: ByteString, pattern: Pattern = .present(true), inverts: Bool = false,
    treatsMissingAsEmpty: Bool = false
  ) {
    self.name = name
    self.pattern = pattern
    self.inverts = inverts
    self.treatsMissingAsEmpty = treatsMissingAsEmpty
  }

  /// Whether a field with this value matches; nil: the field is not there.
  public func matches(_ value: ByteString?) -> Bool {
    let value = value ?? (treatsMissingAsEmpty ? ByteString() : nil)
    switch (pattern, value) {
    case (.present(let isExpected), _): return ((value != nil) == isExpected) != inverts
    case (_, nil): return false
    case (.text(let matcher), let value?): return matcher.matches(value) != inverts
    case (.range(let start, let end), let value?):
      guard let number = decimal(value) else { return inverts }
      return (number >= start && number < end) != inverts
    }
  }
}

/// A whole decimal integer with an optional sign.
func decimal(_ text: ByteString) -> Int64? {
  var digits = text.bytes[...]
  var isNegative = false
  if let sign = digits.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
    isNegative = sign == UInt8(ascii: "-")
    digits = digits.dropFirst()
  }
  guard !digits.isEmpty else { return nil }
  var value: Int64 = 0
  for digit in digits {
    guard digit >= 0x30, digit <= 0x39 else { return nil }
    let (product, isOver) = value.multipliedReportingOverflow(by: 10)
    let step = Int64(digit - 0x30)
    // Counted down for a negative number, whose range goes one further.
    let (sum, isFar) =
      isNegative
      ? product.subtractingReportingOverflow(step) : product.addingReportingOverflow(step)
    guard !isOver, !isFar else { return nil }
    value = sum
  }
  return value
}
