import Configuration
import HPACK
import Ingest
import NetworkingCore
import Primitives
import Spool
import XDS

/// The memory ledger: by `MemoryPool` how much may be held, is held at the end of the turn, and was held
/// at most (`/memory`, `spoke.memory.POOL.*`). Each limit is kept by whoever holds the memory; the
/// networking core has two of the lines itself.
struct MemoryLedger {
  private(set) var pools: [Pool] = []
  /// How the streams share the memory of their deliveries; nil: each has room for all that it may have.
  let lanes: (certain: Int, common: Int)?

  init(_ configuration: Configuration) {
    let needs = configuration.memoryNeeds
    let limits = needs.limits(of: configuration.memory.budget)
    for pool in MemoryPool.all {
      pools.append(Pool(name: pool.name, limit: limits[pool.rawValue]))
    }
    lanes = configuration.laneShares
  }

  subscript(_ pool: MemoryPool) -> Pool {
    get { pools[pool.rawValue] }
    set { pools[pool.rawValue] = newValue }
  }

  mutating func set(_ pool: MemoryPool, _ bytes: Int, high: Int = 0) {
    pools[pool.rawValue].set(used: bytes, high: high)
  }

  /// Takes the place of an earlier one: what was held at most is not forgotten.
  mutating func goOn(from old: MemoryLedger) {
    for pool in pools.indices { pools[pool].set(used: 0, high: old.pools[pool].high) }
  }
}

extension Gateway where Storage: ~Copyable {
  /// The limit of a pool that the driver keeps: what is beyond it, it refuses.
  public func memoryLimit(_ pool: MemoryPool) -> Int { ledger[pool].limit }

  /// What a pool that the driver keeps holds, and held at most.
  public mutating func noteMemory(_ pool: MemoryPool, used: Int, high: Int = 0) {
    ledger.set(pool, used, high: high)
  }

  /// The limits that others keep for the gateway.
  mutating func shareOutMemory() {
    spool.limitTail(to: configuration.spoolTailBytes)
    core.limitRequests(to: ledger[.requests].limit)
    core.connectionsMax = min(
      (ledger[.connections].limit - MemoryNeeds.headersBytes) / MemoryNeeds.connectionBytes,
      MemoryNeeds.connectionsMost)
    guard let plane = controlPlane else { return }
    plane.assembler.client.limitStore(to: ledger[.resources].limit)
    plane.channel.messageBytesMax = ledger[.discovery].limit - MemoryNeeds.sentMessageBytes
  }

  mutating func measureMemory() {
    ledger.set(.spool, spool.memoryBytes)
    var framers = 0
    for port in ports { framers += port.framer.memory }
    ledger.set(.serial, framers)
    var records = body.capacity + headers.bytes.capacity
    var rings = 0
    for index in uplinks.indices {
      records += uplinks[index].memoryBytes
      if uplinks[index].memory != nil { rings += MemoryRing.memoryBytes }
    }
    ledger.set(.uplinks, records)
    ledger.set(.memory, rings)
    ledger.set(.connections, core.connectionBytes)
    guard let plane = controlPlane else { return }
    ledger.set(.resources, plane.assembler.client.store.bytes)
    ledger.set(.discovery, plane.channel.memory)
  }

  func pools() -> [Pool] {
    var pools = ledger.pools
    pools[MemoryPool.requests.rawValue] = core.requestPool
    // Nobody opens one without a control plane.
    if controlPlane != nil { pools[MemoryPool.streams.rawValue] = core.streamPool }
    return pools
  }

  /// What the last request left is kept for the next one, unless it was an unusual one.
  mutating func keepScratch() {
    guard body.capacity + headers.bytes.capacity > MemoryNeeds.scratch(configuration) else {
      return
    }
    body = []
    headers = HeaderList()
  }
}
