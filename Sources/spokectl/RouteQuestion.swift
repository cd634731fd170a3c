import Primitives

/// What `spokectl route` asks.
struct RouteQuestion: Equatable {
  private var authority = ByteString()
  private var path = ByteString()
  private var method = ByteString()
  private var listener = ByteString()
  /// `NAME=VALUE`, as they were given.
  private var headers: [ByteString] = []

  init() {}

  /// Whether the argument is one of its options.
  mutating func take(
    _ argument: ByteString, _ arguments: [ByteString], _ index: inout Int
  ) throws(UsageError) -> Bool {
    if let value = try Options.value("--authority", argument, arguments, &index) {
      authority = value
    } else if let value = try Options.value("--path", argument, arguments, &index) {
      guard value.hasPrefix("/") else { throw UsageError("--path needs a path that begins with /") }
      path = value
    } else if let value = try Options.value("--method", argument, arguments, &index) {
      method = value
    } else if let value = try Options.value("--listener", argument, arguments, &index) {
      listener = value
    } else if let value = try Options.value("--header", argument, arguments, &index) {
      guard let equals = value.bytes.firstIndex(of: UInt8(ascii: "=")), equals > 0 else {
        throw UsageError("--header needs NAME=VALUE")
      }
      headers.append(value)
    } else {
      return false
    }
    return true
  }

  /// It has what it must have.
  func checked() throws(UsageError) -> RouteQuestion {
    if authority.isEmpty { throw UsageError("route needs --authority") }
    if path.isEmpty { throw UsageError("route needs --path") }
    return self
  }

  /// The page of the admin endpoint that answers it.
  func target(json: Bool) -> ByteString {
    var target: ByteString = "/route?"
    func add(_ name: ByteString, _ value: ByteString) {
      guard !value.isEmpty else { return }
      if target.bytes.last != UInt8(ascii: "?") { target = target + "&" }
      target = target + name + "=" + Options.percentEncoded(value)
    }
    add("authority", authority)
    add("path", path)
    add("method", method)
    add("listener", listener)
    for header in headers { add("header", header) }
    if json { add("format", "json") }
    return target
  }
}
