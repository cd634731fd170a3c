import Primitives
import Protobuf

/// A message of a resource, whose fields are asked for by number. Each question reads the message from
/// its beginning: that takes little time beside the parsing of what is found, little code, and gives
/// proto3's rules for free. Of a scalar that comes more than once the last one holds; a message that
/// comes more than once is the same as one with the bytes of all of them, so a reader may have several
/// parts.
///
///     let message = try ResourceReader(resource)
///     let name = try message.text(1, "name")
///     for locality in try message.messages(2, "endpoints", limit: 64) { … }
///     if let policy = try message.message(4, "policy") { … }
///
/// What is wrong is thrown with the path of the field. Readers never change, and are shared: they are
/// handed around in hundreds of places.
final class ResourceReader: Sendable {
  /// Of the whole resource.
  private let bytes: [UInt8]
  private let part: WireReader
  /// Further occurrences of the same field.
  private let more: [WireReader]
  let path: FieldPath

  /// A whole resource. Its bytes are copied once: a span cannot be kept in a value.
  convenience init(_ resource: Span<UInt8>) throws(ResourceRejection) {
    var bytes: [UInt8] = []
    bytes.append(contentsOf: resource)
    self.init(bytes, WireReader(bytes.span), [], .root)
    try check()
  }

  @inline(never)
  private init(_ bytes: [UInt8], _ part: WireReader, _ more: [WireReader], _ path: FieldPath) {
    self.bytes = bytes
    self.part = part
    self.more = more
    self.path = path
  }

  // MARK: Rejections

  /// Refuses the field of this message; without a name the message itself.
  @inline(never)
  func rejection(_ name: StaticString, _ reason: String) -> ResourceRejection {
    ResourceRejection(field: path.text(name), reason: ByteString(reason))
  }

  @inline(never)
  private func rejection(_ name: StaticString, _ error: WireError) -> ResourceRejection {
    ResourceRejection(field: path.text(name), reason: ByteString(error.text))
  }

  // MARK: Which fields there are

  /// Whether the field came, with whatever wire type.
  @inline(never)
  func has(_ number: UInt32) throws(ResourceRejection) -> Bool {
    try member([number]) != nil
  }

  /// Which member of a oneof is set: the one that came last.
  @inline(never)
  func member(_ numbers: [UInt32]) throws(ResourceRejection) -> UInt32? {
    var last: UInt32?
    var place = Place(part)
    while let field = try next(&place) {
      if numbers.contains(field.number) { last = field.number }
    }
    return last
  }

  // MARK: Scalars

  /// `uint32`; 0 when absent.
  @inline(never)
  func uint32(_ number: UInt32) throws(ResourceRejection) -> UInt32 {
    UInt32(truncatingIfNeeded: try varint(number) ?? 0)
  }

  /// `uint64`; 0 when absent.
  @inline(never)
  func uint64(_ number: UInt32) throws(ResourceRejection) -> UInt64 { try varint(number) ?? 0 }

  /// `int32` and enums; 0 when absent.
  @inline(never)
  func int32(_ number: UInt32) throws(ResourceRejection) -> Int32 {
    Int32(truncatingIfNeeded: try varint(number) ?? 0)
  }

  /// `int64`; 0 when absent.
  @inline(never)
  func int64(_ number: UInt32) throws(ResourceRejection) -> Int64 {
    Int64(bitPattern: try varint(number) ?? 0)
  }

  /// `bool`; false when absent.
  @inline(never)
  func bool(_ number: UInt32) throws(ResourceRejection) -> Bool { try varint(number) ?? 0 != 0 }

  /// `double`; 0 when absent.
  @inline(never)
  func double(_ number: UInt32) throws(ResourceRejection) -> Double {
    var last = 0.0
    var place = Place(part)
    while let field = try next(&place) {
      if field.number == number { last = field.value.double ?? last }
    }
    return last
  }

  @inline(never)
  private func varint(_ number: UInt32) throws(ResourceRejection) -> UInt64? {
    var last: UInt64?
    var place = Place(part)
    while let field = try next(&place) {
      if field.number == number { last = field.value.uint64 ?? last }
    }
    return last
  }

  /// A repeated varint field, packed or not.
  @inline(never)
  func varints(
    _ number: UInt32, _ name: StaticString, limit: Int
  ) throws(ResourceRejection) -> [UInt64] {
    let bytes = bytes
    var elements: [UInt64] = []
    var count = 0
    var place = Place(part)
    while let field = try next(&place) {
      guard field.number == number else { continue }
      do throws(WireError) {
        try place.part.varints(field.value, in: bytes.span) {
          count += 1
          if count <= limit { elements.append($0) }
        }
      } catch {
        throw rejection("", error)
      }
    }
    guard count <= limit else { throw tooMany(name, count, limit) }
    return elements
  }

  // MARK: Text and bytes

  /// `string`; empty when absent.
  @inline(never)
  func text(_ number: UInt32, _ name: StaticString) throws(ResourceRejection) -> ByteString {
    var last = 0..<0
    var place = Place(part)
    while let field = try next(&place, name) {
      if field.number == number { last = try text(field, place.part, name) ?? last }
    }
    return slice(last)
  }

  /// `bytes`; empty when absent.
  @inline(never)
  func data(_ number: UInt32) throws(ResourceRejection) -> ByteString {
    var last = 0..<0
    var place = Place(part)
    while let field = try next(&place) {
      if field.number == number { last = field.value.range ?? last }
    }
    return slice(last)
  }

  /// A repeated `string`.
  @inline(never)
  func texts(
    _ number: UInt32, _ name: StaticString, limit: Int = ResourceLimits.elementsMax
  ) throws(ResourceRejection) -> [ByteString] {
    var ranges: [Range<Int>] = []
    var count = 0
    var place = Place(part)
    while let field = try next(&place, name) {
      guard field.number == number, let range = try text(field, place.part, name) else { continue }
      count += 1
      if count <= limit { ranges.append(range) }
    }
    guard count <= limit else { throw tooMany(name, count, limit) }
    var texts: [ByteString] = []
    texts.reserveCapacity(ranges.count)
    for range in ranges { texts.append(slice(range)) }
    return texts
  }

  @inline(never)
  private func slice(_ range: Range<Int>) -> ByteString {
    let bytes = bytes
    return ByteString(copying: bytes.span.extracting(range))
  }

  // MARK: Messages

  /// Of all occurrences of the field: whether two resources say the same in it.
  @inline(never)
  func fingerprint(_ number: UInt32) throws(ResourceRejection) -> UInt64 {
    let bytes = bytes
    var digest = ResourceStore.emptyDigest
    var place = Place(part)
    while let field = try next(&place) {
      guard field.number == number, let range = field.value.range else { continue }
      digest = ResourceStore.digest(bytes.span.extracting(range), after: digest)
    }
    return digest
  }

  /// A message; nil when absent. Of the member of a oneof, whose numbers are `members`, what came
  /// before another member does not count.
  @inline(never)
  func message(
    _ number: UInt32, _ name: StaticString, among members: [UInt32] = []
  ) throws(ResourceRejection) -> ResourceReader? {
    let limit = ResourceLimits.partsMax
    var first: WireReader?
    var more: [WireReader] = []
    var count = 0
    var place = Place(part)
    while let field = try next(&place, name) {
      if field.number == number, let range = field.value.range {
        let reader = try message(range, place.part, name)
        count += 1
        if count == 1 { first = reader } else if count <= limit { more.append(reader) }
      } else if members.contains(field.number) {
        first = nil
        more = []
        count = 0
      }
    }
    guard let first else { return nil }
    guard count <= limit else { throw tooMany(name, count, limit) }
    let message = ResourceReader(bytes, first, more, .field(path, name))
    try message.check()
    return message
  }

  /// A message in a `bytes` field, of which the last one holds: the value of an `Any`. It has the path of
  /// this message.
  @inline(never)
  func content(_ number: UInt32) throws(ResourceRejection) -> ResourceReader? {
    var last: WireReader?
    var place = Place(part)
    while let field = try next(&place) {
      guard field.number == number, let range = field.value.range else { continue }
      last = place.part.content(range)
    }
    guard let last else { return nil }
    let message = ResourceReader(bytes, last, [], path)
    try message.check()
    return message
  }

  /// The message without a field, with the path of this one.
  var empty: ResourceReader { ResourceReader([], WireReader([UInt8]().span), [], path) }

  /// A repeated message, or the entries of a map (1 key, 2 value).
  @inline(never)
  func messages(
    _ number: UInt32, _ name: StaticString, limit: Int = ResourceLimits.elementsMax
  ) throws(ResourceRejection) -> [ResourceReader] {
    var readers: [WireReader] = []
    var count = 0
    var place = Place(part)
    while let field = try next(&place, name) {
      guard field.number == number, let range = field.value.range else { continue }
      let reader = try message(range, place.part, name)
      count += 1
      if count <= limit { readers.append(reader) }
    }
    guard count <= limit else { throw tooMany(name, count, limit) }
    var messages: [ResourceReader] = []
    messages.reserveCapacity(readers.count)
    for reader in readers {
      let message = ResourceReader(
        bytes, reader, [], .element(path, name, messages.count))
      try message.check()
      messages.append(message)
    }
    return messages
  }

  /// The elements beyond the limit are counted and not kept.
  @inline(never)
  private func tooMany(
    _ name: StaticString, _ count: Int, _ limit: Int
  ) -> ResourceRejection {
    rejection(name, "\(count) elements, the limit is \(limit)")
  }

  // MARK: Reading

  /// A place among the fields.
  private struct Place {
    var part: WireReader
    var rest: WireReader
    /// How many of the further parts were begun.
    var begun = 0

    init(_ part: WireReader) { (self.part, rest) = (part, part) }
  }

  /// The next field of all parts; nil behind the last one.
  @inline(never)
  private func next(
    _ place: inout Place, _ name: StaticString = ""
  ) throws(ResourceRejection) -> WireField? {
    let bytes = bytes
    do throws(WireError) {
      while true {
        if let field = try place.rest.next(in: bytes.span) { return field }
        guard place.begun < more.count else { return nil }
        (place.part, place.rest) = (more[place.begun], more[place.begun])
        place.begun += 1
      }
    } catch {
      throw rejection(name, error)
    }
  }

  @inline(never)
  private func text(
    _ field: WireField, _ part: WireReader, _ name: StaticString
  ) throws(ResourceRejection) -> Range<Int>? {
    let bytes = bytes
    do throws(WireError) { return try part.text(field.value, in: bytes.span) } catch {
      throw rejection(name, error)
    }
  }

  @inline(never)
  private func message(
    _ range: Range<Int>, _ part: WireReader, _ name: StaticString
  ) throws(ResourceRejection) -> WireReader {
    do throws(WireError) { return try part.message(range) } catch { throw rejection(name, error) }
  }

  /// The fields that nobody asks for have to be well-formed as well.
  @inline(never)
  private func check() throws(ResourceRejection) {
    var place = Place(part)
    while try next(&place) != nil {}
  }
}

/// Bounds of resources. What is above them is refused.
enum ResourceLimits {
  /// Elements of a repeated field for which nothing else is said.
  static let elementsMax = 1024
  /// Times that a message comes which is merged from all of them.
  static let partsMax = 64
}
