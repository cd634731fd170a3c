import Primitives

/// A host and perhaps a port, out of a URL or alone.
struct Endpoint {
  enum Parsed {
    case endpoint(Endpoint)
    /// What is wrong, to stand behind the text.
    case problem(String)
  }

  /// In lower case, an IPv6 address without its brackets.
  var host: ByteString
  var port: UInt16?

  /// `HOST` or `HOST:PORT`; an IPv6 address in brackets.
  static func parse(_ text: ByteString) -> Parsed {
    let bytes = text.bytes
    if bytes.contains(UInt8(ascii: "@")) { return .problem("has a user name, which is not sent") }
    for byte in bytes
    where byte == UInt8(ascii: "/") || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#") {
      return .problem("has something behind the host and port")
    }
    var host = bytes
    var rest: [UInt8] = []
    if bytes.first == UInt8(ascii: "[") {
      guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else {
        return .problem("has no ']' behind the IPv6 address")
      }
      host = Array(bytes[1..<end])
      rest = Array(bytes[(end + 1)...])
      guard isIPv6(host) else { return .problem("has no IPv6 address in its brackets") }
    } else {
      if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
        host = Array(bytes[..<colon])
        rest = Array(bytes[colon...])
      }
      guard !rest.dropFirst().contains(UInt8(ascii: ":")) else {
        return .problem("has several colons; an IPv6 address stands in brackets")
      }
      guard isHostName(host) else { return .problem("has no valid host name") }
    }
    let name = ByteString(host.map { ASCII.lowercase($0) })
    if rest.isEmpty { return .endpoint(Endpoint(host: name, port: nil)) }
    guard rest[0] == UInt8(ascii: ":"), let port = parsePort(Array(rest.dropFirst())) else {
      return .problem("has no valid port (1 to 65535)")
    }
    return .endpoint(Endpoint(host: name, port: port))
  }

  private static func parsePort(_ digits: [UInt8]) -> UInt16? {
    guard (1...5).contains(digits.count) else { return nil }
    var value: UInt32 = 0
    for digit in digits {
      guard ASCII.isDigit(digit) else { return nil }
      value = value * 10 + UInt32(digit - UInt8(ascii: "0"))
    }
    return value == 0 ? nil : UInt16(exactly: value)
  }

  /// Letters, digits, `-`, `_` and dots (RFC 1123 §2.1, with the underscore that local names have).
  static func isHostName(_ bytes: [UInt8]) -> Bool {
    guard (1...253).contains(bytes.count) else { return false }
    for label in bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
      guard (1...63).contains(label.count), label.allSatisfy({ ASCII.isBareKey($0) }),
        label.first != UInt8(ascii: "-"), label.last != UInt8(ascii: "-")
      else { return false }
    }
    // A name that ends in digits is an address or a mistake (RFC 3696 §2).
    let last = bytes.split(separator: UInt8(ascii: ".")).last ?? []
    return !last.allSatisfy { ASCII.isDigit($0) } || isIPv4(bytes)
  }

  /// Four decimal numbers without leading zeros.
  static func isIPv4(_ bytes: [UInt8]) -> Bool {
    let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return false }
    for part in parts {
      guard (1...3).contains(part.count), part.allSatisfy({ ASCII.isDigit($0) }),
        part.count == 1 || part.first != UInt8(ascii: "0")
      else { return false }
      guard part.reduce(0, { $0 * 10 + Int($1 - UInt8(ascii: "0")) }) <= 255 else { return false }
    }
    return true
  }

  /// RFC 4291 §2.2: eight groups, one `::` for any number of zero groups, IPv4 for the last two.
  static func isIPv6(_ bytes: [UInt8]) -> Bool {
    let colon = UInt8(ascii: ":")
    var groups = 0
    var index = 0
    var hasGap = false
    if bytes.starts(with: [colon, colon]) {
      hasGap = true
      index = 2
    }
    while index < bytes.count {
      let end = bytes[index...].firstIndex(of: colon) ?? bytes.count
      let group = Array(bytes[index..<end])
      if end == bytes.count && group.contains(UInt8(ascii: ".")) {
        guard isIPv4(group) else { return false }
        groups += 2
        break
      }
      guard (1...4).contains(group.count), group.allSatisfy({ hexadecimalValue($0) != nil }) else {
        return false
      }
      groups += 1
      guard end < bytes.count else { break }
      index = end + 1
      guard index < bytes.count else { return false }
      if bytes[index] == colon {
        guard !hasGap else { return false }
        hasGap = true
        index += 1
      }
    }
    return hasGap ? groups < 8 : groups == 8
  }

  /// 127.0.0.0/8, ::1 and localhost.
  var isLoopback: Bool {
    if host == "localhost" || host == "::1" || host == "0:0:0:0:0:0:0:1" { return true }
    return Endpoint.isIPv4(host.bytes) && host.hasPrefix("127.")
  }
}
