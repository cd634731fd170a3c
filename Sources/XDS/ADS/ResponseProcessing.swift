import Primitives
import Protobuf

/// A response whose resources are looked into one after the other.
struct ResponseProcessing: Sendable {
  enum Phase {
    case reading
    /// `candidate` awaits its verdict.
    case validating
    /// All have theirs; the answer is on its way.
    case answering
    /// The owner puts them in force.
    case applied
  }

  /// The resource that awaits its verdict.
  struct Candidate: Sendable {
    var name = ByteString()
    var value = 0..<0
    var version = ByteString()
    var ttl: Interval?
  }

  let server: Int
  let type: ResourceType
  let version: ByteString
  let message: [UInt8]
  let clocks: Clocks
  var reader: WireReader
  var phase = Phase.reading
  var candidate = Candidate()
  var isTold = false
  /// Resources read, and how many of them were heartbeats.
  var resources = 0
  var heartbeats = 0
  /// There are resources that nobody can tell by name.
  var hasUnnamed = false
  var rejection = RejectionText()

  mutating func nextStep() -> DiscoveryAction? {
    guard phase == .validating, !isTold else { return nil }
    isTold = true
    return .validate(type, candidate.name)
  }
}

/// The text of a NACK: what is wrong with each resource, as far as there is room.
struct RejectionText: Sendable {
  private(set) var bytes: [UInt8] = []
  private(set) var count = 0
  private var omitted = 0
  /// For the count of those that did not fit.
  private static let reserve = 64

  var isEmpty: Bool { count == 0 }

  mutating func add(_ text: [UInt8]) {
    count += 1
    let separator = bytes.isEmpty ? 0 : 2
    let room = DiscoveryLimits.rejectionBytesMax - RejectionText.reserve - bytes.count - separator
    // The first one is cut, so that a NACK never comes without a reason.
    guard text.count <= room || bytes.isEmpty else {
      omitted += 1
      return
    }
    if separator > 0 { bytes.append(text: "; ") }
    bytes += RejectionText.bounded(text.span, room).bytes
  }

  /// The whole text, which is UTF-8 whatever was in a name.
  func finished() -> [UInt8] {
    var whole = bytes
    if omitted > 0 {
      whole.append(text: "; and ")
      whole.append(decimal: UInt64(omitted))
      whole.append(text: " more")
    }
    return whole
  }

  /// A text of at most `count` bytes, cut between two characters.
  static func bounded(_ text: Span<UInt8>, _ count: Int) -> ByteString {
    var end = min(text.count, count)
    if end < text.count { while end > 0, text[end] & 0xC0 == 0x80 { end -= 1 } }
    var clean: [UInt8] = []
    UTF8Sequence.append(text.extracting(0..<end), to: &clean)
    // What is not UTF-8 has grown to U+FFFD.
    if clean.count > count { clean.removeLast(clean.count - count) }
    return ByteString(clean)
  }
}
