import Primitives
import Protobuf

/// What is wrong with a cache; it is then set aside, and the daemon starts without one.
public enum CacheError: Error, Equatable, Sendable {
  /// Shorter than its header, or not as long as it says.
  case truncated
  /// Not a cache, or one of another format.
  case unknownFormat
  /// Its bytes are not those that were written.
  case corrupt

  /// For a log line.
  public var text: StaticString {
    switch self {
    case .truncated: "truncated"
    case .unknownFormat: "not a cache of this format"
    case .corrupt: "the checksum does not hold"
    }
  }
}

/// The last good resources on flash. The file is written whole, under another name, and renamed:
///
///     0    8  magic: SPKXDS, a zero byte, the format's number (1)
///     8    4  length of what follows the header, little-endian
///     12   4  CRC-32C of what follows the header, little-endian
///     16      a protobuf message: repeated Entry 1
///
///     Entry   1 type (`ResourceType`)   2 name   3 version   4 value   5 time of the update (wall, ns)
///
/// Resources with a time to live are not in it: a restart would forget when they end. Versions are
/// for the dump; they are not sent to the server, which could hold back what it believes known.
public enum ResourceCache {
  static let magic: [UInt8] = [0x53, 0x50, 0x4B, 0x58, 0x44, 0x53, 0, 1]
  static let headerBytes = 16
  /// The longest file: a full store, and what the fields around it take.
  public static let bytesMax = 2 * DiscoveryLimits.storeBytesMax

  /// The file's bytes.
  public static func encode(_ store: ResourceStore) -> [UInt8] {
    var writer = WireWriter()
    writer.bytes = magic + [UInt8](repeating: 0, count: headerBytes - magic.count)
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      for place in 0..<store.count(type) {
        let entry = store[type, place]
        guard entry.isPersistent else { continue }
        writer.message(1) { fields in
          fields.varint(1, UInt64(raw))
          fields.text(2, entry.name)
          fields.text(3, entry.version)
          fields.bytes(4, entry.value.span)
          fields.int64(5, entry.updated.nanoseconds)
        }
      }
    }
    let body = writer.bytes.span.extracting(headerBytes..<writer.bytes.count)
    let length = UInt32(body.count)
    let checksum = CRC32C.of(body)
    var file = writer.bytes
    for place in 0..<4 {
      file[8 + place] = UInt8(truncatingIfNeeded: length >> UInt32(8 * place))
      file[12 + place] = UInt8(truncatingIfNeeded: checksum >> UInt32(8 * place))
    }
    return file
  }

  /// The part of a file that follows its header, once it is known to be whole.
  static func body(_ file: Span<UInt8>) throws(CacheError) -> Range<Int> {
    guard file.count >= headerBytes else { throw .truncated }
    for index in magic.indices where file[index] != magic[index] { throw .unknownFormat }
    let body = headerBytes..<file.count
    guard number(file, at: 8) == UInt32(body.count) else { throw .truncated }
    guard number(file, at: 12) == CRC32C.of(file.extracting(body)) else { throw .corrupt }
    return body
  }

  private static func number(_ file: Span<UInt8>, at offset: Int) -> UInt32 {
    var value: UInt32 = 0
    for place in 0..<4 { value |= UInt32(file[offset + place]) << UInt32(8 * place) }
    return value
  }
}

/// When the cache is written: rarely, because flash wears, and only when something changed.
public struct CacheSchedule: Sendable {
  /// A change is written once nothing else came for a while…
  static let settling = Interval.seconds(30)
  /// …or when it has waited this long for that…
  static let patience = Interval.seconds(120)
  /// …the first policy that a device ever got soon: without it, a restart would leave it with none…
  static let settlingOfFirst = Interval.seconds(2)
  /// …and not sooner than this after the last write.
  static let spacing = Interval.seconds(900)
  private var seen: UInt64 = 0
  /// The first and the last change that are not written.
  private var changed: (first: Instant, last: Instant)?
  private var notBefore: Instant?
  private var checksum: UInt32?
  private var isFirst: Bool

  /// Nothing is due until the store's generation is another one than this. `isFirst`: there is no cache.
  public init(generation: UInt64 = 0, isFirst: Bool = false) {
    seen = generation
    self.isFirst = isFirst
  }

  /// After each event: the store's generation.
  public mutating func note(generation: UInt64, now: Instant) {
    guard generation != seen else { return }
    seen = generation
    changed = (changed?.first ?? now, now)
  }

  /// Goes on with what another one has not written yet, for a store of its own.
  public mutating func inherit(_ other: CacheSchedule) {
    let seen = seen
    self = other
    self.seen = seen
  }

  /// The cache has another place, where there is none yet.
  public mutating func move(now: Instant) {
    self = CacheSchedule(generation: seen, isFirst: true)
    if seen > 0 { changed = (now, now) }
  }

  /// When to encode the cache; nil: it is up to date.
  public func nextDeadline() -> Instant? {
    guard let changed else { return nil }
    let settled = min(
      changed.last + (isFirst ? CacheSchedule.settlingOfFirst : CacheSchedule.settling),
      changed.first + CacheSchedule.patience)
    return notBefore.map { max($0, settled) } ?? settled
  }

  /// At the deadline, with what was encoded. False: the same is on flash already.
  public mutating func shouldWrite(_ file: [UInt8], now: Instant) -> Bool {
    changed = nil
    let sum = CRC32C.of(file.span)
    guard sum != checksum else { return false }
    checksum = sum
    isFirst = false
    notBefore = now + CacheSchedule.spacing
    return true
  }

  /// The file could not be written: it is tried again, as late as any other write.
  public mutating func writeFailed(now: Instant) {
    checksum = nil
    changed = (changed?.first ?? now, now)
  }
}
