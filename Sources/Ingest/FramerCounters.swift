/// Why a frame was not one.
public enum BadFrameReason: UInt8, Sendable, Equatable {
  /// The check does not match what it covers.
  case checksum
  /// The length field holds a value that no frame has.
  case length
  /// A byte of the header that is always the same is not, or the header's own check fails.
  case header
  /// What ends every frame does not stand at the end of this one.
  case trailer
  /// No end within the greatest length.
  case tooLong
  /// A sentence without `*` and two hexadecimal digits.
  case missingChecksum
  /// A byte that cannot stand in a sentence.
  case invalidByte
  /// Another frame began, or the port hung up, before the end.
  case truncated
  /// The line fell silent before the end.
  case timeout
  /// The bytes are none that the framing's encoding makes: a wrong escape, a run beyond the end, a
  /// character that is no hexadecimal digit, a line that is no JSON.
  case encoding
  /// The sender gave the frame up and said so: HDLC's 7D 7E.
  case aborted
  /// A MAVLink message whose CRC_EXTRA is not known, so that it cannot be checked.
  case unknownMessage
  /// The line damaged one of its bytes: a parity or framing error, or a break.
  case lineError

  /// The name in statistics and messages.
  public var name: StaticString {
    switch self {
    case .checksum: "checksum"
    case .length: "length"
    case .header: "header"
    case .trailer: "trailer"
    case .tooLong: "too-long"
    case .missingChecksum: "missing-checksum"
    case .invalidByte: "invalid-byte"
    case .truncated: "truncated"
    case .timeout: "timeout"
    case .encoding: "encoding"
    case .aborted: "aborted"
    case .unknownMessage: "unknown-message"
    case .lineError: "line-error"
    }
  }

  static let count = 13

  /// Every reason, in the order of their raw values.
  public static var all: [BadFrameReason] {
    (0..<UInt8(count)).compactMap { BadFrameReason(rawValue: $0) }
  }
}

/// What a framer has seen since it was made. A hang-up of the port does not reset it.
public struct FramerCounters: Sendable {
  /// Bytes taken in.
  public internal(set) var bytes: UInt64 = 0
  public internal(set) var frames: UInt64 = 0
  /// How often it had to look for the start of a frame.
  public internal(set) var resyncs: UInt64 = 0
  /// Bytes that belong to no frame: noise, and what bad frames consisted of.
  public internal(set) var skippedBytes: UInt64 = 0
  /// NUL bytes before a line.
  public internal(set) var strippedNULs: UInt64 = 0
  private var bad: InlineArray<13, UInt64> = .init(repeating: 0)

  public init() { precondition(bad.count == BadFrameReason.count) }

  /// Bad frames of one reason.
  public func badFrames(_ reason: BadFrameReason) -> UInt64 { bad[Int(reason.rawValue)] }

  /// Bad frames of every reason.
  public var badFrames: UInt64 {
    var sum: UInt64 = 0
    for index in bad.indices { sum += bad[index] }
    return sum
  }

  mutating func count(_ reason: BadFrameReason) { bad[Int(reason.rawValue)] += 1 }
}
