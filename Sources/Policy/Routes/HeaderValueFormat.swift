import Primitives

/// The value of an added header field: text with commands. `%%` is a percent sign, `%REQ(A?B):N%` the
/// value of the request's field A, or of B if there is no A, cut after N bytes; empty if there is none.
/// Envoy's other commands speak of a downstream connection and are refused.
public struct HeaderValueFormat: Equatable, Sendable {
  enum Part: Equatable, Sendable {
    case text(ByteString)
    /// Names in lower case; an alternative that is empty is none.
    case header(ByteString, alternative: ByteString, limit: Int)
  }
  private(set) var parts: [Part] = []

  /// A text without commands.
  public init(literal: ByteString) { parts = [.text(literal)] }

  /// A text with commands.
  public init(parsing format: ByteString) throws(HeaderFormatError) {
    let bytes = format.bytes
    var text: [UInt8] = []
    var index = 0
    while index < bytes.count {
      guard bytes[index] == percent else {
        text.append(bytes[index])
        index += 1
        continue
      }
      guard let end = bytes[(index + 1)...].firstIndex(of: percent) else {
        throw HeaderFormatError(text: "a % that is not closed")
      }
      if end == index + 1 {
        text.append(percent)
      } else {
        if !text.isEmpty { parts.append(.text(ByteString(text))) }
        text = []
        parts.append(try Self.command(ByteString([UInt8](bytes[index + 1..<end]))))
      }
      index = end + 1
    }
    if !text.isEmpty || parts.isEmpty { parts.append(.text(ByteString(text))) }
  }

  /// `REQ(NAME?ALTERNATIVE):LIMIT`.
  private static func command(_ command: ByteString) throws(HeaderFormatError) -> Part {
    let unknown = HeaderFormatError(text: ByteString("%\(command)% is not supported"))
    guard command.hasPrefix("REQ(") else { throw unknown }
    let bytes = command.bytes
    guard let end = bytes.firstIndex(of: UInt8(ascii: ")")) else { throw unknown }
    var limit = Int.max
    if end + 1 < bytes.count {
      let digits = ByteString([UInt8](bytes[(end + 2)...]))
      guard bytes[end + 1] == UInt8(ascii: ":"), let number = decimal(digits), number > 0
      else { throw unknown }
      limit = Int(clamping: number)
    }
    let names = bytes[4..<end].split(
      separator: UInt8(ascii: "?"), omittingEmptySubsequences: false)
    guard names.count <= 2, let name = names.first, !name.isEmpty else { throw unknown }
    let alternative = names.count == 2 ? [UInt8](names[1]) : []
    return .header(
      ByteString(name.map(lowercased)), alternative: ByteString(alternative.map(lowercased)),
      limit: limit)
  }

  /// The value for one request, without blanks at its ends: a command that came out empty may have left
  /// some there, and a request with them is malformed (RFC 9113 §8.2.1).
  func value(_ head: borrowing some RequestHead) -> ByteString {
    if parts.count == 1, case .text(let text) = parts[0] { return text }
    var value: [UInt8] = []
    for part in parts {
      switch part {
      case .text(let text): value.append(contentsOf: text.bytes)
      case .header(let name, let alternative, let limit):
        var field = head.value(of: name)
        if field == nil, !alternative.isEmpty { field = head.value(of: alternative) }
        if let field { value.append(contentsOf: field.bytes.prefix(limit)) }
      }
    }
    return value.trimmingBlanks()
  }
}

extension [UInt8] {
  /// Without the blanks at both ends, which belong to no field's value (RFC 9110 §5.5).
  consuming func trimmingBlanks() -> ByteString {
    while let last, last == 0x20 || last == 0x09 { removeLast() }
    let start = firstIndex { $0 != 0x20 && $0 != 0x09 } ?? count
    if start > 0 { removeFirst(start) }
    return ByteString(self)
  }
}

/// Why a text is not the format of a header field's value.
public struct HeaderFormatError: Error, Equatable, Sendable {
  public var text: ByteString
}

private let percent = UInt8(ascii: "%")
