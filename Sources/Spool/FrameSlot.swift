import Primitives

/// A frame in memory, verified.
struct FrameSlot {
  enum Validity { case torn, tableOnly, whole }

  var place: FramePlace?
  var bytes: [UInt8] = []
  var header: FrameHeader?
  /// The frame's table, and where its names are in `bytes`. A stream that is not known is -1.
  var table: [StreamTotals] = []
  private var names: [Range<Int>] = []
  var lastUse: UInt64 = 0

  mutating func removeAll() {
    place = nil
    header = nil
    bytes.removeAll(keepingCapacity: true)
    table.removeAll(keepingCapacity: true)
    names.removeAll(keepingCapacity: true)
  }

  /// Where the records are in `bytes`.
  var area: Range<Int> {
    guard let header else { return 0..<0 }
    let start = frameHeaderBytes + header.tableBytes + 4
    return start..<(start + header.recordBytes)
  }

  func parsedHeader(_ segment: SegmentHeader) -> FrameHeader? {
    FrameHeader(parsing: bytes.span, at: 0, segment: segment)
  }

  /// Checks what follows the header.
  func validity(_ header: FrameHeader, salt: UInt32) -> Validity {
    guard bytes.count >= header.frameBytes else { return .torn }
    let span = bytes.span
    let tableEnd = frameHeaderBytes + header.tableBytes
    let area = (tableEnd + 4)..<(tableEnd + 4 + header.recordBytes)
    guard
      saltedCRC(span, frameHeaderBytes..<tableEnd, salt: salt)
        == littleEndian(span, at: tableEnd, as: UInt32.self)
    else { return .torn }
    let records: UInt32 = littleEndian(span, at: area.upperBound)
    if isMutated(.skipRecordCheck) { return .whole }
    return saltedCRC(span, area, salt: salt) == records ? .whole : .tableOnly
  }

  /// Parses the table; its streams are still to be found.
  mutating func parseTable(_ header: FrameHeader) {
    self.header = header
    var place = frameHeaderBytes
    let end = frameHeaderBytes + header.tableBytes
    for _ in 0..<header.tableEntries {
      guard place < end else { return }
      let nameEnd = place + 1 + Int(bytes[place])
      guard nameEnd + tableEntryFixedBytes <= end else { return }
      let totals = StreamTotals(parsing: bytes.span, at: nameEnd)
      guard totals.isPossible(in: header) else { return }
      names.append((place + 1)..<nameEnd)
      table.append(totals)
      place = nameEnd + tableEntryFixedBytes
    }
  }

  func isNamed(_ index: Int, _ name: ByteString) -> Bool {
    equal(bytes.span.extracting(names[index]), name.bytes.span)
  }

  func name(_ index: Int) -> ByteString {
    ByteString(copying: bytes.span.extracting(names[index]))
  }

  /// The record at `place` in the record area, and `place` moved behind it. Nil at the end.
  func record(at place: inout Int) -> RecordView? {
    let area = area
    while area.lowerBound + place < area.upperBound {
      guard
        let body = RecordView.body(
          bytes.span, at: area.lowerBound + place, end: area.upperBound)
      else { return nil }
      place = body.upperBound - area.lowerBound
      if let view = RecordView(parsing: bytes.span, body: body, area: area),
        view.tableIndex < table.count
      {
        return view
      }
    }
    return nil
  }

  /// The number and the time of a record.
  func sequence(_ view: RecordView) -> UInt64 {
    table[view.tableIndex].first &+ view.sequenceDelta
  }

  func time(_ view: RecordView) -> Int64 { (header?.wall ?? 0) &+ view.timeDelta }

  /// Adds the record to a frame that is to be written; `covering` is what it stands for there.
  func encode(
    _ view: RecordView, covering range: SequenceRange, wall: Int64,
    into builder: inout FrameBuilder
  ) {
    let span = bytes.span
    builder.append(
      TailEntry(
        stream: table[view.tableIndex].stream, sequence: sequence(view), epoch: 0,
        time: time(view), token: view.token, appended: Instant(nanoseconds: 0),
        sourceBytes: view.source.count, subjectBytes: view.subject.count,
        payloadBytes: view.payload.count, quality: view.quality, isSync: true),
      covering: range, wall: wall, source: span.extracting(view.source),
      subject: span.extracting(view.subject), payload: span.extracting(view.payload))
  }

  func copy(_ view: RecordView, into record: inout SpooledRecord) {
    record.fill(
      bytes.span, source: view.source, subject: view.subject, payload: view.payload)
    record.epoch = header?.epoch ?? 0
    record.sequence = sequence(view)
    record.time = WallTime(nanoseconds: time(view))
    record.quality = view.quality
    record.token = view.token
  }
}

struct FramePlace: Equatable {
  var file: StorageFile
  var offset: UInt32
}

/// What stands at a place in a segment.
enum FrameProbe {
  /// A valid frame, now in a slot.
  case frame(slot: Int, next: UInt32)
  /// A valid seal; its table, in a slot, has the totals.
  case seal(slot: Int)
  /// The end of the frames.
  case end
  /// Not a frame. The next place where one may be, and the slot whose table is valid, if the damage
  /// is among the records only.
  case damaged(table: Int?, next: UInt32)
}

extension Spool where Storage: ~Copyable {
  /// Loads the frame at `offset` of a segment that ends at `end`.
  mutating func probe(
    _ file: StorageFile, _ segment: SegmentHeader, at offset: UInt32, end: UInt32
  ) throws(StorageError) -> FrameProbe {
    guard offset < end else { return .end }
    let place = FramePlace(file: file, offset: offset)
    slotUses += 1
    for index in slots.indices where slots[index].place == place {
      slots[index].lastUse = slotUses
      guard let header = slots[index].header else { break }
      return .frame(slot: index, next: offset + UInt32(header.frameBytes))
    }
    let index = oldestSlot()
    slots[index].removeAll()
    slots[index].lastUse = slotUses
    // Most frames of `sync` streams are smaller than this: one read.
    _ = try storage.read(
      file, at: UInt64(offset), count: Int(min(end - offset, 4096)), into: &slots[index].bytes)
    guard let header = slots[index].parsedHeader(segment),
      UInt64(header.frameBytes) <= UInt64(end - offset), header.frameBytes <= frameBytesMax
    else {
      return .damaged(
        table: nil, next: try findFrame(file, segment, from: offset + 1, end: end))
    }
    let missing = header.frameBytes - slots[index].bytes.count
    if missing > 0 {
      // Exactly: a frame that is appended to the first page would double it again and again.
      slots[index].bytes.reserveCapacity(header.frameBytes)
      let more = UInt64(offset) + UInt64(slots[index].bytes.count)
      _ = try storage.read(file, at: more, count: missing, into: &slots[index].bytes)
    }
    return verify(index, header, place, salt: segment.salt)
  }

  private mutating func verify(
    _ index: Int, _ header: FrameHeader, _ place: FramePlace, salt: UInt32
  ) -> FrameProbe {
    let next = place.offset + UInt32(header.frameBytes)
    let validity = slots[index].validity(header, salt: salt)
    if validity == .torn { return .damaged(table: nil, next: next) }
    slots[index].parseTable(header)
    for entry in slots[index].table.indices {
      slots[index].table[entry].stream = streamIndex(slot: index, entry: entry)
    }
    if header.isSeal {
      slots[index].header = nil
      return validity == .whole ? .seal(slot: index) : .damaged(table: nil, next: next)
    }
    guard validity == .whole else {
      slots[index].header = nil
      return .damaged(table: index, next: next)
    }
    slots[index].place = place
    return .frame(slot: index, next: next)
  }

  /// The stream of a table entry; one that is not configured is made known. -1: there is no room.
  private mutating func streamIndex(slot: Int, entry: Int) -> Int {
    for index in streams.indices where slots[slot].isNamed(entry, streams[index].stream.name) {
      return index
    }
    return addOrphan(slots[slot].name(entry)) ?? -1
  }

  mutating func addOrphan(_ name: ByteString) -> Int? {
    guard streams.count < SpoolLimits.streamsMax + SpoolLimits.orphansMax,
      name.count <= SpoolLimits.streamNameBytesMax
    else { return nil }
    let stream = SpoolStream(name: name, logClass: 3, durability: .sync)
    streams.append(StreamState(stream, isConfigured: false))
    return streams.count - 1
  }

  /// The offset of the next valid frame header, or `end`.
  private mutating func findFrame(
    _ file: StorageFile, _ segment: SegmentHeader, from start: UInt32, end: UInt32
  ) throws(StorageError) -> UInt32 {
    var offset = start
    while end > offset, end - offset >= UInt32(frameOverheadBytes) {
      input.removeAll(keepingCapacity: true)
      let count = try storage.read(
        file, at: UInt64(offset), count: Int(min(end - offset, 8192)), into: &input)
      guard count >= frameHeaderBytes else { return end }
      let place = firstHeader(segment)
      if let place { return offset + UInt32(place) }
      offset += UInt32(count - frameHeaderBytes + 1)
    }
    return end
  }

  /// The first valid frame header in the input buffer.
  private func firstHeader(_ segment: SegmentHeader) -> Int? {
    for place in 0...(input.count - frameHeaderBytes)
    where input[place] == 0x53
      && FrameHeader(parsing: input.span, at: place, segment: segment) != nil
    {
      return place
    }
    return nil
  }

  private func oldestSlot() -> Int {
    var oldest = 0
    for index in slots.indices where slots[index].lastUse < slots[oldest].lastUse {
      oldest = index
    }
    return oldest
  }
}
