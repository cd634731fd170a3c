/// How much content the peer may send, on a stream or on the connection.
///
/// `available` falls when DATA comes and rises when a WINDOW_UPDATE is sent; between the two, the
/// content is held by the user (`held`), then consumed but not yet announced (`credit`).
/// available + held + credit = size, at all times.
struct ReceiveWindow: Equatable, Sendable {
  let size: Int32
  private(set) var available: Int32
  private(set) var held: Int32 = 0
  private(set) var credit: Int32 = 0

  init(size: Int32) {
    self.size = size
    available = size
  }

  /// DATA of `count` octets, padding included (RFC 9113 §6.9.1). False when the peer had no right
  /// to send them. `slack` is what it may exceed the window by while it cannot know its size.
  mutating func receive(_ count: UInt32, slack: Int32) -> Bool {
    guard Int64(count) <= Int64(available) + Int64(slack) else { return false }
    available -= Int32(count)
    held += Int32(count)
    return true
  }

  /// `count` octets are consumed. Answers the increment to announce, once half the window has
  /// gathered: announcing every octet would cost more frames than it is worth.
  mutating func release(_ count: Int) -> UInt32? {
    precondition(count >= 0 && count <= Int(held), "ReceiveWindow: released more than was received")
    held -= Int32(count)
    credit += Int32(count)
    guard credit > 0, credit >= size / 2 else { return nil }
    let increment = credit
    available += increment
    credit = 0
    return UInt32(increment)
  }
}
