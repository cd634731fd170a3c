import Primitives

extension Spool where Storage: ~Copyable {
  /// Writes the slot that is not the newest, and syncs it. With it the numbers of `spill` streams are
  /// reserved ahead, unless nothing more is to come.
  mutating func writeCursor(
    reserving: Bool = true, inPlace: Bool = false
  ) throws(StorageError) {
    guard !disk.isBlind else { throw .missing }
    var reserved: [UInt64] = []
    var entries: [CursorEntry] = []
    for index in streams.indices {
      let number = reserving ? reservationAhead(index) : streams[index].assigned
      reserved.append(number)
      var settled = streams[index].settled
      for lent in lentBeyondEntry(index) { settled.settle(lent.range.first, lent.range.last) }
      entries.append(
        CursorEntry(
          name: streams[index].stream.name,
          settled: settled.through + (isMutated(.cursorAhead) ? 1 : 0),
          accounted: accounted(index), reserved: number,
          ranges: Array(settled.ranges.prefix(CursorEntry.rangesMax)),
          lent: Array(streams[index].lent.prefix(CursorEntry.lentMax))))
    }
    if clocks.quality == .synced { cursor.wall = max(cursor.wall, clocks.wall) }
    let slot = CursorSlot(
      generation: cursor.generation + 1, epoch: epochForCursor, entries: entries,
      gaps: gapsForCursor(atMost: CursorSlot.gapsMax(entries)),
      wall: max(cursor.wall, newestWall).nanoseconds)
    slot.encode(into: &output)
    let file = try makeCursorFile(inPlace: inPlace)
    let offset = slot.generation % 2 * cursorSlotStride
    do throws(StorageError) {
      try Self.write(output, to: file, at: offset, on: &storage)
      // Until it has succeeded.
      cursor.isPoisoned = true
      try storage.sync(file)
      if file != .cursor { try replaceCursor(by: file) }
      cursor.isPoisoned = false
      cursor.generation = slot.generation
      if !cursor.fileExists { try storage.syncDirectory() }
    } catch {
      if file != .cursor {
        dispose(of: file)
        if error == .full { return try writeCursor(reserving: reserving, inPlace: true) }
      }
      // Deleted: it is made anew.
      if error == .missing, cursor.fileExists {
        cursor.fileExists = false
        return try writeCursor(reserving: reserving)
      }
      // The next start may read it all the same, and go on with this epoch where it says.
      if streams.contains(where: { $0.reserved == .max }) { epoch = random.next() }
      throw error
    }
    counters.bytesWritten += UInt64(output.count)
    counters.cursorWrites += 1
    cursor.fileExists = true
    cursor.epoch = slot.epoch
    cursor.isStale = false
    cursor.isUrgent = false
    disk.unvouchedSince = nil
    cursor.writtenAt = clocks.now
    cursor.clockDue = clocks.now + clockInterval
    cursor.bytes = max(cursor.bytes, offset + UInt64(output.count))
    for index in streams.indices {
      streams[index].reserved = reserved[index]
      streams[index].vouchedFor = .max
      streams[index].droppedAwaited = nil
    }
    if cursor.epoch == epoch { clearAway() }
  }

  /// A file that may be written: a new one when there is none, or a sync of it has failed. What the kernel still
  /// believes of that one is not to be trusted. It stays until the next one is whole, if there is room for both.
  private mutating func makeCursorFile(inPlace: Bool) throws(StorageError) -> StorageFile {
    if cursor.isPoisoned {
      let isRoom = !inPlace && accountedBytes + cursorFileBytes <= limits.totalBytes
      if isRoom, try createCursor(.newCursor) { return .newCursor }
      // One that could not be removed when its sync had failed would not be counted.
      try removeFile(.newCursor)
      try removeFile(.cursor)
      cursor = CursorState(
        generation: cursor.generation, epoch: cursor.epoch, wall: cursor.wall)
    }
    if !cursor.fileExists, try !createCursor(.cursor) { throw .full }
    return .cursor
  }

  /// False: there is no room.
  private mutating func createCursor(_ file: StorageFile) throws(StorageError) -> Bool {
    do throws(StorageError) {
      // With the place of its second slot: a disk that is full must not keep what is delivered.
      try storage.create(file, reserving: cursorFileBytes)
    } catch {
      switch error {
      case .full: return false
      case .exists where file == .cursor: break
      case .exists:
        // Of an attempt that failed.
        try removeFile(file)
        return try createCursor(file)
      default: throw error
      }
    }
    return true
  }

  /// The cursor that could not be synced goes for one that was.
  private mutating func replaceCursor(by file: StorageFile) throws(StorageError) {
    try storage.replace(.cursor, by: file)
    unsyncable.removeEach { $0 == .cursor }
    // That is not on the medium yet.
    cursor.fileExists = false
    cursor.bytes = 0
  }

  /// While records wait whose numbers were reserved under the epoch that the cursor has, it keeps that: a
  /// crash takes them, and the report of the next start names them. Later ones were promised to nobody.
  private var epochForCursor: UInt64 {
    guard cursor.epoch != epoch else { return epoch }
    return logs.contains { $0.tail.holds(epoch: cursor.epoch) } ? cursor.epoch : epoch
  }

  /// The number up to which a stream may go until the next cursor. Its distance doubles while it is
  /// used up quickly, so that a cursor is rarely written for this alone.
  private mutating func reservationAhead(_ index: Int) -> UInt64 {
    guard !streams[index].isSync else { return streams[index].onDisk }
    // A stream that is not used in this run needs no numbers.
    guard streams[index].isActive else { return streams[index].assigned }
    let used = streams[index].assigned
    if let last = streams[index].reservedAt, streams[index].reserved != .max,
      streams[index].reserved <= used + streams[index].reservation / 4
    {
      let isQuick = clocks.now < last + .seconds(60)
      let size = streams[index].reservation
      streams[index].reservation =
        isQuick ? min(size * 2, reservationMax) : max(size / 2, reservationMin)
      streams[index].reservedAt = clocks.now
    }
    if streams[index].reservedAt == nil { streams[index].reservedAt = clocks.now }
    return used + streams[index].reservation
  }

  /// Up to here every record of the stream is on disk or settled.
  private func accounted(_ index: Int) -> UInt64 {
    let state = streams[index]
    guard state.tailRecords > 0 else { return state.isSync ? state.onDisk : state.assigned }
    let tail = logs[state.logClass].tail
    var place = tail.first
    while place < tail.end {
      if tail[place].stream == index, tail[place].state != .gone {
        return tail[place].sequence - 1
      }
      place += 1
    }
    return state.assigned
  }

  /// Frees the segments that have nothing left to deliver, after a cursor that says so is on disk:
  /// in the other order a power cut could leave a cursor that does not know the numbers they used.
  mutating func freeSettledSegments() throws(StorageError) {
    hasSettledSegments = false
    var isAny = false
    for log in logs {
      for segment in log.segments where segment.state == .closed && segment.remaining == 0 {
        isAny = true
      }
    }
    guard isAny else { return }
    do throws(StorageError) {
      if !isMutated(.unlinkFirst) { try writeCursor() }
      for logClass in logs.indices {
        var index = 0
        while index < logs[logClass].segments.count {
          let segment = logs[logClass].segments[index]
          guard segment.state == .closed, segment.remaining == 0 else {
            index += 1
            continue
          }
          try removeFile(segment.file)
          logs[logClass].segments.remove(at: index)
        }
      }
      try storage.syncDirectory()
    } catch {
      hasSettledSegments = true
      throw error
    }
  }

  @inline(never)
  mutating func removeFile(_ file: StorageFile) throws(StorageError) {
    do throws(StorageError) {
      try storage.remove(file)
    } catch {
      // Gone is what it was to be, unless the whole directory is.
      guard error == .missing else { throw error }
      _ = try storage.list()
    }
    // Not before: a file that stays is still one that must not be synced again.
    unsyncable.removeEach { $0 == file }
  }
}
