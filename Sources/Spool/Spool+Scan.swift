import Primitives

// Reading a segment frame by frame: the tail of each log at the start, and any segment in which
// damage shows. What lies between two valid frames and is neither is counted, and reported for every
// stream as far as it is known: exactly when the frame's table is whole, else as the stretch between
// its neighbours.

extension Spool where Storage: ~Copyable {
  struct ScanResult {
    var entries: [SegmentEntry] = []
    /// Behind the last valid frame.
    var end = UInt32(segmentHeaderBytes)
    var frames: UInt32 = 0
    /// There is something behind the last valid frame.
    var isTorn = false
    var isSealed = false
    /// Where something is that is no frame.
    var damagedAt: [UInt32] = []
    /// Before a valid frame and without a table: so many records may have been there, of any stream.
    var lostMax: UInt64 = 0
  }

  /// Reads all frames of a segment. `lastSeen` holds for each stream the last number before it.
  mutating func scan(
    _ file: StorageFile, _ header: SegmentHeader, end: UInt32, lastSeen: inout [UInt64]
  ) throws(StorageError) -> ScanResult {
    var result = ScanResult()
    var segment = Segment(header: header, state: .closed, bytes: end)
    var offset = UInt32(segmentHeaderBytes)
    // A damaged stretch counts only when a valid frame follows; at the end it may be a torn write.
    var pending: [StreamTotals] = []
    var damage = 0
    var lostMax: UInt64 = 0
    while true {
      switch try probe(file, header, at: offset, end: end) {
      case .end:
        result.isTorn = damage > 0
        // A frame with a valid header and table was written whole: it is damaged, not torn.
        if !pending.isEmpty { reportDamage(&damage, pending, header, &lastSeen) }
        result.entries = segment.entries
        return result
      case .seal:
        reportDamage(&damage, pending, header, &lastSeen)
        pending = []
        result.isSealed = true
        result.entries = segment.entries
        return result
      case .damaged(let table, let next):
        damage += 1
        if result.damagedAt.count < damagedPlacesMax { result.damagedAt.append(offset) }
        if let table {
          pending.append(contentsOf: slots[table].table)
          result.end = next
        } else {
          lostMax += UInt64(next - offset) / recordBytesMin
        }
        offset = next
      case .frame(let slot, let next):
        extend(&lastSeen)
        reportDamage(&damage, pending, header, &lastSeen)
        pending = []
        noteTime(of: slot)
        for totals in slots[slot].table where totals.stream >= 0 {
          observe(totals, header, &lastSeen)
          segment.add(totals)
        }
        result.frames = (slots[slot].header?.number ?? result.frames) + 1
        result.end = next
        result.lostMax = lostMax
        offset = next
      }
    }
  }

  /// A frame was committed at a time that its clock vouched for.
  mutating func noteTime(of slot: Int) {
    guard let header = slots[slot].header, header.quality == .synced else { return }
    newestWall = max(newestWall, WallTime(nanoseconds: header.wall))
  }

  func extend(_ lastSeen: inout [UInt64]) {
    while lastSeen.count < streams.count { lastSeen.append(0) }
  }

  /// A damaged stretch lies behind. Streams whose loss is not known by a table are looked at again
  /// when their next record comes.
  mutating func reportDamage(
    _ damage: inout Int, _ known: [StreamTotals], _ segment: SegmentHeader,
    _ lastSeen: inout [UInt64]
  ) {
    guard damage > 0 else { return }
    counters.corruptFrames += UInt64(damage)
    damage = 0
    for totals in known where totals.stream >= 0 {
      // What is missing before a table that is whole was lost with it.
      streams[totals.stream].afterDamage = true
      observe(totals, segment, &lastSeen)
      reportCorrupt(
        totals.stream, totals.first, totals.last, segment, epoch: segment.epoch, totals: totals)
    }
    flagDamage(in: segment)
  }

  /// What an earlier scan passed says nothing of what the next one reads.
  mutating func forgetScan() {
    for index in streams.indices {
      streams[index].afterDamage = false
      streams[index].seenEpoch = nil
    }
  }

  /// What the streams miss from now on may be missing in the segment, and not before the change of an epoch that
  /// came before.
  mutating func flagDamage(in segment: SegmentHeader?) {
    for index in streams.indices {
      streams[index].afterDamage = true
      if let segment { streams[index].seenEpoch = segment.epoch }
    }
  }

  /// A valid stretch of a stream. If damage came before it, what is missing was lost there; a `sync`
  /// stream has no numbers that were never written, and of a `spill` stream the cursor knows up to
  /// where every one was. Where the newest cursor is lost, nobody knows what was on its way when its segment
  /// was given up.
  mutating func observe(
    _ totals: StreamTotals, _ segment: SegmentHeader, _ lastSeen: inout [UInt64]
  ) {
    extend(&lastSeen)
    let last = lastSeen[totals.stream]
    var end = totals.first - 1
    if !(streams[totals.stream].afterDamage || streams[totals.stream].hasNoHoles || cursor.isLost) {
      end = min(end, streams[totals.stream].cursor?.wholeThrough ?? 0)
    }
    if end > last, streams[totals.stream].settled.unsettled(last + 1, end) > 0 {
      holes.append(
        SequenceHole(
          stream: totals.stream, first: last + 1, last: end, segment: segment,
          // When the epoch changed here, what is missing came before the change.
          epoch: streams[totals.stream].seenEpoch ?? segment.epoch))
    }
    streams[totals.stream].seenEpoch = segment.epoch
    streams[totals.stream].afterDamage = false
    // What it has in the log of a former class came before what was lost.
    if segment.logClass == streams[totals.stream].stream.logClass {
      streams[totals.stream].lostMax = 0
    }
    lastSeen[totals.stream] = max(last, totals.last)
  }

  /// Frames without a table may have held more of a `sync` stream than anything behind them tells, and no cursor
  /// reserves its numbers. They are named as an upper bound, and numbers go on behind them.
  mutating func passLost(_ lastSeen: inout [UInt64]) {
    for index in streams.indices where streams[index].lostMax > 0 {
      let known = lastSeen[index]
      lastSeen[index] = max(known, streams[index].cursor?.accounted ?? 0) + streams[index].lostMax
      reportCorrupt(
        index, known + 1, lastSeen[index], nil, epoch: streams[index].lostEpoch, isUpperBound: true)
      streams[index].lostMax = 0
    }
  }

  /// Reports what is missing, less what other segments have: those of the class that the stream was
  /// in before.
  mutating func reportHoles() {
    for hole in holes {
      var first = hole.first
      while first <= hole.last {
        guard let found = nextElsewhere(hole, from: first) else {
          reportCorrupt(hole.stream, first, hole.last, hole.segment, epoch: hole.epoch)
          break
        }
        if found.first > first {
          reportCorrupt(hole.stream, first, found.first - 1, hole.segment, epoch: hole.epoch)
        }
        first = found.last + 1
      }
    }
    holes = []
  }

  /// The nearest stretch at or behind `first` that is read from a segment beside the hole's own.
  private func nextElsewhere(_ hole: SequenceHole, from first: UInt64) -> SequenceRange? {
    var nearest: SequenceRange?
    for log in logs {
      for segment in log.segments where segment.header != hole.segment {
        guard let index = segment.entry(of: hole.stream) else { continue }
        let entry = segment.entries[index]
        guard entry.totals.first <= hole.last, entry.highest >= first else { continue }
        let range = SequenceRange(first: max(entry.totals.first, first), last: entry.highest)
        if let found = nearest, found.first <= range.first { continue }
        nearest = range
      }
    }
    return nearest
  }

  /// What is on its way is lent; that is none at a start.
  mutating func reportCorrupt(
    _ stream: Int, _ first: UInt64, _ last: UInt64, _ segment: SegmentHeader?, epoch: UInt64,
    totals: StreamTotals? = nil, isUpperBound: Bool = false
  ) {
    let start = max(first, streams[stream].settled.through + 1)
    guard start <= last else { return }
    let whole = SequenceRange(first: start, last: last)
    let lent = lend(
      stream, whole, sieve(stream, segment), bytes: totals?.bytes ?? 0, of: totals?.count ?? 0,
      epoch: epoch, reason: .corrupt)
    var gap = gapReport(stream, last, last, .corrupt)
    let open = settleUnread(stream, whole, &gap)
    gap.epoch = epoch
    gap.count = min(open, totals.map { UInt64($0.count) - min(lent, UInt64($0.count)) } ?? open)
    // Which of a `spill` stream's numbers were delivered before they had to be written, nobody knows.
    // Nor which of telemetry's had been left out.
    let isKnown =
      streams[stream].isSync && !(hasThinned && streams[stream].logClass == telemetryClass)
    gap.isUpperBound = isUpperBound || totals == nil && !isKnown || gap.count != open
    gap.from = totals.map { WallTime(nanoseconds: $0.from) }
    gap.to = totals.map { WallTime(nanoseconds: $0.to) }
    report(gap)
    cursor.isStale = true
  }

  /// What a segment that is known may hold of a stream.
  private func sieve(_ stream: Int, _ header: SegmentHeader?) -> Sieve {
    guard let header, let index = logs[Int(header.logClass)].index(of: header.number),
      let entry = logs[Int(header.logClass)].segments[index].entry(of: stream)
    else { return .none }
    return logs[Int(header.logClass)].segments[index].sieve(entry)
  }

  /// Damage showed while reading: finds out what a segment still holds, and reports the rest.
  mutating func rescan(_ place: SegmentPlace) throws(StorageError) {
    let before = logs[place.logClass].segments[place.index]
    var lastSeen: [UInt64] = []
    extend(&lastSeen)
    for entry in before.entries {
      lastSeen[entry.totals.stream] = entry.totals.first - 1
    }
    forgetScan()
    let result = try scan(
      before.file, before.header, end: before.bytes, lastSeen: &lastSeen)
    reportHoles()
    if result.isTorn { counters.corruptFrames += 1 }
    for entry in before.entries {
      let stream = entry.totals.stream
      if result.isTorn || streams[stream].afterDamage, lastSeen[stream] < entry.highest {
        reportCorrupt(
          stream, lastSeen[stream] + 1, entry.highest, before.header, epoch: before.header.epoch)
      }
    }
    logs[place.logClass].segments[place.index].isScanned = true
    logs[place.logClass].segments[place.index].damagedAt = result.damagedAt
    replaceEntries(place, result.entries)
  }

  /// Takes over what a scan found, less what was settled.
  private mutating func replaceEntries(_ place: SegmentPlace, _ found: [SegmentEntry]) {
    let before = logs[place.logClass].segments[place.index]
    for index in before.entries.indices {
      let stream = before.entries[index].totals.stream
      var entry = before.entries[index]
      entry.remaining = 0
      for candidate in found where candidate.totals.stream == stream {
        let (first, last) = (candidate.totals.first, min(candidate.totals.last, entry.highest))
        let open = streams[stream].settled.unsettled(first, last)
        let lent = lentOpen(stream, first, last)
        entry.remaining = UInt32(
          min(
            open - min(lent, open), UInt64(candidate.totals.count),
            UInt64(before.entries[index].remaining)))
        // Numbers that were left out are open, too, until the records beside them are settled.
        if before.header.level > 0 {
          entry.remaining = countRecords(place, entry.totals, upTo: entry.highest)
        }
        entry.remainingBytes = candidate.totals.bytes
      }
      if entry.remaining == 0 { entry.remainingBytes = 0 }
      logs[place.logClass].segments[place.index].entries[index] = entry
    }
    if before.state == .closed, logs[place.logClass].segments[place.index].remaining == 0 {
      hasSettledSegments = true
    }
  }
}

/// No record takes less on disk.
let recordBytesMin: UInt64 = 7

/// Numbers that a segment's records leave out, found before `segment`'s next ones.
struct SequenceHole {
  var stream: Int
  var first: UInt64
  var last: UInt64
  var segment: SegmentHeader
  var epoch: UInt64
}
