import Configuration
import NetworkingCore
import Primitives
import Spool

/// The last number that a stream gave out, and the epoch that goes with it.
package struct RecordNumber: Equatable, Sendable {
  package var epoch: UInt64
  package var sequence: UInt64
}

/// What a simulator looks at after each turn to judge the daemon by. Nothing here changes anything.
extension Gateway where Storage: ~Copyable {
  package func lastNumber(of stream: Int) -> RecordNumber {
    if let memory = uplinks[stream].memory {
      return RecordNumber(epoch: memory.epoch, sequence: memory.assigned)
    }
    return RecordNumber(epoch: spool.epoch, sequence: spool.lastNumber(stream: stream))
  }

  /// The last number of earlier runs.
  package func recoveredNumber(of stream: Int) -> RecordNumber {
    if let memory = uplinks[stream].memory {
      return RecordNumber(epoch: memory.epoch, sequence: 0)
    }
    return RecordNumber(epoch: spool.epoch, sequence: spool.recoveredNumber(stream: stream))
  }

  /// How often the spool took the numbers of a directory in place of those that were given out without it.
  package var timesStartedOver: UInt32 { spool.timesStartedOver }

  /// Requests that the core has taken and not given back, and those that something here waits for. A stream to
  /// a control plane that ended while actions were carried out is no stream any more, but its result still waits.
  package var requestsUnderWay: (inCore: Int, inUplinks: Int, hasResult: Bool) {
    var waitedFor = core.streamsInUse
    for index in uplinks.indices { waitedFor += uplinks[index].requests }
    return (core.requestsUnderWay, waitedFor, core.hasResult)
  }

  /// Streams to a control plane, which are requests that go on.
  package var openStreams: Int { core.streamsInUse }

  package var memoryPools: [Pool] { pools() }

  /// What deliveries from before a reload hold beyond what the configuration gives their streams now. Their pool
  /// is above its limit by so much at most, until they have left.
  package var keptBeyondLimit: Int {
    var sum = 0
    for uplink in uplinks { sum += uplink.keptBeyond(certain: ledger.lanes?.certain) }
    return sum
  }

  package var isDegraded: Bool { spool.statistics.isDegraded }

  package func backlogRecords(of stream: Int) -> UInt64 { backlog(stream).records }

  /// Gap reports for which there was no room yet: neither records nor lines of the log.
  package var untoldGaps: [GapReport] { spool.untoldGaps }

  /// Reports that found no room anywhere.
  package var reportsNotStored: UInt64 { reports.notStored }

  /// Whether a stream has records in a delivery, be they settled or not.
  package func hasDelivery(of stream: Int) -> Bool {
    !uplinks.span[stream].isIdle(.ordered) || !uplinks.span[stream].isIdle(.live)
  }

  /// What is left in the tables when nothing is under way any more, in words; empty: nothing.
  package var leftOver: String {
    var words = ""
    if core.streamsInUse == 0, core.requestPool.used > 0 {
      words += "\(core.requestPool.used) bytes of requests; "
    }
    if core.streamsInUse == 0, core.streamPool.used > 0 {
      words += "\(core.streamPool.used) bytes of streams; "
    }
    if core.hasResult { words += "a result; " }
    if acknowledgements.unacknowledged > 0 { words += "messages that are not safe; " }
    for index in uplinks.indices where !uplinks[index].isIdle(.ordered) {
      words += "a delivery of stream \(index); "
    }
    return words
  }
}

extension Uplink {
  /// `certain`: what the pool gives to each lane at least; nil: all that it may have.
  fileprivate func keptBeyond(certain: Int?) -> Int {
    let most = MemoryNeeds.delivery(configuration)
    var count = 0
    var bytes = 0
    var beyond = 0
    for slot in slots where slot.isFromMemory && slot.batch.entries[0].sequence <= keptThrough {
      count += 1
      bytes += slot.memoryBytes
      beyond += max(slot.memoryBytes - most, 0)
    }
    guard let certain else { return beyond + max(count - configuration.inFlight, 0) * most }
    let head = heads[Lane.ordered.rawValue]
    // Its room in a delivery was promised to it.
    if head.isLoaded, head.isFromMemory, head.record.sequence <= keptThrough {
      bytes += head.record.memoryBytes + head.record.byteCount
    }
    return max(bytes - certain, 0)
  }
}
