import Primitives

/// The epoch of a spool as it stands in a record's id and in gap reports: hexadecimal digits, lower
/// case, without leading zeros.
package enum EpochText {
  package static func of(_ epoch: UInt64) -> ByteString {
    var text: [UInt8] = []
    append(epoch, to: &text)
    return ByteString(text)
  }

  static func append(_ epoch: UInt64, to text: inout [UInt8]) {
    var shift = 60
    while shift > 0, epoch >> UInt64(shift) == 0 { shift -= 4 }
    while shift >= 0 {
      let nibble = UInt8(truncatingIfNeeded: epoch >> UInt64(shift)) & 15
      text.append(nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10)
      shift -= 4
    }
  }
}
