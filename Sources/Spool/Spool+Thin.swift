import Primitives

// Thinning. When the room for telemetry comes to its end, four neighbouring segments of one level become one of
// the next level, with one record of four, as in a round-robin database: new records take half of the
// room, the next quarter holds one of 4, the next eighth one of 16, the rest one of 64.
//
// First the cursor says which numbers may be missing. Then the new segment is written, sealed and synced,
// and so is the directory: from here on it counts. Then the four are removed, as segments are from which
// everything was delivered. A start finds out how far that went: see `finishThinning`.

/// What becomes of one stream's records in segments that are thinned.
struct ThinnedStream {
  var stream: Int
  /// What the segments stand for together.
  var range: SequenceRange
  var from: Int64
  var to: Int64
  var kept: UInt32 = 0
  var dropped: UInt64 = 0
  /// The last record that was looked at.
  var seen: UInt64 = 0
  /// While it is written: how many were, and up to where they stand for what was left out.
  var written: UInt32 = 0
  var covered: UInt64 = 0
}

/// Segments whose place another one takes.
struct ThinGroup {
  var places: Range<Int>
  /// Of the one that takes it.
  var level: UInt8
  var streams: [ThinnedStream] = []
  /// No more than the new file will have.
  var bytes: UInt64 = 0
  /// In the frame that is being filled; 0: there is none.
  var fill = 0
  /// The commit that wrote the first record of that frame.
  var wall: Int64 = 0
  var quality = ClockQuality.unsynced

  var isEmpty: Bool { !streams.contains { $0.kept > 0 } }

  func index(of stream: Int) -> Int? {
    for index in streams.indices where streams[index].stream == stream { return index }
    return nil
  }
}

extension Spool where Storage: ~Copyable {
  /// Thins one group of segments when the next turn may need the room. What cannot be thinned stays as it
  /// is until it is dropped.
  mutating func thin() {
    mayThin = false
    let turn = min(UInt64(limits.tailBytesMax), limits.totalBytes / 8)
    let wanted = limits.nextSegmentBytes + limits.thinBytes + turn
    // While there is bulk it goes first.
    guard accountedBytes + wanted > limits.totalBytes, victim(for: 2)?.logClass == telemetryClass,
      var group = groupToThin()
    else { return }
    do throws(StorageError) {
      while try !survey(&group) {
        // A few large records: fewer segments at once.
        guard group.places.count > 2 else { return }
        group.places = group.places.lowerBound..<(group.places.upperBound - 1)
      }
      try replace(&group)
      mayThin = true
    } catch {
      // The next segment that is made gives another chance.
      cursor.isStale = true
    }
  }

  // MARK: Which

  /// Of the least level that has more than its share, the oldest neighbours.
  private func groupToThin() -> ThinGroup? {
    var counts = [0, 0, 0, 0]
    for segment in logs[telemetryClass].segments { counts[Int(segment.header.level)] += 1 }
    var share = logs[telemetryClass].segments.count
    for level in 0..<Int(Sieve.levelMax) {
      if counts[level] >= groupSize, 2 * counts[level] > share {
        var start = 0
        while start + groupSize <= logs[telemetryClass].segments.count {
          let group = ThinGroup(places: start..<(start + groupSize), level: UInt8(level) + 1)
          if isThinnable(group) { return group }
          start += 1
        }
      }
      share -= counts[level]
    }
    return nil
  }

  /// Closed segments of one level and epoch, none of whose records is on its way.
  private func isThinnable(_ group: ThinGroup) -> Bool {
    let segments = logs[telemetryClass].segments
    let first = segments[group.places.lowerBound].header
    let last = segments[group.places.upperBound - 1].header
    guard last.number - first.number + first.span <= SegmentHeader.spanMax else { return false }
    for index in group.places {
      let segment = segments[index]
      guard segment.state == .closed, segment.header.level + 1 == group.level,
        segment.header.epoch == first.epoch, segment.remaining > 0
      else { return false }
      for entry in segment.entries.indices {
        let (stream, sieve) = (segment.entries[entry].totals.stream, segment.sieve(entry))
        guard sieve.range.first <= sieve.range.last else { continue }
        for read in readRanges(stream, sieve.range)
        where sieve.open(read.first, read.last, streams[stream].settled) > 0 { return false }
      }
    }
    return !described(group).contains { isElsewhere($0) }
  }

  /// Whether another class has records between those of a stream that changed its class.
  private func isElsewhere(_ thinned: ThinnedStream) -> Bool {
    for other in logs.indices where other != telemetryClass {
      for segment in logs[other].segments {
        guard let entry = segment.entry(of: thinned.stream) else { continue }
        let totals = segment.entries[entry].totals
        if totals.first <= thinned.range.last, totals.last >= thinned.range.first { return true }
      }
    }
    return false
  }

  /// The streams of the group, as their entries have them together.
  private func described(_ group: ThinGroup) -> [ThinnedStream] {
    var found = ThinGroup(places: group.places, level: group.level)
    for place in group.places {
      for entry in logs[telemetryClass].segments[place].entries {
        // Nothing of it is read here: all was written again, to the next segment.
        guard entry.totals.first <= entry.highest else { continue }
        let index = found.index(of: entry.totals.stream) ?? found.streams.count
        if index == found.streams.count {
          found.streams.append(
            ThinnedStream(
              stream: entry.totals.stream,
              range: SequenceRange(first: entry.totals.first, last: entry.highest),
              from: entry.totals.from, to: entry.totals.to))
        }
        found.streams[index].range.last = max(found.streams[index].range.last, entry.highest)
        found.streams[index].from = min(found.streams[index].from, entry.totals.from)
        found.streams[index].to = max(found.streams[index].to, entry.totals.to)
      }
    }
    return found.streams
  }

  // MARK: How

  /// Counts what is kept and what is not. False: that takes more room than there is, or than it frees.
  private mutating func survey(_ group: inout ThinGroup) throws(StorageError) -> Bool {
    group.streams = described(group)
    group.bytes = UInt64(segmentHeaderBytes)
    var table = frameOverheadBytes
    for thinned in group.streams {
      table += 1 + tableEntryFixedBytes + streams[thinned.stream].stream.name.count
    }
    // Frames and a seal with all streams in each.
    var draft = Segment(
      header: logs[telemetryClass].segments[group.places.lowerBound].header, state: .closed,
      bytes: 0)
    try sift(&group, into: &draft, isDraft: true)
    group.bytes += UInt64((Int(draft.frames) + 1) * table + 4)
    var freed: UInt64 = 0
    for place in group.places { freed += UInt64(logs[telemetryClass].segments[place].bytes) }
    return group.bytes < freed && accountedBytes + group.bytes <= limits.totalBytes
  }

  private mutating func replace(_ group: inout ThinGroup) throws(StorageError) {
    let segments = logs[telemetryClass].segments
    let first = segments[group.places.lowerBound].header
    var made = Segment(
      header: segments[group.places.upperBound - 1].header, state: .closed, bytes: 0)
    made.header.level = group.level
    made.header.span = made.header.number - first.number + first.span
    made.header.salt = UInt32(truncatingIfNeeded: random.next())
    var gaps: [GapReport] = []
    for thinned in group.streams where thinned.dropped > 0 {
      gaps.append(gap(thinned, epoch: first.epoch))
    }
    if !group.isEmpty { try write(&made, group, gaps) }
    for gap in gaps {
      counters.thinned += gap.count
      report(gap)
    }
    for thinned in group.streams where thinned.kept == 0 {
      streams[thinned.stream].settled.settle(thinned.range.first, thinned.range.last)
    }
    for place in group.places {
      for entry in segments[place].entries.indices {
        logs[telemetryClass].segments[place].entries[entry].settleAll()
      }
    }
    if !group.isEmpty {
      hasThinned = true
      logs[telemetryClass].segments.insert(made, at: group.places.upperBound)
    }
    hasSettledSegments = true
    // Where readers stood in the old files.
    for index in streams.indices {
      streams[index].ordered.position = nil
      streams[index].reader.position = nil
      streams[index].live?.reader.position = nil
    }
  }

  private func gap(_ thinned: ThinnedStream, epoch: UInt64) -> GapReport {
    let range = thinned.range
    let first = max(range.first, streams[thinned.stream].settled.through + 1)
    var gap = gapReport(thinned.stream, min(first, range.last), range.last, .space)
    gap.epoch = epoch
    gap.count = thinned.dropped
    gap.from = WallTime(nanoseconds: thinned.from)
    gap.to = WallTime(nanoseconds: thinned.to)
    return gap
  }

  /// Writes the new segment, after a cursor with what it leaves out. Should it be found at the next start
  /// although this failed, that is named.
  private mutating func write(
    _ made: inout Segment, _ group: ThinGroup, _ gaps: [GapReport]
  ) throws(StorageError) {
    guard try storage.freeBytes() >= limits.freeFloorBytes + group.bytes else { throw .full }
    // A crash before the new segment counts leaves the records: nobody knows which will be missing.
    for gap in gaps {
      thinning.append(gap)
      thinning[thinning.count - 1].isUpperBound = true
    }
    defer { thinning = [] }
    try writeCursor()
    do throws(StorageError) {
      try storage.create(made.file, reserving: 0)
      output.removeAll(keepingCapacity: true)
      made.header.encode(into: &output)
      var group = group
      try sift(&group, into: &made, isDraft: false)
      encodeSeal(of: made)
      try append(to: &made)
      try storage.sync(made.file)
      try storage.syncDirectory()
    } catch {
      do throws(StorageError) {
        try removeFile(made.file)
        try storage.syncDirectory()
      } catch {
        counters.filesLeft += 1
        unsyncable.append(made.file)
        for gap in thinning { report(gap) }
      }
      throw error
    }
  }
}

let telemetryClass = 2
/// So many segments become one.
private let groupSize = 4
