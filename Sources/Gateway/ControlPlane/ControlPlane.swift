import Configuration
import GRPC
import NetworkingCore
import Policy
import Primitives
import XDS

/// What the driver found on flash and in the directory of the operator's resources.
public struct PolicyFiles: Sendable {
  /// The last good resources; nil: there are none.
  public var cache: [UInt8]?
  /// `[xds] resources`, in the order of their names.
  public var resources: [(name: ByteString, bytes: [UInt8])] = []
  /// What is wrong with a certificate, a key or roots: for whoever has a TLS library.
  public var tlsFault: PolicyAssembler.TLSFault = { _ in nil }

  public init() {}
}

/// The control plane as the gateway knows it: the policy that is made of it, and the streams to it. The
/// streams are those of the networking core, to clusters that the configuration defines; nothing that a
/// control plane says is needed to reach it. It belongs to one gateway; a value so large would be copied
/// wherever it is looked at.
final class ControlPlane {
  /// A stream of the channel, and the core's request that carries it.
  struct Call {
    let stream: ChannelStream
    let request: RequestID
  }

  var assembler: PolicyAssembler
  /// Messages in both directions, and the reports of the clusters' load.
  var channel: ControlPlaneChannel
  var calls: [Call] = []
  /// By server: the listener of the snapshot that leads to it, and its `:authority`.
  var servers: [(listener: ByteString, authority: ByteString)]
  var cache: CacheSchedule
  /// There is a place for the cache, and a server whose resources go there.
  var keepsCache: Bool
  /// Of the files that the configuration names, to see that they have changed.
  var filesDigest: UInt32 = 0
  /// By server: streams in a row that ended before an answer.
  var failures: [UInt32]
  var isConnected = false
  /// A cluster in force asks for reports of its load.
  var wantsLoadReports = false
  /// At the end of the process: how long the server may take to hear the last report.
  var partingEnds: Instant?
  /// Something happened to one of its machines, which may want something now.
  var isTouched = true
  /// When one of them has something to do by itself.
  private(set) var deadline: Instant?
  /// Refusals that were reported, so that a server that repeats itself is reported once.
  var reported: [Refusal] = []
  var counters = ControlPlaneCounters()

  /// A resource that was refused, and what was wrong with it.
  struct Refusal: Equatable, Sendable {
    var type: ResourceType
    var name: ByteString
    var version: ByteString
    var text: ByteString
  }
  static let refusalsMax = 64

  init(
    _ configuration: XDSConfiguration, node: NodeConfiguration, settings: AssemblerSettings,
    servers: [(listener: ByteString, authority: ByteString)], storeBytes: Int, seed: UInt64,
    tlsFault: @escaping PolicyAssembler.TLSFault
  ) {
    var discovery = DiscoverySettings()
    discovery.transport =
      configuration.transport == .incremental ? .incremental : .stateOfTheWorld
    discovery.servers = max(configuration.servers.count, 1)
    discovery.fetchTimeout = configuration.fetchTimeout
    discovery.keepDeleted = configuration.keepDeleted
    var random = SplitMix64(seed: seed)
    let identity = NodeIdentity(node)
    channel = ControlPlaneChannel(load: LoadReporter(node: identity, seed: random.next()))
    assembler = PolicyAssembler(
      client: DiscoveryClient(
        discovery, node: identity, seed: random.next(), storeBytesMax: storeBytes),
      settings: settings, hasServers: !configuration.servers.isEmpty, tlsFault: tlsFault)
    self.servers = servers
    failures = servers.map { _ in 0 }
    keepsCache = configuration.keepsCache
    cache = CacheSchedule()
  }

  /// What is on flash is in force; what came after it may never be whole.
  var mayWriteCache: Bool { keepsCache && !assembler.isBehind }

  /// The stream that a request of the core carries.
  func stream(_ request: RequestID) -> ChannelStream? {
    for call in calls where call.request == request { return call.stream }
    return nil
  }

  func request(_ stream: ChannelStream) -> RequestID? {
    for call in calls where call.stream == stream { return call.request }
    return nil
  }

  /// Why the last stream to a server ended; empty: none did.
  func lastFailure(_ server: Int) -> ByteString {
    channel.lastEnd(server: server)?.text ?? ByteString()
  }

  /// Looks through all resources for the next time that something happens by itself.
  func noteDeadline() {
    deadline = assembler.nextDeadline()
    for due in [channel.load.nextDeadline(), mayWriteCache ? cache.nextDeadline() : nil] {
      guard let due else { continue }
      deadline = min(deadline ?? due, due)
    }
  }

  /// Whether the refusal is another one than those that were reported.
  func isNews(_ refusal: Refusal) -> Bool {
    guard !reported.contains(refusal) else { return false }
    reported.removeEach { $0.type == refusal.type && $0.name == refusal.name }
    if reported.count == Self.refusalsMax { reported.removeFirst() }
    reported.append(refusal)
    return true
  }
}

/// `spoke.xds.*`.
struct ControlPlaneCounters: Sendable {
  var cacheWrites: UInt64 = 0
  var cacheWriteFailures: UInt64 = 0
  /// Caches and files that could not be read.
  var corruptFiles: UInt64 = 0
  /// Resources of caches and files that could not be used.
  var refusedFromFiles: UInt64 = 0
  /// Streams that the core had no place for.
  var streamsRefused: UInt64 = 0
}

extension XDSConfiguration {
  var keepsCache: Bool { !cache.isEmpty && !servers.isEmpty }

  /// Whether a client of the one can go on as one of the other.
  func isServedBy(_ other: XDSConfiguration) -> Bool {
    var same = self
    same.cache = other.cache
    same.runtime = other.runtime
    same.resources = other.resources
    return same == other
  }
}

extension PolicyFiles {
  /// Of the operator's files.
  var digest: UInt32 {
    var whole: [UInt8] = []
    for (name, bytes) in resources {
      whole.append(contentsOf: name.bytes.span)
      whole.append(0)
      whole.append(decimal: UInt64(CRC32C.of(bytes.span)))
    }
    return CRC32C.of(whole.span)
  }
}

extension NodeIdentity {
  init(_ node: NodeConfiguration) {
    self.init(
      id: node.id, cluster: node.cluster, region: node.region, zone: node.zone,
      subZone: node.subZone,
      metadata: node.metadata.map { Attribute(key: $0.name, value: $0.value) })
  }
}
