import Primitives

/// What is wrong with a topic filter (MQTT 3.1.1 §4.7).
public enum TopicFilterProblem: Error, Sendable, Equatable {
  case empty
  /// More than 65 535 bytes.
  case tooLong
  /// U+0000 anywhere.
  case nul
  /// `#` that is not the last level, or not a level of its own.
  case multiLevelWildcard
  /// `+` that is not a level of its own.
  case singleLevelWildcard
  /// `$share/` without a share name, or without a filter behind it (MQTT 5 §4.8.2).
  case share
}

/// Which subscription a message belongs to: the first filter in the file's order that matches its
/// topic. Matching borrows the topic and allocates nothing.
public struct TopicMap: Sendable {
  private let filters: [ByteString]

  /// Each filter has been found without a problem.
  public init(filters: [ByteString]) {
    for filter in filters {
      precondition(Self.problem(in: filter) == nil, "TopicMap: a filter that is none")
    }
    // A shared subscription's messages carry the topic alone.
    self.filters = filters.map { ByteString(Array($0.bytes[Self.sharePrefix($0)...])) }
  }

  public var count: Int { filters.count }

  /// The index of the first filter that matches `topic`.
  public func match(_ topic: Span<UInt8>) -> Int? {
    for index in filters.indices where Self.matches(filters[index], topic) { return index }
    return nil
  }

  /// What is wrong with `filter`; nil when a broker takes it.
  public static func problem(in filter: ByteString) -> TopicFilterProblem? {
    if filter.isEmpty { return .empty }
    if filter.count > 65_535 { return .tooLong }
    if filter.bytes.contains(0) { return .nul }
    let start = sharePrefix(filter)
    if start == 0 && filter.hasPrefix(shareName) { return .share }
    var level = start
    while true {
      var end = level
      while end < filter.count && filter.bytes[end] != separator { end += 1 }
      let isAlone = end - level == 1
      for index in level..<end {
        if filter.bytes[index] == multiLevel && !(isAlone && end == filter.count) {
          return .multiLevelWildcard
        }
        if filter.bytes[index] == singleLevel && !isAlone { return .singleLevelWildcard }
      }
      if end == filter.count { return nil }
      level = end + 1
    }
  }

  /// MQTT 3.1.1 §4.7.1–2, for a filter without a problem.
  static func matches(_ name: ByteString, _ topic: Span<UInt8>) -> Bool {
    let filter = name.bytes.span
    guard topic.count > 0 && filter.count > 0 else { return false }
    // §4.7.2: wildcards at the first level do not match the broker's own topics.
    if topic[0] == UInt8(ascii: "$") && (filter[0] == multiLevel || filter[0] == singleLevel) {
      return false
    }
    var index = 0
    var place = 0
    while index < filter.count {
      switch filter[index] {
      case multiLevel: return true
      case singleLevel:
        while place < topic.count && topic[place] != separator { place += 1 }
        index += 1
      default:
        guard place < topic.count && topic[place] == filter[index] else {
          return place == topic.count && isParent(filter, index)
        }
        index += 1
        place += 1
      }
    }
    return place == topic.count
  }

  /// §4.7.1.2: `sport/#` matches `sport` too: the multi-level wildcard includes the parent level.
  private static func isParent(_ filter: Span<UInt8>, _ index: Int) -> Bool {
    index + 2 == filter.count && filter[index] == separator && filter[index + 1] == multiLevel
  }

  /// The length of `$share/NAME/`, or 0 when `filter` does not begin so.
  private static func sharePrefix(_ filter: ByteString) -> Int {
    guard filter.hasPrefix(shareName) else { return 0 }
    let bytes = filter.bytes
    var end = shareName.count
    while end < bytes.count && bytes[end] != separator {
      if bytes[end] == singleLevel || bytes[end] == multiLevel { return 0 }
      end += 1
    }
    return end > shareName.count && end + 1 < bytes.count ? end + 1 : 0
  }
}

private let separator = UInt8(ascii: "/")
private let singleLevel = UInt8(ascii: "+")
private let multiLevel = UInt8(ascii: "#")
private let shareName: ByteString = "$share/"
