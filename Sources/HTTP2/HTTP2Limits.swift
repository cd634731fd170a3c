/// Limits that nobody has to tune. Those of `AbuseMonitor` stand there.
enum HTTP2Limits {
  /// RFC 9113 §6.9.1: a window never exceeds 2³¹ − 1.
  static let windowBytesMax: Int64 = 0x7fff_ffff
  /// RFC 9113 §6.9.2: both windows start with this, whatever SETTINGS will say.
  static let windowBytesDefault: Int32 = 65_535
  /// RFC 9113 §5.1.1: 31 bits.
  static let streamIdentifierMax: UInt32 = 0x7fff_ffff
  /// RFC 9113 §4.2: the least that SETTINGS_MAX_FRAME_SIZE may be, and the most that is sent here
  /// at once: longer frames only keep other streams waiting.
  static let frameBytesMin: UInt32 = 16_384
  static let frameBytesMax: UInt32 = 0xff_ffff
  /// Streams to open before the peer's SETTINGS are here (RFC 9113 §6.5.2 recommends that nobody
  /// allow less than 100).
  static let streamsBeforeSettingsMax: UInt32 = 100
  /// Entries of one SETTINGS frame. There are seven in use; nghttp2 stops at 32 too.
  static let settingsEntriesMax: UInt32 = 32
  /// Informational responses to one request. One or two are usual; 102 may repeat while a server
  /// works.
  static let informationalMax: UInt8 = 32
  /// Bytes of GOAWAY's debug data that are kept (`too_many_pings` and the like).
  static let debugBytesMax: UInt32 = 64
  /// Streams remembered after they closed, to tell late frames from wrong ones. A peer that has
  /// seen an RST_STREAM has at most one round trip of frames under way on that stream.
  static let closedStreamsMax = 64
  /// Room beyond `outputLimit` for frames that answer the peer: about a thousand of them.
  static let controlBytesMax = 16_384
  /// Room beyond that, for the last GOAWAY.
  static let goAwayBytesMax = 256
  /// What is kept of the memory of header fields for the next ones.
  static let headerBytesKept = 8_192
  /// When the output queue was full, content is taken again once this much is free, so that frames
  /// do not become slivers.
  static let contentBytesMin = 1_024
}
