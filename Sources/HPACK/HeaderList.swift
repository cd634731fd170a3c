import Primitives

/// A list of header fields in flat storage: one array of bytes, one array of ranges. Reused for one
/// list after the other it allocates nothing once it has been warm. It does not limit itself; whoever
/// fills it has a limit (`HPACKDecoder`, or the code that composes a request).
public struct HeaderList: Sendable {
  /// What may be remembered of a field in the compression tables (RFC 7541 §6.2).
  public enum Indexing: UInt8, Sendable {
    /// The value is likely to come again.
    case yes
    /// The value changes with every message: remembering it only evicts others.
    case no
    /// The value is a secret: no hop may ever put it into a table (RFC 7541 §7.1.3).
    case never
  }

  /// One field; the ranges are positions in `bytes`.
  public struct Field: Sendable {
    public var name: Range<Int>
    public var value: Range<Int>
    public var indexing: Indexing

    public init(name: Range<Int>, value: Range<Int>, indexing: Indexing) {
      self.name = name
      self.value = value
      self.indexing = indexing
    }

    public var neverIndexed: Bool {
      get { indexing == .never }
      set { indexing = newValue ? .never : .yes }
    }
  }

  public internal(set) var bytes: [UInt8] = []
  public internal(set) var fields: [Field] = []

  public init() {}

  /// Empties it, keeping its storage.
  public mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    fields.removeAll(keepingCapacity: true)
  }

  /// Copies one field to the end.
  public mutating func append(
    name: Span<UInt8>, value: Span<UInt8>, indexing: Indexing
  ) {
    let start = bytes.count
    bytes.append(contentsOf: name)
    let middle = bytes.count
    bytes.append(contentsOf: value)
    fields.append(
      Field(name: start..<middle, value: middle..<bytes.count, indexing: indexing))
  }

  /// Copies one field to the end.
  public mutating func append(
    name: Span<UInt8>, value: Span<UInt8>, neverIndexed: Bool = false
  ) {
    append(name: name, value: value, indexing: neverIndexed ? .never : .yes)
  }

  /// Copies all fields of another list to the end.
  public mutating func append(_ other: HeaderList) {
    let start = bytes.count
    bytes.append(contentsOf: other.bytes.span)
    for field in other.fields {
      fields.append(
        Field(
          name: start + field.name.lowerBound..<start + field.name.upperBound,
          value: start + field.value.lowerBound..<start + field.value.upperBound,
          indexing: field.indexing))
    }
  }

  /// Copies one field to the end.
  public mutating func append(_ name: ByteString, _ value: ByteString, indexing: Indexing) {
    append(name: name.bytes.span, value: value.bytes.span, indexing: indexing)
  }

  /// Copies one field to the end.
  public mutating func append(
    _ name: ByteString, _ value: ByteString, neverIndexed: Bool = false
  ) {
    append(name, value, indexing: neverIndexed ? .never : .yes)
  }

  /// A constant name and a borrowed value: the form of the steady path, which allocates nothing.
  public mutating func append(
    name: StaticString, value: Span<UInt8>, indexing: Indexing = .yes
  ) {
    let start = bytes.count
    withBytes(of: name) { bytes.append(contentsOf: $0) }
    let middle = bytes.count
    bytes.append(contentsOf: value)
    fields.append(
      Field(name: start..<middle, value: middle..<bytes.count, indexing: indexing))
  }

  /// A constant field.
  public mutating func append(name: StaticString, text: StaticString) {
    withBytes(of: text) { append(name: name, value: $0) }
  }

  public var count: Int { fields.count }
  public var isEmpty: Bool { fields.isEmpty }

  /// The list's size as RFC 9113 §6.5.2 counts it: names, values, and 32 for every field.
  public var size: Int { bytes.count + 32 * fields.count }

  /// A copy of one field's name.
  public func name(_ index: Int) -> ByteString {
    ByteString(copying: bytes.span.extracting(fields[index].name))
  }

  /// A copy of one field's value.
  public func value(_ index: Int) -> ByteString {
    ByteString(copying: bytes.span.extracting(fields[index].value))
  }

  /// Lends the name and the value of one field, without a copy.
  public func withField<Result, Failure: Error>(
    _ index: Int, _ body: (_ name: Span<UInt8>, _ value: Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let field = fields[index]
    return try body(bytes.span.extracting(field.name), bytes.span.extracting(field.value))
  }

  /// The first field with this name.
  public func firstIndex(of name: StaticString) -> Int? {
    let fields = fields.span
    for index in fields.indices
    where fields[index].name.count == name.utf8CodeUnitCount && nameEquals(index, name) {
      return index
    }
    return nil
  }

  /// A copy of the value of the first field with this name.
  public func value(of name: StaticString) -> ByteString? {
    guard let index = firstIndex(of: name) else { return nil }
    return value(index)
  }

  /// The name's bytes must equal: names are lower case on the wire (RFC 9113 §8.2).
  public func nameEquals(_ index: Int, _ name: StaticString) -> Bool {
    withBytes(of: name) { equal(bytes.span.extracting(fields[index].name), $0) }
  }

  /// Whether one field's value is these bytes.
  public func valueEquals(_ index: Int, _ value: StaticString) -> Bool {
    withBytes(of: value) { equal(bytes.span.extracting(fields[index].value), $0) }
  }
}
