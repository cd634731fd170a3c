import Primitives

/// Takes out of what a half-duplex line delivers what was sent on it: two-wire buses and single-wire
/// links hear themselves. An echo is a whole transmission, byte for byte and in one piece; what only
/// begins like one is data, and comes out unchanged and in order.
///
/// Bytes that may yet become an echo are kept back until the next byte decides, `release` at the
/// latest. Knuth, Morris and Pratt's matching: each byte is looked at a bounded number of times.
public struct EchoFilter: Sendable {
  /// Transmissions whose echo has not come yet, oldest first; only the first is matched.
  private var expected: [[UInt8]] = []
  /// For the first: how long a prefix of it ends at each of its bytes.
  private var borders: [Int] = []
  /// How many bytes of it have come.
  private var matched = 0
  private var deadline: Instant?

  /// Echoes that were taken out.
  public private(set) var suppressed: UInt64 = 0
  /// Transmissions without an echo in time, or for which there was no room.
  public private(set) var missing: UInt64 = 0

  public init() {}

  /// These bytes were sent; their echo is due by `deadline`.
  public mutating func expect(_ bytes: Span<UInt8>, by deadline: Instant) {
    guard !bytes.isEmpty else { return }
    guard expected.count < EchoFilter.transmissionsMax else {
      missing += 1
      return
    }
    var copy: [UInt8] = []
    copy.append(contentsOf: bytes)
    expected.append(copy)
    if expected.count == 1 { prepare() }
    self.deadline = deadline
  }

  /// Appends what is not echo to `output`.
  public mutating func receive(_ bytes: Span<UInt8>, into output: inout [UInt8]) {
    for index in bytes.indices {
      guard !expected.isEmpty else {
        output.append(contentsOf: bytes.extracting(index..<bytes.count))
        return
      }
      take(bytes[index], &output)
    }
  }

  /// When what is kept back must come out at the latest.
  public var nextDeadline: Instant? { expected.isEmpty ? nil : deadline }

  /// No echo came in time: what was kept back is data. Also when the port hangs up.
  public mutating func release(into output: inout [UInt8]) {
    guard let first = expected.first else { return }
    for index in 0..<matched { output.append(first[index]) }
    missing += UInt64(expected.count)
    expected = []
    borders = []
    matched = 0
  }

  private mutating func take(_ byte: UInt8, _ output: inout [UInt8]) {
    while matched > 0, expected[0][matched] != byte {
      let shorter = borders[matched - 1]
      for index in 0..<(matched - shorter) { output.append(expected[0][index]) }
      matched = shorter
    }
    guard expected[0][matched] == byte else {
      output.append(byte)
      return
    }
    matched += 1
    guard matched == expected[0].count else { return }
    suppressed += 1
    expected.removeFirst()
    matched = 0
    prepare()
  }

  private mutating func prepare() {
    borders = []
    guard let first = expected.first else { return }
    borders = [Int](repeating: 0, count: first.count)
    var length = 0
    for index in 1..<max(first.count, 1) {
      while length > 0, first[index] != first[length] { length = borders[length - 1] }
      if first[index] == first[length] { length += 1 }
      borders[index] = length
    }
  }

  /// As many as the queue that sends them holds.
  static let transmissionsMax = TransmitQueue.messagesMax
}
