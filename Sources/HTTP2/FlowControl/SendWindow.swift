/// How much content the peer lets this side send, on a stream or on the connection.
///
/// Signed: SETTINGS may shrink a window below what is already sent (RFC 9113 §6.9.2). It stays
/// within ±(2³¹ − 1): spending never takes it below 0, an increase is checked, and a change of the
/// initial size moves it by the difference of two values in 0 … 2³¹ − 1, checked as well.
struct SendWindow: Equatable, Sendable {
  private(set) var available: Int32

  init(_ initial: Int32) { available = initial }

  mutating func spend(_ count: Int) {
    precondition(count <= Int(max(available, 0)), "SendWindow: spent more than there is")
    available -= Int32(count)
  }

  /// False when the window would exceed 2³¹ − 1.
  mutating func increase(by increment: Int64) -> Bool {
    let sum = Int64(available) + increment
    guard sum <= HTTP2Limits.windowBytesMax, let value = Int32(exactly: sum) else { return false }
    available = value
    return true
  }
}
