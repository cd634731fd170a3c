import Ingest
import Primitives

/// The lines of the memory ledger (`/memory`). Whatever a daemon holds that can grow is in one of them.
public enum MemoryPool: Int, Sendable {
  /// Records that are not on disk, and frames that are read back.
  case spool
  /// The framers of all ports.
  case serial
  /// Deliveries of all streams. One of each is certain, further ones share what the budget leaves.
  case uplinks
  /// The rings of the streams with `durability = "memory"`.
  case memory
  /// Header fields and bodies of requests on their way.
  case requests
  /// What long-lived streams have received and nobody has taken.
  case streams
  /// HTTP/2 connections to upstreams and control planes.
  case connections
  /// All of OpenSSL: certificates, contexts, sessions, connections.
  case tls
  /// Messages from the broker that the gateway has not taken.
  case mqtt
  /// Requests and pages of the admin endpoint.
  case admin
  /// The encoded resources of a control plane.
  case resources
  /// Messages to and from a control plane.
  case discovery

  public static let count = 12

  public static var all: [MemoryPool] {
    var all: [MemoryPool] = []
    for index in 0..<count { if let pool = MemoryPool(rawValue: index) { all.append(pool) } }
    return all
  }

  /// Its name in `/memory` and among the statistics.
  public var name: String {
    switch self {
    case .spool: "spool"
    case .serial: "serial"
    case .uplinks: "uplinks"
    case .memory: "memory"
    case .requests: "requests"
    case .streams: "streams"
    case .connections: "connections"
    case .tls: "tls"
    case .mqtt: "mqtt"
    case .admin: "admin"
    case .resources: "resources"
    case .discovery: "discovery"
    }
  }
}

/// What the pools of the daemon hold under a configuration, in bytes. The sum of their limits is
/// `[memory] budget` or less.
public struct MemoryNeeds: Equatable, Sendable {
  /// By pool: with less a configuration does not work.
  private var least = [Int](repeating: 0, count: MemoryPool.count)
  /// By pool: what it can use beyond that.
  private var more = [Int](repeating: 0, count: MemoryPool.count)

  /// The budget that it takes at least.
  public var sum: Int { least.reduce(0, +) }

  /// With less of this pool the configuration does not work.
  public func least(_ pool: MemoryPool) -> Int { least[pool.rawValue] }
  /// What it can use of the pool beyond that.
  public func more(_ pool: MemoryPool) -> Int { more[pool.rawValue] }

  mutating func add(_ pool: MemoryPool, _ bytes: Int, more: Int = 0) {
    least[pool.rawValue] += bytes
    self.more[pool.rawValue] += more
  }

  /// By pool, the limit under a budget: what it needs, and of what is left the same share as the others
  /// of what they can use beyond that. `in_flight` comes before, as far as half of it goes.
  public func limits(of budget: Int) -> [Int] {
    var rest = max(budget - sum, 0)
    var least = least
    var more = more
    let uplinks = MemoryPool.uplinks.rawValue
    let first = min(more[uplinks], rest / 2)
    least[uplinks] += first
    more[uplinks] -= first
    rest -= first
    var wanted: UInt64 = 0
    for more in more { wanted += UInt64(min(more, rest)) }
    var limits = least
    for pool in limits.indices {
      let most = UInt64(min(more[pool], rest))
      limits[pool] += Int(wanted > UInt64(rest) ? most * UInt64(rest) / wanted : most)
    }
    return limits
  }

  // MARK: Sizes

  /// One delivery of a stream: its batch, or its largest record alone, and what is known of each.
  public static func delivery(_ stream: StreamConfiguration) -> Int {
    let records = stream.encoding == .cloudEvents ? 1 : stream.batch.records
    return bodyMax(stream) + records * entryBytes + slack
  }

  /// The bytes of a delivery's records, sources and subjects included.
  public static func bodyMax(_ stream: StreamConfiguration) -> Int {
    max(stream.batch.bytes, ConfigurationLimits.recordBytesMax)
  }

  /// What the request that is being made may keep of its memory for the next one.
  public static func scratch(_ configuration: Configuration) -> Int {
    var most = ConfigurationLimits.recordBytesMax
    for stream in configuration.streams { most = max(most, stream.batch.bytes) }
    return 2 * most
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
  /// Frames that the spool keeps for readers.
  static let frameSlots = 4
  /// What it reads of the disk to find its way.
  static let inputBytes = 32 << 10

  /// An HTTP/2 connection: its output, both tables of HPACK, a header block that is not whole.
  public static let connectionBytes = 132 << 10
  public static let connectionsMost = 8
  /// The header fields of the one that is being read.
  public static let headersBytes = 48 << 10
  /// OpenSSL as it is when it has been used once, and what libmosquitto starts of it in any case.
  static let tlsBytes = 384 << 10
  static let tlsIdleBytes = 96 << 10
  /// One context with its certificates; what the system's roots or others of that number take; and one
  /// connection with a server's chain.
  static let tlsContextBytes = 24 << 10
  static let tlsRootsBytes = 832 << 10
  public static let tlsSessionBytes = 96 << 10
  /// Messages that wait for the gateway, and one that libmosquitto is reading and hands over.
  public static let mqttWaitingBytes = 4 * ConfigurationLimits.recordBytesMax
  static let mqttPacketBytes = 2 * ConfigurationLimits.recordBytesMax
  public static let mqttPacketMost = 1_088 << 10
  static let adminBytes = 128 << 10
  static let adminMost = 512 << 10
  static let discoveryBytes = 256 << 10
}

extension StreamConfiguration {
  /// How many readers a stream has: live records and backlog may go separately.
  public var lanes: Int { order == .liveFirst && durability != .memory ? 2 : 1 }

  fileprivate var isTLS: Bool {
    if case .host(let host) = target { return host.isTLS }
    return false
  }

  /// The `[tls.NAME]` table of its target; nil: the system's roots.
  fileprivate var tls: Int? {
    if case .host(let host) = target { return host.tls }
    return nil
  }
}

extension SpoolConfiguration {
  /// Records that are not on disk and their bookkeeping, twice: arrays grow by doubling. Frames that are
  /// kept, as long as they are; one that is made, and one on its way.
  fileprivate var memoryNeed: Int {
    let record = ConfigurationLimits.recordBytesMax
    let tail = max(6 * commitBytes, 2 * (record + 96))
    let frame = max(commitBytes, record) + MemoryNeeds.frameOverhead
    return 2 * tail + (MemoryNeeds.frameSlots + 4) * frame + MemoryNeeds.inputBytes
  }
}

extension Configuration {
  /// The limit of a pool under `[memory] budget`.
  public func memoryLimit(_ pool: MemoryPool) -> Int {
    memoryNeeds.limits(of: memory.budget)[pool.rawValue]
  }

  public var memoryNeeds: MemoryNeeds {
    var needs = MemoryNeeds()
    needs.add(.spool, spool.memoryNeed)
    for port in serial { needs.add(.serial, Framer(port.framing, baud: port.baud).memory) }
    var largest = ConfigurationLimits.recordBytesMax
    needs.add(.uplinks, MemoryNeeds.scratch(self))
    for stream in streams {
      let delivery = MemoryNeeds.delivery(stream)
      largest = max(largest, stream.batch.bytes)
      // Beside each delivery, the next record, which did not fit in.
      let head = ConfigurationLimits.recordBytesMax + MemoryNeeds.slack
      needs.add(
        .uplinks, stream.lanes * (delivery + head),
        more: stream.lanes * (stream.inFlight - 1) * delivery)
      if stream.durability == .memory {
        needs.add(
          .memory, MemoryNeeds.ringBytes + MemoryNeeds.ringRecords * MemoryNeeds.ringEntryBytes)
      }
    }
    // A topic of 64 KiB takes three times as much in a header field.
    let requests = largest + 3 * ConfigurationLimits.recordBytesMax
    needs.add(.requests, requests, more: ConfigurationLimits.requestBytesMax - requests)
    // A control plane may name any number of endpoints; a host may have several addresses.
    let connections =
      xds == nil ? min(2 * streams.count, MemoryNeeds.connectionsMost) : MemoryNeeds.connectionsMost
    let further = MemoryNeeds.connectionsMost - connections
    needs.add(
      .connections, connections * MemoryNeeds.connectionBytes + MemoryNeeds.headersBytes,
      more: further * MemoryNeeds.connectionBytes)
    needs.add(.admin, MemoryNeeds.adminBytes, more: MemoryNeeds.adminMost)
    addTLS(to: &needs)
    if mqtt != nil {
      needs.add(
        .mqtt, MemoryNeeds.mqttWaitingBytes + 2 * MemoryNeeds.mqttPacketBytes,
        more: 2 * (MemoryNeeds.mqttPacketMost - MemoryNeeds.mqttPacketBytes))
    }
    guard xds != nil else { return needs }
    needs.add(.streams, ConfigurationLimits.streamBytesMax)
    let most = ConfigurationLimits.resourceBytesMax - MemoryNeeds.discoveryBytes
    needs.add(.resources, MemoryNeeds.discoveryBytes, more: most)
    needs.add(.discovery, MemoryNeeds.discoveryBytes, more: most)
    return needs
  }

  private func addTLS(to needs: inout MemoryNeeds) {
    var contexts = tls.count
    var roots = 0
    for table in tls where table.ca.isEmpty { roots += 1 }
    let servers = xds?.servers ?? []
    if streams.contains(where: { $0.isTLS && $0.tls == nil })
      || servers.contains(where: { $0.isTLS && $0.tls == nil })
    {
      contexts += 1
      roots += 1
    }
    if let mqtt, mqtt.isTLS {
      // The broker's context is its own.
      contexts += 1
      if mqtt.tls.map({ tls[$0].ca.isEmpty }) ?? true { roots += 1 }
    }
    guard contexts > 0 || xds != nil else {
      return needs.add(.tls, MemoryNeeds.tlsIdleBytes)
    }
    needs.add(
      .tls,
      MemoryNeeds.tlsBytes + contexts * MemoryNeeds.tlsContextBytes
        + roots * MemoryNeeds.tlsRootsBytes + 2 * MemoryNeeds.tlsSessionBytes,
      more: MemoryNeeds.connectionsMost * MemoryNeeds.tlsSessionBytes)
    // Those of a control plane's clusters.
    if xds != nil {
      needs.add(.tls, 0, more: MemoryNeeds.tlsRootsBytes + 4 * MemoryNeeds.tlsContextBytes)
    }
  }
}

extension SchemaReader {
  /// The budget holds what the rest of the configuration asks for.
  mutating func checkBudget(_ configuration: Configuration, _ root: SchemaTable) {
    let needs = configuration.memoryNeeds
    let budget = configuration.memory.budget
    guard needs.sum > budget else { return }
    let memory = tree.child(of: root.node, "memory")
    let node = memory.flatMap { tree.child(of: $0, "budget") } ?? memory ?? root.node
    var parts = ""
    for pool in MemoryPool.all where needs.least(pool) > 0 {
      parts += parts.isEmpty ? ": " : ", "
      parts += kibibytes(needs.least(pool)) + " for " + pool.name
      if pool == .spool { parts += " (commit.bytes decides)" }
      if pool == .uplinks { parts += " of \(configuration.streams.count) streams" }
    }
    report(
      node,
      "'budget' in [memory] is \(sizeText(UInt64(budget))), but must be at least "
        + kibibytes(needs.sum) + parts)
  }

  private func kibibytes(_ bytes: Int) -> String { sizeText(UInt64((bytes + 1023) >> 10) << 10) }
}
