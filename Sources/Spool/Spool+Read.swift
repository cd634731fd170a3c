import Primitives

extension Spool where Storage: ~Copyable {
  /// The next record that the reader has not been given and that is not settled. A `sync` stream's
  /// must be on disk; a `spill` stream's may still be in memory. What has expired is dropped with a
  /// report.
  public mutating func next(
    stream: Int, into record: inout SpooledRecord, clocks: Clocks
  ) -> Bool {
    self.clocks = clocks
    while streams[stream].readThrough < streams[stream].onDisk {
      switch readFromDisk(stream, into: &record) {
      case .record: return true
      case .again: continue
      case .unreadable: return false
      case .none: skip(stream, to: streams[stream].onDisk)
      }
    }
    return !streams[stream].isSync && readFromTail(stream, into: &record)
  }

  private enum DiskRead { case record, again, unreadable, none }

  /// There is nothing to deliver up to and with `sequence`.
  private mutating func skip(_ stream: Int, to sequence: UInt64) {
    let start = streams[stream].readThrough + 1
    guard sequence >= start else { return }
    streams[stream].settled.settle(start, sequence)
    streams[stream].readThrough = sequence
  }

  /// The record was handed out; what lies between it and the one before does not exist.
  private mutating func advance(_ stream: Int, to sequence: UInt64) {
    if sequence > streams[stream].readThrough + 1 { skip(stream, to: sequence - 1) }
    streams[stream].readThrough = sequence
  }

  // MARK: Memory

  private mutating func readFromTail(_ stream: Int, into record: inout SpooledRecord) -> Bool {
    let logClass = streams[stream].logClass
    var place = max(streams[stream].tailReader, logs[logClass].tail.first)
    while place < logs[logClass].tail.end {
      let entry = logs[logClass].tail[place]
      place += 1
      guard entry.stream == stream, entry.state == .waiting,
        entry.sequence > streams[stream].readThrough
      else { continue }
      streams[stream].tailReader = place
      if isExpired(stream, time: entry.time, quality: entry.quality) {
        dropFromTail(logClass, place - 1, reason: .expired)
        continue
      }
      logs[logClass].tail.copy(place - 1, into: &record)
      advance(stream, to: entry.sequence)
      return true
    }
    streams[stream].tailReader = place
    return false
  }

  private func isExpired(_ stream: Int, time: Int64, quality: ClockQuality) -> Bool {
    let ttl = streams[stream].stream.ttl.nanoseconds
    guard ttl > 0, clocks.quality != .unsynced, quality != .unsynced else { return false }
    return time < clocks.wall.nanoseconds &- ttl
  }

  // MARK: Disk

  private mutating func readFromDisk(
    _ stream: Int, into record: inout SpooledRecord
  ) -> DiskRead {
    guard let place = readingSegment(stream) else { return .none }
    if dropIfExpired(stream, place) { return .again }
    let segment = logs[place.logClass].segments[place.index]
    var position = ReadPosition(
      logClass: place.logClass, number: segment.header.number,
      frame: UInt32(segmentHeaderBytes), record: 0)
    if let last = streams[stream].position, last.logClass == place.logClass,
      last.number == position.number
    {
      position = last
    }
    do throws(StorageError) {
      let found = try read(stream, place, &position, into: &record)
      streams[stream].position = position
      logs[place.logClass].segments[place.index].readFailures = 0
      if found { return .record }
      // Nothing more of this stream in the segment.
      if let entry = segment.entry(of: stream) {
        skip(stream, to: max(streams[stream].readThrough, segment.entries[entry].highest))
      }
      streams[stream].position = nil
      return .again
    } catch {
      return readFailed(place, error)
    }
  }

  /// A disk that cannot read is asked again; after three times, or when the file is gone, what it
  /// held is lost.
  private mutating func readFailed(_ place: SegmentPlace, _ error: StorageError) -> DiskRead {
    logs[place.logClass].segments[place.index].readFailures += 1
    guard error == .missing || logs[place.logClass].segments[place.index].readFailures >= 3 else {
      return .unreadable
    }
    counters.corruptFrames += 1
    for entry in logs[place.logClass].segments[place.index].entries.indices {
      dropRange(place, entry: entry, reason: .corrupt)
    }
    if logs[place.logClass].segments[place.index].state == .open {
      logs[place.logClass].segments[place.index].state = .closed
    }
    hasSettledSegments = true
    return .again
  }

  /// The segment that holds the stream's next record: the one it is in, else the one with the lowest
  /// number beyond what was read.
  private func readingSegment(_ stream: Int) -> SegmentPlace? {
    let through = streams[stream].readThrough
    if let position = streams[stream].position,
      let index = logs[position.logClass].index(of: position.number),
      holds(logs[position.logClass].segments[index], stream, above: through) != nil
    {
      return SegmentPlace(logClass: position.logClass, index: index)
    }
    var best: SegmentPlace?
    var lowest = UInt64.max
    for logClass in logs.indices {
      for index in logs[logClass].segments.indices {
        if let first = holds(logs[logClass].segments[index], stream, above: through),
          first < lowest
        {
          lowest = first
          best = SegmentPlace(logClass: logClass, index: index)
        }
      }
    }
    return best
  }

  private func holds(_ segment: Segment, _ stream: Int, above through: UInt64) -> UInt64? {
    guard let index = segment.entry(of: stream) else { return nil }
    let entry = segment.entries[index]
    guard entry.remaining > 0, entry.highest > through else { return nil }
    return max(entry.totals.first, through + 1)
  }

  /// Drops all that a segment holds of a stream at once when even its latest record has expired.
  private mutating func dropIfExpired(_ stream: Int, _ place: SegmentPlace) -> Bool {
    let segment = logs[place.logClass].segments[place.index]
    guard let entry = segment.entry(of: stream) else { return false }
    let totals = segment.entries[entry].totals
    guard !totals.hasUntrustedTimes, streams[stream].readThrough < totals.first,
      isExpired(stream, time: totals.to, quality: .synced)
    else { return false }
    dropRange(place, entry: entry, reason: .expired)
    skip(stream, to: segment.entries[entry].highest)
    return true
  }

  /// Reads on from `position` until a record of the stream comes; false at the segment's end.
  private mutating func read(
    _ stream: Int, _ place: SegmentPlace, _ position: inout ReadPosition,
    into record: inout SpooledRecord
  ) throws(StorageError) -> Bool {
    while true {
      let segment = logs[place.logClass].segments[place.index]
      guard let held = segment.entry(of: stream) else { return false }
      let highest = segment.entries[held].highest
      let found = try probe(
        segment.file, segment.header, at: position.frame, end: segment.bytes)
      switch found {
      case .end, .seal: return false
      case .damaged(_, let next):
        if !segment.isScanned { try rescan(place) }
        position.frame = next
        position.record = 0
      case .frame(let slot, let next):
        if read(stream, upTo: highest, slot, &position.record, into: &record) { return true }
        position.frame = next
        position.record = 0
      }
    }
  }

  /// Reads on in a frame; `place` counts from the start of its records.
  private mutating func read(
    _ stream: Int, upTo highest: UInt64, _ slot: Int, _ place: inout Int,
    into record: inout SpooledRecord
  ) -> Bool {
    guard let index = tableIndex(stream, slot), let header = slots[slot].header else {
      return false
    }
    while let view = slots[slot].record(at: &place) {
      guard view.tableIndex == index else { continue }
      let sequence = slots[slot].sequence(view)
      guard sequence > streams[stream].readThrough,
        sequence <= min(highest, streams[stream].assigned),
        !streams[stream].settled.contains(sequence)
      else { continue }
      let time = slots[slot].time(view)
      advance(stream, to: sequence)
      if isExpired(stream, time: time, quality: view.quality) {
        drop(stream, sequence, time: time, reason: .expired)
        continue
      }
      slots[slot].copy(view, into: &record)
      record.isBacklog = isBacklog(stream, sequence, wall: header.wall)
      return true
    }
    return false
  }

  private mutating func drop(
    _ stream: Int, _ sequence: UInt64, time: Int64, reason: DropReason
  ) {
    guard let place = settle(stream, sequence) else { return }
    var gap = gapReport(stream, sequence, sequence, reason)
    gap.epoch = place.epoch
    gap.from = WallTime(nanoseconds: time)
    gap.to = gap.from
    report(gap)
  }

  private func tableIndex(_ stream: Int, _ slot: Int) -> Int? {
    for index in slots[slot].table.indices where slots[slot].table[index].stream == stream {
      return slots[slot].table[index].last > streams[stream].readThrough ? index : nil
    }
    return nil
  }

  private func isBacklog(_ stream: Int, _ sequence: UInt64, wall: Int64) -> Bool {
    if sequence <= streams[stream].recovered || !streams[stream].isSync { return true }
    return clocks.wall.nanoseconds &- wall > limits.commitInterval.nanoseconds
  }
}
