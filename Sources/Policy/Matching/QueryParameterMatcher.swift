import Primitives

/// `envoy.config.route.v3.QueryParameterMatcher`: the first parameter of that name counts. Names and
/// values are compared as they stand in the path, not percent-decoded; letter case counts.
public struct QueryParameterMatcher: Equatable, Sendable {
  public var name: ByteString
  /// Nil: `present_match`, whatever the value is.
  public var value: StringMatcher?
  /// With `present_match`: whether it must be there.
  public var isExpected: Bool

  public init(name: ByteString, value: StringMatcher? = nil, isExpected: Bool = true) {
    self.name = name
    self.value = value
    self.isExpected = isExpected
  }
}

/// `envoy.config.route.v3.CookieMatcher`: a cookie that is not there matches nothing, inverted or not.
public struct CookieMatcher: Equatable, Sendable {
  public var name: ByteString
  public var value: StringMatcher
  public var inverts: Bool

  public init(name: ByteString, value: StringMatcher, inverts: Bool = false) {
    self.name = name
    self.value = value
    self.inverts = inverts
  }
}
