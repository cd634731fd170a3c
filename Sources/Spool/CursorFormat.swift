import Primitives

// The cursor file: two slots, at 0 and at 32 KiB, written in turn. The valid one with the higher
// generation counts; a write that tears leaves the other.
//
//    0  8  "SPOKECUR"
//    8  1  version, 1
//    9  1  gaps
//   10  2  entries
//   12  4  bytes of the entries, the gaps and the time
//   16  8  generation
//   24  8  epoch
//   32     entries: u8 name length, name, u64 settled through, u64 accounted, u64 reserved,
//                   u8 ranges (bits 0-3, 8 at most) and lent ranges (bits 4-5, 2 at most),
//                   ranges: u64 first, u64 last,
//                   lent ranges: u64 first, u64 last, u64 epoch, u8 reason (bits 0-3) and level (bits 4-5)
//          gaps: u8 index of the entry, u8 reason (bit 7: an upper bound), u64 epoch, u64 first,
//                u64 last, u64 count, i64 earliest, i64 latest (the least number: not known)
//          i64 wall-clock time, ns: the latest that is known to have been right; older slots end before it
//          CRC-32C of everything before
//          zeros up to a multiple of 4 KiB
//
// Settled: every record up to it, and in the ranges, is delivered or dropped. Accounted: every record up to it is on
// disk or settled. Reserved: no record above it was ever sent. Gaps: settled, but the report that says why
// is not known to be safe.

let cursorSlotStride: UInt64 = 32 << 10
/// What its file takes: the place of both slots.
let cursorFileBytes = cursorSlotStride + 4096
private let cursorMagic: UInt64 = 0x5255_4345_4B4F_5053
private let cursorHeaderBytes = 32
private let cursorPageBytes = 4 << 10

struct CursorEntry: Equatable {
  var name: ByteString
  var settled: UInt64
  var accounted: UInt64
  var reserved: UInt64
  /// Settled above the prefix. What does not fit is delivered once more after a restart.
  var ranges: [SequenceRange] = []
  /// What is not settled of these is in no segment: after a crash it is lost.
  var lent: [LentRange] = []

  /// Up to here what is neither settled nor on disk is lost. Nobody can tell of what is above the ranges, when there
  /// were more than fit.
  var wholeThrough: UInt64 {
    guard ranges.count == CursorEntry.rangesMax, let last = ranges.last else { return accounted }
    return min(accounted, last.last)
  }

  static let rangesMax = 8
  static let lentMax = 2
  static let lentBytes = 25
}

struct CursorSlot: Equatable {
  var generation: UInt64
  var epoch: UInt64
  var entries: [CursorEntry]
  var gaps: [CursorGap] = []
  var wall: Int64 = 0

  func encode(into bytes: inout [UInt8]) {
    bytes.removeAll(keepingCapacity: true)
    bytes.appendLittleEndian(cursorMagic)
    bytes.append(formatVersion)
    bytes.append(UInt8(gaps.count))
    bytes.appendLittleEndian(UInt16(entries.count))
    let length = Self.bytes(of: entries) + CursorGap.bytes * gaps.count + 8
    bytes.appendLittleEndian(UInt32(length))
    bytes.appendLittleEndian(generation)
    bytes.appendLittleEndian(epoch)
    for entry in entries {
      bytes.append(UInt8(entry.name.count))
      bytes.append(contentsOf: entry.name.bytes)
      bytes.appendLittleEndian(entry.settled)
      bytes.appendLittleEndian(entry.accounted)
      bytes.appendLittleEndian(entry.reserved)
      bytes.append(UInt8(entry.ranges.count) | UInt8(entry.lent.count) << 4)
      for range in entry.ranges {
        bytes.appendLittleEndian(range.first)
        bytes.appendLittleEndian(range.last)
      }
      for lent in entry.lent {
        bytes.appendLittleEndian(lent.range.first)
        bytes.appendLittleEndian(lent.range.last)
        bytes.appendLittleEndian(lent.epoch)
        bytes.append(lent.reason.rawValue | lent.level << 4)
      }
    }
    for gap in gaps { gap.encode(into: &bytes) }
    bytes.appendLittleEndian(wall)
    bytes.appendLittleEndian(saltedCRC(bytes.span, 0..<bytes.count, salt: 0))
    while bytes.count % cursorPageBytes != 0 { bytes.append(0) }
    precondition(bytes.count <= Int(cursorSlotStride), "spool: cursor larger than its slot")
  }

  init(
    generation: UInt64, epoch: UInt64, entries: [CursorEntry], gaps: [CursorGap] = [],
    wall: Int64 = 0
  ) {
    self.generation = generation
    self.epoch = epoch
    self.entries = entries
    self.gaps = gaps
    self.wall = wall
  }

  /// How many gaps fit behind these entries.
  static func gapsMax(_ entries: [CursorEntry]) -> Int {
    let used = cursorHeaderBytes + bytes(of: entries) + 8 + 4
    return min((Int(cursorSlotStride) - used) / CursorGap.bytes, 255)
  }

  private static func bytes(of entries: [CursorEntry]) -> Int {
    var sum = 0
    for entry in entries {
      sum += 26 + entry.name.count + 16 * entry.ranges.count
      sum += CursorEntry.lentBytes * entry.lent.count
    }
    return sum
  }

  init?(parsing bytes: Span<UInt8>) {
    guard bytes.count >= cursorHeaderBytes + 4,
      littleEndian(bytes, at: 0, as: UInt64.self) == cursorMagic, bytes[8] == formatVersion
    else { return nil }
    let length: UInt32 = littleEndian(bytes, at: 12)
    guard length <= UInt32(bytes.count - cursorHeaderBytes - 4) else { return nil }
    let end = cursorHeaderBytes + Int(length)
    guard littleEndian(bytes, at: end, as: UInt32.self) == saltedCRC(bytes, 0..<end, salt: 0)
    else { return nil }
    generation = littleEndian(bytes, at: 16)
    epoch = littleEndian(bytes, at: 24)
    entries = []
    var place = cursorHeaderBytes
    for _ in 0..<littleEndian(bytes, at: 10, as: UInt16.self) {
      guard place < end, place + 26 + Int(bytes[place]) <= end else { return nil }
      let name = bytes.extracting((place + 1)..<(place + 1 + Int(bytes[place])))
      place += 1 + name.count
      var entry = CursorEntry(
        name: ByteString(copying: name), settled: littleEndian(bytes, at: place),
        accounted: littleEndian(bytes, at: place + 8),
        reserved: littleEndian(bytes, at: place + 16))
      guard entry.settled <= sequenceMax, entry.accounted <= sequenceMax else { return nil }
      let count = Int(bytes[place + 24] & 15)
      let lent = Int(bytes[place + 24] >> 4)
      place += 25
      guard count <= CursorEntry.rangesMax, count * 16 <= end - place else { return nil }
      for _ in 0..<count {
        entry.ranges.append(
          SequenceRange(
            first: littleEndian(bytes, at: place), last: littleEndian(bytes, at: place + 8)))
        place += 16
      }
      guard lent <= CursorEntry.lentMax, lent * CursorEntry.lentBytes <= end - place
      else { return nil }
      for _ in 0..<lent {
        let range = SequenceRange(
          first: littleEndian(bytes, at: place), last: littleEndian(bytes, at: place + 8))
        guard let reason = DropReason(rawValue: bytes[place + 24] & 15),
          range.last <= sequenceMax
        else { return nil }
        entry.lent.append(
          LentRange(
            range: range, epoch: littleEndian(bytes, at: place + 16), reason: reason,
            level: bytes[place + 24] >> 4 & 3))
        place += CursorEntry.lentBytes
      }
      entries.append(entry)
    }
    for _ in 0..<Int(bytes[9]) {
      guard end - place >= CursorGap.bytes,
        let gap = CursorGap(parsing: bytes, at: place, entries: entries.count)
      else { return nil }
      gaps.append(gap)
      place += CursorGap.bytes
    }
    if end - place >= 8 { wall = littleEndian(bytes, at: place) }
  }
}
