/// Bytes used as a name: a key, a header, a topic. Compared byte by byte. `String` comparison needs
/// Unicode normalisation tables, which an Embedded build does not carry; names on the wire are bytes.
public struct ByteString: Hashable, Sendable, ExpressibleByStringLiteral {
  public var bytes: [UInt8]

  public init() { bytes = [] }
  public init(_ bytes: [UInt8]) { self.bytes = bytes }
  @inline(never)
  public init(_ text: String) { bytes = Array(text.utf8) }
  /// A constant. Where it stands, its address and its length are all there is.
  @inline(__always)
  public init(stringLiteral text: StaticString) { self.init(text) }
  /// The bytes of a constant.
  @inline(__always)
  public init(_ text: StaticString) {
    unsafe self.init(constant: text.utf8Start, count: text.utf8CodeUnitCount)
  }
  @inline(never)
  private init(constant: UnsafePointer<UInt8>, count: Int) {
    let buffer = unsafe UnsafeBufferPointer(start: constant, count: count)
    unsafe self.init(copying: buffer.span)
  }
  public init(copying span: Span<UInt8>) {
    bytes = []
    bytes.append(contentsOf: span)
  }

  public var count: Int { bytes.count }
  public var isEmpty: Bool { bytes.isEmpty }

  /// The text for a message or a log line; bytes that are not UTF-8 become U+FFFD.
  public var description: String {
    @inline(never) get { String(decoding: bytes, as: UTF8.self) }
  }

  /// Byte by byte. One function: inlined it would stand at a thousand places.
  @inline(never)
  public static func == (left: ByteString, right: ByteString) -> Bool {
    equal(left.bytes.span, right.bytes.span)
  }

  /// A constant as a pattern of a `switch`: compared where it lies.
  @inline(never)
  public static func ~= (pattern: StaticString, text: ByteString) -> Bool {
    let buffer = unsafe UnsafeBufferPointer(
      start: pattern.utf8Start, count: pattern.utf8CodeUnitCount)
    return equal(text.bytes.span, unsafe buffer.span)
  }

  /// The bytes of `left`, then those of `right`.
  @inline(never)
  public static func + (left: ByteString, right: ByteString) -> ByteString {
    var sum = left
    sum.bytes.append(contentsOf: right.bytes)
    return sum
  }

  /// Byte-wise lexicographic order, for stable listings.
  @inline(never)
  public static func precedes(_ left: ByteString, _ right: ByteString) -> Bool {
    left.bytes.lexicographicallyPrecedes(right.bytes)
  }

  /// Whether the first bytes are those of `prefix`; an empty prefix always matches.
  public func hasPrefix(_ prefix: ByteString) -> Bool {
    guard bytes.count >= prefix.bytes.count else { return false }
    for index in 0..<prefix.bytes.count where bytes[index] != prefix.bytes[index] { return false }
    return true
  }
}

extension Array where Element == UInt8 {
  /// Appends a borrowed span. The caller has checked the limit of whatever this array belongs to.
  /// Copied as one block: the standard library's own way, optimised for size, takes octet by octet.
  @inline(never)
  public mutating func append(contentsOf span: Span<UInt8>) {
    let count = span.count
    unsafe span.withUnsafeBufferPointer { source in
      guard let first = source.baseAddress else { return }
      append(addingCapacity: count) { free in
        unsafe free.withUnsafeMutableBufferPointer { target, filled in
          guard let place = target.baseAddress else { return }
          unsafe UnsafeMutableRawPointer(place).copyMemory(from: first, byteCount: count)
          filled += count
        }
      }
    }
  }

  /// In place of the standard library's, which takes octet by octet.
  public mutating func append(contentsOf other: [UInt8]) { append(contentsOf: other.span) }

  /// In place of the standard library's, which takes octet by octet.
  public static func += (left: inout [UInt8], right: [UInt8]) {
    left.append(contentsOf: right.span)
  }

  /// Puts a borrowed span in the place of the octets from `offset` on, which must be there.
  @inline(never)
  public mutating func replace(from offset: Int, with span: Span<UInt8>) {
    precondition(offset >= 0 && span.count <= count - offset, "replace: no such octets")
    unsafe withUnsafeMutableBytes { target in
      unsafe span.withUnsafeBytes { source in
        guard let first = source.baseAddress, let place = target.baseAddress else { return }
        unsafe (place + offset).copyMemory(from: first, byteCount: source.count)
      }
    }
  }

  /// Appends text as UTF-8.
  @inline(never)
  public mutating func append(_ text: String) {
    append(contentsOf: text.utf8)
  }
}

extension Span<UInt8> {
  /// The eight octets from `offset` on as one number, in the machine's own order: what goes over every
  /// octet of a request takes them in eights.
  @inline(__always)
  public func word(at offset: Int) -> UInt64 {
    unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }

  /// Four of them.
  @inline(__always)
  public func half(at offset: Int) -> UInt32 {
    unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
  }
}

/// Whether two spans hold the same bytes.
public func equal(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
  let count = left.count
  guard count == right.count else { return false }
  var offset = 0
  while offset + 8 <= count {
    guard left.word(at: offset) == right.word(at: offset) else { return false }
    offset += 8
  }
  // The last eight, some of them again.
  if offset > 0 { return left.word(at: count - 8) == right.word(at: count - 8) }
  if count >= 4 {
    return left.half(at: 0) == right.half(at: 0)
      && left.half(at: count - 4) == right.half(at: count - 4)
  }
  while offset < count {
    guard left[offset] == right[offset] else { return false }
    offset += 1
  }
  return true
}
