import Primitives

// Group commit. A commit writes what waits in memory as frames, one file per class, syncs each file
// once, and only then tells that the records are safe. A write or sync that fails is never tried
// again on the same file: the kernel may have dropped the pages and call them clean. The records are
// still in memory and go to a new segment; the old one keeps what was synced before.

extension Spool where Storage: ~Copyable {
  /// Call at the end of every loop turn, before anything is acknowledged to a source.
  public mutating func commitIfDue(clocks: Clocks) {
    self.clocks = clocks
    if disk.isDegraded {
      if clocks.now >= disk.retryAt, !isMutated(.forgetDisk) { retryDisk() }
      return
    }
    let isSyncDue = lastSyncCommit.map { clocks.now >= $0 + limits.syncInterval } ?? true
    if isSyncDue { noteSyncCommit() }
    for logClass in logs.indices where !disk.isDegraded {
      if isSpillDue(logClass) {
        commitClass(logClass, syncOnly: false)
      } else if isSyncDue, logs[logClass].tail.waitingSync > 0 {
        commitClass(logClass, syncOnly: true)
      }
    }
    keepHouse()
  }

  /// Writes everything that waits, now.
  public mutating func commit(clocks: Clocks) {
    self.clocks = clocks
    if disk.isDegraded {
      retryDisk()
    } else {
      commitAll()
      keepHouse()
    }
  }

  /// Everything that waits, of all classes.
  mutating func commitAll() {
    noteSyncCommit()
    for logClass in logs.indices where !disk.isDegraded {
      commitClass(logClass, syncOnly: false)
    }
  }

  /// `sync` records of all classes are committed now. What one class writes because much waits there does
  /// not count: those of another would wait longer for it, and again and again.
  private mutating func noteSyncCommit() {
    if logs.contains(where: { $0.tail.waitingSync > 0 }) { lastSyncCommit = clocks.now }
  }

  /// Commits, and leaves a cursor that knows exactly which numbers were given out.
  public mutating func close(clocks: Clocks) {
    commit(clocks: clocks)
    guard !disk.isDegraded else { return }
    for index in streams.indices { streams[index].reserved = streams[index].assigned }
    do throws(StorageError) { try writeCursor(reserving: false) } catch { degrade(error) }
  }

  /// When `commitIfDue` has something to do at the latest.
  public func nextDeadline() -> Instant? {
    var deadline: Instant?
    func consider(_ instant: Instant) { deadline = min(deadline ?? instant, instant) }
    for log in logs {
      // Only what is still to come: a stream that does not read now is not woken again and again.
      for segment in log.segments {
        if let again = segment.readAgainAt, again > clocks.now { consider(again) }
      }
    }
    if let since = disk.unvouchedSince, since + unreadableMax > clocks.now {
      consider(since + unreadableMax)
    }
    if disk.isDegraded {
      return isMutated(.forgetDisk) ? deadline : min(deadline ?? disk.retryAt, disk.retryAt)
    }
    for log in logs {
      if log.tail.waitingSync > 0 {
        consider(lastSyncCommit.map { $0 + limits.syncInterval } ?? clocks.now)
      }
      if let oldest = log.tail.oldestWaiting(isSync: false), !isMutated(.forgetCommitTimer) {
        consider(oldest + limits.commitInterval)
      }
    }
    if cursor.isUrgent || hasSettledSegments { consider(clocks.now) }
    if cursor.isStale { consider(cursor.writtenAt.map { $0 + cursorInterval } ?? clocks.now) }
    if let due = cursor.clockDue { consider(due) }
    return deadline
  }

  private func isSpillDue(_ logClass: Int) -> Bool {
    if logs[logClass].tail.waitingBytes >= limits.commitBytes { return true }
    // Many small records: their bookkeeping fills the memory before their bytes do.
    if logs[logClass].tail.liveBytes * 2 >= limits.tailBytesMax { return true }
    guard let oldest = logs[logClass].tail.oldestWaiting(isSync: false),
      !isMutated(.forgetCommitTimer)
    else { return false }
    return clocks.now >= oldest + limits.commitInterval
  }

  /// What a loop turn does besides committing: frees segments, writes the cursor when it is due.
  mutating func keepHouse() {
    guard !disk.isDegraded else { return }
    do throws(StorageError) {
      if mayThin, limits.isThinning { thin() }
      if hasSettledSegments { try freeSettledSegments() }
      let isDue = cursor.writtenAt.map { clocks.now >= $0 + cursorInterval } ?? true
      if cursor.isUrgent || (cursor.isStale && isDue) { try writeCursor() }
      guard clocks.now >= cursor.clockDue ?? clocks.now else { return }
      let isFirst = cursor.clockDue == nil
      cursor.clockDue = clocks.now + clockInterval
      if !isFirst, clocks.quality == .synced { try writeCursor() }
    } catch {
      degrade(error)
    }
  }

  // MARK: One class

  /// Commits, on a fresh segment if need be; degrades when that does not go either.
  @inline(never)
  mutating func commitClass(_ logClass: Int, syncOnly: Bool) {
    let waitingSync = logs[logClass].tail.waitingSync
    guard syncOnly ? waitingSync > 0 : logs[logClass].tail.waiting > 0 else { return }
    for attempt in 0..<3 {
      do throws(StorageError) {
        try writeTail(logClass, syncOnly: syncOnly)
        counters.commits += 1
        return
      } catch {
        rollBack(logClass)
        // The directory was deleted: the one that is made now must not be without a cursor.
        if error == .missing { cursor.isUrgent = true }
        // A full disk is worth another attempt when something made room; any other error one.
        let mayRetry = error == .full ? dropForFullDisk(logClass) : attempt == 0
        if attempt == 2 || !mayRetry { return degrade(error) }
      }
    }
  }

  private mutating func dropForFullDisk(_ logClass: Int) -> Bool {
    do throws(StorageError) {
      guard try isDroppingEnough(for: logClass) else { return false }
      return try dropOldestSegment(for: logClass)
    } catch {
      return false
    }
  }

  private mutating func writeTail(_ logClass: Int, syncOnly: Bool) throws(StorageError) {
    checkpoint = logs[logClass].hasOpenSegment ? logs[logClass].segments.last : nil
    var place = logs[logClass].tail.first
    while true {
      let start = place
      guard let epoch = gather(logClass, from: &place, syncOnly: syncOnly) else { break }
      try writeFrame(logClass, epoch: epoch)
      for written in start..<place where isChosen(logClass, written, syncOnly: syncOnly) {
        logs[logClass].tail.setState(.written, at: written)
      }
    }
    try syncSegment(logClass)
    // Not before: it moves entries to other places, and a segment may be sealed between two frames.
    logs[logClass].tail.collect()
  }

  /// Whether a commit writes the entry: `sync` records do not drag along `spill` ones, which may
  /// well be delivered before they must be written.
  private func isChosen(_ logClass: Int, _ place: UInt64, syncOnly: Bool) -> Bool {
    let entry = logs[logClass].tail[place]
    return entry.state == .waiting && (entry.isSync || !syncOnly)
  }

  /// Fills the builder with records of one epoch, from `place` on, up to the size of a frame. Leaves
  /// `place` behind the last one looked at. The epoch; nil: there are none.
  private mutating func gather(
    _ logClass: Int, from place: inout UInt64, syncOnly: Bool
  ) -> UInt64? {
    builder.removeAll()
    let limit = frameRoom(logClass)
    let end = logs[logClass].tail.end
    var epoch: UInt64?
    while place < end {
      guard isChosen(logClass, place, syncOnly: syncOnly) else {
        place += 1
        continue
      }
      let entry = logs[logClass].tail[place]
      if epoch != nil, epoch != entry.epoch || builder.records.count + entry.bytes + 48 > limit {
        return epoch
      }
      epoch = entry.epoch
      let wall = clocks.wall.nanoseconds
      logs[logClass].tail.encode(place, wall: wall, into: &builder)
      place += 1
    }
    return epoch
  }

  /// A frame fills up what is left of the open segment, unless that is hardly anything.
  private func frameRoom(_ logClass: Int) -> Int {
    guard let segment = logs[logClass].segments.last, segment.state == .open else {
      return limits.commitBytes
    }
    let room = Int(limits.segmentBytes) - Int(min(segment.bytes, limits.segmentBytes)) - 512
    return room * 4 < limits.commitBytes ? limits.commitBytes : min(room, limits.commitBytes)
  }

  private mutating func writeFrame(_ logClass: Int, epoch: UInt64) throws(StorageError) {
    var header = FrameHeader(
      logClass: UInt8(logClass), quality: clocks.quality, epoch: epoch,
      wall: clocks.wall.nanoseconds, number: 0)
    output.removeAll(keepingCapacity: true)
    try prepareSegment(
      logClass, frameBytes: frameOverheadBytes + tableBytes + builder.records.count, epoch: epoch)
    let last = logs[logClass].segments.count - 1
    header.number = logs[logClass].segments[last].frames
    encodeFrame(&header, salt: logs[logClass].segments[last].header.salt)
    try writeOutput(logClass)
    logs[logClass].segments[last].frames += 1
    for totals in builder.totals { logs[logClass].segments[last].add(totals) }
  }

  /// The table of the frame in the builder.
  var tableBytes: Int {
    var sum = 0
    for totals in builder.totals {
      sum += 1 + tableEntryFixedBytes + streams[totals.stream].stream.name.count
    }
    return sum
  }

  /// Appends the builder's records as a frame to the output buffer.
  mutating func encodeFrame(_ header: inout FrameHeader, salt: UInt32) {
    header.tableBytes = tableBytes
    header.tableEntries = builder.totals.count
    header.recordBytes = builder.records.count
    header.records = builder.count
    header.encode(into: &output, salt: salt)
    encodeTable(builder.totals, salt: salt)
    let start = output.count
    output.append(contentsOf: builder.records)
    output.appendLittleEndian(saltedCRC(output.span, start..<output.count, salt: salt))
  }

  private mutating func encodeTable(_ totals: [StreamTotals], salt: UInt32) {
    let start = output.count
    for entry in totals { entry.encode(name: streams[entry.stream].stream.name, into: &output) }
    output.appendLittleEndian(saltedCRC(output.span, start..<output.count, salt: salt))
  }

  /// Lends a buffer to the disk.
  static func write(
    _ bytes: [UInt8], to file: StorageFile, at offset: UInt64, on storage: inout Storage
  ) throws(StorageError) {
    do throws(StorageError) { try storage.write(file, at: offset, bytes.span) } catch {
      guard isMutated(.ignoreFullDisk), error == .full else { throw error }
    }
  }

  /// Appends the output buffer to the open segment.
  private mutating func writeOutput(_ logClass: Int) throws(StorageError) {
    let last = logs[logClass].segments.count - 1
    let segment = logs[logClass].segments[last]
    try Self.write(output, to: segment.file, at: UInt64(segment.bytes), on: &storage)
    logs[logClass].segments[last].bytes += UInt32(output.count)
    counters.bytesWritten += UInt64(output.count)
    output.removeAll(keepingCapacity: true)
  }

  // MARK: Segments

  /// Leaves an open segment of this epoch that takes a frame, its header in the output buffer if it
  /// is a new one.
  private mutating func prepareSegment(
    _ logClass: Int, frameBytes: Int, epoch: UInt64
  ) throws(StorageError) {
    if let segment = logs[logClass].segments.last, segment.state == .open {
      let fits = Int(segment.bytes) + frameBytes <= Int(limits.segmentBytes)
      if segment.header.epoch == epoch, fits || segment.frames == 0 { return }
      try sealSegment(logClass)
    }
    try makeRoom(for: logClass)
    let header = SegmentHeader(
      logClass: UInt8(logClass), number: logs[logClass].nextNumber, epoch: epoch,
      salt: UInt32(truncatingIfNeeded: random.next()))
    // A number is never used again, whatever becomes of the file.
    logs[logClass].nextNumber += 1
    let segment = Segment(header: header, state: .open, bytes: 0)
    try storage.create(segment.file, reserving: UInt64(limits.segmentBytes))
    logs[logClass].segments.append(segment)
    mayThin = true
    if !isMutated(.skipDirectorySync) { try storage.syncDirectory() }
    // Making room may have written a cursor with the same buffer.
    output.removeAll(keepingCapacity: true)
    header.encode(into: &output)
  }

  /// Writes the totals behind the last frame, so that the next start need not read the frames.
  mutating func sealSegment(_ logClass: Int) throws(StorageError) {
    let last = logs[logClass].segments.count - 1
    let segment = logs[logClass].segments[last]
    output.removeAll(keepingCapacity: true)
    encodeSeal(of: segment)
    try writeOutput(logClass)
    // Gives back what was reserved and not used.
    try storage.truncate(segment.file, to: UInt64(logs[logClass].segments[last].bytes))
    try syncSegment(logClass)
    logs[logClass].segments[last].state = .closed
    if logs[logClass].segments[last].remaining == 0 { hasSettledSegments = true }
    checkpoint = nil
  }

  /// Appends a segment's seal to the output buffer.
  mutating func encodeSeal(of segment: Segment) {
    var header = FrameHeader(
      logClass: segment.header.logClass, quality: clocks.quality, epoch: segment.header.epoch,
      wall: clocks.wall.nanoseconds, number: segment.frames)
    header.isSeal = true
    header.recordBytes = 4
    header.tableEntries = segment.entries.count
    for entry in segment.entries {
      header.records += entry.totals.count
      header.tableBytes +=
        1 + tableEntryFixedBytes + streams[entry.totals.stream].stream.name.count
    }
    header.encode(into: &output, salt: segment.header.salt)
    encodeTable(segment.entries.map { $0.totals }, salt: segment.header.salt)
    let start = output.count
    output.appendLittleEndian(segment.bytes)
    output.appendLittleEndian(
      saltedCRC(output.span, start..<output.count, salt: segment.header.salt))
  }

  private mutating func syncSegment(_ logClass: Int) throws(StorageError) {
    guard let segment = logs[logClass].segments.last, segment.state == .open else { return }
    if !isMutated(.skipSegmentSync) { try storage.sync(segment.file) }
    checkpoint = segment
    confirm(logClass)
  }

  /// What was written is on disk.
  private mutating func confirm(_ logClass: Int) {
    var place = logs[logClass].tail.first
    while place < logs[logClass].tail.end {
      let entry = logs[logClass].tail[place]
      if entry.state == .written {
        logs[logClass].tail.setState(.gone, at: place)
        streams[entry.stream].onDisk = entry.sequence
        streams[entry.stream].tailRecords -= 1
        streams[entry.stream].tailBytes -= UInt64(entry.payloadBytes)
      }
      place += 1
    }
  }

  /// What was written since the last sync waits again, and its file takes no more.
  private mutating func rollBack(_ logClass: Int) {
    var place = logs[logClass].tail.first
    while place < logs[logClass].tail.end {
      if logs[logClass].tail[place].state == .written {
        logs[logClass].tail.setState(.waiting, at: place)
      }
      place += 1
    }
    guard let failed = logs[logClass].segments.last, failed.state == .open else { return }
    let last = logs[logClass].segments.count - 1
    if var kept = checkpoint, kept.header.number == failed.header.number {
      kept.state = isMutated(.syncAgain) ? .open : .closed
      logs[logClass].segments[last] = kept
      markUnsyncable(kept.file)
      // What stands behind that is on no disk, and the next start would not know it: after a failed sync the
      // kernel calls its pages clean, and syncs them with success.
      do throws(StorageError) { try storage.truncate(kept.file, to: UInt64(kept.bytes)) } catch {
        counters.filesLeft += 1
      }
      if kept.remaining == 0 { hasSettledSegments = true }
    } else {
      // Its number is not used again.
      do throws(StorageError) {
        try removeFile(failed.file)
        logs[logClass].segments.removeLast()
      } catch {
        counters.filesLeft += 1
        markUnsyncable(failed.file)
        // It takes its room until it can be removed, as what has nothing left to deliver.
        logs[logClass].segments[last].entries = []
        logs[logClass].segments[last].bytes = limits.segmentBytes
        logs[logClass].segments[last].state = .closed
        hasSettledSegments = true
      }
    }
    checkpoint = nil
  }
}
