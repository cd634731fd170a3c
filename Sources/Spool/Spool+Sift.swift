import Primitives

// The records of segments that are thinned, one after the other: once to count them, once to write those
// that are kept. The frames are those of the readers, the buffers those of a commit.

extension Spool where Storage: ~Copyable {
  /// Goes through all records of a group. `isDraft`: the frames of `made` are only counted.
  mutating func sift(
    _ group: inout ThinGroup, into made: inout Segment, isDraft: Bool
  ) throws(StorageError) {
    builder.removeAll()
    group.fill = 0
    for index in group.streams.indices {
      group.streams[index].seen = group.streams[index].range.first - 1
      group.streams[index].covered = group.streams[index].range.first - 1
    }
    for segment in group.segments {
      var offset = UInt32(segmentHeaderBytes)
      while offset < segment.bytes {
        switch try probe(segment.file, segment.header, at: offset, end: segment.bytes) {
        case .end, .seal: offset = segment.bytes
        case .damaged(_, let next):
          // It is reported as to a reader; what comes between the two times is left to the next time.
          guard let index = logs[telemetryClass].index(of: segment.header.number),
            isDraft || logs[telemetryClass].segments[index].damagedAt.contains(offset)
          else { throw .failed(0) }
          if !logs[telemetryClass].segments[index].damagedAt.contains(offset) {
            try rescan(SegmentPlace(logClass: telemetryClass, index: index))
          }
          offset = next
        case .frame(let slot, let next):
          try sift(slots[slot], of: segment, &group, into: &made, isDraft: isDraft)
          offset = next
        }
      }
    }
    if group.fill > 0 { try endFrame(of: group, into: &made, isDraft: isDraft) }
    for thinned in group.streams where !isDraft && thinned.written != thinned.kept {
      throw .failed(0)
    }
  }

  private mutating func sift(
    _ frame: FrameSlot, of segment: Segment, _ group: inout ThinGroup, into made: inout Segment,
    isDraft: Bool
  ) throws(StorageError) {
    var place = 0
    while let view = frame.record(at: &place) {
      let stream = frame.table[view.tableIndex].stream
      let sequence = frame.sequence(view)
      guard let entry = segment.entry(of: stream), let index = group.index(of: stream) else {
        continue
      }
      var thinned = group.streams[index]
      guard sequence > thinned.seen, sequence <= segment.entries[entry].highest,
        !streams[stream].settled.contains(sequence)
      else { continue }
      thinned.seen = sequence
      if !Sieve(level: group.level, range: thinned.range).keeps(sequence) {
        if isDraft { thinned.dropped += 1 }
        group.streams[index] = thinned
        continue
      }
      // With what a record takes besides its parts, at most.
      let bytes = view.source.count + view.subject.count + view.payload.count + 48
      if group.fill > 0, group.fill + bytes > limits.commitBytes {
        try endFrame(of: group, into: &made, isDraft: isDraft)
        group.fill = 0
      }
      if group.fill == 0, let header = frame.header {
        group.wall = header.wall
        group.quality = header.quality
      }
      group.fill += bytes
      if isDraft {
        thinned.kept += 1
        group.kept += 1
        group.bytes += UInt64(bytes)
      } else {
        // It stands for what was left out before it, the last one for the rest, too: the numbers of the
        // frames follow each other without a hole.
        thinned.written += 1
        let last = thinned.written == thinned.kept ? thinned.range.last : sequence
        let range = SequenceRange(first: thinned.covered + 1, last: last)
        frame.encode(view, covering: range, wall: group.wall, into: &builder)
        thinned.covered = last
      }
      group.streams[index] = thinned
    }
  }

  private mutating func endFrame(
    of group: ThinGroup, into made: inout Segment, isDraft: Bool
  ) throws(StorageError) {
    made.frames += 1
    if isDraft { return }
    var header = FrameHeader(
      logClass: made.header.logClass, quality: group.quality, epoch: made.header.epoch,
      wall: group.wall, number: made.frames - 1)
    encodeFrame(&header, salt: made.header.salt)
    for totals in builder.totals { made.add(totals) }
    builder.removeAll()
    try append(to: &made)
  }

  /// Appends the output buffer to a segment that is not in its log yet.
  mutating func append(to made: inout Segment) throws(StorageError) {
    try Self.write(output, to: made.file, at: UInt64(made.bytes), on: &storage)
    made.bytes += UInt32(output.count)
    counters.bytesWritten += UInt64(output.count)
    output.removeAll(keepingCapacity: true)
  }

  // MARK: At a start

  /// What a crash left of a thinning: a segment that is whole takes the place of those that it was made
  /// of, any other gives way to them. `keys`: the numbers of a class's segments with their levels, ascending.
  mutating func finishThinning(
    _ logClass: UInt8, _ keys: inout [UInt64]
  ) throws(StorageError) {
    var index = 0
    while index < keys.count {
      let file = StorageFile(logClass, key: keys[index])
      index += 1
      guard keys[index - 1] & 3 > 0 else { continue }
      hasThinned = true
      guard index > 1, keys[index - 2] & 3 < keys[index - 1] & 3 else { continue }
      do throws(StorageError) {
        let first = try firstReplaced(by: file)
        if let first {
          while index > 1, keys[index - 2] & 3 < keys[index - 1] & 3, keys[index - 2] >> 2 >= first
          {
            dispose(of: StorageFile(logClass, key: keys[index - 2]))
            keys.remove(at: index - 2)
            index -= 1
          }
        } else if keys[index - 2] >> 2 == keys[index - 1] >> 2 {
          dispose(of: file)
          keys.remove(at: index - 1)
          index -= 1
        }
      } catch {
        // Its turn to be set aside comes.
        guard isGivenUp(file) else { throw error }
      }
    }
  }

  /// The lowest number whose segment this one takes the place of. Nil: it is not whole, or not on disk.
  private mutating func firstReplaced(by file: StorageFile) throws(StorageError) -> UInt64? {
    let size = UInt32(clamping: try storage.size(of: file))
    guard let header = try readHeader(file), header.file == file,
      try readSeal(file, header, size) != nil, !unsyncable.contains(file)
    else { return nil }
    do throws(StorageError) {
      // The last run may have been killed between a write and its sync.
      try storage.sync(file)
      try storage.syncDirectory()
    } catch {
      markUnsyncable(file)
      return nil
    }
    return UInt64(header.number - header.span)
  }

  /// Removes a file that nobody needs.
  mutating func dispose(of file: StorageFile) {
    do throws(StorageError) { try removeFile(file) } catch { counters.filesLeft += 1 }
  }
}

extension StorageFile {
  /// A segment by its number and, in the last two bits, its level.
  init(_ logClass: UInt8, key: UInt64) {
    self = .segment(
      logClass: logClass, number: UInt32(truncatingIfNeeded: key >> 2), level: UInt8(key & 3))
  }
}
