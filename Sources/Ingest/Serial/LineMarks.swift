import Primitives

/// What stands in the bytes of a port that marks errors.
public enum LineMark: Equatable, Sendable {
  /// Good bytes: this range of the bytes that were given.
  case data(Range<Int>)
  /// This byte came with a parity or framing error.
  case damaged(UInt8)
  /// The line was held at space for longer than a character.
  case lineBreak
}

/// Takes the marks out of what a terminal with PARMRK delivers (termios(3)):
///
///     FF FF      a good FF
///     FF 00 x    the byte x, with a parity or framing error
///     FF 00 00   a break; a NUL with an error looks the same
///
/// Marks may be split over reads at any place. It holds two bits of state and no bytes.
public struct LineMarks: Sendable {
  private enum State: Sendable {
    case data
    /// Behind FF.
    case mark
    /// Behind FF 00.
    case error
  }
  private var state = State.data

  public init() {}

  /// What stands at `offset`; nil when all bytes are taken. Call until nil.
  public mutating func next(_ bytes: Span<UInt8>, from offset: inout Int) -> LineMark? {
    while offset < bytes.count {
      switch state {
      case .data:
        if let range = run(bytes, &offset) { return .data(range) }
      case .mark:
        let byte = bytes[offset]
        if byte == escape {
          // It stands for itself, and begins a run of good bytes.
          state = .data
          return .data(run(bytes, &offset, taken: 1) ?? offset..<offset)
        }
        offset += 1
        state = byte == 0 ? .error : .data
        // No driver writes FF with anything else behind it.
        if byte != 0 { return .damaged(byte) }
      case .error:
        let byte = bytes[offset]
        offset += 1
        state = .data
        return byte == 0 ? .lineBreak : .damaged(byte)
      }
    }
    return nil
  }

  /// The port hung up: a mark that has begun will not end.
  public mutating func reset() { state = .data }

  /// The good bytes from `offset` on, the first `taken` of which are known to be good; nil when there
  /// are none. An FF of FF FF ends the run as its last byte.
  private mutating func run(
    _ bytes: Span<UInt8>, _ offset: inout Int, taken: Int = 0
  ) -> Range<Int>? {
    let start = offset
    var end = start + taken
    while end < bytes.count, bytes[end] != escape { end += 1 }
    guard end < bytes.count else {
      offset = end
      return start..<end
    }
    if end + 1 < bytes.count, bytes[end + 1] == escape {
      offset = end + 2
      return start..<(end + 1)
    }
    offset = end + 1
    state = .mark
    return start == end ? nil : start..<end
  }
}

private let escape: UInt8 = 0xFF
