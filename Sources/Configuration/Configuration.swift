import Ingest
import Primitives

/// The whole configuration of a daemon, parsed, checked and complete: every name that one part
/// refers to exists, every default is filled in. There is no half-valid value of this type. Two
/// equal values mean the same daemon: a re-read that yields an equal one changes nothing.
public struct Configuration: Equatable, Sendable {
  public var node: NodeConfiguration
  public var memory = MemoryConfiguration()
  public var spool = SpoolConfiguration()
  public var tls: [TLSConfiguration] = []
  /// Nil: no control plane, and no resources of one.
  public var xds: XDSConfiguration?
  public var serial: [SerialConfiguration] = []
  public var mqtt: MQTTConfiguration?
  public var streams: [StreamConfiguration] = []
  /// The stream that takes the daemon's own events (`[reports] stream`): an index into `streams`.
  public var reports: Int?
  public var admin = AdminConfiguration()
  public var log = LogLevel.info

  public init(node: NodeConfiguration) { self.node = node }
}

/// `[node]`: becomes the xDS Node, and the prefix of every record id.
public struct NodeConfiguration: Equatable, Sendable {
  public var id: ByteString
  public var cluster = ByteString()
  public var region = ByteString()
  public var zone = ByteString()
  public var subZone = ByteString()
  public var metadata: [Label] = []

  public init(id: ByteString) { self.id = id }
}

/// A name and its text value, in the order of the file.
public struct Label: Equatable, Sendable {
  public var name: ByteString
  public var value: ByteString

  public init(name: ByteString, value: ByteString) {
    self.name = name
    self.value = value
  }
}

/// `[memory]`.
public struct MemoryConfiguration: Equatable, Sendable {
  /// The hard sum of every pool, in bytes.
  public var budget = 6 << 20

  public init() {}
}

/// `[spool]`. Sizes in bytes.
public struct SpoolConfiguration: Equatable, Sendable {
  public var directory: ByteString = "/var/lib/spoke/spool"
  public var size: UInt64 = 48 << 20
  public var segment: UInt32 = 256 << 10
  public var freeFloor: UInt64 = 8 << 20
  public var commitBytes = 64 << 10
  public var commitInterval = Interval.seconds(30)
  public var syncInterval = Interval.milliseconds(50)
  /// Old telemetry is thinned before any is dropped.
  public var thin = false

  public init() {}
}

/// `[tls.NAME]`.
public struct TLSConfiguration: Equatable, Sendable {
  /// The lowest TLS version that is accepted: `minimum = "1.2"` or `"1.3"`.
  public enum Version: Sendable { case tls12, tls13 }
  public var name: ByteString
  /// Empty: the system's roots.
  public var ca = ByteString()
  /// Empty: no client certificate.
  public var certificate = ByteString()
  public var key = ByteString()
  public var minimum = Version.tls12

  public init(name: ByteString) { self.name = name }
}

/// `[[serial]]`.
public struct SerialConfiguration: Equatable, Sendable {
  /// `parity`: the parity bit of each character.
  public enum Parity: Sendable { case none, even, odd, mark, space }
  /// `flow`: none, by the RTS and CTS lines, or by XON and XOFF characters.
  public enum FlowControl: Sendable { case none, rtsCts, xonXoff }
  public var name: ByteString
  public var device: ByteString
  public var baud: UInt32
  public var dataBits: UInt8 = 8
  public var parity = Parity.none
  public var stopBits: UInt8 = 1
  public var flow = FlowControl.none
  /// Nil: not a bus.
  public var rs485: RS485Configuration?
  /// `low_latency`: the driver is asked to hand every byte over at once.
  public var lowLatency = false
  /// The port hears what it sends. No key sets it while nothing is sent.
  public var suppressesEcho = false
  public var framing: FramingSpecification
  /// An index into `Configuration.streams`.
  public var stream: Int

  public init(
    name: ByteString, device: ByteString, baud: UInt32, framing: FramingSpecification, stream: Int
  ) {
    self.name = name
    self.device = device
    self.baud = baud
    self.framing = framing
    self.stream = stream
  }
}

/// `rs485` of a serial port: its driver turns the direction of a two-wire bus.
public struct RS485Configuration: Equatable, Sendable {
  /// `fallback`: what to do with a driver that cannot.
  public enum Fallback: Sendable {
    /// The port does not open.
    case error
    /// The adapter turns the direction itself.
    case autoDirection
  }
  /// The level of RTS while sending, and otherwise; they differ.
  public var rtsOnSend = true
  public var rtsAfterSend = false
  /// Whole milliseconds, 100 at most.
  public var delayBeforeSend = Interval.zero
  public var delayAfterSend = Interval.zero
  public var rxDuringTx = false
  public var terminateBus = false
  public var fallback = Fallback.error

  public init() {}
}

/// `[mqtt]`.
public struct MQTTConfiguration: Equatable, Sendable {
  public var host: ByteString
  public var port: UInt16
  /// `mqtts://`.
  public var isTLS = false
  /// An index into `Configuration.tls`; nil with `isTLS`: the system's roots, no certificate.
  public var tls: Int?
  public var clientID: ByteString
  /// Empty: none.
  public var username = ByteString()
  /// A file that holds the password; the password itself never stands in the configuration.
  public var passwordFile = ByteString()
  public var subscriptions: [MQTTSubscription] = []

  public init(host: ByteString, port: UInt16, clientID: ByteString) {
    self.host = host
    self.port = port
    self.clientID = clientID
  }
}

/// `[[mqtt.subscribe]]`.
public struct MQTTSubscription: Equatable, Sendable {
  public var filter: ByteString
  /// 0 or 1.
  public var qos: UInt8 = 1
  /// An index into `Configuration.streams`.
  public var stream: Int

  public init(filter: ByteString, stream: Int) {
    self.filter = filter
    self.stream = stream
  }
}

/// The four classes, most urgent first. Each has a log of its own in the spool.
public enum Priority: UInt8, Sendable {
  case alarm = 0
  case event = 1
  case telemetry = 2
  case bulk = 3
}

/// When a record must be on disk.
public enum Durability: Sendable {
  /// Before its source is acknowledged, and before it is sent.
  case sync
  /// In memory until it is delivered, or until it has waited for `[spool] commit.interval`.
  case spill
  /// Never: the newest records are kept in memory, as far as they fit.
  case memory
}

/// `order` of a stream's records.
public enum RecordOrder: Sendable {
  /// As they came.
  case strict
  /// Live records before the backlog, which takes what they leave.
  case liveFirst
}

/// `batch` of a stream: when a request has enough records. A backlog does not wait for more.
public struct BatchConfiguration: Equatable, Sendable {
  public var records = 1
  /// Of the body, in bytes. A record that is larger goes alone.
  public var bytes = 64 << 10
  /// How long a record waits for others at most.
  public var linger = Interval.zero

  public init() {}
}

/// `encoding` of a stream: how records become requests.
public enum Encoding: Sendable {
  /// One record a request, CloudEvents 1.0 HTTP binary mode.
  case cloudEvents
  /// A JSON array of CloudEvents.
  case cloudEventsBatch
  /// `spoke.v1.RecordBatch`.
  case protobuf
  /// A gRPC call: the payloads are the messages.
  case grpc
}

/// `[[stream]]`: an uplink.
public struct StreamConfiguration: Equatable, Sendable {
  public var name: ByteString
  public var target: TargetConfiguration
  public var path: ByteString
  public var contentType: ByteString = "application/octet-stream"
  /// The `ce-type` of its records.
  public var type: ByteString = "dev.spoke.record"
  public var encoding = Encoding.cloudEvents
  public var priority = Priority.telemetry
  public var durability = Durability.spill
  /// Zero: no limit.
  public var ttl = Interval.zero
  /// Requests of this stream at once.
  public var inFlight = 1
  public var batch = BatchConfiguration()
  public var order = RecordOrder.strict
  public var headers: [Label] = []
  public var authority: ByteString

  public init(name: ByteString, target: TargetConfiguration, path: ByteString) {
    self.name = name
    self.target = target
    self.path = path
    authority = target.authority
  }
}

/// `[admin]`.
public struct AdminConfiguration: Equatable, Sendable {
  public var socket: ByteString = "/run/spoke/admin.sock"
  /// Nil: no TCP listener.
  public var listen: ListenConfiguration?

  public init() {}
}

/// `[admin] listen`: an IPv4 or IPv6 address (without brackets) and a port.
public struct ListenConfiguration: Equatable, Sendable {
  public var host: ByteString
  public var port: UInt16

  public init(host: ByteString, port: UInt16) {
    self.host = host
    self.port = port
  }
}

/// `[log] level`.
public enum LogLevel: UInt8, Comparable, Sendable {
  case error = 0
  case warning = 1
  case info = 2
  case debug = 3

  /// By how much is logged: `error` is the least.
  public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }
}
