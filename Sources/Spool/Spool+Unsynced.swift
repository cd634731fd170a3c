import Primitives

// What a start reads in the last segment, and cannot sync, may be in the kernel's memory only: the last run was
// killed between the write and its sync. After a power cut nobody knows of it, and its numbers are given out again.
// So numbers that the cursor does not know either are not delivered until it does. A disk that is read-only for
// good gives them up after a while all the same.

extension Spool where Storage: ~Copyable {
  /// What the start has read is known.
  mutating func waitForCursor() {
    for log in logs {
      for segment in log.segments where unsyncable.contains(segment.file) {
        for entry in segment.entries {
          let stream = entry.totals.stream
          let found = streams[stream].cursor
          var known = entry.totals.first - 1
          // One that could not be synced itself may be in the kernel's memory only, too.
          if !cursor.isPoisoned { known = max(known, found?.accounted ?? 0, found?.reserved ?? 0) }
          guard entry.totals.last > known else { continue }
          streams[stream].vouchedFor = min(streams[stream].vouchedFor, known)
          disk.unvouchedSince = disk.unvouchedSince ?? clocks.now
          cursor.isUrgent = true
        }
      }
    }
  }

  /// The number up to which records of the stream can be read now.
  func vouchedFor(_ stream: Int) -> UInt64 {
    guard let since = disk.unvouchedSince, clocks.now < since + unreadableMax else { return .max }
    return streams[stream].vouchedFor
  }
}
