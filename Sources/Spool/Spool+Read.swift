import Primitives

extension Spool where Storage: ~Copyable {
  /// The next record that the reader has not been given and that is not settled. A `sync` stream's
  /// must be on disk; a `spill` stream's may still be in memory. What has expired is dropped with a
  /// report. Of a stream that sends live records first this is the backlog. See `roomBytes` of a record.
  public mutating func next(
    stream: Int, into record: inout SpooledRecord, clocks: Clocks
  ) -> Bool {
    self.clocks = clocks
    if streams[stream].stream.isLiveFirst { divide(stream) }
    streams[stream].readLimit = min(streams[stream].live?.start ?? .max, vouchedFor(stream))
    streams[stream].reader = streams[stream].ordered
    let isFound = read(stream, into: &record)
    streams[stream].ordered = streams[stream].reader
    return isFound
  }

  /// The next live record of a stream that sends those first. `isIdle`: no live record that was read
  /// before is still on its way; only then can the reader leave behind, as backlog, what has become
  /// too old to be live.
  public mutating func nextLive(
    stream: Int, into record: inout SpooledRecord, isIdle: Bool, clocks: Clocks
  ) -> Bool {
    self.clocks = clocks
    divide(stream)
    guard let isLive = readLive(stream, into: &record) else { return false }
    if isLive { return true }
    guard isIdle else { return false }
    streams[stream].live = nil
    divide(stream)
    return readLive(stream, into: &record) == true
  }

  /// Whether there may be records that no reader of live ones was given.
  public func hasUnreadLive(stream: Int) -> Bool {
    let through = streams[stream].live?.reader.through ?? streams[stream].ordered.through
    return through < streams[stream].assigned
  }

  /// Nil: there is none. False: it is too old, and was not taken.
  private mutating func readLive(_ stream: Int, into record: inout SpooledRecord) -> Bool? {
    guard let live = streams[stream].live else { return nil }
    streams[stream].readLimit = .max
    streams[stream].reader = live.reader
    let isFound = read(stream, into: &record)
    if isFound, record.isBacklog { return false }
    streams[stream].live = LiveReader(start: live.start, reader: streams[stream].reader)
    return isFound ? true : nil
  }

  /// Everything that is on disk now is backlog, what comes from now on is live.
  private mutating func divide(_ stream: Int) {
    guard streams[stream].live == nil else { return }
    let state = streams[stream]
    let start = max(state.isSync ? state.assigned : state.onDisk, state.ordered.through)
    streams[stream].live = LiveReader(start: start, reader: StreamReader(through: start))
  }

  /// `reader` reads on, up to `readLimit`.
  private mutating func read(_ stream: Int, into record: inout SpooledRecord) -> Bool {
    while streams[stream].reader.through < diskLimit(stream) {
      switch readFromDisk(stream, into: &record) {
      case .record: return true
      case .again: continue
      case .unreadable: return false
      case .none: skip(stream, to: diskLimit(stream))
      }
    }
    return !streams[stream].isSync && readFromTail(stream, into: &record)
  }

  private func diskLimit(_ stream: Int) -> UInt64 {
    min(streams[stream].onDisk, streams[stream].readLimit)
  }

  private enum DiskRead { case record, again, unreadable, none }

  /// There is nothing to deliver up to and with `sequence`. What a sieve left out is settled with the
  /// records beside it: by itself it would be a range each.
  private mutating func skip(_ stream: Int, to sequence: UInt64, _ sieve: Sieve = .none) {
    let start = streams[stream].reader.through + 1
    guard sequence >= start else { return }
    if !sieve.leavesOut(start, sequence) { streams[stream].settled.settle(start, sequence) }
    streams[stream].reader.through = sequence
  }

  /// Between the records of a `sync` stream nothing is missing. Where a segment that was not thinned lacks what it
  /// tells of, and nothing looks damaged, another frame of its own stands in that one's place.
  private mutating func reportMissing(
    _ stream: Int, to sequence: UInt64, _ sieve: Sieve, epoch: UInt64
  ) {
    let first = max(streams[stream].reader.through + 1, sieve.range.first)
    let last = min(sequence, sieve.range.last)
    guard streams[stream].hasNoHoles, sieve.level == 0, first <= last,
      streams[stream].settled.unsettled(first, last) > 0
    else { return }
    counters.corruptFrames += 1
    reportCorrupt(stream, first, last, nil, epoch: epoch)
  }

  /// The record was handed out; what lies between it and the one before does not exist.
  private mutating func advance(_ stream: Int, to sequence: UInt64, _ sieve: Sieve = .none) {
    if sequence > streams[stream].reader.through + 1 { skip(stream, to: sequence - 1, sieve) }
    streams[stream].reader.through = sequence
  }

  // MARK: Memory

  private mutating func readFromTail(_ stream: Int, into record: inout SpooledRecord) -> Bool {
    let logClass = streams[stream].logClass
    var place = max(streams[stream].reader.tailPlace, logs[logClass].tail.first)
    while place < logs[logClass].tail.end {
      let entry = logs[logClass].tail[place]
      place += 1
      guard entry.stream == stream, entry.state == .waiting,
        entry.sequence > streams[stream].reader.through,
        !streams[stream].settled.contains(entry.sequence)
      else { continue }
      if entry.sequence > streams[stream].readLimit { return false }
      streams[stream].reader.tailPlace = place
      if isExpired(stream, time: entry.time, quality: entry.quality) {
        dropFromTail(logClass, place - 1, reason: .expired)
        continue
      }
      if record.refuses(entry.bytes) {
        streams[stream].reader.tailPlace = place - 1
        record.isBacklog = false
        return true
      }
      logs[logClass].tail.copy(place - 1, into: &record)
      advance(stream, to: entry.sequence)
      return true
    }
    streams[stream].reader.tailPlace = place
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
    if let again = segment.readAgainAt, clocks.now < again { return .unreadable }
    var position = ReadPosition(
      logClass: place.logClass, number: segment.header.number,
      frame: UInt32(segmentHeaderBytes), record: 0)
    if let last = streams[stream].reader.position, last.logClass == place.logClass,
      last.number == position.number
    {
      position = last
    }
    do throws(StorageError) {
      let found = try read(stream, place, &position, into: &record)
      streams[stream].reader.position = position
      logs[place.logClass].segments[place.index].readFailures = 0
      logs[place.logClass].segments[place.index].readAgainAt = nil
      if found { return .record }
      // Nothing more of this stream in the segment.
      if let entry = segment.entry(of: stream) {
        let (highest, limit) = (segment.entries[entry].highest, streams[stream].readLimit)
        let (last, sieve) = (min(highest, limit), segment.sieve(entry))
        reportMissing(stream, to: last, sieve, epoch: segment.header.epoch)
        skip(stream, to: last, highest > limit ? .none : sieve)
        correct(place, entry)
      }
      streams[stream].reader.position = nil
      return .again
    } catch {
      return readFailed(place, error)
    }
  }

  /// A segment has no more left than there are open numbers, whatever was counted when it could not be read.
  mutating func correct(_ place: SegmentPlace, _ index: Int) {
    let entry = logs[place.logClass].segments[place.index].entries[index]
    let open = logs[place.logClass].segments[place.index].sieve(index).open(
      entry.totals.first, entry.highest, streams[entry.totals.stream].settled)
    guard open < entry.remaining else { return }
    logs[place.logClass].segments[place.index].entries[index].remaining = UInt32(open)
    if open == 0 { logs[place.logClass].segments[place.index].entries[index].remainingBytes = 0 }
    if logs[place.logClass].segments[place.index].remaining == 0 { hasSettledSegments = true }
  }

  /// A disk that cannot read is left alone for a while and asked again; after three times, or when the
  /// file is gone, what it held is lost. A file that is gone with the whole directory may come back.
  private mutating func readFailed(_ place: SegmentPlace, _ error: StorageError) -> DiskRead {
    var isGone = false
    do throws(StorageError) {
      if error == .missing {
        _ = try storage.list()
        isGone = true
      }
      logs[place.logClass].segments[place.index].readFailures += 1
    } catch {
      // The whole directory is gone: that is no word about this file.
    }
    let failures = logs[place.logClass].segments[place.index].readFailures
    logs[place.logClass].segments[place.index].readAgainAt =
      clocks.now + (failures == 1 ? readAgainFirst : readAgainLater)
    guard isGone || failures >= 3 else { return .unreadable }
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
    let through = streams[stream].reader.through
    if let position = streams[stream].reader.position,
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
    guard entry.remaining > 0, entry.highest > through,
      entry.totals.first <= streams[stream].readLimit
    else { return nil }
    return max(entry.totals.first, through + 1)
  }

  /// Drops all that a segment holds of a stream at once when even its latest record has expired.
  private mutating func dropIfExpired(_ stream: Int, _ place: SegmentPlace) -> Bool {
    let segment = logs[place.logClass].segments[place.index]
    guard let entry = segment.entry(of: stream) else { return false }
    let totals = segment.entries[entry].totals
    guard !totals.hasUntrustedTimes, streams[stream].reader.through < totals.first,
      isExpired(stream, time: totals.to, quality: .synced)
    else { return false }
    dropRange(place, entry: entry, reason: .expired)
    skip(stream, to: min(segment.entries[entry].highest, streams[stream].readLimit))
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
      let sieve = segment.sieve(held)
      let found = try probe(
        segment.file, segment.header, at: position.frame, end: segment.bytes)
      switch found {
      case .end, .seal: return false
      case .damaged(_, let next):
        if !segment.damagedAt.contains(position.frame) { try rescan(place) }
        position.frame = next
        position.record = 0
      case .frame(let slot, let next):
        if read(stream, sieve, slot, &position.record, into: &record) { return true }
        position.frame = next
        position.record = 0
      }
    }
  }

  /// Reads on in a frame; `place` counts from the start of its records.
  private mutating func read(
    _ stream: Int, _ sieve: Sieve, _ slot: Int, _ place: inout Int,
    into record: inout SpooledRecord
  ) -> Bool {
    guard let index = tableIndex(stream, slot), let header = slots[slot].header else {
      return false
    }
    var start = place
    while let view = slots[slot].record(at: &place) {
      defer { start = place }
      guard view.tableIndex == index else { continue }
      let sequence = slots[slot].sequence(view)
      guard sequence > streams[stream].reader.through,
        sequence <= min(sieve.range.last, streams[stream].assigned, streams[stream].readLimit),
        !streams[stream].settled.contains(sequence)
      else { continue }
      let time = slots[slot].time(view)
      let isExpired = self.isExpired(stream, time: time, quality: view.quality)
      if !isExpired, record.refuses(view.source.count + view.subject.count + view.payload.count) {
        place = start
        record.isBacklog = false
        return true
      }
      reportMissing(stream, to: sequence - 1, sieve, epoch: header.epoch)
      advance(stream, to: sequence, sieve)
      if isExpired {
        drop(stream, sequence, time: WallTime(nanoseconds: time), reason: .expired)
        continue
      }
      slots[slot].copy(view, into: &record)
      record.isBacklog = isBacklog(stream, sequence, wall: header.wall)
      let age = Interval(nanoseconds: max(clocks.wall.nanoseconds &- header.wall, 0))
      record.waitingSince =
        record.isBacklog
        ? Instant(nanoseconds: 0) : clocks.now + (.zero - age)
      return true
    }
    return false
  }

  private func tableIndex(_ stream: Int, _ slot: Int) -> Int? {
    for index in slots[slot].table.indices where slots[slot].table[index].stream == stream {
      return slots[slot].table[index].last > streams[stream].reader.through ? index : nil
    }
    return nil
  }

  private func isBacklog(_ stream: Int, _ sequence: UInt64, wall: Int64) -> Bool {
    if sequence <= streams[stream].recovered || !streams[stream].isSync { return true }
    return clocks.wall.nanoseconds &- wall > limits.commitInterval.nanoseconds
  }
}
