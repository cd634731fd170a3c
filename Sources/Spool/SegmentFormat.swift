import Primitives

// A segment, the unit of space: a header, then frames one behind the other, at the end a seal.
//
//   segment header, 32 bytes              frame header, 48 bytes
//    0  8  "SPOKESEG"                      0  4  "SpFr"
//    8  1  version, 1                      4  1  version, 1
//    9  1  class                           5  1  class
//   10  2  level and span                  6  1  flags: bit 0 seal
//   12  4  number                          7  1  quality of the wall-clock time
//   16  8  epoch                           8  8  epoch
//   24  4  salt                           16  8  wall-clock time of the commit, ns
//   28  4  CRC-32C of 0..<28              24  4  number in the segment, from 0
//                                         28  4  records
//   frame                                 32  4  bytes of the table
//     header           48                 36  4  bytes of the records
//     table                               40  2  entries of the table
//     CRC of table      4                 42  2  status (dead letters), else 0
//     records                             44  4  CRC of 0..<44
//     CRC of records    4
//
//   table entry: u8 name length, name, u64 first sequence, u64 last, u32 records, u32 bytes of
//   their payloads, i64 earliest time, i64 latest, u8 flags (bit 0: some times are not trusted)
//
// Level: how often the segment was thinned (bits 14-15), and span: how many numbers below its own the
// segments had whose place it takes (bits 0-13). Both are zero in a segment as it was written.
//
// A frame's three CRCs start from the segment's random salt, so that bytes left over from another
// segment never verify. A frame is valid when all three do. All numbers are little-endian.
//
// A seal is a frame whose table holds the totals of the whole segment and whose record area is one
// u32: the offset of the seal itself. The last eight bytes of a sealed segment (that offset and its
// CRC) thus lead to the totals. A segment without a valid seal is read frame by frame.

let segmentHeaderBytes = 32
let frameHeaderBytes = 48
/// A frame without table and records.
let frameOverheadBytes = frameHeaderBytes + 8
let tableEntryFixedBytes = 41
let formatVersion: UInt8 = 1
/// The class that the dead letters' frames carry.
let deadLetterClass: UInt8 = 0xFF

private let segmentMagic: UInt64 = 0x4745_5345_4B4F_5053
private let frameMagic: UInt32 = 0x7246_7053

struct SegmentHeader: Equatable {
  var logClass: UInt8
  var number: UInt32
  var epoch: UInt64
  var salt: UInt32
  var level: UInt8 = 0
  var span: UInt32 = 0

  static let spanMax: UInt32 = 0x3FFF

  var file: StorageFile { .segment(logClass: logClass, number: number, level: level) }

  func encode(into bytes: inout [UInt8]) {
    let start = bytes.count
    bytes.appendLittleEndian(segmentMagic)
    bytes.append(formatVersion)
    bytes.append(logClass)
    bytes.appendLittleEndian(UInt16(level) << 14 | UInt16(span))
    bytes.appendLittleEndian(number)
    bytes.appendLittleEndian(epoch)
    bytes.appendLittleEndian(salt)
    bytes.appendLittleEndian(saltedCRC(bytes.span, start..<(start + 28), salt: 0))
  }

  init(logClass: UInt8, number: UInt32, epoch: UInt64, salt: UInt32) {
    self.logClass = logClass
    self.number = number
    self.epoch = epoch
    self.salt = salt
  }

  init?(parsing bytes: Span<UInt8>) {
    guard bytes.count >= segmentHeaderBytes,
      littleEndian(bytes, at: 0, as: UInt64.self) == segmentMagic, bytes[8] == formatVersion,
      littleEndian(bytes, at: 28, as: UInt32.self) == saltedCRC(bytes, 0..<28, salt: 0)
    else { return nil }
    logClass = bytes[9]
    let origin: UInt16 = littleEndian(bytes, at: 10)
    level = UInt8(origin >> 14)
    number = littleEndian(bytes, at: 12)
    span = min(UInt32(origin) & Self.spanMax, number)
    epoch = littleEndian(bytes, at: 16)
    salt = littleEndian(bytes, at: 24)
  }
}

struct FrameHeader: Equatable {
  var logClass: UInt8
  var isSeal = false
  var quality: ClockQuality
  var epoch: UInt64
  var wall: Int64
  var number: UInt32
  var records: UInt32
  var tableBytes: Int
  var recordBytes: Int
  var tableEntries: Int
  var status: UInt16 = 0

  /// The whole frame, CRCs included.
  var frameBytes: Int { frameOverheadBytes + tableBytes + recordBytes }

  func encode(into bytes: inout [UInt8], salt: UInt32) {
    let start = bytes.count
    bytes.appendLittleEndian(frameMagic)
    bytes.append(formatVersion)
    bytes.append(logClass)
    bytes.append(isSeal ? 1 : 0)
    bytes.append(quality.rawValue)
    bytes.appendLittleEndian(epoch)
    bytes.appendLittleEndian(wall)
    bytes.appendLittleEndian(number)
    bytes.appendLittleEndian(records)
    bytes.appendLittleEndian(UInt32(tableBytes))
    bytes.appendLittleEndian(UInt32(recordBytes))
    bytes.appendLittleEndian(UInt16(tableEntries))
    bytes.appendLittleEndian(status)
    bytes.appendLittleEndian(saltedCRC(bytes.span, start..<(start + 44), salt: salt))
  }

  init(logClass: UInt8, quality: ClockQuality, epoch: UInt64, wall: Int64, number: UInt32) {
    self.logClass = logClass
    self.quality = quality
    self.epoch = epoch
    self.wall = wall
    self.number = number
    records = 0
    tableBytes = 0
    recordBytes = 0
    tableEntries = 0
  }

  /// Nil when there is no valid header of this segment at `offset`.
  init?(parsing bytes: Span<UInt8>, at offset: Int, segment: SegmentHeader) {
    guard bytes.count - offset >= frameHeaderBytes,
      littleEndian(bytes, at: offset, as: UInt32.self) == frameMagic,
      bytes[offset + 4] == formatVersion, bytes[offset + 5] == segment.logClass
    else { return nil }
    let crc = saltedCRC(bytes, offset..<(offset + 44), salt: segment.salt)
    guard littleEndian(bytes, at: offset + 44, as: UInt32.self) == crc,
      let clock = ClockQuality(rawValue: bytes[offset + 7])
    else { return nil }
    let table: UInt32 = littleEndian(bytes, at: offset + 32)
    let recordArea: UInt32 = littleEndian(bytes, at: offset + 36)
    guard table <= UInt32(frameBytesMax), recordArea <= UInt32(frameBytesMax) else { return nil }
    logClass = bytes[offset + 5]
    isSeal = bytes[offset + 6] & 1 == 1
    quality = clock
    epoch = littleEndian(bytes, at: offset + 8)
    wall = littleEndian(bytes, at: offset + 16)
    number = littleEndian(bytes, at: offset + 24)
    records = littleEndian(bytes, at: offset + 28)
    tableBytes = Int(table)
    recordBytes = Int(recordArea)
    tableEntries = Int(littleEndian(bytes, at: offset + 40, as: UInt16.self))
    status = littleEndian(bytes, at: offset + 42)
  }
}

/// What a frame or a segment holds of one stream.
struct StreamTotals: Equatable {
  var stream: Int
  var first: UInt64
  var last: UInt64
  var count: UInt32 = 0
  /// Of the payloads.
  var bytes: UInt32 = 0
  var from: Int64
  var to: Int64
  /// Some records carry a time that their clock did not vouch for: `to` says nothing about their age.
  var hasUntrustedTimes = false

  init(stream: Int, sequence: UInt64, time: Int64) {
    self.stream = stream
    first = sequence
    last = sequence
    from = time
    to = time
  }

  mutating func include(sequence: UInt64, time: Int64, bytes: Int, quality: ClockQuality) {
    first = min(first, sequence)
    last = max(last, sequence)
    count += 1
    self.bytes += UInt32(bytes)
    from = min(from, time)
    to = max(to, time)
    if quality == .unsynced { hasUntrustedTimes = true }
  }

  mutating func merge(_ other: StreamTotals) {
    first = min(first, other.first)
    last = max(last, other.last)
    count += other.count
    bytes += other.bytes
    from = min(from, other.from)
    to = max(to, other.to)
    if other.hasUntrustedTimes { hasUntrustedTimes = true }
  }

  func encode(name: ByteString, into bytes: inout [UInt8]) {
    bytes.append(UInt8(name.count))
    bytes.append(contentsOf: name.bytes)
    bytes.appendLittleEndian(first)
    bytes.appendLittleEndian(last)
    bytes.appendLittleEndian(count)
    bytes.appendLittleEndian(self.bytes)
    bytes.appendLittleEndian(from)
    bytes.appendLittleEndian(to)
    bytes.append(hasUntrustedTimes ? 1 : 0)
  }

  /// Whether a frame that this program wrote can hold them. Others have a right checksum only when
  /// another program wrote it; sums over them could overflow, and the daemon would never start.
  func isPossible(in frame: FrameHeader) -> Bool {
    guard first >= 1, first <= last, last <= sequenceMax, count >= 1,
      UInt64(count) - 1 <= last - first
    else { return false }
    // A seal's totals are those of its segment. Elsewhere each record takes a byte at least.
    return frame.isSeal || (count <= frame.recordBytes && bytes <= frame.recordBytes)
  }

  /// The entry whose name ends at `offset`. The stream is the caller's to find.
  init(parsing bytes: Span<UInt8>, at offset: Int) {
    stream = -1
    first = littleEndian(bytes, at: offset)
    last = littleEndian(bytes, at: offset + 8)
    count = littleEndian(bytes, at: offset + 16)
    self.bytes = littleEndian(bytes, at: offset + 20)
    from = littleEndian(bytes, at: offset + 24)
    to = littleEndian(bytes, at: offset + 32)
    hasUntrustedTimes = bytes[offset + 40] & 1 == 1
  }
}
