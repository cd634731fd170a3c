import Ingest
import Primitives

/// What the pools of the daemon hold at most under a configuration, in bytes: the lines of `/memory`.
/// Their sum is `[memory] budget` or less.
public struct MemoryNeeds: Equatable, Sendable {
  /// Records that are not on disk, and frames that are read back.
  public var spool = 0
  /// The framers of all ports.
  public var serial = 0
  /// One delivery of each stream, and of one that sends live records first, two.
  public var uplinks = 0
  /// Further deliveries, as many as `in_flight` allows. They share what the budget leaves.
  public var furtherUplinks = 0
  /// The rings of the streams with `durability = "memory"`.
  public var memory = 0
  /// Requests on their way.
  public var requests = 0
  /// The encoded resources of a control plane.
  public var resources = 0

  /// With less than this a configuration does not work.
  public var least: Int { spool + serial + uplinks + memory + requests + resources }

  /// One delivery of a stream: its batch, or its largest record alone, and what is known of each.
  public static func delivery(_ stream: StreamConfiguration) -> Int {
    let records = stream.encoding == .cloudEvents ? 1 : stream.batch.records
    return bodyMax(stream) + records * entryBytes + slack
  }

  /// The bytes of a delivery's records, sources and subjects included.
  public static func bodyMax(_ stream: StreamConfiguration) -> Int {
    max(stream.batch.bytes, ConfigurationLimits.recordBytesMax)
  }

  /// Of a record in a batch, besides its bytes.
  public static let entryBytes = 80
  /// What an allocation is larger than it was asked to be.
  static let slack = 1_024
  /// Bytes of a ring's records, and how many there are.
  public static let ringBytes = 2 * ConfigurationLimits.recordBytesMax
  public static let ringRecords = 1_024
  static let ringEntryBytes = 80
  /// A frame of the spool besides its records: headers, and a line for each stream.
  static let frameOverhead = 8 << 10
  /// Frames that the spool keeps for readers, and those that it makes or looks through.
  static let frameSlots = 4
  static let frameBuffers = 3
}

extension StreamConfiguration {
  /// How many readers a stream has: live records and backlog may go separately.
  public var lanes: Int { order == .liveFirst && durability != .memory ? 2 : 1 }
}

extension SpoolConfiguration {
  /// Records that are not on disk and their bookkeeping, twice: arrays grow by doubling; and frames.
  fileprivate var memoryNeed: Int {
    let record = ConfigurationLimits.recordBytesMax
    let tail = max(6 * commitBytes, 2 * (record + 96))
    let frame = max(commitBytes, record) + MemoryNeeds.frameOverhead
    return 2 * (tail + (MemoryNeeds.frameSlots + MemoryNeeds.frameBuffers) * frame)
  }
}

extension Configuration {
  public var memoryNeeds: MemoryNeeds {
    var needs = MemoryNeeds()
    needs.spool = spool.memoryNeed
    needs.requests = ConfigurationLimits.requestBytesMax
    if xds != nil { needs.resources = ConfigurationLimits.resourceBytesMax }
    for port in serial { needs.serial += Framer(port.framing, baud: port.baud).memory }
    for stream in streams {
      let delivery = MemoryNeeds.delivery(stream)
      // Beside each delivery, the next record, which did not fit in.
      let head = ConfigurationLimits.recordBytesMax + MemoryNeeds.slack
      needs.uplinks += stream.lanes * (delivery + head)
      needs.furtherUplinks += stream.lanes * (stream.inFlight - 1) * delivery
      if stream.durability == .memory {
        needs.memory +=
          MemoryNeeds.ringBytes + MemoryNeeds.ringRecords * MemoryNeeds.ringEntryBytes
      }
    }
    return needs
  }
}

extension SchemaReader {
  /// The budget holds what the rest of the configuration asks for.
  mutating func checkBudget(_ configuration: Configuration, _ root: SchemaTable) {
    let needs = configuration.memoryNeeds
    let budget = configuration.memory.budget
    guard needs.least > budget else { return }
    let memory = tree.child(of: root.node, "memory")
    let node = memory.flatMap { tree.child(of: $0, "budget") } ?? memory ?? root.node
    var parts = kibibytes(needs.spool) + " for the spool (commit.bytes decides)"
    parts += ", " + kibibytes(needs.requests) + " for requests"
    parts += ", " + kibibytes(needs.uplinks) + " for \(configuration.streams.count) streams"
    if needs.memory > 0 { parts += ", " + kibibytes(needs.memory) + " for those in memory" }
    if needs.serial > 0 {
      parts += ", " + kibibytes(needs.serial) + " for \(configuration.serial.count) ports"
    }
    report(
      node,
      "'budget' in [memory] is \(sizeText(UInt64(budget))), but must be at least "
        + kibibytes(needs.least) + ": " + parts)
  }

  private func kibibytes(_ bytes: Int) -> String { sizeText(UInt64((bytes + 1023) >> 10) << 10) }
}
