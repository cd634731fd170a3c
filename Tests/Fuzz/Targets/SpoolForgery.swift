import Primitives
import Spool

/// Makes checksums right, as `SegmentFormat.swift` and `CursorFormat.swift` describe them.
enum SpoolForgery {
  /// The file with every checksum that has a place made right.
  static func resealed(_ bytes: [UInt8], _ file: StorageFile) -> [UInt8] {
    var bytes = bytes
    if file == .cursor {
      for slot in [0, 32 << 10] { resealCursor(&bytes, slot) }
    } else {
      resealSegment(&bytes)
    }
    return bytes
  }

  private static func resealCursor(_ bytes: inout [UInt8], _ slot: Int) {
    guard slot + 36 <= bytes.count else { return }
    let length = number(bytes, slot + 12)
    guard length <= bytes.count - slot - 36 else { return }
    write(checksum(bytes, slot..<slot + 32 + length, salt: 0), &bytes, slot + 32 + length)
  }

  private static func resealSegment(_ bytes: inout [UInt8]) {
    guard bytes.count >= 32 else { return }
    write(checksum(bytes, 0..<28, salt: 0), &bytes, 28)
    let salt = UInt32(number(bytes, 24))
    var offset = 32
    while offset + 56 <= bytes.count {
      guard Array(bytes[offset..<offset + 4]) == ascii("SpFr") else {
        offset += 1
        continue
      }
      write(checksum(bytes, offset..<offset + 44, salt: salt), &bytes, offset + 44)
      let table = number(bytes, offset + 32)
      let records = number(bytes, offset + 36)
      let room = bytes.count - offset - 56
      guard table <= room, records <= room - table else {
        offset += 4
        continue
      }
      let tableEnd = offset + 48 + table
      write(checksum(bytes, offset + 48..<tableEnd, salt: salt), &bytes, tableEnd)
      let end = tableEnd + 4 + records
      write(checksum(bytes, tableEnd + 4..<end, salt: salt), &bytes, end)
      offset = end + 4
    }
  }

  private static func checksum(_ bytes: [UInt8], _ range: Range<Int>, salt: UInt32) -> UInt32 {
    var crc = CRC32C(salt: salt)
    crc.update(bytes.span.extracting(range))
    return crc.value
  }

  /// Four bytes, little-endian.
  private static func number(_ bytes: [UInt8], _ place: Int) -> Int {
    Int(bytes[place]) | Int(bytes[place + 1]) << 8 | Int(bytes[place + 2]) << 16
      | Int(bytes[place + 3]) << 24
  }

  private static func write(_ value: UInt32, _ bytes: inout [UInt8], _ place: Int) {
    for index in 0..<4 {
      bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt32(8 * index))
    }
  }
}
