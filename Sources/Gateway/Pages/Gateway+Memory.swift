import Configuration
import Ingest
import NetworkingCore
import Primitives
import Spool
import XDS

/// The lines of the memory ledger that are measured at the end of each turn, to know their highest
/// value (`/memory`, `spoke.memory.POOL.*`). The networking core keeps its own line itself.
struct MemoryLedger {
  /// Records that are not on disk, and frames that are read back.
  var spool: Pool
  /// What the framers of all ports hold.
  var serial: Pool
  /// Records in flight and those that wait for the rest of their batch.
  var uplinks: Pool
  /// Records of `durability = "memory"` streams.
  var memory: Pool
  /// The encoded resources of a control plane.
  var resources: Pool

  /// What the streams share for their second and further deliveries; nil: each has room for all that
  /// it may have.
  let sharedBytes: Int?

  init(_ configuration: Configuration) {
    let needs = configuration.memoryNeeds
    spool = Pool(name: "spool", limit: needs.spool)
    serial = Pool(name: "serial", limit: needs.serial)
    memory = Pool(name: "memory", limit: needs.memory)
    resources = Pool(name: "resources", limit: needs.resources)
    let rest = max(configuration.memory.budget - needs.least, 0)
    sharedBytes = needs.furtherUplinks > rest ? rest : nil
    uplinks = Pool(name: "uplinks", limit: needs.uplinks + min(needs.furtherUplinks, rest))
  }
}

extension Gateway where Storage: ~Copyable {
  mutating func measureMemory() {
    ledger.spool.set(used: spool.memoryBytes)
    var framers = 0
    for port in ports { framers += port.framer.memory }
    ledger.serial.set(used: framers)
    var records = 0
    var rings = 0
    for index in uplinks.indices {
      records += uplinks[index].memoryBytes
      if uplinks[index].memory != nil { rings += MemoryRing.memoryBytes }
    }
    ledger.uplinks.set(used: records)
    ledger.memory.set(used: rings)
    ledger.resources.set(used: controlPlane?.assembler.client.store.bytes ?? 0)
  }

  func pools() -> [Pool] {
    [
      ledger.spool, ledger.serial, ledger.uplinks, ledger.memory, ledger.resources,
      core.requestPool, core.streamPool,
    ]
  }
}
