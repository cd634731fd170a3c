import Primitives

/// Writes the fields of a message to the end of `bytes`. Each call writes, whatever the value: proto3
/// leaves out a scalar that is 0 or empty, which is the caller's choice, because an element of a
/// repeated field or a member of a oneof is written all the same.
public struct WireWriter: Sendable {
  public var bytes: [UInt8] = []

  public init() {}

  /// `uint32`, `uint64`, `bool` (0 or 1), enums.
  public mutating func varint(_ number: UInt32, _ value: UInt64) {
    tag(number, .varint)
    varint(value)
  }

  /// `int32` and `int64`: a negative one takes ten bytes.
  public mutating func int64(_ number: UInt32, _ value: Int64) {
    varint(number, UInt64(bitPattern: value))
  }

  /// `double`.
  public mutating func double(_ number: UInt32, _ value: Double) {
    tag(number, .fixed64)
    let bits = value.bitPattern
    for place in UInt64(0)..<8 { bytes.append(UInt8(truncatingIfNeeded: bits >> (8 * place))) }
  }

  /// `float`.
  public mutating func float(_ number: UInt32, _ value: Float) {
    tag(number, .fixed32)
    let bits = value.bitPattern
    for place in UInt32(0)..<4 { bytes.append(UInt8(truncatingIfNeeded: bits >> (8 * place))) }
  }

  /// `bytes`, `string` (the caller vouches for its UTF-8), or a message that is encoded already.
  public mutating func bytes(_ number: UInt32, _ value: Span<UInt8>) {
    header(number, length: value.count)
    bytes.append(contentsOf: value)
  }

  /// The tag and the length of a field whose bytes follow by other calls.
  public mutating func header(_ number: UInt32, length: Int) {
    tag(number, .bytes)
    varint(UInt64(length))
  }

  /// A message whose length is known only once it is written: its bytes then move a little.
  public mutating func message(_ number: UInt32, _ body: (inout WireWriter) -> Void) {
    tag(number, .bytes)
    let start = bytes.count
    body(&self)
    var length = UInt64(bytes.count - start)
    var place = start
    while length >= 0x80 {
      bytes.insert(UInt8(truncatingIfNeeded: length) | 0x80, at: place)
      length >>= 7
      place += 1
    }
    bytes.insert(UInt8(length), at: place)
  }

  private mutating func tag(_ number: UInt32, _ type: WireType) {
    varint(UInt64(number) << 3 | UInt64(type.rawValue))
  }

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

/// How long things become on the wire, for a header that stands before them.
public enum WireSize {
  /// Bytes of a varint: 1 to 10.
  public static func varint(_ value: UInt64) -> Int {
    // ⌈significant bits / 7⌉, and one byte for 0.
    (70 - (value | 1).leadingZeroBitCount) / 7
  }

  /// Bytes of a field with a number below 16 that holds a varint.
  public static func varintField(_ value: UInt64) -> Int { 1 + varint(value) }

  /// Bytes of a field with a number below 16 that holds `count` bytes.
  public static func bytesField(_ count: Int) -> Int { 1 + varint(UInt64(count)) + count }
}
