import Primitives

// Little-endian numbers of fixed width, and LEB128 for those that are usually small.

extension Array where Element == UInt8 {
  mutating func appendLittleEndian<Number: FixedWidthInteger>(_ value: Number) {
    var rest = value
    for _ in 0..<(Number.bitWidth / 8) {
      append(UInt8(truncatingIfNeeded: rest))
      if Number.bitWidth > 8 { rest >>= 8 }
    }
  }

  mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(truncatingIfNeeded: rest))
  }
}

/// The caller has checked that the bytes are there.
func littleEndian<Number: FixedWidthInteger>(
  _ bytes: Span<UInt8>, at offset: Int, as type: Number.Type = Number.self
) -> Number {
  var value: Number = 0
  for index in 0..<(Number.bitWidth / 8) {
    value |= Number(truncatingIfNeeded: bytes[offset + index]) << Number(8 * index)
  }
  return value
}

/// Reads one varint before `end` and moves `offset` behind it; nil when there is none.
func varint(_ bytes: Span<UInt8>, at offset: inout Int, end: Int) -> UInt64? {
  var value: UInt64 = 0
  var shift: UInt64 = 0
  while offset < end, shift < 64 {
    let byte = bytes[offset]
    offset += 1
    if shift == 63, byte > 1 { return nil }
    value |= UInt64(byte & 0x7F) << shift
    if byte < 0x80 { return value }
    shift += 7
  }
  return nil
}

/// A varint that is a length or a place inside `limit`; a value beyond it is no such thing.
func boundedVarint(
  _ bytes: Span<UInt8>, at offset: inout Int, end: Int, limit: Int
) -> Int? {
  guard let value = varint(bytes, at: &offset, end: end), value <= UInt64(limit) else {
    return nil
  }
  return Int(value)
}

func varintBytes(_ value: UInt64) -> Int {
  max(1, (64 - value.leadingZeroBitCount + 6) / 7)
}

func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

func unzigzag(_ value: UInt64) -> Int64 {
  Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
}

/// CRC-32C of part of a span, started from a segment's salt.
func saltedCRC(_ bytes: Span<UInt8>, _ range: Range<Int>, salt: UInt32) -> UInt32 {
  var crc = CRC32C(salt: salt)
  crc.update(bytes.extracting(range))
  return crc.value
}
