import Primitives

// Opening. Sealed segments are known by their seals, so that a full spool opens in as many small
// reads as it has segments; the last segment of each class is read frame by frame. Nothing that is
// found stops it.

extension Spool where Storage: ~Copyable {
  mutating func recover() {
    guard !readDirectory() else { return }
    disk.isBlind = true
    epoch = random.next()
    // Above all that the directory may hold: numbers of a spool that was never blind stay small, and
    // those of one that was began with an earlier time.
    let seconds = UInt64(max(clocks.wall.nanoseconds / 1_000_000_000, 0))
    let blindBase = max(1 << 40, seconds << 24)
    disk.blindBase = blindBase
    for index in streams.indices {
      streams[index].assigned = blindBase
      streams[index].onDisk = blindBase
      streams[index].recovered = blindBase
      streams[index].ordered.through = blindBase
      streams[index].reserved = .max
      streams[index].settled = Settlement(through: blindBase)
    }
  }

  /// Takes over what is in the directory. False, and degraded, when it cannot be read; then nothing
  /// has changed.
  mutating func readDirectory() -> Bool {
    var memory: [Settlement] = []
    for index in streams.indices {
      memory.append(streams[index].settled)
      streams[index].settled = Settlement()
    }
    let reported = reports.count
    do throws(StorageError) {
      try takeOver(memory)
      disk.unreadable = []
      return true
    } catch {
      for index in logs.indices { logs[index].segments = [] }
      holes = []
      for index in streams.indices {
        streams[index].settled = index < memory.count ? memory[index] : Settlement()
      }
      var kept: [SpoolReport] = Array(reports[0..<reported])
      for report in reports[reported...] {
        if case .quarantined = report { kept.append(report) }
      }
      reports = kept
      hasSettledSegments = false
      degrade(error)
      return false
    }
  }

  private mutating func takeOver(_ memory: [Settlement]) throws(StorageError) {
    let files = try storage.list()
    // One that never got the cursor's name: nobody has been told anything on its account.
    if files.contains(.newCursor) { dispose(of: .newCursor) }
    let found = try readCursor(files)
    cursor.epoch = found.epoch ?? 0
    cursor.isLost = found.epoch == nil || found.isDamaged
    syncCursor()
    var lastSeen: [UInt64] = []
    var isTorn = false
    for index in streams.indices { streams[index].lostMax = 0 }
    for logClass in logs.indices
    where try recoverClass(logClass, files, &lastSeen) {
      isTorn = true
    }
    extend(&lastSeen)
    reportHoles()
    cursor.isLost = false
    passLost(&lastSeen)
    for index in streams.indices {
      guard let entry = streams[index].cursor, lastSeen[index] < entry.accounted else { continue }
      // They were on disk when the cursor was written.
      reportCorrupt(
        index, lastSeen[index] + 1, entry.accounted, nil, epoch: cursor.epoch)
    }
    if disk.isBlind {
      for index in streams.indices {
        // A clock that went back.
        guard max(lastSeen[index], streams[index].cursor?.reserved ?? 0) < disk.blindBase else {
          disk.isStranded = true
          throw .failed(0)
        }
      }
      disk.isBlind = false
      waitForCursor()
      adoptMemory(memory, lastSeen)
      countRemaining()
      readDeadLetters(files)
    } else {
      let isNew = found.epoch == nil || found.isDamaged || isTorn
      epoch = isNew ? random.next() : cursor.epoch
      if let reason = reasonForEpoch(found, isTorn) { report(.epochChanged(reason)) }
      for index in streams.indices { finishStream(index, lastSeen[index]) }
      waitForCursor()
      countRemaining()
      readDeadLetters(files)
      if isNew { writeFirstCursor() } else { clearAway() }
    }
  }

  /// Nil in a directory that is new, too.
  private func reasonForEpoch(_ found: FoundCursor, _ isTorn: Bool) -> EpochReason? {
    if found.isDamaged { return .cursorDamaged }
    if isTorn { return .endDamaged }
    return found.epoch == nil && logs.contains { !$0.segments.isEmpty } ? .cursorMissing : nil
  }

  private mutating func writeFirstCursor() {
    do throws(StorageError) { try writeCursor() } catch {
      // An epoch that is new and in no file: its numbers need no reservation.
      epoch = random.next()
      for index in streams.indices { streams[index].reserved = .max }
      degrade(error)
    }
  }

  // MARK: Cursor

  private struct FoundCursor {
    var epoch: UInt64?
    /// A slot is neither valid nor blank: the valid one may be the older.
    var isDamaged = false
  }

  private mutating func readCursor(_ files: [StorageFile]) throws(StorageError) -> FoundCursor {
    var found = FoundCursor()
    guard files.contains(.cursor) else { return found }
    cursor.fileExists = true
    var newest: CursorSlot?
    for slot in UInt64(0)..<2 {
      input.removeAll(keepingCapacity: true)
      do throws(StorageError) {
        _ = try storage.read(
          .cursor, at: slot * cursorSlotStride, count: Int(cursorSlotStride), into: &input)
      } catch {
        guard isGivenUp(.cursor) else { throw error }
        found.isDamaged = true
        // Should it be readable again, it must not be taken for a newer one: it is replaced as a whole.
        markUnsyncable(.cursor)
      }
      if !input.isEmpty {
        cursor.bytes = max(cursor.bytes, slot * cursorSlotStride + UInt64(input.count))
      }
      if let parsed = CursorSlot(parsing: input.span) {
        if parsed.generation > newest?.generation ?? 0 { newest = parsed }
      } else if input.contains(where: { $0 != 0 }) {
        found.isDamaged = true
        counters.damagedCursors += 1
      }
    }
    guard let newest else { return found }
    newestWall = max(newestWall, WallTime(nanoseconds: newest.wall))
    found.epoch = newest.epoch
    cursor.generation = newest.generation
    // The numbers of one that there is no room for are known to nobody from now on.
    for entry in newest.entries where !apply(entry) { found.isDamaged = true }
    guard !isReopening else { return found }
    for gap in newest.gaps {
      let name = newest.entries[gap.entry].name
      guard let stream = streams.firstIndex(where: { $0.stream.name == name }) else { continue }
      tellAgain(gap, stream: stream)
    }
    return found
  }

  /// The last run may have been killed between a write and its sync: what was read is not on disk then.
  private mutating func syncCursor() {
    guard cursor.fileExists else { return }
    cursor.isPoisoned = unsyncable.contains(.cursor)
    guard !cursor.isPoisoned else { return }
    do throws(StorageError) {
      try storage.sync(.cursor)
      try storage.syncDirectory()
    } catch {
      cursor.isPoisoned = true
      markUnsyncable(.cursor)
    }
  }

  /// False: there are too many streams.
  private mutating func apply(_ entry: CursorEntry) -> Bool {
    var index = 0
    while index < streams.count, streams[index].stream.name != entry.name { index += 1 }
    if index == streams.count, addOrphan(entry.name) == nil { return false }
    streams[index].cursor = entry
    streams[index].settled = Settlement(through: entry.settled)
    for range in entry.ranges where range.first <= range.last {
      streams[index].settled.settle(range.first, range.last)
    }
    // What this process has lent without the directory stays so until the two are joined.
    for lent in entry.lent where lent.range.first <= lent.range.last { reportLent(index, lent) }
    return true
  }

  // MARK: Segments

  /// True when the log ends in something that is no frame.
  private mutating func recoverClass(
    _ logClass: Int, _ files: [StorageFile], _ lastSeen: inout [UInt64]
  ) throws(StorageError) -> Bool {
    forgetScan()
    // Each log ascends by itself: a stream whose class has changed has later records in another one.
    var seen = streams.indices.map { streams[$0].settled.through }
    var keys: [UInt64] = []
    for file in files {
      if case .segment(UInt8(logClass), let number, let level) = file {
        keys.append(UInt64(number) << 2 | UInt64(level))
      }
    }
    keys.heapSort { $0 < $1 }
    try finishThinning(UInt8(logClass), &keys)
    var isTorn = false
    var failure: StorageError?
    for key in keys {
      let file = StorageFile(UInt8(logClass), key: key)
      logs[logClass].nextNumber = max(logs[logClass].nextNumber, UInt32(key >> 2) + 1)
      let isLast = key == keys.last
      let before = seen
      do throws(StorageError) {
        // Of an end that a good segment follows, that one may know nothing.
        if try recoverSegment(file, isLast: isLast, &seen) { isTorn = true }
        // One that could be read by now.
        if logs[logClass].segments.last?.file == file { asides.removeEach { $0 == file } }
      } catch {
        // What was read of it counts for nothing.
        seen = before
        if isGivenUp(file) {
          setAside(file)
          isTorn = true
        } else {
          failure = error
        }
      }
    }
    if let failure { throw failure }
    extend(&lastSeen)
    for index in seen.indices { lastSeen[index] = max(lastSeen[index], seen[index]) }
    return isTorn
  }

  /// Whether it ends in something that is no frame. One that holds nothing was about to be written, and its sync
  /// or the power failed.
  private mutating func recoverSegment(
    _ file: StorageFile, isLast: Bool, _ lastSeen: inout [UInt64]
  ) throws(StorageError) -> Bool {
    let size = UInt32(clamping: try storage.size(of: file))
    guard let header = try readHeader(file), header.file == file else {
      // An empty one was about to be written.
      if try isBlank(file, from: 0, to: size) {
        dispose(of: file)
        if !isLast { flagDamage(in: nil) }
        return false
      }
      setAside(file)
      return true
    }
    if let segment = try readSeal(file, header, size) {
      // The last run may have been killed between the seal and its sync.
      if isLast, !unsyncable.contains(file) {
        do throws(StorageError) { try storage.sync(file) } catch { markUnsyncable(file) }
      }
      for entry in segment.entries { observe(entry.totals, header, &lastSeen) }
      logs[Int(header.logClass)].segments.append(segment)
      return false
    }
    return try recoverUnsealed(
      Segment(header: header, state: .closed, bytes: size), isLast: isLast, &lastSeen)
  }

  mutating func readHeader(
    _ file: StorageFile
  ) throws(StorageError) -> SegmentHeader? {
    input.removeAll(keepingCapacity: true)
    _ = try storage.read(file, at: 0, count: segmentHeaderBytes, into: &input)
    return SegmentHeader(parsing: input.span)
  }

  private mutating func isBlank(
    _ file: StorageFile, from start: UInt32, to end: UInt32
  ) throws(StorageError) -> Bool {
    var offset = start
    while offset < end {
      input.removeAll(keepingCapacity: true)
      let count = try storage.read(
        file, at: UInt64(offset), count: Int(min(end - offset, 8192)), into: &input)
      guard count > 0 else { return true }
      if input.contains(where: { $0 != 0 }) { return false }
      offset += UInt32(count)
    }
    return true
  }

  /// The segment by its totals, if it has them.
  mutating func readSeal(
    _ file: StorageFile, _ header: SegmentHeader, _ size: UInt32
  ) throws(StorageError) -> Segment? {
    guard Int(size) >= segmentHeaderBytes + frameOverheadBytes + 4 else { return nil }
    input.removeAll(keepingCapacity: true)
    guard try storage.read(file, at: UInt64(size - 8), count: 4, into: &input) == 4 else {
      return nil
    }
    let offset: UInt32 = littleEndian(input.span, at: 0)
    guard offset >= UInt32(segmentHeaderBytes), offset < size,
      Int(size - offset) <= frameOverheadBytes + 4
        + (SpoolLimits.streamsMax + SpoolLimits.orphansMax)
          * (1 + tableEntryFixedBytes + SpoolLimits.streamNameBytesMax),
      case .seal(let slot) = try probe(file, header, at: offset, end: size)
    else { return nil }
    var segment = Segment(header: header, state: .closed, bytes: size)
    for totals in slots[slot].table where totals.stream >= 0 { segment.add(totals) }
    return segment
  }

  private mutating func recoverUnsealed(
    _ segment: Segment, isLast: Bool, _ lastSeen: inout [UInt64]
  ) throws(StorageError) -> Bool {
    var segment = segment
    let result = try scan(
      segment.file, segment.header, end: segment.bytes, lastSeen: &lastSeen)
    segment.entries = result.entries
    segment.frames = result.frames
    segment.isScanned = true
    segment.damagedAt = result.damagedAt
    noteLost(segment.header.logClass, result.lostMax, epoch: segment.header.epoch)
    var isTorn = false
    if !result.isSealed {
      if result.isTorn, try !isBlank(segment.file, from: result.end, to: segment.bytes) {
        isTorn = true
        counters.corruptFrames += 1
        flagDamage(in: segment.header)
      }
      // A segment that another one follows had an end, unless its disk failed.
      if !isLast { flagDamage(in: segment.header) }
      segment.bytes = result.end
      // Only a segment as it was written can be written on.
      segment.state = isLast && segment.header.level == 0 ? .open : .closed
      do throws(StorageError) {
        if isTorn {
          if !torn.contains(segment.file) { torn.append(segment.file) }
        } else {
          // Gives back what was reserved behind the last frame.
          try storage.truncate(segment.file, to: UInt64(result.end))
        }
        // The last run may have been killed between a write and its sync.
        if unsyncable.contains(segment.file) {
          segment.state = .closed
        } else {
          try storage.sync(segment.file)
        }
      } catch {
        segment.state = .closed
        markUnsyncable(segment.file)
      }
    }
    logs[Int(segment.header.logClass)].segments.append(segment)
    return isTorn
  }

  // MARK: Streams

  /// Numbers go on behind everything that is known, and behind what may have been given out.
  private mutating func finishStream(_ index: Int, _ seen: UInt64) {
    let entry = streams[index].cursor
    let known = max(seen, entry?.accounted ?? 0, entry?.settled ?? 0)
    let last = isMutated(.reuseNumbers) ? known : max(known, entry?.reserved ?? 0)
    streams[index].assigned = last
    streams[index].reserved = last
    streams[index].onDisk = last
    streams[index].recovered = last
    streams[index].ordered.through = streams[index].settled.through
    reportUnaccounted(index, from: known + 1, to: last)
  }
}
