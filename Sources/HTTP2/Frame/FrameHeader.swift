import Primitives

// The frame header (RFC 9113 §4.1), nine octets:
//
//   +-----------------------------------------------+
//   |                 Length (24)                   |
//   +---------------+---------------+---------------+
//   |   Type (8)    |   Flags (8)   |
//   +-+-------------+---------------+-------------------------------+
//   |R|                 Stream Identifier (31)                      |
//   +=+=============================================================+
//   |                   Frame Payload (Length octets)             ...
//   +---------------------------------------------------------------+
//
// Payloads:
//   DATA          [Pad Length 8] Data [Padding]
//   HEADERS       [Pad Length 8] [E 1, Dependency 31, Weight 8] Fragment [Padding]
//   PRIORITY      E 1, Dependency 31, Weight 8
//   RST_STREAM    Error Code 32
//   SETTINGS      { Identifier 16, Value 32 } …
//   PUSH_PROMISE  never legal here
//   PING          Opaque 64
//   GOAWAY        R 1, Last Stream 31, Error Code 32, Debug Data
//   WINDOW_UPDATE R 1, Increment 31
//   CONTINUATION  Fragment

/// RFC 9113 §6. Types that are not here are skipped (§5.5).
enum FrameType: UInt8, Sendable {
  case data = 0x0
  case headers = 0x1
  case priority = 0x2
  case rstStream = 0x3
  case settings = 0x4
  case pushPromise = 0x5
  case ping = 0x6
  case goAway = 0x7
  case windowUpdate = 0x8
  case continuation = 0x9
}

/// Flags by their bit; what a bit means depends on the type.
enum FrameFlags {
  static let endStream: UInt8 = 0x01
  static let acknowledgement: UInt8 = 0x01
  static let endHeaders: UInt8 = 0x04
  static let padded: UInt8 = 0x08
  static let priority: UInt8 = 0x20
}

/// The nine octets before every payload.
struct FrameHeader: Equatable, Sendable {
  /// Octets on the wire.
  static let size = 9

  var length: UInt32 = 0
  /// `nil`: a type of an extension.
  var type: FrameType?
  var flags: UInt8 = 0
  var stream: UInt32 = 0

  init() {}

  init(length: UInt32, type: FrameType, flags: UInt8, stream: UInt32) {
    self.length = length
    self.type = type
    self.flags = flags
    self.stream = stream
  }

  /// Reads the header at `offset`; nine octets are there.
  init(_ bytes: Span<UInt8>, at offset: Int) {
    length =
      UInt32(bytes[offset]) << 16 | UInt32(bytes[offset + 1]) << 8 | UInt32(bytes[offset + 2])
    type = FrameType(rawValue: bytes[offset + 3])
    flags = bytes[offset + 4]
    stream = readUInt32(bytes, at: offset + 5) & 0x7fff_ffff
  }

  func has(_ flag: UInt8) -> Bool { flags & flag != 0 }
}

/// Four octets, most significant first.
func readUInt32(_ bytes: Span<UInt8>, at offset: Int) -> UInt32 {
  UInt32(bytes[offset]) << 24 | UInt32(bytes[offset + 1]) << 16
    | UInt32(bytes[offset + 2]) << 8 | UInt32(bytes[offset + 3])
}
