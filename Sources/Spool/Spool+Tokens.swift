import Primitives

// The tokens of the newest records on disk. A source that repeats, after a crash, what it has no
// acknowledgement for repeats nothing but its newest messages; by their tokens the ones that were
// stored already are known again.

extension Spool where Storage: ~Copyable {
  /// The tokens of the records that were written last: of each class at most `count`. What cannot be
  /// read is left out, and so is what could not be synced: a power cut may take it, and nobody repeats what was
  /// acknowledged. Its records are taken again, which is no loss.
  public mutating func recentTokens(ofEachClass count: Int) -> [UInt64] {
    var tokens: [UInt64] = []
    for logClass in logs.indices {
      var newest = FixedQueue<UInt64>(capacity: count)
      for segment in logs[logClass].segments[firstOfNewest(logClass, count)...]
      where !unsyncable.contains(segment.file) {
        do throws(StorageError) {
          try readTokens(of: segment, into: &newest)
        } catch {
          counters.corruptFrames += 1
        }
      }
      while let token = newest.popFirst() { tokens.append(token) }
    }
    return tokens
  }

  /// Where the newest `count` records of a class begin.
  private func firstOfNewest(_ logClass: Int, _ count: Int) -> Int {
    let segments = logs[logClass].segments
    var first = segments.count
    var records = 0
    while first > 0, records < count {
      first -= 1
      for entry in segments[first].entries { records += Int(entry.totals.count) }
    }
    return first
  }

  private mutating func readTokens(
    of segment: Segment, into newest: inout FixedQueue<UInt64>
  ) throws(StorageError) {
    var offset = UInt32(segmentHeaderBytes)
    while true {
      switch try probe(segment.file, segment.header, at: offset, end: segment.bytes) {
      case .end, .seal: return
      case .damaged(_, let next): offset = next
      case .frame(let slot, let next):
        var place = 0
        while let view = slots[slot].record(at: &place) {
          guard view.token != 0 else { continue }
          if newest.isFull { _ = newest.popFirst() }
          _ = newest.append(view.token)
        }
        offset = next
      }
    }
  }
}
