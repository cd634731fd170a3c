import Primitives

/// A gap report as the cursor keeps it until it is known to be safe: without it, a crash between the
/// cursor that counts the records as settled and the commit of the report would lose them silently.
struct CursorGap: Equatable {
  /// The place of its stream among the cursor's entries.
  var entry: Int
  var reason: DropReason
  var isUpperBound: Bool
  var epoch: UInt64
  var range: SequenceRange
  var count: UInt64
  var from: WallTime?
  var to: WallTime?

  static let bytes = 50

  init(_ gap: GapReport, entry: Int) {
    self.entry = entry
    reason = gap.reason
    isUpperBound = gap.isUpperBound
    epoch = gap.epoch
    range = SequenceRange(first: gap.first, last: gap.last)
    count = gap.count
    from = gap.from
    to = gap.to
  }

  func encode(into bytes: inout [UInt8]) {
    bytes.append(UInt8(entry))
    bytes.append(reason.rawValue | (isUpperBound ? 0x80 : 0))
    for number in [epoch, range.first, range.last, count] { bytes.appendLittleEndian(number) }
    for time in [from, to] { bytes.appendLittleEndian(time?.nanoseconds ?? .min) }
  }

  /// The caller has checked that the bytes are there; `entries`: how many there are to name.
  init?(parsing bytes: Span<UInt8>, at place: Int, entries: Int) {
    guard let reason = DropReason(rawValue: bytes[place + 1] & 0x7F), Int(bytes[place]) < entries
    else { return nil }
    entry = Int(bytes[place])
    self.reason = reason
    isUpperBound = bytes[place + 1] & 0x80 != 0
    epoch = littleEndian(bytes, at: place + 2)
    range = SequenceRange(
      first: littleEndian(bytes, at: place + 10), last: littleEndian(bytes, at: place + 18))
    count = littleEndian(bytes, at: place + 26)
    from = Self.time(bytes, at: place + 34)
    to = Self.time(bytes, at: place + 42)
    guard range.first <= range.last, range.last <= sequenceMax, count > 0 else { return nil }
  }

  private static func time(_ bytes: Span<UInt8>, at place: Int) -> WallTime? {
    let nanoseconds: Int64 = littleEndian(bytes, at: place)
    return nanoseconds == .min ? nil : WallTime(nanoseconds: nanoseconds)
  }
}
