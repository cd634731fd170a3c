/// Writes JSON (RFC 8259) into bytes, piece by piece, without building a value first. Commas come by
/// themselves; which call comes next is the caller's business, and a wrong one (a value without its
/// key, a close without its open) is a bug that stops the program.
///
///     var json = JSONWriter()
///     json.beginObject()
///     json.member("name", "state")
///     json.key("sizes")
///     json.beginArray()
///     json.number(UInt64(1))
///     json.endArray()
///     json.endObject()
///     send(json.bytes)          // {"name":"state","sizes":[1]}
///
/// Its pieces are kept out of line: pages and reports call them at hundreds of places.
public struct JSONWriter: Sendable {
  /// What has been written: a whole text once everything that was opened is closed.
  public private(set) var bytes: [UInt8] = []
  /// Open objects and arrays.
  private var depth = 0
  /// By depth one bit, set in an object; depth 0 is the text itself.
  private var objects: UInt64 = 0
  /// A value stands before the next one.
  private var needsComma = false
  /// A key waits for its value.
  private var hasKey = false

  /// One bit for each depth.
  private static let depthMax = 63

  /// Beyond so many bytes no string is written any more: the text is of no use then, but not long either.
  private let limit: Int

  /// `limit`: the caller throws away what is longer.
  public init(limit: Int = .max) { self.limit = limit }

  /// Starts a new text in the same storage.
  @inline(never)
  public mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    depth = 0
    needsComma = false
    hasKey = false
  }

  /// Whether one whole value has been written.
  public var isComplete: Bool { depth == 0 && needsComma }

  /// Opens an object.
  @inline(never)
  public mutating func beginObject() { open(UInt8(ascii: "{"), isObject: true) }

  /// Closes the object that was opened last.
  @inline(never)
  public mutating func endObject() { close(UInt8(ascii: "}"), isObject: true) }

  /// Opens an array.
  @inline(never)
  public mutating func beginArray() { open(UInt8(ascii: "["), isObject: false) }

  /// Closes the array that was opened last.
  @inline(never)
  public mutating func endArray() { close(UInt8(ascii: "]"), isObject: false) }

  /// The name of the next value, a constant.
  @inline(never)
  public mutating func key(_ name: StaticString) { key(named: ByteString(name)) }

  /// The name of the next value.
  @inline(never)
  public mutating func key(named name: ByteString) {
    precondition(isInObject && !hasKey, "JSONWriter: a key outside of an object")
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    quote(name.bytes.span)
    bytes.append(UInt8(ascii: ":"))
    hasKey = true
  }

  /// A string; what is not UTF-8 in it becomes U+FFFD: JSON has no way to say raw bytes.
  @inline(never)
  public mutating func string(_ value: ByteString) { string(value.bytes.span) }

  /// A string; what is not UTF-8 in it becomes U+FFFD: JSON has no way to say raw bytes.
  @inline(never)
  public mutating func string(_ value: Span<UInt8>) {
    prepare()
    quote(value)
  }

  /// A number. One above 2⁵³ is exact here; a reader that keeps doubles rounds it.
  @inline(never)
  public mutating func number(_ value: UInt64) {
    prepare()
    bytes.append(decimal: value)
  }

  /// A number, which may be negative.
  @inline(never)
  public mutating func number(_ value: Int64) {
    prepare()
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    bytes.append(decimal: value.magnitude)
  }

  /// `true` or `false`.
  @inline(never)
  public mutating func bool(_ value: Bool) {
    prepare()
    if value { bytes.append(text: "true") } else { bytes.append(text: "false") }
  }

  /// `null`.
  @inline(never)
  public mutating func null() {
    prepare()
    bytes.append(text: "null")
  }

  /// A value that is JSON already, for which the caller vouches.
  @inline(never)
  public mutating func raw(_ json: Span<UInt8>) {
    prepare()
    bytes.append(contentsOf: json)
  }

  /// A key and a string.
  @inline(never)
  public mutating func member(_ name: StaticString, _ value: ByteString) {
    key(name)
    string(value)
  }

  /// A key and a number.
  @inline(never)
  public mutating func member(_ name: StaticString, _ value: UInt64) {
    key(name)
    number(value)
  }

  /// A key and a truth.
  @inline(never)
  public mutating func member(_ name: StaticString, _ value: Bool) {
    key(name)
    bool(value)
  }

  private var isInObject: Bool { objects >> UInt64(depth) & 1 == 1 && depth > 0 }

  @inline(never)
  private mutating func open(_ bracket: UInt8, isObject: Bool) {
    precondition(depth < Self.depthMax, "JSONWriter: too deep")
    prepare()
    bytes.append(bracket)
    depth += 1
    let bit: UInt64 = 1 << UInt64(depth)
    objects = isObject ? objects | bit : objects & ~bit
    needsComma = false
  }

  @inline(never)
  private mutating func close(_ bracket: UInt8, isObject: Bool) {
    precondition(
      depth > 0 && isInObject == isObject && !hasKey, "JSONWriter: a close without its open")
    bytes.append(bracket)
    depth -= 1
    needsComma = true
  }

  /// What stands before a value: the comma of an array. In an object the key has written it.
  @inline(never)
  private mutating func prepare() {
    precondition(isInObject == hasKey, "JSONWriter: a value without its key")
    precondition(depth > 0 || !needsComma, "JSONWriter: a second text")
    if needsComma, !hasKey { bytes.append(UInt8(ascii: ",")) }
    hasKey = false
    needsComma = true
  }

  private mutating func quote(_ value: Span<UInt8>) {
    guard bytes.count <= limit else { return }
    bytes.append(UInt8(ascii: "\""))
    JSONText.append(value, to: &bytes)
    bytes.append(UInt8(ascii: "\""))
  }
}
