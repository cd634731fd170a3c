import Primitives

/// Counters and gauges under the names that operators know, collected for one page: Envoy's names for
/// the networking core, `spoke.` for what is Spoke's own.
public struct Statistics: Sendable {
  /// What a value does over time.
  public enum Kind: UInt8, Sendable {
    /// Only grows, until a restart.
    case counter
    case gauge
  }

  struct Entry: Sendable {
    var name: Range<Int>
    var kind: Kind
    var value: UInt64
  }

  /// 64 clusters of 60 statistics, 64 streams and ports of ten, and room.
  static let countMax = 8_192

  private(set) var bytes: [UInt8] = []
  private(set) var entries: [Entry] = []
  /// More were added than it holds: the page says so instead of leaving some out.
  private(set) var isOverfull = false
  private let filter: NamePattern?
  private let usedOnly: Bool

  /// Keeps only the names that `filter` finds, and with `usedOnly` only what is not 0.
  public init(filter: NamePattern? = nil, usedOnly: Bool = false) {
    self.filter = filter
    self.usedOnly = usedOnly
  }

  /// Adds one value, once for each name: a constant, behind what several names have in common.
  @inline(never)
  public mutating func add(
    _ name: StaticString, _ kind: Kind, _ value: UInt64, under prefix: ByteString = ByteString()
  ) {
    add(named: prefix + ByteString(name), kind, value)
  }

  /// Adds one value, once for each name.
  public mutating func add(named name: ByteString, _ kind: Kind, _ value: UInt64) {
    if usedOnly, value == 0 { return }
    if let filter, !filter.matches(name.bytes.span) { return }
    guard entries.count < Self.countMax else {
      isOverfull = true
      return
    }
    let start = bytes.count
    bytes.append(contentsOf: name.bytes)
    entries.append(Entry(name: start..<bytes.count, kind: kind, value: value))
  }

  var count: Int { entries.count }

  mutating func keep(_ kind: Kind) { entries.removeEach { $0.kind != kind } }

  /// Byte-wise by name.
  mutating func sort() {
    let names = bytes
    entries.heapSort { left, right in
      precedes(names.span.extracting(left.name), names.span.extracting(right.name))
    }
  }
}

/// Byte-wise lexicographic order.
func precedes(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
  let common = min(left.count, right.count)
  for index in 0..<common where left[index] != right[index] { return left[index] < right[index] }
  return left.count < right.count
}
