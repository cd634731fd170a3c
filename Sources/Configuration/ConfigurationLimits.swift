/// What one set of configuration files may hold. The files come from an operator, not from a peer;
/// the limits keep a wrong path (a core dump, a block device) from becoming a memory problem.
public enum ConfigurationLimits {
  /// One file. A file of every key with a comment behind it is some tens of KiB.
  public static let fileBytesMax = 256 * 1024
  /// The main file and those of `conf.d`.
  public static let filesMax = 64
  /// Levels of tables and arrays below the root, dotted keys included: bounds every recursion.
  package static let nestingMax = 32
  /// Keys of all files together.
  package static let keysMax = 4096
  /// Array elements of all files together.
  package static let elementsMax = 16384
  /// Problems reported before the rest is only counted.
  package static let diagnosticsMax = 100

  package static let streamsMax = 32
  /// The largest record, in bytes of payload, topic and source: what one MQTT message or one frame may
  /// carry. It is also what one request of 64 KiB carries, the body limit that most upstreams are set to
  /// take.
  public static let recordBytesMax = 65_536
  /// Header fields and bodies of all requests that are on their way.
  public static let requestBytesMax = 512 << 10
  /// The encoded resources of a control plane, with their names and versions.
  public static let resourceBytesMax = 1 << 20
  /// What long-lived streams have received and nobody has taken.
  public static let streamBytesMax = 256 << 10
  /// Records and bytes of one request: half of what the networking core holds for all requests.
  package static let batchRecordsMax: Int64 = 4096
  package static let batchBytesMax: UInt64 = 256 << 10
  package static let serialPortsMax = 16
  public static let subscriptionsMax = 64
  package static let tlsTablesMax = 16
  /// As many as discovery can tell apart, and as many as it keeps of resources with a name.
  package static let managementServersMax = 8
  package static let runtimeLayersMax = 8
  package static let listenerNameBytesMax = 1024
  package static let headersMax = 32
  package static let mavlinkMessagesMax = 256
  package static let labelsMax = 32
  /// Names go into header values and statistics names.
  package static let nameBytesMax = 64
  /// `PATH_MAX` without its NUL.
  package static let pathBytesMax = 4095
  /// `sun_path` without its NUL.
  package static let socketPathBytesMax = 107
}
