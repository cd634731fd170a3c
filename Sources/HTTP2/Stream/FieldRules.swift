import HPACK
import Primitives

/// What a header list is to be.
enum MessagePart: UInt8, Sendable { case request, response, trailers }

/// What a header list says that the connection has to know.
struct MessageFacts: Equatable, Sendable {
  var status: UInt16 = 0
  var contentLength: UInt64?
  var isHead = false
  var isConnect = false

  /// A final response follows (RFC 9110 §15.2).
  var isInformational: Bool { status >= 100 && status < 200 }
}

/// The rules of RFC 9113 §8.2 and §8.3 for header lists, in both directions: a message that breaks
/// them is malformed, and an intermediary behind the peer might read it as two.
struct FieldRules {
  private enum Pseudo: UInt8 {
    case method = 1
    case scheme = 2
    case authority = 4
    case path = 8
    case status = 16
  }

  private var seen: UInt8 = 0
  private var regularSeen = false
  private var facts = MessageFacts()

  static func check(
    _ list: HeaderList, as part: MessagePart
  ) throws(HTTP2Cause) -> MessageFacts {
    var rules = FieldRules()
    let bytes = list.bytes.span
    let fields = list.fields.span
    for index in fields.indices {
      try rules.checkField(
        bytes.extracting(fields[index].name), bytes.extracting(fields[index].value), part)
    }
    try rules.checkWhole(part)
    return rules.facts
  }

  private mutating func checkField(
    _ name: Span<UInt8>, _ value: Span<UInt8>, _ part: MessagePart
  ) throws(HTTP2Cause) {
    guard !name.isEmpty else { throw .fieldNameInvalid }
    try Self.checkValue(value)
    if name[0] == Self.colon {
      guard !regularSeen && part != .trailers else { throw .pseudoFieldMisplaced }
      try checkPseudo(name, value, part)
    } else {
      regularSeen = true
      try Self.checkName(name)
      try checkRegular(name, value)
    }
  }

  private mutating func checkPseudo(
    _ name: Span<UInt8>, _ value: Span<UInt8>, _ part: MessagePart
  ) throws(HTTP2Cause) {
    guard let pseudo = Self.pseudo(name), (pseudo == .status) == (part == .response) else {
      throw .pseudoFieldUnknown
    }
    guard seen & pseudo.rawValue == 0 else { throw .pseudoFieldDuplicate }
    seen |= pseudo.rawValue
    switch pseudo {
    case .method:
      guard !value.isEmpty else { throw .pseudoFieldInvalid }
      facts.isHead = Self.equals(value, "HEAD")
      facts.isConnect = Self.equals(value, "CONNECT")
    case .status:
      facts.status = try Self.status(value)
    case .scheme, .path:
      guard !value.isEmpty else { throw .pseudoFieldInvalid }
    case .authority:
      break
    }
  }

  private static func pseudo(_ name: Span<UInt8>) -> Pseudo? {
    switch name.count {
    case 5: equals(name, ":path") ? .path : nil
    case 7:
      if equals(name, ":method") {
        .method
      } else if equals(name, ":status") {
        .status
      } else if equals(name, ":scheme") {
        .scheme
      } else {
        nil
      }
    case 10: equals(name, ":authority") ? .authority : nil
    default: nil
    }
  }

  private static func equals(_ text: Span<UInt8>, _ constant: StaticString) -> Bool {
    let buffer = unsafe UnsafeBufferPointer(
      start: constant.utf8Start, count: constant.utf8CodeUnitCount)
    return equal(text, unsafe buffer.span)
  }

  /// RFC 9113 §8.2.2: nothing that speaks about the connection; RFC 9110 §8.6: one content-length.
  private mutating func checkRegular(
    _ name: Span<UInt8>, _ value: Span<UInt8>
  ) throws(HTTP2Cause) {
    let isForbidden: Bool
    switch name.count {
    case 2:
      isForbidden = Self.equals(name, "te") && !Self.equals(value, "trailers")
    case 7:
      isForbidden = Self.equals(name, "upgrade")
    case 10:
      isForbidden = Self.equals(name, "connection") || Self.equals(name, "keep-alive")
    case 14:
      isForbidden = false
      if Self.equals(name, "content-length") { try setContentLength(value) }
    case 16:
      isForbidden = Self.equals(name, "proxy-connection")
    case 17:
      isForbidden = Self.equals(name, "transfer-encoding")
    default:
      isForbidden = false
    }
    guard !isForbidden else { throw .connectionSpecificField }
  }

  private mutating func setContentLength(_ text: Span<UInt8>) throws(HTTP2Cause) {
    guard !text.isEmpty else { throw .contentLengthInvalid }
    var value: UInt64 = 0
    for place in text.indices {
      let digit = text[place] &- 0x30
      guard digit <= 9 else { throw .contentLengthInvalid }
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(UInt64(digit))
      guard !overflow && !carry else { throw .contentLengthInvalid }
      value = sum
    }
    guard facts.contentLength == nil || facts.contentLength == value else {
      throw .contentLengthInvalid
    }
    facts.contentLength = value
  }

  /// RFC 9113 §8.3.1, §8.3.2, and §8.5 for CONNECT.
  private func checkWhole(_ part: MessagePart) throws(HTTP2Cause) {
    switch part {
    case .trailers:
      break
    case .response:
      guard seen == Pseudo.status.rawValue else { throw .pseudoFieldMissing }
    case .request where facts.isConnect:
      guard seen & Pseudo.authority.rawValue != 0 else { throw .pseudoFieldMissing }
      guard seen & (Pseudo.scheme.rawValue | Pseudo.path.rawValue) == 0 else {
        throw .pseudoFieldMisplaced
      }
    case .request:
      let needed = Pseudo.method.rawValue | Pseudo.scheme.rawValue | Pseudo.path.rawValue
      guard seen & needed == needed else { throw .pseudoFieldMissing }
    }
  }

  /// RFC 9113 §8.2.1: visible ASCII, no upper case, no colon.
  private static func checkName(_ name: Span<UInt8>) throws(HTTP2Cause) {
    guard !isPlain(name) else { return }
    for place in name.indices {
      let byte = name[place]
      guard byte > 0x20 && byte < 0x7f && byte != colon && !(byte >= 0x41 && byte <= 0x5a) else {
        throw .fieldNameInvalid
      }
    }
  }

  /// Whether it is made of what nearly all names are made of: eight octets in one look, of which the last
  /// takes some again.
  private static func isPlain(_ name: Span<UInt8>) -> Bool {
    let count = name.count
    guard count >= 8 else {
      return count >= 4
        && isPlain(UInt64(name.half(at: 0)) << 32 | UInt64(name.half(at: count - 4)))
    }
    var place = 0
    while place < count {
      guard isPlain(name.word(at: min(place, count - 8))) else { return false }
      place += 8
    }
    return true
  }

  /// RFC 9113 §8.2.1: no NUL, LF or CR; no blank at either end.
  private static func checkValue(_ value: Span<UInt8>) throws(HTTP2Cause) {
    guard !value.isEmpty else { return }
    guard !isBlank(value[0]) && !isBlank(value[value.count - 1]) else {
      throw .fieldValueInvalid
    }
    // The three that are forbidden are all below.
    var place = 0
    while place + 8 <= value.count, !hasOctet(value.word(at: place), below: 0x0e) { place += 8 }
    if place > 0, place + 8 > value.count, !hasOctet(value.word(at: value.count - 8), below: 0x0e) {
      return
    }
    while place < value.count {
      let byte = value[place]
      guard byte != 0x00 && byte != 0x0a && byte != 0x0d else { throw .fieldValueInvalid }
      place += 1
    }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  /// Eight octets from 0x21 to 0x7e without the colon and 0x40 to 0x5f: letters, digits, hyphens, and a few
  /// signs that are allowed as well.
  @inline(__always)
  private static func isPlain(_ word: UInt64) -> Bool {
    guard word & octets(0xa0) == octets(0x20) else { return false }
    // All are below 0x80: adding 0x7f sets the upper bit of each that is not zero, and carries nothing over.
    let others =
      ((word ^ octets(0x20)) &+ octets(0x7f)) & ((word ^ octets(colon)) &+ octets(0x7f))
      & ((word ^ octets(0x7f)) &+ octets(0x7f))
    return others & octets(0x80) == octets(0x80)
  }

  /// Whether one of eight octets is below `limit`, which is 128 at most (Mycroft's test).
  @inline(__always)
  private static func hasOctet(_ word: UInt64, below limit: UInt8) -> Bool {
    (word &- octets(limit)) & ~word & octets(0x80) != 0
  }

  @inline(__always)
  private static func octets(_ byte: UInt8) -> UInt64 { UInt64(byte) &* 0x0101_0101_0101_0101 }

  /// Three digits from 100 up. 101 does not exist in HTTP/2 (RFC 9113 §8.6).
  private static func status(_ text: Span<UInt8>) throws(HTTP2Cause) -> UInt16 {
    guard text.count == 3 else { throw .pseudoFieldInvalid }
    var value: UInt16 = 0
    for place in text.indices {
      let digit = text[place] &- 0x30
      guard digit <= 9 else { throw .pseudoFieldInvalid }
      value = value * 10 + UInt16(digit)
    }
    guard value >= 100 && value != 101 else { throw .pseudoFieldInvalid }
    return value
  }

  private static let colon: UInt8 = 0x3a
}
