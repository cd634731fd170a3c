import Primitives

// The record area of a frame: records one behind the other, each readable by itself.
//
//   varint  length of the rest
//   varint  index into the frame's table (which stream)
//   u8      flags: bits 0-1 quality of the time, bit 2 a token follows
//   varint  sequence - first sequence of the stream in this frame
//   varint  zigzag(time - time of the commit)
//   u64     token, if flagged
//   string  source
//   string  subject
//   bytes   payload: the rest
//
//   string: varint v. v even: v/2 bytes follow. v odd: the string stands at (v-1)/2 in the record
//   area, as a varint length (even, as above) and its bytes: names repeat, and are written once.

/// Fills a frame. Its buffers live as long as the spool.
struct FrameBuilder {
  private(set) var records: [UInt8] = []
  private(set) var totals: [StreamTotals] = []
  private var body: [UInt8] = []
  /// Places in `records` of the strings written last, to refer to.
  private var recent = RecentStrings()

  var count: UInt32 {
    var sum: UInt32 = 0
    for entry in totals { sum += entry.count }
    return sum
  }

  mutating func removeAll() {
    records.removeAll(keepingCapacity: true)
    totals.removeAll(keepingCapacity: true)
    recent.count = 0
  }

  /// `covering`: the record stands for more numbers than its own, none of which comes later.
  mutating func append(
    _ entry: TailEntry, covering range: SequenceRange? = nil, wall: Int64, source: Span<UInt8>,
    subject: Span<UInt8>, payload: Span<UInt8>
  ) {
    let index = tableIndex(entry, first: range?.first ?? entry.sequence)
    totals[index].include(
      sequence: entry.sequence, time: entry.time, bytes: payload.count, quality: entry.quality)
    totals[index].last = max(totals[index].last, range?.last ?? 0)
    body.removeAll(keepingCapacity: true)
    body.appendVarint(UInt64(index))
    body.append(entry.quality.rawValue | (entry.token == 0 ? 0 : 4))
    body.appendVarint(entry.sequence - totals[index].first)
    body.appendVarint(zigzag(entry.time &- wall))
    if entry.token != 0 { body.appendLittleEndian(entry.token) }
    let sourceAt = appendString(source)
    let subjectAt = appendString(subject)
    body.append(contentsOf: payload)
    records.appendVarint(UInt64(body.count))
    let start = records.count
    records.append(contentsOf: body)
    if let sourceAt { recent.insert(start + sourceAt) }
    if let subjectAt { recent.insert(start + subjectAt) }
  }

  private mutating func tableIndex(_ entry: TailEntry, first: UInt64) -> Int {
    for index in totals.indices where totals[index].stream == entry.stream { return index }
    totals.append(StreamTotals(stream: entry.stream, sequence: first, time: entry.time))
    return totals.count - 1
  }

  /// Where in `body` the string was written, if it was; a reference otherwise.
  private mutating func appendString(_ text: Span<UInt8>) -> Int? {
    if text.count > 1, let place = recent.place(of: text, in: records.span) {
      body.appendVarint(UInt64(place) * 2 + 1)
      return nil
    }
    let start = body.count
    body.appendVarint(UInt64(text.count) * 2)
    body.append(contentsOf: text)
    return text.count > 1 ? start : nil
  }
}

/// A ring of eight places.
private struct RecentStrings {
  private var places: [Int] = Array(repeating: 0, count: 8)
  var count = 0

  mutating func insert(_ place: Int) {
    places[count % 8] = place
    count += 1
  }

  func place(of text: Span<UInt8>, in records: Span<UInt8>) -> Int? {
    for index in 0..<min(count, 8) {
      var offset = places[index]
      guard
        let length = varint(records, at: &offset, end: records.count),
        length == UInt64(text.count) * 2,
        equal(records.extracting(offset..<(offset + text.count)), text)
      else { continue }
      return places[index]
    }
    return nil
  }
}

/// Where the parts of a record are. Ranges point into the span it was parsed from.
struct RecordView {
  var tableIndex: Int
  var quality: ClockQuality
  /// Relative to the stream's first one in the frame.
  var sequenceDelta: UInt64
  /// Relative to the commit.
  var timeDelta: Int64
  var token: UInt64
  var source: Range<Int>
  var subject: Range<Int>
  var payload: Range<Int>

  /// The length of the record at `offset`, and the place of its body. Nil: not a record.
  static func body(_ bytes: Span<UInt8>, at offset: Int, end: Int) -> Range<Int>? {
    var place = offset
    guard let length = boundedVarint(bytes, at: &place, end: end, limit: end - place)
    else { return nil }
    guard length <= end - place else { return nil }
    return place..<(place + length)
  }

  /// Parses a body; `area` is the frame's record area. Nil: not a record, which a frame whose CRC is
  /// right never holds unless another program wrote it.
  init?(parsing bytes: Span<UInt8>, body: Range<Int>, area: Range<Int>) {
    var place = body.lowerBound
    let end = body.upperBound
    guard let index = boundedVarint(bytes, at: &place, end: end, limit: 0xFFFF), place < end,
      let clock = ClockQuality(rawValue: bytes[place] & 3)
    else { return nil }
    let hasToken = bytes[place] & 4 != 0
    place += 1
    guard let sequence = varint(bytes, at: &place, end: end),
      let time = varint(bytes, at: &place, end: end), !hasToken || end - place >= 8
    else { return nil }
    token = hasToken ? littleEndian(bytes, at: place) : 0
    if hasToken { place += 8 }
    guard let source = Self.string(bytes, at: &place, end: end, area: area),
      let subject = Self.string(bytes, at: &place, end: end, area: area)
    else { return nil }
    tableIndex = index
    quality = clock
    sequenceDelta = sequence
    timeDelta = unzigzag(time)
    self.source = source
    self.subject = subject
    payload = place..<end
  }

  private static func string(
    _ bytes: Span<UInt8>, at place: inout Int, end: Int, area: Range<Int>
  ) -> Range<Int>? {
    guard let value = boundedVarint(bytes, at: &place, end: end, limit: 2 * frameBytesMax)
    else { return nil }
    if value & 1 == 0 {
      guard value / 2 <= end - place else { return nil }
      let range = place..<(place + value / 2)
      place = range.upperBound
      return range
    }
    var target = area.lowerBound + value / 2
    guard
      let length = boundedVarint(
        bytes, at: &target, end: area.upperBound, limit: 2 * frameBytesMax),
      length & 1 == 0, length / 2 <= area.upperBound - target
    else { return nil }
    return target..<(target + length / 2)
  }
}
