import Primitives

// What is given up - a segment for space or damage, memory for room - may hold records that a reader
// has and that are on their way. Those are not dropped: they may well arrive. They are lent: counted
// as waiting, settled like all others, and reported only when their reader gives them up, too.

extension Spool where Storage: ~Copyable {
  /// What a segment still holds of a stream goes at once, with one report, but for what is lent.
  mutating func dropRange(_ place: SegmentPlace, entry: Int, reason: DropReason) {
    let segment = logs[place.logClass].segments[place.index]
    let held = segment.entries[entry]
    guard held.remaining > 0 else { return }
    let stream = held.totals.stream
    let epoch = segment.header.epoch
    let whole = SequenceRange(first: held.totals.first, last: held.highest)
    let lent = lend(
      stream, whole, segment.sieve(entry), bytes: held.remainingBytes, of: held.remaining,
      epoch: epoch, reason: reason)
    logs[place.logClass].segments[place.index].entries[entry].settleAll()
    var gap = gapReport(stream, whole.last, whole.last, reason)
    let open = settleUnread(stream, whole, &gap)
    gap.epoch = epoch
    // A segment that could not be read when it was counted says more than there is.
    gap.count = min(UInt64(held.remaining) - min(lent, UInt64(held.remaining)), open)
    gap.from = WallTime(nanoseconds: held.totals.from)
    gap.to = WallTime(nanoseconds: held.totals.to)
    report(gap)
    cursor.isStale = true
    if segment.state == .closed,
      logs[place.logClass].segments[place.index].remaining == 0
    {
      hasSettledSegments = true
    }
  }

  /// What no reader has of a range is settled: how many numbers of it that were, and where.
  mutating func settleUnread(
    _ stream: Int, _ whole: SequenceRange, _ gap: inout GapReport
  ) -> UInt64 {
    var open: UInt64 = 0
    for range in unreadRanges(stream, whole) {
      open += streams[stream].settled.unsettled(range.first, range.last)
      gap.first = min(gap.first, max(range.first, streams[stream].settled.through + 1))
      gap.last = range.last
      // Nothing older is left of the stream, unless it changed its class.
      streams[stream].settled.settle(range.first, range.last)
    }
    gap.first = min(gap.first, gap.last)
    return open
  }

  /// One record that waits in memory loses its place there while it is on its way.
  mutating func lendFromTail(_ entry: TailEntry, reason: DropReason) {
    let range = SequenceRange(first: entry.sequence, last: entry.sequence)
    lend(
      entry.stream, LentRange(range: range, epoch: entry.epoch, reason: reason), records: 1,
      bytes: UInt64(entry.payloadBytes))
  }

  /// Whether a reader has the record, settled or not.
  func wasRead(_ stream: Int, _ sequence: UInt64) -> Bool {
    if sequence <= streams[stream].ordered.through { return true }
    guard let live = streams[stream].live else { return false }
    return sequence > live.start && sequence <= live.reader.through
  }

  func isLent(_ stream: Int, _ sequence: UInt64) -> Bool {
    streams[stream].lent.contains { $0.range.first <= sequence && sequence <= $0.range.last }
  }

  /// What readers have of a range is lent from now on. How many records that are; `count` of the segment
  /// have so many bytes together.
  @inline(never)
  mutating func lend(
    _ stream: Int, _ whole: SequenceRange, _ sieve: Sieve, bytes: UInt32, of count: UInt32,
    epoch: UInt64, reason: DropReason
  ) -> UInt64 {
    var sum: UInt64 = 0
    for var range in readRanges(stream, whole) {
      while range.first < range.last, !sieve.keeps(range.last) { range.last -= 1 }
      let open = sieve.open(range.first, range.last, streams[stream].settled)
      let records = open - min(lentOpen(stream, range.first, range.last), open)
      let share = UInt64(bytes) * records / UInt64(max(count, 1))
      let lent = LentRange(range: range, epoch: epoch, reason: reason, level: sieve.level)
      lend(stream, lent, records: records, bytes: share)
      sum += records
    }
    return sum
  }

  private mutating func lend(
    _ stream: Int, _ lent: LentRange, records: UInt64, bytes: UInt64
  ) {
    guard records > 0 else { return }
    streams[stream].lentRecords += records
    streams[stream].lentBytes += bytes
    if let last = streams[stream].lent.indices.last {
      let before = streams[stream].lent[last]
      // Ranges that follow each other become one: their number stays that of what is on its way.
      if before.epoch == lent.epoch, before.reason == lent.reason, before.level | lent.level == 0,
        before.range.last < lent.range.first,
        streams[stream].settled.unsettled(before.range.last + 1, lent.range.first - 1) == 0
      {
        streams[stream].lent[last].range.last = lent.range.last
        return
      }
    }
    streams[stream].lent.append(lent)
  }

  /// Nil: the record is not lent.
  mutating func settleLent(_ stream: Int, _ sequence: UInt64) -> Settled? {
    for lent in streams[stream].lent
    where lent.range.first <= sequence && sequence <= lent.range.last {
      let stretch = lent.sieve.stretch(around: sequence)
      streams[stream].settled.settle(stretch.first, stretch.last)
      streams[stream].lentBytes -= streams[stream].lentBytes / streams[stream].lentRecords
      streams[stream].lentRecords -= 1
      if streams[stream].lentRecords == 0 {
        streams[stream].lentBytes = 0
        streams[stream].lent.removeAll(keepingCapacity: true)
      }
      cursor.isStale = true
      return Settled(epoch: lent.epoch, time: nil)
    }
    return nil
  }

  /// What the cursor's entry has no room for. The cursor has it as settled, with a gap for each: as one range
  /// it would name records that are not lent, and others under an epoch that is not theirs.
  func lentBeyondEntry(_ stream: Int) -> ArraySlice<LentRange> {
    streams[stream].lent.dropFirst(CursorEntry.lentMax)
  }

  /// Nobody has the lent records any more.
  mutating func dropLent(_ stream: Int) {
    for lent in streams[stream].lent { reportLent(stream, lent) }
    streams[stream].lent.removeAll(keepingCapacity: true)
    streams[stream].lentRecords = 0
    streams[stream].lentBytes = 0
  }

  /// Nobody has the records of a lent range any more, of this run or of one before.
  mutating func reportLent(_ stream: Int, _ lent: LentRange) {
    report(gapReport(stream, lent))
    streams[stream].settled.settle(lent.range.first, lent.range.last)
    cursor.isStale = true
  }

  func gapReport(_ stream: Int, _ lent: LentRange) -> GapReport {
    var gap = gapReport(stream, lent.range.first, lent.range.last, lent.reason)
    gap.count = lent.sieve.open(lent.range.first, lent.range.last, streams[stream].settled)
    gap.epoch = lent.epoch
    return gap
  }

  /// How many of these numbers are lent.
  func lentOpen(_ stream: Int, _ first: UInt64, _ last: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for lent in streams[stream].lent where lent.range.first <= last && first <= lent.range.last {
      sum += lent.sieve.open(
        max(first, lent.range.first), min(last, lent.range.last), streams[stream].settled)
    }
    return sum
  }

  /// The parts of a range that a reader has been through.
  func readRanges(_ stream: Int, _ whole: SequenceRange) -> [SequenceRange] {
    // What was read without the directory has numbers of its own.
    guard !disk.isBlind else { return [] }
    var ranges: [SequenceRange] = []
    let through = min(whole.last, streams[stream].ordered.through)
    if whole.first <= through { ranges.append(SequenceRange(first: whole.first, last: through)) }
    if let live = streams[stream].live {
      let first = max(whole.first, live.start + 1)
      let last = min(whole.last, live.reader.through)
      if first <= last { ranges.append(SequenceRange(first: first, last: last)) }
    }
    return ranges
  }

  /// The other parts.
  private func unreadRanges(_ stream: Int, _ whole: SequenceRange) -> [SequenceRange] {
    var ranges: [SequenceRange] = []
    var first = whole.first
    for range in readRanges(stream, whole) {
      if first < range.first { ranges.append(SequenceRange(first: first, last: range.first - 1)) }
      first = range.last + 1
    }
    if first <= whole.last { ranges.append(SequenceRange(first: first, last: whole.last)) }
    return ranges
  }
}
