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

  init(_ configuration: Configuration, spool limits: SpoolLimits) {
    let frame = limits.commitBytes + limits.recordBytesMax
    // Arrays grow by doubling: what they hold is at most twice what they were asked to hold.
    spool = Pool(
      name: "spool", limit: 2 * (limits.tailBytesMax + (limits.frameSlots + 3) * frame))
    serial = Pool(
      name: "serial", limit: 2 * configuration.serial.count * FramingLimits.lengthFrameMax)
    var batches = 0
    var rings = 0
    for stream in configuration.streams {
      let entries = stream.batch.records * MemoryLayout<RecordBatch.Entry>.stride
      let slots = stream.order == .liveFirst ? 2 * stream.inFlight : stream.inFlight
      batches += slots * (max(stream.batch.bytes, limits.recordBytesMax) + entries)
      batches += 2 * limits.recordBytesMax
      if stream.durability == .memory { rings += MemoryRing.memoryBytes }
    }
    uplinks = Pool(name: "uplinks", limit: 2 * batches)
    memory = Pool(name: "memory", limit: rings)
    let store = configuration.xds == nil ? 0 : DiscoveryLimits.storeBytesMax
    resources = Pool(name: "resources", limit: store)
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
