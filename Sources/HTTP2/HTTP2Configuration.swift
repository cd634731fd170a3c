import Primitives

/// What a connection may use and how long it waits.
public struct HTTP2Configuration: Sendable {
  /// Flow-control window that each stream gives the peer (SETTINGS_INITIAL_WINDOW_SIZE), bytes.
  public var initialWindowSize: UInt32 = 65_535
  /// Flow-control window of the whole connection, bytes. Below 65 535 it cannot go (RFC 9113
  /// §6.9.2).
  public var connectionWindowSize: UInt32 = 65_535
  /// The longest frame taken (SETTINGS_MAX_FRAME_SIZE), 16 384 … 16 777 215 bytes.
  public var maxFrameSize: UInt32 = 16_384
  /// Size of both HPACK tables, bytes; the peer may lower the one that encodes.
  public var headerTableSize: UInt32 = 4_096
  /// The longest header block taken, as it is on the wire, bytes.
  public var maxHeaderBlockSize: UInt32 = 16_384
  /// The largest header list taken (RFC 9113 §6.5.2: Σ name + value + 32), bytes.
  public var maxHeaderListSize: UInt32 = 61_440
  /// The most fields of one header list.
  public var maxHeaderFields: UInt16 = 100
  /// Client: the most streams opened at once, whatever the peer allows. Server: what it allows.
  public var maxConcurrentStreams: UInt32 = 100
  /// Bytes that wait to be written. DATA and HEADERS stop here; answers have a small reserve more.
  public var outputLimit: Int = 65_536
  /// A PING goes out when nothing was heard for so long. `nil`: never.
  public var keepAliveInterval: Interval?
  /// How long to wait for an answer to that PING; any frame from the peer extends it.
  public var keepAliveTimeout: Interval = .seconds(20)
  /// How long the peer may take to acknowledge SETTINGS.
  public var settingsTimeout: Interval = .seconds(10)

  public init() {}
}
