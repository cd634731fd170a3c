import Primitives

/// Why a route does not take a request: the first criterion that fails.
enum RouteMismatch: Equatable {
  case path
  case notGRPC
  /// The place of the matcher.
  case header(Int)
  case queryParameter(Int)
  case cookie(Int)
  /// The request is not of the share.
  case fraction
}

/// A request's path as routes see it.
struct RequestPath {
  let bytes: [UInt8]
  /// Where it ends for routes: before the query, the fragment, and the parameters if they are ignored.
  let end: Int

  init(_ path: ByteString, ignoringParameters: Bool) {
    bytes = path.bytes
    end = pathEnd(path.bytes, ignoringParameters: ignoringParameters)
  }

  /// Where the query begins, behind its `?`; its end when there is none.
  var query: Range<Int> {
    let start = pathEnd(bytes, ignoringParameters: false)
    guard start < bytes.count, bytes[start] == UInt8(ascii: "?") else {
      return bytes.count..<bytes.count
    }
    var end = start + 1
    while end < bytes.count, bytes[end] != UInt8(ascii: "#") { end += 1 }
    return start + 1..<end
  }

  /// The value of the first parameter of that name, as it stands there, not percent-decoded; empty
  /// without a `=`. Nil: there is none.
  func parameter(_ name: ByteString) -> ByteString? {
    let query = query
    var start = query.lowerBound
    while start < query.upperBound {
      var end = start
      var equals: Int?
      while end < query.upperBound, bytes[end] != UInt8(ascii: "&") {
        if equals == nil, bytes[end] == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      if equal(bytes.span.extracting(start..<(equals ?? end)), name.bytes.span) {
        let value = equals.map { $0 + 1..<end } ?? end..<end
        return ByteString(copying: bytes.span.extracting(value))
      }
      start = end + 1
    }
    return nil
  }
}

extension Span<Route> {
  /// Nil: the route at that place takes the request. The fraction is drawn last, only when all else holds.
  func mismatch(
    _ place: Int, _ head: borrowing some RequestHead, _ path: borrowing RequestPath,
    _ runtime: borrowing Runtime, using random: inout SplitMix64
  ) -> RouteMismatch? {
    guard self[place].path.matches(path.bytes, end: path.end) else { return .path }
    if self[place].isForGRPC, !isGRPC(head.value(of: "content-type")) { return .notGRPC }
    let headers = self[place].headers
    for index in headers.indices {
      guard headers[index].matches(head.value(of: headers[index].name)) else {
        return .header(index)
      }
    }
    let queryParameters = self[place].queryParameters
    for index in queryParameters.indices {
      guard queryParameters[index].matches(path.parameter(queryParameters[index].name)) else {
        return .queryParameter(index)
      }
    }
    let cookies = self[place].cookies
    if !cookies.isEmpty {
      let field = head.value(of: "cookie") ?? ByteString()
      for index in cookies.indices {
        guard cookies[index].matches(cookie(cookies[index].name, in: field)) else {
          return .cookie(index)
        }
      }
    }
    if let fraction = self[place].fraction, !runtime.share(fraction).draw(using: &random) {
      return .fraction
    }
    return nil
  }
}

extension QueryParameterMatcher {
  /// Whether a parameter with this value matches; nil: there is none.
  func matches(_ text: ByteString?) -> Bool {
    guard let value else { return (text != nil) == isExpected }
    guard let text else { return false }
    return value.matches(text)
  }
}

extension CookieMatcher {
  /// Whether a cookie with this value matches; nil: there is none.
  func matches(_ text: ByteString?) -> Bool {
    guard let text else { return false }
    return value.matches(text) != inverts
  }
}

/// `application/grpc` and what goes on with a `+`.
private func isGRPC(_ contentType: ByteString?) -> Bool {
  let grpc: ByteString = "application/grpc"
  guard let contentType, contentType.hasPrefix(grpc) else { return false }
  return contentType.count == grpc.count || contentType.bytes[grpc.count] == UInt8(ascii: "+")
}

/// The value of the first cookie of that name. RFC 6265 §4.2.1: pairs between `; `; several fields were
/// joined with `,`, which a value does not contain.
func cookie(_ name: ByteString, in field: ByteString) -> ByteString? {
  let bytes = field.bytes
  var start = 0
  while start < bytes.count {
    var end = start
    while end < bytes.count, bytes[end] != UInt8(ascii: ";"), bytes[end] != UInt8(ascii: ",") {
      end += 1
    }
    while start < end, bytes[start] == 0x20 { start += 1 }
    if let equals = bytes[start..<end].firstIndex(of: UInt8(ascii: "=")),
      equal(bytes.span.extracting(start..<equals), name.bytes.span)
    {
      var last = end
      while last > equals + 1, bytes[last - 1] == 0x20 { last -= 1 }
      let value = ByteString(copying: bytes.span.extracting(equals + 1..<last))
      let isQuoted =
        value.count >= 2 && value.bytes.first == UInt8(ascii: "\"")
        && value.bytes.last == UInt8(ascii: "\"")
      return isQuoted ? ByteString([UInt8](value.bytes[1..<value.count - 1])) : value
    }
    start = end + 1
  }
  return nil
}
