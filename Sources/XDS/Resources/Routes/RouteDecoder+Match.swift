import Policy
import Primitives

/// `envoy.config.route.v3.Route` and its `RouteMatch`.
extension RouteDecoder {
  /// Nil: a route of which this client knows neither when it would match nor what it would do. It is
  /// left out, as gRPC does it (A28), and later routes may match.
  mutating func route(_ reader: ResourceReader) throws(ResourceRejection) -> Route? {
    guard let match = try reader.message(1, "match") else {
      throw reader.rejection("match", "missing")
    }
    let path = try path(match)
    let action = try action(reader)
    let isKnown = try canEvaluate(match)
    guard let path, let action, isKnown else { return nil }
    var route = Route(name: try reader.text(14, "name"), path: path, action: action)
    try read(match, into: &route)
    try notes.addPresent(
      reader, [(10, "response_headers_to_add"), (11, "response_headers_to_remove")])
    route.mutations = try mutations(reader, add: 9, remove: 12)
    route.bodyLimit = try bodyLimit(reader, limit: 20, deprecated: 16)
    try filterOverrides(reader, 13)
    if case .forwarding(let action) = route.action, case .prefix = action.value.pathRewrite,
      case .regex = path
    {
      // What a regular expression matched is the whole path: allowed, if hardly meant.
      notes.add(reader, "route.prefix_rewrite", "replaces the whole path, which safe_regex matched")
    }
    return route
  }

  /// Nil: only CONNECT requests match, of which there are none here.
  private mutating func path(_ match: ResourceReader) throws(ResourceRejection) -> PathMatcher? {
    let isSensitive = try match.wrappedBool(4, "case_sensitive") ?? true
    let members: [UInt32] = [1, 2, 10, 12, 14, 15]
    switch try match.member(members) {
    case 1: return .prefix(try match.text(1, "prefix"), caseSensitive: isSensitive)
    case 2: return .path(try match.text(2, "path"), caseSensitive: isSensitive)
    case 10:
      return .regex(try regex(match, 10, "safe_regex", among: members))
    case 14:
      let prefix = try match.text(14, "path_separated_prefix")
      let isPlain = !prefix.bytes.contains { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
      guard prefix.count > 1, isPlain, prefix.bytes.last != UInt8(ascii: "/") else {
        throw match.rejection(
          "path_separated_prefix", "\"\(prefix)\" has ? or #, ends with / or is too short")
      }
      return .separatedPrefix(prefix, caseSensitive: isSensitive)
    case 12:
      notes.add(match, "connect_matcher", "route skipped: there are no CONNECT requests")
      return nil
    case 15: throw match.rejection("path_match_policy", "not supported")
    default: throw match.rejection("", "no path specifier")
    }
  }

  /// Criteria that need what this client does not have: a connection behind it, filters before it.
  private mutating func canEvaluate(_ match: ResourceReader) throws(ResourceRejection) -> Bool {
    let unknown: [(number: UInt32, name: StaticString)] = [
      (11, "tls_context"), (13, "dynamic_metadata"), (16, "filter_state"),
    ]
    for field in unknown where try match.has(field.number) {
      notes.add(match, field.name, "route skipped: not supported")
      return false
    }
    return true
  }

  private mutating func read(
    _ match: ResourceReader, into route: inout Route
  ) throws(ResourceRejection) {
    let limit = RouteLimits.headerMatchersMax
    for reader in try match.messages(6, "headers", limit: limit) {
      route.headers.append(try headerMatcher(reader))
    }
    for reader in try match.messages(7, "query_parameters", limit: limit) {
      route.queryParameters.append(try queryParameter(reader))
    }
    for reader in try match.messages(17, "cookies", limit: limit) {
      let name = try reader.text(1, "name")
      guard !name.isEmpty else { throw reader.rejection("name", "empty") }
      guard let value = try stringMatcher(reader, 2) else {
        throw reader.rejection("string_match", "missing")
      }
      route.cookies.append(CookieMatcher(name: name, value: value, inverts: try reader.bool(3)))
    }
    route.isForGRPC = try match.has(8)
    route.fraction = try runtimeFraction(match, 9)
  }

  private mutating func queryParameter(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> QueryParameterMatcher {
    let name = try reader.text(1, "name")
    guard !name.isEmpty, name.count <= 1024 else {
      throw reader.rejection("name", "empty or longer than 1024 bytes")
    }
    switch try reader.member([5, 6]) {
    case 5: return QueryParameterMatcher(name: name, value: try stringMatcher(reader, 5))
    case 6: return QueryParameterMatcher(name: name, isExpected: try reader.bool(6))
    default: return QueryParameterMatcher(name: name)
    }
  }

  mutating func headerMatcher(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> HeaderMatcher {
    let name = try headerName(reader, 1, "name", mayBePseudo: true)
    guard !name.isEmpty else { throw reader.rejection("name", "empty") }
    return HeaderMatcher(
      name: name, pattern: try pattern(reader), inverts: try reader.bool(8),
      treatsMissingAsEmpty: try reader.bool(14))
  }

  /// The arms of the oneof, of which control planes still send the deprecated ones. None of them asks
  /// for presence.
  private mutating func pattern(
    _ reader: ResourceReader
  ) throws(ResourceRejection) -> HeaderMatcher.Pattern {
    let members: [UInt32] = [4, 6, 7, 9, 10, 11, 12, 13]
    switch try reader.member(members) {
    case 4: return .text(StringMatcher(.exact(try reader.text(4, "exact_match"))))
    case 9: return .text(StringMatcher(.prefix(try filled(reader, 9, "prefix_match"))))
    case 10: return .text(StringMatcher(.suffix(try filled(reader, 10, "suffix_match"))))
    case 12: return .text(StringMatcher(.contains(try filled(reader, 12, "contains_match"))))
    case 11:
      return .text(
        StringMatcher(.regex(try regex(reader, 11, "safe_regex_match", among: members))))
    case 13:
      guard let matcher = try stringMatcher(reader, 13, among: members) else { break }
      return .text(matcher)
    case 6:
      let range = try reader.message(6, "range_match", among: members)
      return .range(start: try range?.int64(1) ?? 0, end: try range?.int64(2) ?? 0)
    case 7: return .present(try reader.bool(7))
    default: break
    }
    return .present(true)
  }

  /// `StringMatcher`. Nil when absent.
  mutating func stringMatcher(
    _ reader: ResourceReader, _ number: UInt32, among members: [UInt32] = []
  ) throws(ResourceRejection) -> StringMatcher? {
    guard let matcher = try reader.message(number, "string_match", among: members) else {
      return nil
    }
    return try stringMatcher(matcher)
  }

  /// The message itself.
  mutating func stringMatcher(
    _ matcher: ResourceReader
  ) throws(ResourceRejection) -> StringMatcher {
    let arms: [UInt32] = [1, 2, 3, 5, 7, 8]
    let pattern: StringMatcher.Pattern
    switch try matcher.member(arms) {
    case 1: pattern = .exact(try matcher.text(1, "exact"))
    case 2: pattern = .prefix(try filled(matcher, 2, "prefix"))
    case 3: pattern = .suffix(try filled(matcher, 3, "suffix"))
    case 7: pattern = .contains(try filled(matcher, 7, "contains"))
    case 5: pattern = .regex(try regex(matcher, 5, "safe_regex", among: arms))
    case 8: throw matcher.rejection("custom", "not supported")
    default: throw matcher.rejection("", "no match pattern")
    }
    return StringMatcher(pattern, ignoresCase: try matcher.bool(6))
  }

  /// A text that must not be empty.
  private func filled(
    _ reader: ResourceReader, _ number: UInt32, _ name: StaticString
  ) throws(ResourceRejection) -> ByteString {
    let text = try reader.text(number, name)
    guard !text.isEmpty else { throw reader.rejection(name, "empty") }
    return text
  }

  /// `RegexMatcher`: 2 regex. A field that is not there is refused as an empty expression is.
  mutating func regex(
    _ reader: ResourceReader, _ number: UInt32, _ name: StaticString, among members: [UInt32] = []
  ) throws(ResourceRejection) -> RegularExpression {
    let text = try reader.message(number, name, among: members)?.text(2, "regex") ?? ByteString()
    guard !text.isEmpty else { throw reader.rejection(name, "empty") }
    let expression: RegularExpression
    do throws(RegexError) {
      expression = try RegularExpression(text)
    } catch {
      throw reader.rejection(name, "\(error.text)")
    }
    instructions += expression.instructionCount
    guard instructions <= RouteLimits.instructionsMax else {
      throw reader.rejection(
        name,
        "the regular expressions have more than \(RouteLimits.instructionsMax) instructions together"
      )
    }
    return expression
  }

  /// `RegexMatchAndSubstitute`: 1 pattern, 2 substitution. Nil when absent.
  mutating func substitution(
    _ reader: ResourceReader, _ number: UInt32, _ name: StaticString, among members: [UInt32] = []
  ) throws(ResourceRejection) -> RegexSubstitution? {
    guard let message = try reader.message(number, name, among: members) else { return nil }
    let expression = try regex(message, 1, "pattern")
    let text = try message.text(2, "substitution")
    do throws(RegexError) {
      return try RegexSubstitution(expression, substitution: text)
    } catch {
      throw message.rejection("substitution", "\(error.text)")
    }
  }
}
