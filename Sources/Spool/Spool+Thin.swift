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
  var segments: [Segment] = []
  /// Of the one that takes it.
  var level: UInt8
  var streams: [ThinnedStream] = []
  /// No more than the new file will have.
  var bytes: UInt64 = 0
  var kept = 0
  /// In the frame that is being filled; 0: there is none.
  var fill = 0
  /// The commit that wrote the first record of that frame.
  var wall: Int64 = 0
  var quality = ClockQuality.unsynced

  init(level: UInt8) { self.level = level }

  func index(of stream: Int) -> Int? {
    for index in streams.indices where streams[index].stream == stream { return index }
    return nil
  }

  /// The streams as the entries of all segments have them together.
  mutating func describe() {
    streams = []
    for segment in segments {
      for entry in segment.entries {
        let totals = entry.totals
        // Else nothing of it is read here: all was written again, to the next segment.
        guard totals.first <= entry.highest else { continue }
        guard let index = index(of: totals.stream) else {
          let range = SequenceRange(first: totals.first, last: entry.highest)
          streams.append(
            ThinnedStream(stream: totals.stream, range: range, from: totals.from, to: totals.to))
          continue
        }
        streams[index].range.last = max(streams[index].range.last, entry.highest)
        streams[index].from = min(streams[index].from, totals.from)
        streams[index].to = max(streams[index].to, totals.to)
      }
    }
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
    guard accountedBytes + wanted > limits.totalBytes,
      victim(for: telemetryClass)?.logClass == telemetryClass,
      var group = groupToThin()
    else { return }
    do throws(StorageError) {
      while try !survey(&group) {
        // A few large records: fewer segments at once.
        guard group.segments.count > 2 else { return }
        group.segments.removeLast()
      }
      try replace(&group)
      mayThin = true
    } catch {
      // The next segment that is made gives another chance.
      cursor.isStale = true
    }
    thinning = []
  }

  // MARK: Which

  /// Of the least level that has more than its share, the oldest neighbours.
  private func groupToThin() -> ThinGroup? {
    var share = logs[telemetryClass].segments.count
    for level in 0..<Sieve.levelMax {
      var count = 0
      var group = ThinGroup(level: level + 1)
      for segment in logs[telemetryClass].segments {
        if segment.header.level == level { count += 1 }
        guard group.segments.count < groupSize else { continue }
        if !isThinnable(segment, level) {
          group.segments = []
        } else if let first = group.segments.first?.header,
          first.epoch != segment.header.epoch
            || segment.header.number - first.number + first.span > SegmentHeader.spanMax
        {
          group.segments = [segment]
        } else {
          group.segments.append(segment)
        }
      }
      if group.segments.count == groupSize, 2 * count > share { return group }
      share -= count
    }
    return nil
  }

  /// A closed segment of the level, none of whose records is on its way, and none of whose streams has
  /// later records in another class, which might lie between those here and in the next one.
  private func isThinnable(_ segment: Segment, _ level: UInt8) -> Bool {
    guard segment.state == .closed, segment.header.level == level, segment.remaining > 0
    else { return false }
    for index in segment.entries.indices {
      let stream = segment.entries[index].totals.stream
      let sieve = segment.sieve(index)
      for read in readRanges(stream, sieve.range)
      where sieve.open(read.first, read.last, streams[stream].settled) > 0 { return false }
      for other in logs.indices where other != telemetryClass {
        for elsewhere in logs[other].segments {
          if let entry = elsewhere.entry(of: stream),
            elsewhere.entries[entry].totals.last >= sieve.range.first
          {
            return false
          }
        }
      }
    }
    return true
  }

  // MARK: How

  /// Counts what is kept and what is not. False: that takes more room than there is, or than it frees.
  private mutating func survey(_ group: inout ThinGroup) throws(StorageError) -> Bool {
    group.describe()
    group.kept = 0
    group.bytes = UInt64(segmentHeaderBytes)
    var draft = group.segments[0]
    draft.frames = 0
    try sift(&group, into: &draft, isDraft: true)
    var table = frameOverheadBytes
    for thinned in group.streams {
      table += 1 + tableEntryFixedBytes + streams[thinned.stream].stream.name.count
    }
    // Frames and a seal with all streams in each.
    group.bytes += UInt64((Int(draft.frames) + 1) * table + 4)
    var freed: UInt64 = 0
    for segment in group.segments { freed += UInt64(segment.bytes) }
    return group.bytes < freed && accountedBytes + group.bytes <= limits.totalBytes
  }

  private mutating func replace(_ group: inout ThinGroup) throws(StorageError) {
    let first = group.segments[0].header
    var made = Segment(
      header: group.segments[group.segments.count - 1].header, state: .closed, bytes: 0)
    made.header.level = group.level
    made.header.span = made.header.number - first.number + first.span
    made.header.salt = UInt32(truncatingIfNeeded: random.next())
    // A crash before the new segment counts leaves the records: nobody knows which will be missing.
    for thinned in group.streams where thinned.dropped > 0 { announce(thinned, first.epoch) }
    if group.kept > 0 { try write(&made, &group) }
    for var gap in thinning {
      gap.isUpperBound = false
      counters.thinned += gap.count
      report(gap)
    }
    for thinned in group.streams where thinned.kept == 0 {
      streams[thinned.stream].settled.settle(thinned.range.first, thinned.range.last)
    }
    var place = 0
    while logs[telemetryClass].segments[place].header != first { place += 1 }
    for index in place..<(place + group.segments.count) {
      // Freed as if everything had been delivered.
      logs[telemetryClass].segments[index].entries = []
    }
    if group.kept > 0 {
      logs[telemetryClass].segments.insert(made, at: place + group.segments.count)
    }
    hasThinned = true
    hasSettledSegments = true
    // Where readers stood in the old files.
    for index in streams.indices {
      streams[index].ordered.position = nil
      streams[index].reader.position = nil
      streams[index].live?.reader.position = nil
    }
  }

  private mutating func announce(_ thinned: ThinnedStream, _ epoch: UInt64) {
    let first = max(thinned.range.first, streams[thinned.stream].settled.through + 1)
    var gap = gapReport(
      thinned.stream, min(first, thinned.range.last), thinned.range.last, .space)
    gap.epoch = epoch
    gap.count = thinned.dropped
    gap.from = WallTime(nanoseconds: thinned.from)
    gap.to = WallTime(nanoseconds: thinned.to)
    gap.isUpperBound = true
    thinning.append(gap)
  }

  /// Writes the new segment, after a cursor with what it leaves out. Should it be found at the next start
  /// although this failed, that is named.
  private mutating func write(
    _ made: inout Segment, _ group: inout ThinGroup
  ) throws(StorageError) {
    guard try storage.freeBytes() >= limits.freeFloorBytes + group.bytes else { throw .full }
    try writeCursor()
    do throws(StorageError) {
      try storage.create(made.file, reserving: 0)
      output.removeAll(keepingCapacity: true)
      made.header.encode(into: &output)
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
        markUnsyncable(made.file)
        for gap in thinning { report(gap) }
      }
      throw error
    }
  }
}

let telemetryClass = 2
/// So many segments become one.
private let groupSize = 4
