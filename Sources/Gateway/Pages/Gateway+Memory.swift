import Configuration
import Ingest
import NetworkingCore
import Primitives
import Spool

/// The lines of the memory ledger that are measured at the end of each turn, to know their highest
/// value (`/memory`, `spoke.memory.POOL.*`). The networking core keeps its own line itself.
struct MemoryLedger {
  /// Records that are not on disk, and frames that are read back.
  var spool: Pool
  /// What the framers of all ports hold.
  var serial: Pool
  /// Records in flight: one a slot of every stream.
  var uplinks: Pool

  init(_ configuration: Configuration, spool limits: SpoolLimits) {
    let frame = limits.commitBytes + limits.recordBytesMax
    // Arrays grow by doubling: what they hold is at most twice what they were asked to hold.
    spool = Pool(
      name: "spool", limit: 2 * (limits.tailBytesMax + (limits.frameSlots + 3) * frame))
    serial = Pool(
      name: "serial", limit: 2 * configuration.serial.count * FramingLimits.lengthFrameMax)
    var slots = 0
    for stream in configuration.streams { slots += stream.inFlight }
    uplinks = Pool(name: "uplinks", limit: 2 * slots * limits.recordBytesMax)
  }
}

extension Gateway where Storage: ~Copyable {
  mutating func measureMemory() {
    ledger.spool.set(used: spool.memoryBytes)
    var framers = 0
    for port in ports { framers += port.framer.memory }
    ledger.serial.set(used: framers)
    var records = 0
    for uplink in uplinks {
      for slot in uplink.slots { records += slot.record.payload.capacity }
    }
    ledger.uplinks.set(used: records)
  }

  func pools() -> [Pool] { [ledger.spool, ledger.serial, ledger.uplinks, core.requestPool] }
}
