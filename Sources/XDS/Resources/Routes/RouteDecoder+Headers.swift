import Policy
import Primitives

/// Names, values and mutations of header fields.
extension RouteDecoder {
  /// The two fields of one level. Envoy's limits hold (PGV), and what would make a request malformed is
  /// refused here, where someone can mend it, instead of failing request after request.
  func mutations(
    _ reader: ResourceReader, add: UInt32, remove: UInt32
  ) throws(ResourceRejection) -> HeaderMutations {
    var mutations = HeaderMutations()
    let additions = try reader.messages(
      add, "request_headers_to_add", limit: RouteLimits.mutationsMax)
    for option in additions { mutations.additions.append(try addition(option)) }
    let removals = try reader.texts(
      remove, "request_headers_to_remove", limit: RouteLimits.mutationsMax)
    for name in removals {
      let name = lowercased(name)
      try checkChangeable(name, reader, "request_headers_to_remove")
      mutations.removals.append(name)
    }
    return mutations
  }

  /// `HeaderValueOption`: 1 header, 2 append (deprecated), 3 append_action, 4 keep_empty_value.
  private func addition(_ option: ResourceReader) throws(ResourceRejection) -> HeaderAddition {
    guard let header = try option.message(1, "header") else {
      throw option.rejection("header", "missing")
    }
    let name = lowercased(try header.text(1, "key"))
    try checkChangeable(name, header, "key")
    var value = try header.text(2, "value")
    if value.isEmpty { value = try header.data(3) }
    try checkValue(value, header, "value")
    let format: HeaderValueFormat
    do throws(HeaderFormatError) {
      format = try HeaderValueFormat(parsing: value)
    } catch {
      throw header.rejection("value", "\(error.text)")
    }
    return HeaderAddition(
      name: name, value: format, action: try appendAction(option),
      keepsEmptyValue: try option.bool(4))
  }

  private func appendAction(
    _ option: ResourceReader
  ) throws(ResourceRejection) -> HeaderAppendAction {
    let number = try option.int32(3)
    guard number >= 0, number <= 3, let action = HeaderAppendAction(rawValue: UInt8(number)) else {
      throw option.rejection("append_action", "\(number) is not one of its values")
    }
    guard let append = try option.wrappedBool(2, "append") else { return action }
    guard action == .appendIfExistsOrAdd else {
      throw option.rejection("append", "append_action is set, too")
    }
    return append ? .appendIfExistsOrAdd : .overwriteIfExistsOrAdd
  }

  /// Pseudo-header fields and the host have rewrites of their own; a field that speaks
  /// of the connection is malformed in HTTP/2 (RFC 9113 §8.2.2), and content-length is the codec's.
  private func checkChangeable(
    _ name: ByteString, _ reader: ResourceReader, _ field: StaticString
  ) throws(ResourceRejection) {
    guard !name.isEmpty else { throw reader.rejection(field, "empty") }
    guard name.bytes.first != UInt8(ascii: ":"), name != "host" else {
      throw reader.rejection(field, "\(name) cannot be changed")
    }
    try checkName(name, reader, field)
    for fixed in fixedNames where fixed == name {
      throw reader.rejection(field, "\(name) is not a field of an HTTP/2 request's own")
    }
  }

  /// The name of a field that is read, in lower case. Empty when it is not there.
  func headerName(
    _ reader: ResourceReader, _ number: UInt32, _ field: StaticString, mayBePseudo: Bool
  ) throws(ResourceRejection) -> ByteString {
    let name = lowercased(try reader.text(number, field))
    if !name.isEmpty { try checkName(name, reader, field, mayBePseudo: mayBePseudo) }
    return name
  }

  /// RFC 9110 §5.1: a token.
  private func checkName(
    _ name: ByteString, _ reader: ResourceReader, _ field: StaticString, mayBePseudo: Bool = false
  ) throws(ResourceRejection) {
    guard name.count <= RouteLimits.headerBytesMax else {
      throw reader.rejection(field, "longer than \(RouteLimits.headerBytesMax) bytes")
    }
    for (index, byte) in name.bytes.enumerated() {
      if index == 0, mayBePseudo, byte == UInt8(ascii: ":"), name.count > 1 { continue }
      guard isTokenByte(byte) else {
        throw reader.rejection(field, "\"\(name)\" is not the name of a header field")
      }
    }
  }

  /// A text that goes into a header field or a path.
  func headerValue(
    _ reader: ResourceReader, _ number: UInt32, _ field: StaticString
  ) throws(ResourceRejection) -> ByteString {
    let value = try reader.text(number, field)
    try checkValue(value, reader, field)
    return value
  }

  private func checkValue(
    _ value: ByteString, _ reader: ResourceReader, _ field: StaticString
  ) throws(ResourceRejection) {
    guard value.count <= RouteLimits.headerBytesMax else {
      throw reader.rejection(field, "longer than \(RouteLimits.headerBytesMax) bytes")
    }
    for byte in value.bytes where byte == 0 || byte == 10 || byte == 13 {
      throw reader.rejection(field, "contains NUL, CR or LF")
    }
    // RFC 9113 §8.2.1.
    for end in [value.bytes.first, value.bytes.last] where end == 0x20 || end == 0x09 {
      throw reader.rejection(field, "begins or ends with a blank")
    }
  }
}

private let fixedNames: [ByteString] = [
  "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te",
  "content-length",
]

private func isTokenByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
  case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"),
    UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
    UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"),
    UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
    true
  default: false
  }
}

private func lowercased(_ name: ByteString) -> ByteString {
  var bytes = name.bytes
  for index in bytes.indices
  where bytes[index] >= UInt8(ascii: "A") && bytes[index] <= UInt8(ascii: "Z") {
    bytes[index] |= 0x20
  }
  return ByteString(bytes)
}
