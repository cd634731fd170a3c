/// The protobuf wire format (protobuf.dev, "Encoding"):
///
///     message  field*
///     field    tag, value                 tag = varint of (number << 3 | wire type)
///     value    0 varint       at most 10 bytes of 7 bits each, the lowest first
///              1 fixed64      8 bytes, little-endian
///              2 bytes        varint length, then as many bytes: bytes, string, message, packed
///              3 start group  fields up to the 4 (end group) of the same number
///              5 fixed32      4 bytes, little-endian
///
/// A number stands between 1 and 2²⁹ − 1. Wire types 6 and 7 do not exist.
public enum WireType: UInt8, Sendable {
  case varint = 0
  case fixed64 = 1
  case bytes = 2
  case startGroup = 3
  case endGroup = 4
  case fixed32 = 5
}

/// What is wrong with the bytes of a message.
public enum WireError: Error, Equatable, Sendable {
  /// They end within a field, or a length reaches behind their end.
  case truncated
  /// More than ten bytes.
  case varintTooLong
  /// A field number of 0 or beyond 2²⁹ − 1, or a wire type that does not exist.
  case invalidTag
  /// A group's end without its start, or the other way round.
  case unbalancedGroup
  /// Messages and groups within each other beyond `WireLimits.depthMax`.
  case tooDeep
  /// A `string` field that is not UTF-8.
  case invalidUTF8
  /// A packed field whose length is no multiple of its elements' size.
  case invalidPackedLength

  /// For a log line or a NACK.
  public var text: StaticString {
    switch self {
    case .truncated: "truncated"
    case .varintTooLong: "a varint of more than ten bytes"
    case .invalidTag: "an invalid tag"
    case .unbalancedGroup: "an unbalanced group"
    case .tooDeep: "nested too deeply"
    case .invalidUTF8: "a string that is not UTF-8"
    case .invalidPackedLength: "a packed field of a wrong length"
    }
  }
}

/// Bounds of the wire format and of this reader.
public enum WireLimits {
  /// Levels of messages and groups; real ones have less than 20. A level takes little stack.
  public static let depthMax = 64
  /// ⌈64 / 7⌉.
  static let varintBytesMax = 10
  /// 2²⁹ − 1.
  static let numberMax: UInt64 = 0x1FFF_FFFF
}

/// One field's value as it stands on the wire. A message's declaration says what it means; a field
/// with another wire type than declared is treated like an unknown one, as protobuf does.
public enum WireValue: Equatable, Sendable {
  case varint(UInt64)
  case fixed64(UInt64)
  case fixed32(UInt32)
  /// Positions in the bytes that are read.
  case bytes(Range<Int>)

  /// `uint64`; nil for another wire type.
  public var uint64: UInt64? {
    if case .varint(let value) = self { value } else { nil }
  }

  /// `int64`.
  public var int64: Int64? { uint64.map { Int64(bitPattern: $0) } }

  /// `uint32`: what is longer is cut, as every implementation does.
  public var uint32: UInt32? { uint64.map { UInt32(truncatingIfNeeded: $0) } }

  /// `int32` and enums; negative ones are ten bytes long on the wire.
  public var int32: Int32? { uint64.map { Int32(truncatingIfNeeded: $0) } }

  /// `sint64`: zigzag.
  public var sint64: Int64? {
    uint64.map { Int64(bitPattern: $0 >> 1) ^ -Int64(bitPattern: $0 & 1) }
  }

  /// `bool`: anything but 0.
  public var bool: Bool? { uint64.map { $0 != 0 } }

  /// `double`.
  public var double: Double? {
    if case .fixed64(let bits) = self { Double(bitPattern: bits) } else { nil }
  }

  /// `float`.
  public var float: Float? {
    if case .fixed32(let bits) = self { Float(bitPattern: bits) } else { nil }
  }

  /// `bytes`, and `string` and messages before they are looked into.
  public var range: Range<Int>? {
    if case .bytes(let range) = self { range } else { nil }
  }
}

/// One field.
public struct WireField: Equatable, Sendable {
  public var number: UInt32
  public var value: WireValue
}
