// Integers (RFC 7541 §5.1): an N-bit prefix in the first octet; when all its bits are ones, the rest
// follows in octets of seven bits, least significant first, the high bit saying that more follow.
//
//      0   1   2   3   4   5   6   7
//    +---+---+---+---+---+---+---+---+
//    | ? | ? | ? | 1   1   1   1   1 |   prefix of 5 bits: the value is 31 + what follows
//    +---+---+---+-------------------+
//    | 1 |    low 7 bits             |
//    | 0 |    high 7 bits            |
//    +---+---------------------------+

import Primitives

/// 2²⁸ − 1 and a prefix fit into four octets behind the prefix, and into a 32-bit `Int` in any sum
/// used here. No table, string or index that this program accepts comes near.
let integerMax = (1 << 28) - 1

/// Decodes the integer whose prefix is in the octet at `offset`.
func decodeInteger(
  _ block: Span<UInt8>, _ offset: inout Int, prefixBits: Int
) throws(HPACKError) -> Int {
  guard offset < block.count else { throw .truncated }
  let mask = (1 << prefixBits) - 1
  var value = Int(block[offset]) & mask
  offset += 1
  guard value == mask else { return value }
  // Four octets at most, so the shift ends at 21: 127 << 21 is below 2²⁸.
  for shift in stride(from: 0, through: 21, by: 7) {
    guard offset < block.count else { throw .truncated }
    let octet = block[offset]
    offset += 1
    value += Int(octet & 0x7F) << shift
    guard value <= integerMax else { throw .integerOverflow }
    if octet & 0x80 == 0 { return value }
  }
  throw .integerOverflow
}

/// Appends `value` with `pattern` in the bits above the prefix.
func encodeInteger(_ value: Int, prefixBits: Int, pattern: UInt8, into block: inout [UInt8]) {
  let mask = (1 << prefixBits) - 1
  guard value >= mask else {
    block.append(pattern | UInt8(truncatingIfNeeded: value))
    return
  }
  block.append(pattern | UInt8(truncatingIfNeeded: mask))
  var rest = value - mask
  while rest >= 0x80 {
    block.append(UInt8(truncatingIfNeeded: rest) | 0x80)
    rest >>= 7
  }
  block.append(UInt8(truncatingIfNeeded: rest))
}
