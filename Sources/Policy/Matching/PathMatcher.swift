import Primitives

/// How a route's path is compared with a request's, which ends before its query and fragment.
public enum PathMatcher: Equatable, Sendable {
  case prefix(ByteString, caseSensitive: Bool = true)
  case path(ByteString, caseSensitive: Bool = true)
  /// `path_separated_prefix`: the path itself, and what goes on with a `/`.
  case separatedPrefix(ByteString, caseSensitive: Bool = true)
  /// The whole path; letter case counts unless the expression says otherwise.
  case regex(RegularExpression)

  /// Whether the path, compared up to its first `?` or `#`, is or begins with the expected one.
  public func matches(_ path: ByteString) -> Bool {
    matches(path.bytes, end: pathEnd(path.bytes, ignoringParameters: false))
  }

  /// The same, of the first `end` bytes of `path`.
  func matches(_ path: [UInt8], end: Int) -> Bool {
    switch self {
    case .prefix(let prefix, let caseSensitive):
      return end >= prefix.count && same(path, prefix.bytes, caseSensitive)
    case .path(let whole, let caseSensitive):
      return end == whole.count && same(path, whole.bytes, caseSensitive)
    case .separatedPrefix(let prefix, let caseSensitive):
      guard end >= prefix.count, same(path, prefix.bytes, caseSensitive) else { return false }
      return end == prefix.count || path[prefix.count] == UInt8(ascii: "/")
    case .regex(let expression):
      return expression.matches(path.span.extracting(0..<end))
    }
  }

  /// How many bytes of a path of `end` bytes that matched a rewrite of the matched part replaces.
  func matchedLength(end: Int) -> Int {
    switch self {
    case .prefix(let text, _), .path(let text, _), .separatedPrefix(let text, _): text.count
    case .regex: end
    }
  }

  /// Whether `bytes` begins with `expected`, which is not longer.
  private func same(_ bytes: [UInt8], _ expected: [UInt8], _ caseSensitive: Bool) -> Bool {
    for index in expected.indices where bytes[index] != expected[index] {
      if caseSensitive || lowercased(bytes[index]) != lowercased(expected[index]) { return false }
    }
    return true
  }
}

/// Where the path ends and the query or the fragment begins, or the parameters (`;`) if they are
/// ignored.
func pathEnd(_ path: [UInt8], ignoringParameters: Bool) -> Int {
  for index in path.indices {
    switch path[index] {
    case UInt8(ascii: "?"), UInt8(ascii: "#"): return index
    case UInt8(ascii: ";") where ignoringParameters: return index
    default: break
    }
  }
  return path.count
}
