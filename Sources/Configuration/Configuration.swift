import Primitives

/// The whole configuration of a daemon, parsed, checked and complete: every name that one part
/// refers to exists, every default is filled in. There is no half-valid value of this type.
public struct Configuration: Equatable, Sendable {
  public var node: NodeConfiguration
  public var memory: MemoryConfiguration
  public var spool: SpoolConfiguration
  public var tls: [TLSConfiguration]
  public var serial: [SerialConfiguration]
  public var mqtt: MQTTConfiguration?
  public var streams: [StreamConfiguration]
  /// The stream that takes the daemon's own events (`[reports] stream`): an index into `streams`.
  public var reports: Int?
  public var admin: AdminConfiguration
  public var log: LogLevel
}

/// `[node]`: becomes the xDS Node, and the prefix of every record id.
public struct NodeConfiguration: Equatable, Sendable {
  public var id: ByteString
  public var cluster: ByteString
  public var region: ByteString
  public var zone: ByteString
  public var subZone: ByteString
  public var metadata: [Label]
}

/// A name and its text value, in the order of the file.
public struct Label: Equatable, Sendable {
  public var name: ByteString
  public var value: ByteString
}

/// `[memory]`.
public struct MemoryConfiguration: Equatable, Sendable {
  /// The hard sum of every pool, in bytes.
  public var budget: Int
}

/// `[spool]`. Sizes in bytes.
public struct SpoolConfiguration: Equatable, Sendable {
  public var directory: ByteString
  public var size: UInt64
  public var segment: UInt32
  public var freeFloor: UInt64
  public var commitBytes: Int
  public var commitInterval: Interval
  public var syncInterval: Interval
}

/// `[tls.NAME]`.
public struct TLSConfiguration: Equatable, Sendable {
  public enum Version: Sendable { case tls12, tls13 }
  public var name: ByteString
  /// Empty: the system's roots.
  public var ca: ByteString
  /// Empty: no client certificate.
  public var certificate: ByteString
  public var key: ByteString
  public var minimum: Version
}

/// `[[serial]]`.
public struct SerialConfiguration: Equatable, Sendable {
  public enum Parity: Sendable { case none, even, odd, mark, space }
  public enum FlowControl: Sendable { case none, rtsCts, xonXoff }
  public var name: ByteString
  public var device: ByteString
  public var baud: UInt32
  public var dataBits: UInt8
  public var parity: Parity
  public var stopBits: UInt8
  public var flow: FlowControl
  public var framing: FramingConfiguration
  /// An index into `Configuration.streams`.
  public var stream: Int
}

/// `framing` of a serial port with the keys that belong to it.
public enum FramingConfiguration: Equatable, Sendable {
  case line(delimiter: UInt8)
  case nmea
  case vesc(deliver: Deliver)

  public enum Deliver: Sendable { case frame, payload }
}

/// `[mqtt]`.
public struct MQTTConfiguration: Equatable, Sendable {
  public var host: ByteString
  public var port: UInt16
  /// The name of a `[tls.NAME]` table, for `mqtts://`: an index into `Configuration.tls`.
  public var tls: Int?
  public var clientID: ByteString
  /// Empty: none.
  public var username: ByteString
  /// A file that holds the password; the password itself never stands in the configuration.
  public var passwordFile: ByteString
  public var subscriptions: [MQTTSubscription]
}

/// `[[mqtt.subscribe]]`.
public struct MQTTSubscription: Equatable, Sendable {
  public var filter: ByteString
  /// 0 or 1.
  public var qos: UInt8
  /// An index into `Configuration.streams`.
  public var stream: Int
}

/// The four classes, most urgent first. Each has a log of its own in the spool.
public enum Priority: UInt8, Sendable { case alarm = 0, event = 1, telemetry = 2, bulk = 3 }

/// When a record must be on disk.
public enum Durability: Sendable {
  /// Before its source is acknowledged, and before it is sent.
  case sync
  /// In memory until it is delivered, or until it has waited for `[spool] commit.interval`.
  case spill
}

/// `[[stream]]`: an uplink.
public struct StreamConfiguration: Equatable, Sendable {
  public var name: ByteString
  public var target: TargetConfiguration
  public var path: ByteString
  public var contentType: ByteString
  /// The `ce-type` of its records.
  public var type: ByteString
  public var priority: Priority
  public var durability: Durability
  /// Zero: no limit.
  public var ttl: Interval
  /// Requests of this stream at once.
  public var inFlight: Int
  /// `order = "live-first"`: live records and backlog share the stream 4:1.
  public var liveFirst: Bool
  public var headers: [Label]
  public var authority: ByteString
}

/// `target` of a stream.
public struct TargetConfiguration: Equatable, Sendable {
  /// False: `http://`, HTTP/2 by prior knowledge.
  public var isTLS: Bool
  public var host: ByteString
  public var port: UInt16
  /// An index into `Configuration.tls`; nil with `isTLS`: the system's roots, no client certificate.
  public var tls: Int?
}

/// `[admin]`.
public struct AdminConfiguration: Equatable, Sendable {
  public var socket: ByteString
  /// Nil: no TCP listener.
  public var listen: ListenConfiguration?
}

public struct ListenConfiguration: Equatable, Sendable {
  public var host: ByteString
  public var port: UInt16
}

/// `[log] level`.
public enum LogLevel: UInt8, Comparable, Sendable {
  case error = 0
  case warning = 1
  case info = 2
  case debug = 3

  public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }
}
