import Primitives

/// Reads the fields of one message, one after the other, without a copy. The bytes are passed to each
/// call; they must be the same ones each time.
///
///     var reader = WireReader(bytes.span)
///     while let field = try reader.next(in: bytes.span) {
///       switch field.number {
///       case 1: if let range = try reader.text(field.value, in: bytes.span) { name = range }
///       case 2: if let range = field.value.range { merge(try reader.message(range)) }
///       default: break                              // unknown: skipped
///       }
///     }
///
/// The rules of proto3 that are a decoder's own: of a scalar or of the members of a oneof that come
/// more than once, the last one holds; a message that comes more than once is merged, field by field;
/// a repeated scalar may come packed, unpacked or both (`varints`). Groups are unknown fields: they
/// are checked for balance and skipped.
public struct WireReader: Sendable {
  private var offset: Int
  private let end: Int
  private let depth: Int

  /// A whole message.
  public init(_ bytes: Span<UInt8>) {
    self.init(0..<bytes.count, depth: 0)
  }

  private init(_ range: Range<Int>, depth: Int) {
    offset = range.lowerBound
    end = range.upperBound
    self.depth = depth
  }

  /// The message in a field of this one.
  public func message(_ range: Range<Int>) throws(WireError) -> WireReader {
    guard depth < WireLimits.depthMax else { throw .tooDeep }
    return WireReader(range, depth: depth + 1)
  }

  /// The message in a `bytes` field of this one, as the value of an `Any` is: it was encoded on its own,
  /// and its levels are counted anew.
  public func content(_ range: Range<Int>) -> WireReader { WireReader(range, depth: 0) }

  /// The next field; nil at the end. After an error the reader is of no more use.
  @inline(never)
  public mutating func next(in bytes: Span<UInt8>) throws(WireError) -> WireField? {
    while offset < end {
      let (number, type) = try tag(bytes)
      switch type {
      case .startGroup: try skipGroup(number, depth: depth + 1, in: bytes)
      case .endGroup: throw .unbalancedGroup
      default: return WireField(number: number, value: try value(type, in: bytes))
      }
    }
    return nil
  }

  /// A `string` field: its range, once it is known to be UTF-8; nil for another wire type.
  public func text(
    _ value: WireValue, in bytes: Span<UInt8>
  ) throws(WireError) -> Range<Int>? {
    guard let range = value.range else { return nil }
    guard UTF8Sequence.isWellFormed(bytes.extracting(range)) else { throw .invalidUTF8 }
    return range
  }

  /// The elements of a repeated varint field, packed or not; none for another wire type.
  public func varints(
    _ value: WireValue, in bytes: Span<UInt8>, _ body: (UInt64) -> Void
  ) throws(WireError) {
    if let element = value.uint64 { return body(element) }
    guard let range = value.range else { return }
    var elements = WireReader(range, depth: depth)
    while elements.offset < elements.end { body(try elements.varint(bytes)) }
  }

  /// The elements of a repeated `double`, `fixed64` or `sfixed64` field, packed or not.
  public func fixed64s(
    _ value: WireValue, in bytes: Span<UInt8>, _ body: (UInt64) -> Void
  ) throws(WireError) {
    if case .fixed64(let element) = value { return body(element) }
    guard let range = value.range else { return }
    guard range.count % 8 == 0 else { throw .invalidPackedLength }
    var elements = WireReader(range, depth: depth)
    while elements.offset < elements.end { body(try elements.fixed(8, bytes)) }
  }

  /// The elements of a repeated `float`, `fixed32` or `sfixed32` field, packed or not.
  public func fixed32s(
    _ value: WireValue, in bytes: Span<UInt8>, _ body: (UInt32) -> Void
  ) throws(WireError) {
    if case .fixed32(let element) = value { return body(element) }
    guard let range = value.range else { return }
    guard range.count % 4 == 0 else { throw .invalidPackedLength }
    var elements = WireReader(range, depth: depth)
    while elements.offset < elements.end {
      body(UInt32(truncatingIfNeeded: try elements.fixed(4, bytes)))
    }
  }

  // MARK: Parts of a field

  private mutating func tag(_ bytes: Span<UInt8>) throws(WireError) -> (UInt32, WireType) {
    let start = offset
    let tag = try varint(bytes)
    // A tag is a uint32, of which protobuf's own parsers take five bytes at most.
    guard offset - start <= 5, let type = WireType(rawValue: UInt8(tag & 7)),
      case let number = tag >> 3, number >= 1, number <= WireLimits.numberMax
    else { throw .invalidTag }
    return (UInt32(number), type)
  }

  private mutating func value(
    _ type: WireType, in bytes: Span<UInt8>
  ) throws(WireError) -> WireValue {
    switch type {
    case .varint: return .varint(try varint(bytes))
    case .fixed64: return .fixed64(try fixed(8, bytes))
    case .fixed32: return .fixed32(UInt32(truncatingIfNeeded: try fixed(4, bytes)))
    case .bytes:
      let length = try varint(bytes)
      guard length <= UInt64(end - offset) else { throw .truncated }
      let range = offset..<offset + Int(length)
      offset = range.upperBound
      return .bytes(range)
    case .startGroup, .endGroup:
      throw .unbalancedGroup
    }
  }

  /// Goes down by recursion, so its depth is limited.
  private mutating func skipGroup(
    _ number: UInt32, depth: Int, in bytes: Span<UInt8>
  ) throws(WireError) {
    guard depth <= WireLimits.depthMax else { throw .tooDeep }
    while offset < end {
      let (inner, type) = try tag(bytes)
      switch type {
      case .startGroup: try skipGroup(inner, depth: depth + 1, in: bytes)
      case .endGroup:
        guard inner == number else { throw .unbalancedGroup }
        return
      default: _ = try value(type, in: bytes)
      }
    }
    throw .truncated
  }

  /// Bits beyond the 64th are dropped, as protobuf's own parsers do.
  private mutating func varint(_ bytes: Span<UInt8>) throws(WireError) -> UInt64 {
    var value: UInt64 = 0
    for place in 0..<WireLimits.varintBytesMax {
      guard offset < end else { throw .truncated }
      let byte = bytes[offset]
      offset += 1
      value |= UInt64(byte & 0x7F) << UInt64(7 * place)
      if byte < 0x80 { return value }
    }
    throw .varintTooLong
  }

  private mutating func fixed(
    _ count: Int, _ bytes: Span<UInt8>
  ) throws(WireError) -> UInt64 {
    guard end - offset >= count else { throw .truncated }
    var value: UInt64 = 0
    for place in 0..<count {
      value |= UInt64(bytes[offset + place]) << UInt64(8 * place)
    }
    offset += count
    return value
  }
}
