import Primitives

// Numbers of the last run that nothing is known of, and the directory that comes back to a run that began without
// it.

extension Spool where Storage: ~Copyable {
  /// Numbers that were reserved and may have been given out when the last run ended without notice.
  mutating func reportUnaccounted(_ index: Int, from first: UInt64, to last: UInt64) {
    guard first <= last else { return }
    var gap = gapReport(index, first, last, .memory)
    gap.epoch = cursor.epoch
    gap.isUpperBound = true
    report(gap)
    streams[index].settled.settle(first, last)
    cursor.isStale = true
  }

  /// The directory came back while the daemon ran without it: what is on disk goes first, what is in
  /// memory carries higher numbers and another epoch. What is in flight may go out twice.
  mutating func adoptMemory(_ memory: [Settlement], _ lastSeen: [UInt64]) {
    for index in streams.indices {
      let entry = streams[index].cursor
      let known = max(lastSeen[index], entry?.accounted ?? 0, streams[index].settled.through)
      let last = max(known, entry?.reserved ?? 0)
      reportUnaccounted(index, from: known + 1, to: last)
      streams[index].recovered = last
      let blindBase = disk.blindBase
      if index >= memory.count {
        streams[index].assigned = blindBase
        streams[index].reserved = .max
      }
      streams[index].onDisk = max(streams[index].onDisk, blindBase)
      let through = index < memory.count ? memory[index].through : blindBase
      streams[index].settled.settle(streams[index].recovered + 1, max(through, blindBase))
      if index < memory.count {
        for range in memory[index].ranges {
          streams[index].settled.settle(range.first, range.last)
        }
      }
      rewind(stream: index)
    }
  }
}
