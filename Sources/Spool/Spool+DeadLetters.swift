import Primitives

// Records that the upstream will never take are kept aside for a person to look at: one frame each,
// in a file that looks like a segment of class 255, with the status in the frame's header. They are
// reported all the same, so the file is best effort: when it is as long as a segment it starts over
// with its newer half, and when the disk is full or does not write there is none.

struct DeadLetterState {
  var header: SegmentHeader?
  var bytes: UInt64 = 0
  var frames: UInt32 = 0
}

extension Spool where Storage: ~Copyable {
  /// Puts a record that was read aside and reports it as rejected. False: as for `acknowledge`.
  @discardableResult
  public mutating func park(
    stream: Int, record: borrowing SpooledRecord, status: UInt16, clocks: Clocks
  ) -> Bool {
    self.clocks = clocks
    guard isOpen(stream, record.sequence) else { return false }
    keepDeadLetter(stream: stream, record: record, status: status, clocks: clocks)
    return drop(stream, record.sequence, time: record.time, reason: .rejected)
  }

  /// Puts a record aside that was never in the spool; whoever held it reports it.
  public mutating func keepDeadLetter(
    stream: Int, record: borrowing SpooledRecord, status: UInt16, clocks: Clocks
  ) {
    self.clocks = clocks
    counters.parked += 1
    do throws(StorageError) { try writeDeadLetter(stream, record, status) } catch {
      // The record is reported all the same; the next one starts a new file.
      deadLetters.header = nil
      markUnsyncable(.deadLetter)
    }
  }

  private mutating func writeDeadLetter(
    _ stream: Int, _ record: borrowing SpooledRecord, _ status: UInt16
  ) throws(StorageError) {
    guard !disk.isDegraded else { return }
    builder.removeAll()
    let entry = TailEntry(
      stream: stream, sequence: record.sequence, epoch: record.epoch,
      time: record.time.nanoseconds, token: record.token, appended: clocks.now,
      sourceBytes: record.source.count, subjectBytes: record.subject.count,
      payloadBytes: record.payload.count, quality: record.quality, isSync: true)
    record.encode(entry, wall: clocks.wall.nanoseconds, into: &builder)
    let bytes = UInt64(frameOverheadBytes + tableBytes + builder.records.count)
    guard accountedBytes + bytes <= limits.totalBytes else { return }
    if deadLetters.bytes + bytes > UInt64(limits.segmentBytes) { try shortenDeadLetters() }
    output.removeAll(keepingCapacity: true)
    let segment = try deadLetterHeader()
    var header = FrameHeader(
      logClass: deadLetterClass, quality: clocks.quality, epoch: record.epoch,
      wall: clocks.wall.nanoseconds, number: deadLetters.frames)
    header.status = status
    encodeFrame(&header, salt: segment.salt)
    let offset = deadLetters.bytes
    // Also should it fail: how much of it is in the file then, nobody knows.
    deadLetters.bytes += UInt64(output.count)
    try Self.write(output, to: .deadLetter, at: offset, on: &storage)
    try storage.sync(.deadLetter)
    deadLetters.frames += 1
    counters.bytesWritten += UInt64(output.count)
  }

  /// Another file, or other frames in it: what the slots have read of it is not there any more.
  private mutating func forgetDeadLetterFrames() {
    for index in slots.indices where slots[index].place?.file == .deadLetter {
      slots[index].place = nil
    }
  }

  /// The header of the file, new and in the output buffer when there is no file to go on with.
  private mutating func deadLetterHeader() throws(StorageError) -> SegmentHeader {
    if let header = deadLetters.header { return header }
    let header = SegmentHeader(
      logClass: deadLetterClass, number: 0, epoch: epoch,
      salt: UInt32(truncatingIfNeeded: random.next()))
    try removeFile(.deadLetter)
    try storage.create(.deadLetter, reserving: 0)
    try storage.syncDirectory()
    forgetDeadLetterFrames()
    deadLetters = DeadLetterState(header: header)
    header.encode(into: &output)
    return header
  }

  /// Keeps the newer half.
  private mutating func shortenDeadLetters() throws(StorageError) {
    guard let header = deadLetters.header else { return }
    let end = UInt32(clamping: deadLetters.bytes)
    var offset = UInt32(segmentHeaderBytes)
    while offset < end / 2 {
      switch try probe(.deadLetter, header, at: offset, end: end) {
      case .frame(_, let next), .damaged(_, let next): offset = next
      case .end, .seal: offset = end
      }
    }
    forgetDeadLetterFrames()
    var kept: [UInt8] = []
    _ = try storage.read(.deadLetter, at: 0, count: segmentHeaderBytes, into: &kept)
    _ = try storage.read(
      .deadLetter, at: UInt64(offset), count: Int(end - offset), into: &kept)
    try storage.truncate(.deadLetter, to: 0)
    try storage.write(.deadLetter, at: 0, kept.span)
    deadLetters.bytes = UInt64(kept.count)
  }

  /// Finds the end of the dead letters of earlier runs.
  mutating func readDeadLetters(_ files: [StorageFile]) {
    guard files.contains(.deadLetter) else { return }
    // What it takes, also when that cannot be asked.
    deadLetters.bytes = UInt64(limits.segmentBytes)
    do throws(StorageError) {
      let size = UInt32(clamping: try storage.size(of: .deadLetter))
      deadLetters.bytes = UInt64(size)
      // After a failed sync the next one starts a new file, also after a reopening.
      guard !unsyncable.contains(.deadLetter) else { return }
      input.removeAll(keepingCapacity: true)
      _ = try storage.read(.deadLetter, at: 0, count: segmentHeaderBytes, into: &input)
      guard let header = SegmentHeader(parsing: input.span), header.logClass == deadLetterClass
      else { return }
      var offset = UInt32(segmentHeaderBytes)
      while case .frame(_, let next) = try probe(.deadLetter, header, at: offset, end: size) {
        offset = next
        deadLetters.frames += 1
      }
      deadLetters.header = header
      deadLetters.bytes = UInt64(offset)
      if offset < size { try storage.truncate(.deadLetter, to: UInt64(offset)) }
    } catch {
      deadLetters.header = nil
    }
  }
}
