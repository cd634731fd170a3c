import Primitives

// Space on disk is a hard bound. When it is reached, the oldest segment of the least urgent class
// goes, and every stream in it gets a report. A class keeps one segment against less urgent ones.

extension Spool where Storage: ~Copyable {
  /// What the spool takes on disk at most before the next segment is made: a segment that is written
  /// counts with what is reserved for it and with its seal, the cursor with both slots.
  var accountedBytes: UInt64 {
    var sum = deadLetters.bytes + max(cursor.bytes, cursorFileBytes)
    for log in logs {
      for segment in log.segments {
        if segment.state == .open {
          sum += UInt64(max(segment.bytes, limits.segmentBytes)) + sealBytes(segment)
        } else {
          sum += UInt64(segment.bytes)
        }
      }
    }
    return sum
  }

  private func sealBytes(_ segment: Segment) -> UInt64 {
    var sum = frameOverheadBytes + 4
    for stream in streams where stream.logClass == Int(segment.header.logClass) {
      sum += 1 + tableEntryFixedBytes + stream.stream.name.count
    }
    return UInt64(sum)
  }

  /// Makes room for one more segment, or throws `full`.
  mutating func makeRoom(for logClass: Int) throws(StorageError) {
    if hasSettledSegments { try freeSettledSegments() }
    let needed = limits.nextSegmentBytes
    let wanted = needed + limits.thinBytes
    if accountedBytes + wanted > limits.totalBytes { try freeDrainedSegments(for: logClass) }
    while accountedBytes + wanted > limits.totalBytes, !isMutated(.ignoreDiskLimit) {
      guard try dropOldestSegment(for: logClass) else { throw .full }
    }
    // When others fill the file system, the spool gives up as much as it takes, not everything.
    var isRoom = try storage.freeBytes() >= limits.freeFloorBytes + needed
    if !isRoom {
      guard try isDroppingEnough(for: logClass) else { throw .full }
    }
    for _ in 0..<2 where !isRoom {
      guard try dropOldestSegment(for: logClass) else { throw .full }
      isRoom = try storage.freeBytes() >= limits.freeFloorBytes + needed
    }
  }

  /// An open segment takes its whole size. Where another class wants that, one with nothing left to
  /// deliver goes: else classes that are idle would keep out one that is not, for good.
  private mutating func freeDrainedSegments(for logClass: Int) throws(StorageError) {
    for other in logs.indices where other != logClass && logs[other].hasOpenSegment {
      let last = logs[other].segments.count - 1
      guard logs[other].segments[last].remaining == 0 else { continue }
      logs[other].segments[last].state = .closed
      hasSettledSegments = true
    }
    if hasSettledSegments { try freeSettledSegments() }
  }

  /// False: no segment may go for this class.
  mutating func dropOldestSegment(for logClass: Int) throws(StorageError) -> Bool {
    guard let victim = victim(for: logClass) else { return false }
    for entry in logs[victim.logClass].segments[victim.index].entries.indices {
      dropRange(victim, entry: entry, reason: .space)
    }
    hasSettledSegments = true
    try freeSettledSegments()
    return true
  }

  /// Whether there is room for a segment when two have gone; else they would be given up in vain.
  mutating func isDroppingEnough(for logClass: Int) throws(StorageError) -> Bool {
    var (sum, left) = (try storage.freeBytes(), 2)
    for candidate in (logClass..<4).reversed() {
      let kept = candidate == logClass ? 0 : 1
      for segment in logs[candidate].segments.dropLast(kept).prefix(left)
      where segment.state == .closed {
        sum += UInt64(segment.bytes)
        left -= 1
      }
    }
    return sum >= limits.nextSegmentBytes
  }

  func victim(for logClass: Int) -> SegmentPlace? {
    for candidate in (logClass..<4).reversed() {
      let log = logs[candidate]
      let kept = candidate == logClass ? 0 : 1
      guard log.segments.count > kept, log.segments[0].state == .closed else { continue }
      return SegmentPlace(logClass: candidate, index: 0)
    }
    // A class that has nothing yet gets its one segment even from a more urgent one, which keeps one.
    guard logs[logClass].segments.isEmpty else { return nil }
    for candidate in (0..<logClass).reversed() where logs[candidate].segments.count > 1 {
      return SegmentPlace(logClass: candidate, index: 0)
    }
    return nil
  }
}
