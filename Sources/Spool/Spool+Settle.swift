import Primitives

// Records leave the spool: delivered, or dropped for a reason.

extension Spool where Storage: ~Copyable {
  /// The record was delivered. False: it is settled already, or never was; or it lies on disk, and there is
  /// no room to note that it has left: it counts as waiting, and is read again (see `mustRewind`).
  @discardableResult
  public mutating func acknowledge(stream: Int, sequence: UInt64, now: Instant) -> Bool {
    clocks.now = max(clocks.now, now)
    return settle(stream, sequence) != nil
  }

  /// The record will not be delivered: it is counted and reported, with its time if its reader says it.
  /// False: as for `acknowledge`.
  @discardableResult
  public mutating func discard(
    stream: Int, sequence: UInt64, reason: DropReason, time: WallTime? = nil, clocks: Clocks
  ) -> Bool {
    self.clocks = clocks
    return drop(stream, sequence, time: time, reason: reason)
  }

  /// `time`: where the place that it leaves has none.
  @discardableResult
  mutating func drop(
    _ stream: Int, _ sequence: UInt64, time: WallTime?, reason: DropReason
  ) -> Bool {
    guard let place = settle(stream, sequence) else { return false }
    var gap = gapReport(stream, sequence, sequence, reason)
    gap.epoch = place.epoch
    gap.from = place.time ?? time
    gap.to = gap.from
    report(gap)
    if place.isAwaited { holdBack(stream, sequence) }
    return true
  }

  /// The source is not told that it may forget the record before the report of its loss is in the cursor.
  mutating func holdBack(_ stream: Int, _ sequence: UInt64) {
    let before = streams[stream].droppedAwaited
    streams[stream].droppedAwaited = SequenceRange(
      first: min(before?.first ?? sequence, sequence), last: max(before?.last ?? 0, sequence))
    cursor.isUrgent = true
  }

  /// The readers go back to the first record that is not settled. What only they had is reported.
  public mutating func rewind(stream: Int) {
    if isMutated(.forgetRewind) { return }
    dropLent(stream)
    streams[stream].ordered = StreamReader(through: streams[stream].settled.through)
    streams[stream].live = nil
    streams[stream].settled.isIncomplete = false
  }

  /// Whether records that a reader has passed are still to be read, for want of room to note that they had
  /// left: when none is on its way any more, readers go back.
  public func mustRewind(stream: Int) -> Bool { streams[stream].settled.isIncomplete }

  /// Whether readers can go back without the loss of anything that only they have.
  public func mayRewind(stream: Int) -> Bool { streams[stream].lentRecords == 0 }

  /// Whether the record was given out and is neither delivered nor dropped.
  func isOpen(_ stream: Int, _ sequence: UInt64) -> Bool {
    sequence > 0 && sequence <= streams[stream].assigned
      && !streams[stream].settled.contains(sequence)
  }

  struct Settled {
    var epoch: UInt64
    var time: WallTime?
    /// It was in memory only, and its source waits for it.
    var isAwaited = false
  }

  /// Nil: there is no such record, or not any more.
  mutating func settle(_ stream: Int, _ sequence: UInt64) -> Settled? {
    guard isOpen(stream, sequence) else { return nil }
    if streams[stream].lentRecords > 0, let lent = settleLent(stream, sequence) { return lent }
    if sequence <= streams[stream].onDisk {
      guard let place = findOnDisk(stream, sequence) else { return nil }
      let segment = logs[place.logClass].segments[place.segment]
      let sieve = segment.sieve(place.entry)
      // What was left out around it goes with it, and with the last one all.
      let stretch =
        segment.entries[place.entry].remaining == 1 && sieve.level > 0
        ? sieve.range : sieve.stretch(around: sequence)
      // Not taken off the segment's count, which would reach zero before its last record has left.
      guard streams[stream].settled.settle(stretch.first, stretch.last) else { return nil }
      settleOnDisk(place)
      if sieve.level == 0 {
        correct(SegmentPlace(logClass: place.logClass, index: place.segment), place.entry)
      }
      cursor.isStale = true
      return Settled(epoch: segment.header.epoch, time: nil)
    }
    guard let place = findInTail(stream, sequence) else { return nil }
    let logClass = streams[stream].logClass
    let entry = logs[logClass].tail[place]
    removeFromTail(logClass, place)
    logs[logClass].tail.collect()
    streams[stream].tailSettled = place
    streams[stream].settled.settle(sequence, sequence)
    return Settled(
      epoch: entry.epoch, time: WallTime(nanoseconds: entry.time), isAwaited: entry.token != 0)
  }

  struct DiskPlace {
    var logClass: Int
    var segment: Int
    var entry: Int
  }

  private mutating func settleOnDisk(_ place: DiskPlace) {
    logs[place.logClass].segments[place.segment].entries[place.entry].settleOne()
    let segment = logs[place.logClass].segments[place.segment]
    if segment.state == .closed, segment.remaining == 0 { hasSettledSegments = true }
  }

  /// The segment that holds a record, if one does.
  private func findOnDisk(_ stream: Int, _ sequence: UInt64) -> DiskPlace? {
    let state = streams[stream]
    if let position = state.reader.position,
      let index = logs[position.logClass].index(of: position.number),
      let entry = entryHolding(position.logClass, index, stream, sequence)
    {
      return DiskPlace(logClass: position.logClass, segment: index, entry: entry)
    }
    // Its own class first; another one holds what was written before its class was changed.
    for offset in 0..<4 {
      let logClass = (state.logClass + offset) % 4
      for index in logs[logClass].segments.indices {
        if let entry = entryHolding(logClass, index, stream, sequence) {
          return DiskPlace(logClass: logClass, segment: index, entry: entry)
        }
      }
    }
    return nil
  }

  private func entryHolding(
    _ logClass: Int, _ index: Int, _ stream: Int, _ sequence: UInt64
  ) -> Int? {
    let segment = logs[logClass].segments[index]
    guard let entry = segment.entry(of: stream) else { return nil }
    let totals = segment.entries[entry].totals
    guard segment.entries[entry].remaining > 0,
      totals.first <= sequence, sequence <= segment.entries[entry].highest,
      segment.sieve(entry).keeps(sequence)
    else { return nil }
    return entry
  }

  /// The place of a record in its class's tail, looked for from where the last one was.
  func findInTail(_ stream: Int, _ sequence: UInt64) -> UInt64? {
    let logClass = streams[stream].logClass
    let first = logs[logClass].tail.first
    let hint = max(streams[stream].tailSettled, first)
    return findInTail(logClass, stream, sequence, from: hint)
      ?? findInTail(logClass, stream, sequence, from: first)
  }

  private func findInTail(
    _ logClass: Int, _ stream: Int, _ sequence: UInt64, from start: UInt64
  ) -> UInt64? {
    var place = start
    while place < logs[logClass].tail.end {
      let entry = logs[logClass].tail[place]
      if entry.stream == stream, entry.sequence >= sequence {
        return entry.sequence == sequence && entry.state == .waiting ? place : nil
      }
      place += 1
    }
    return nil
  }
}

struct SegmentPlace: Equatable {
  var logClass: Int
  var index: Int
}
