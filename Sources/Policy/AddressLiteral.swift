import Primitives

extension SocketAddress {
  /// An address in its text form: IPv4 as four decimal numbers, IPv6 as RFC 4291 §2.2 with at most one
  /// `::` and an IPv4 tail. Nil: a name, or malformed. A zone (`%eth0`) is not taken: it needs the
  /// system's interface table, so such a text is resolved as a name.
  public init?(literal text: ByteString, port: UInt16) {
    if let bytes = parseIPv4(text.bytes[...]) {
      self.init(bytes: bytes, port: port)
    } else if let bytes = parseIPv6(text.bytes[...]) {
      self.init(bytes: bytes, port: port)
    } else {
      return nil
    }
  }
}

private func parseIPv4(_ text: ArraySlice<UInt8>) -> [UInt8]? {
  var bytes: [UInt8] = []
  for part in text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
    // A leading zero would be octal to some readers: ambiguous, so it is a name that does not exist.
    guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else {
      return nil
    }
    var value: UInt16 = 0
    for digit in part {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
      value = value * 10 + UInt16(digit - UInt8(ascii: "0"))
    }
    guard value <= 255, bytes.count < 4 else { return nil }
    bytes.append(UInt8(value))
  }
  return bytes.count == 4 ? bytes : nil
}

private func parseIPv6(_ text: ArraySlice<UInt8>) -> [UInt8]? {
  guard text.count >= 2, text.count <= 45 else { return nil }
  var gap: Range<Int>?
  for index in text.indices.dropLast()
  where text[index] == UInt8(ascii: ":") && text[index + 1] == UInt8(ascii: ":") {
    guard gap == nil else { return nil }
    gap = index..<index + 2
  }
  guard let gap else {
    guard let bytes = parseGroups(text), bytes.count == 16 else { return nil }
    return bytes
  }
  guard let head = parseGroups(text[..<gap.lowerBound], isTail: false),
    let tail = parseGroups(text[gap.upperBound...]), head.count + tail.count <= 14
  else { return nil }
  return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
}

/// Groups of up to four hexadecimal digits between single colons; the last may be an IPv4 address.
private func parseGroups(_ text: ArraySlice<UInt8>, isTail: Bool = true) -> [UInt8]? {
  guard !text.isEmpty else { return [] }
  let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
  guard parts.count <= 8 else { return nil }
  var bytes: [UInt8] = []
  for (index, part) in parts.enumerated() {
    if isTail, index == parts.count - 1, let address = parseIPv4(part) { return bytes + address }
    guard (1...4).contains(part.count) else { return nil }
    var value: UInt16 = 0
    for digit in part {
      guard let number = hexadecimalValue(digit) else { return nil }
      value = value << 4 | UInt16(number)
    }
    bytes.append(UInt8(value >> 8))
    bytes.append(UInt8(truncatingIfNeeded: value))
  }
  return bytes
}
