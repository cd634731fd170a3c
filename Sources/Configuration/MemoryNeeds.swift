import Ingest
import Primitives

/// The lines of the memory ledger (`/memory`). Whatever a daemon holds that can grow is in one of them.
public enum MemoryPool: Int, Sendable {
  /// Records that are not on disk, and frames that are read back.
  case spool
  /// The framers of all ports.
  case serial
  /// Deliveries of all streams. A part is certain to each, and they share the rest.
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
public struct MemoryNeeds: Sendable {
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
  /// of what they can use beyond that. A control plane's resources come before, as far as 15/16
  /// of it go, and `in_flight`, as far as half of the rest does.
  @inline(never)
  public func limits(of budget: Int) -> [Int] {
    var limits = least
    var more = more
    var rest = max(budget - sum, 0)
    let resources = [MemoryPool.resources, .discovery]
    Self.share(rest / 16 * 15, among: resources, &more, &limits, &rest)
    Self.share(rest / 2, among: [.uplinks], &more, &limits, &rest)
    Self.share(rest, among: MemoryPool.all, &more, &limits, &rest)
    return limits
  }

  /// Adds to the limits of some pools what they can use, or the same share of it.
  private static func share(
    _ bytes: Int, among pools: [MemoryPool], _ more: inout [Int], _ limits: inout [Int],
    _ rest: inout Int
  ) {
    var wanted: UInt64 = 0
    for pool in pools { wanted += UInt64(min(more[pool.rawValue], bytes)) }
    for pool in pools {
      let most = UInt64(min(more[pool.rawValue], bytes))
      let part = Int(wanted > UInt64(bytes) ? most * UInt64(bytes) / wanted : most)
      limits[pool.rawValue] += part
      more[pool.rawValue] -= part
      rest -= part
    }
  }

  // MARK: Sizes

  /// One delivery of a stream: its batch, or its largest record alone, and what is known of each.
  public static func delivery(_ stream: StreamConfiguration) -> Int {
    let records = stream.encoding == .cloudEvents ? 1 : stream.batch.records
    return bodyMax(stream) + records * entryBytes + slack
  }

  /// Of a lane with one delivery, and beside it the next record, which did not fit in.
  static func lane(_ stream: StreamConfiguration) -> Int {
    delivery(stream) + ConfigurationLimits.recordBytesMax + slack
  }

  /// What is certain to each lane: so that small records never wait for those of other streams.
  static let laneBytesLeast = 8 << 10
  /// What one record of any size takes, once as the next and once in its delivery. All lanes share it.
  static let sharedBytesLeast = 2 * (ConfigurationLimits.recordBytesMax + slack)

  /// The bytes of a delivery's records, sources and subjects included.
  public static func bodyMax(_ stream: StreamConfiguration) -> Int {
    max(stream.batch.bytes, ConfigurationLimits.recordBytesMax)
  }

  /// What the request that is being made may keep of its memory for the next one.
  public static func scratch(_ configuration: Configuration) -> Int {
    2 * configuration.largestBody
  }

  /// Of a record in a batch, besides its bytes.
  public static let entryBytes = 80
  /// What an allocation is larger than it was asked to be.
  public static let slack = 1_024
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
  /// A control plane, the one that takes its place, and two upstreams.
  static let connectionsLeast = 4
  /// The header fields of the one that is being read.
  public static let headersBytes = 48 << 10
  /// OpenSSL as it is when it has been used once, and what libmosquitto starts of it in any case.
  static let tlsBytes = 384 << 10
  static let tlsIdleBytes = 96 << 10
  /// What its decoders of keys take when they are first used, and four contexts.
  static let tlsKeysBytes = 256 << 10
  /// One context with its certificates; what the system's roots or others of that number take; and one
  /// connection with a server's chain.
  static let tlsContextBytes = 24 << 10
  static let tlsRootsBytes = 832 << 10
  public static let tlsSessionBytes = 96 << 10
  /// Messages that wait for the gateway, four records at most; two that it is about to take; and one that
  /// libmosquitto reads, and copies before it hands it over.
  static let mqttBytes = 8 * (ConfigurationLimits.recordBytesMax + slack)
  /// A page of statistics, and with a control plane's clusters: 64 of them are 310 KiB.
  static let adminBytes = 128 << 10
  static let adminClusterBytes = 224 << 10
  public static let adminRequestBytes = 24 << 10
  static let adminMost = 512 << 10
  static let resourcesLeast = 256 << 10
  /// Of `discovery`: for what is sent.
  public static let sentMessageBytes = 64 << 10
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
  /// Records that are not on disk and their bookkeeping: of each class that is being written one commit
  /// while the next is collected, and in any case two records.
  fileprivate var tailLeast: Int {
    max(2 * commitBytes, 2 * (ConfigurationLimits.recordBytesMax + 96))
  }
  fileprivate var tailMost: Int { max(6 * commitBytes, tailLeast) }

  /// Frames that are kept, as long as they are; one that is made, and one on its way.
  fileprivate var frameNeed: Int {
    let frame = max(commitBytes, ConfigurationLimits.recordBytesMax) + MemoryNeeds.frameOverhead
    return (MemoryNeeds.frameSlots + 4) * frame + MemoryNeeds.inputBytes
  }
}

extension Configuration {
  /// The limit of a pool under `[memory] budget`.
  public func memoryLimit(_ pool: MemoryPool) -> Int {
    memoryNeeds.limits(of: memory.budget)[pool.rawValue]
  }

  /// What records may take that are not on disk yet. Their arrays are moved when they grow: twice.
  public var spoolTailBytes: Int { (memoryLimit(.spool) - spool.frameNeed) / 2 }

  /// How the streams share the memory of their deliveries: what is certain to each lane, and what they
  /// have in common. Nil: each has room for all that it may have.
  public var laneShares: (certain: Int, common: Int)? {
    let needs = memoryNeeds
    let limit = needs.limits(of: memory.budget)[MemoryPool.uplinks.rawValue]
    guard limit < needs.least(.uplinks) + needs.more(.uplinks) else { return nil }
    var lanes = 0
    var largest = 0
    for stream in streams {
      lanes += stream.lanes
      largest = max(largest, MemoryNeeds.lane(stream))
    }
    let bytes = limit - MemoryNeeds.scratch(self)
    let certain = min((bytes - MemoryNeeds.sharedBytesLeast) / max(lanes, 1), largest)
    return (certain, bytes - lanes * certain)
  }

  public var memoryNeeds: MemoryNeeds {
    @inline(never) get { readNeeds() }
  }

  private func readNeeds() -> MemoryNeeds {
    var needs = MemoryNeeds()
    needs.add(
      .spool, spool.frameNeed + 2 * spool.tailLeast, more: 2 * (spool.tailMost - spool.tailLeast))
    for port in serial {
      needs.add(.serial, Framer(port.framing, baud: port.baud).memory + MemoryNeeds.slack)
    }
    addUplinks(to: &needs)
    // A topic of 64 KiB takes three times as much in a header field.
    let requests = largestBody + 3 * ConfigurationLimits.recordBytesMax
    needs.add(.requests, requests, more: ConfigurationLimits.requestBytesMax - requests)
    // One to each of a few upstreams; more take turns.
    let most =
      xds == nil ? min(2 * streams.count, MemoryNeeds.connectionsMost) : MemoryNeeds.connectionsMost
    let connections = min(most, MemoryNeeds.connectionsLeast)
    needs.add(
      .connections, connections * MemoryNeeds.connectionBytes + MemoryNeeds.headersBytes,
      more: (MemoryNeeds.connectionsMost - connections) * MemoryNeeds.connectionBytes)
    needs.add(.admin, MemoryNeeds.adminBytes, more: MemoryNeeds.adminMost)
    addTLS(to: &needs)
    if mqtt != nil {
      needs.add(.mqtt, MemoryNeeds.mqttBytes)
    }
    guard xds != nil else { return needs }
    needs.add(.admin, MemoryNeeds.adminClusterBytes)
    needs.add(.streams, ConfigurationLimits.streamBytesMax)
    let resources = ConfigurationLimits.resourceBytesMax - MemoryNeeds.resourcesLeast
    needs.add(.resources, MemoryNeeds.resourcesLeast, more: resources)
    needs.add(
      .discovery, MemoryNeeds.resourcesLeast + MemoryNeeds.sentMessageBytes,
      more: resources)
    return needs
  }

  /// Of all streams' deliveries.
  fileprivate var largestBody: Int {
    streams.reduce(ConfigurationLimits.recordBytesMax) { max($0, MemoryNeeds.bodyMax($1)) }
  }

  private func addUplinks(to needs: inout MemoryNeeds) {
    needs.add(.uplinks, MemoryNeeds.scratch(self) + MemoryNeeds.sharedBytesLeast)
    var most = 0
    for stream in streams {
      needs.add(.uplinks, stream.lanes * MemoryNeeds.laneBytesLeast)
      most +=
        stream.lanes
        * (MemoryNeeds.lane(stream) + (stream.inFlight - 1) * MemoryNeeds.delivery(stream)
          - MemoryNeeds.laneBytesLeast)
      if stream.durability == .memory {
        needs.add(
          .memory, MemoryNeeds.ringBytes + MemoryNeeds.ringRecords * MemoryNeeds.ringEntryBytes)
      }
    }
    needs.add(.uplinks, 0, more: max(most - MemoryNeeds.sharedBytesLeast, 0))
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
    // One to each kind of peer, and one that takes the place of another.
    var sessions = 1
    if mqtt?.isTLS == true { sessions += 1 }
    if servers.contains(where: { $0.isTLS }) { sessions += 1 }
    if xds != nil || streams.contains(where: { $0.isTLS }) { sessions += 1 }
    needs.add(
      .tls,
      MemoryNeeds.tlsBytes + contexts * MemoryNeeds.tlsContextBytes
        + roots * MemoryNeeds.tlsRootsBytes + sessions * MemoryNeeds.tlsSessionBytes,
      more: MemoryNeeds.connectionsMost * MemoryNeeds.tlsSessionBytes)
    // Those of a control plane's clusters, with keys of any kind.
    if xds != nil {
      needs.add(
        .tls, MemoryNeeds.tlsKeysBytes,
        more: MemoryNeeds.tlsRootsBytes + 4 * MemoryNeeds.tlsContextBytes)
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
