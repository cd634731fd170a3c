import Primitives

/// One entry of SETTINGS (RFC 9113 §6.5.1).
struct Setting: Equatable, Sendable {
  /// Octets on the wire.
  static let size = 6

  static let headerTableSize: UInt16 = 0x1
  static let enablePush: UInt16 = 0x2
  static let maxConcurrentStreams: UInt16 = 0x3
  static let initialWindowSize: UInt16 = 0x4
  static let maxFrameSize: UInt16 = 0x5
  static let maxHeaderListSize: UInt16 = 0x6

  var identifier: UInt16
  var value: UInt32

  init(_ identifier: UInt16, _ value: UInt32) {
    self.identifier = identifier
    self.value = value
  }

  init(_ bytes: Span<UInt8>, at offset: Int) {
    identifier = UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    value = readUInt32(bytes, at: offset + 2)
  }
}

/// What the peer's SETTINGS say (RFC 9113 §6.5.2), its defaults before any came.
struct PeerSettings: Equatable, Sendable {
  /// SETTINGS have come at all.
  var isKnown = false
  var headerTableSize: UInt32 = 4_096
  var maxConcurrentStreams: UInt32 = HTTP2Limits.streamsBeforeSettingsMax
  var initialWindowSize: Int32 = HTTP2Limits.windowBytesDefault
  var maxFrameSize: UInt32 = HTTP2Limits.frameBytesMin
  var maxHeaderListSize: UInt32 = .max

  /// Checks one entry and takes it. Entries that nobody knows are ignored.
  mutating func apply(_ setting: Setting, fromServer: Bool) throws(Fault) {
    switch setting.identifier {
    case Setting.headerTableSize:
      headerTableSize = setting.value
    case Setting.enablePush:
      // A server may say 0, which is what a server means anyhow, and nothing else (§6.5.2).
      guard setting.value <= (fromServer ? 0 : 1) else { throw .connection(.settingInvalid) }
    case Setting.maxConcurrentStreams:
      maxConcurrentStreams = setting.value
    case Setting.initialWindowSize:
      guard let value = Int32(exactly: setting.value) else {
        throw .connection(.settingWindowInvalid)
      }
      initialWindowSize = value
    case Setting.maxFrameSize:
      guard
        setting.value >= HTTP2Limits.frameBytesMin && setting.value <= HTTP2Limits.frameBytesMax
      else { throw .connection(.settingInvalid) }
      maxFrameSize = setting.value
    case Setting.maxHeaderListSize:
      maxHeaderListSize = setting.value
    default:
      break
    }
  }

  /// The first SETTINGS frame without the entry means "no limit" (§6.5.2).
  mutating func begin() {
    guard !isKnown else { return }
    isKnown = true
    maxConcurrentStreams = .max
  }
}
