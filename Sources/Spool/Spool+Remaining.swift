import Primitives

extension Spool where Storage: ~Copyable {
  /// What each segment still has to deliver, now that it is known what is settled.
  mutating func countRemaining() {
    for logClass in logs.indices {
      closeIfLeft(logClass)
      // What a segment has in common with a later one is read there: its own sync had failed.
      var next: [UInt64] = Array(repeating: .max, count: streams.count)
      for index in logs[logClass].segments.indices.reversed() {
        for entry in logs[logClass].segments[index].entries.indices {
          let totals = logs[logClass].segments[index].entries[entry].totals
          logs[logClass].segments[index].entries[entry].highest = min(
            totals.last, next[totals.stream] - 1)
          countEntry(SegmentPlace(logClass: logClass, index: index), entry)
          next[totals.stream] = min(next[totals.stream], totals.first)
        }
        let segment = logs[logClass].segments[index]
        if segment.state == .closed, segment.remaining == 0 { hasSettledSegments = true }
      }
    }
  }

  /// A segment takes no more when another class has later records of one of its streams, which was in
  /// that class for a while: their numbers would lie between those here, and a reader goes through one
  /// segment after the other.
  private mutating func closeIfLeft(_ logClass: Int) {
    guard let segment = logs[logClass].segments.last, segment.state == .open else { return }
    for entry in segment.entries {
      for other in logs.indices where other != logClass {
        for later in logs[other].segments {
          guard let index = later.entry(of: entry.totals.stream),
            later.entries[index].totals.last > entry.totals.last
          else { continue }
          logs[logClass].segments[logs[logClass].segments.count - 1].state = .closed
          return
        }
      }
    }
  }

  private mutating func countEntry(_ place: SegmentPlace, _ index: Int) {
    var entry = logs[place.logClass].segments[place.index].entries[index]
    let totals = entry.totals
    let open =
      totals.first <= entry.highest
      ? streams[totals.stream].settled.unsettled(totals.first, entry.highest) : 0
    let span = totals.last - totals.first + 1
    if open == span { return }
    if open == 0 {
      entry.settleAll()
    } else {
      // Where no number was left out, what is not settled is there; else it is counted.
      entry.remaining =
        UInt64(totals.count) == span
        ? UInt32(open) : countRecords(place, totals, upTo: entry.highest)
      entry.remainingBytes = UInt32(
        UInt64(totals.bytes) * UInt64(entry.remaining) / UInt64(max(totals.count, 1)))
    }
    logs[place.logClass].segments[place.index].entries[index] = entry
  }

  /// Some numbers were never written: they are counted one by one. That concerns one segment of a
  /// stream, the one its reader stands in.
  mutating func countRecords(
    _ place: SegmentPlace, _ totals: StreamTotals, upTo highest: UInt64
  ) -> UInt32 {
    let segment = logs[place.logClass].segments[place.index]
    var count: UInt32 = 0
    var offset = UInt32(segmentHeaderBytes)
    do throws(StorageError) {
      while true {
        switch try probe(segment.file, segment.header, at: offset, end: segment.bytes) {
        case .end, .seal: return min(count, totals.count)
        case .damaged(_, let next):
          // What is lost there is not named yet. A count without it would reach zero before the reader gets
          // there and names it, and the segment would be freed.
          guard segment.damagedAt.contains(offset) else { return totals.count }
          offset = next
        case .frame(let slot, let next):
          count += countRecords(slot, stream: totals.stream, upTo: highest)
          offset = next
        }
      }
    } catch {
      return totals.count
    }
  }

  private func countRecords(_ slot: Int, stream: Int, upTo highest: UInt64) -> UInt32 {
    var count: UInt32 = 0
    for index in slots[slot].table.indices where slots[slot].table[index].stream == stream {
      var place = 0
      while let view = slots[slot].record(at: &place) {
        let sequence = slots[slot].sequence(view)
        if view.tableIndex == index, sequence <= highest,
          !streams[stream].settled.contains(sequence)
        {
          count += 1
        }
      }
    }
    return count
  }
}
