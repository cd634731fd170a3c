/// A first-in first-out buffer of bytes with a hard limit. Full is an answer, not growth.
public struct ByteBuffer: Sendable {
  private var storage: [UInt8] = []
  private var head = 0
  /// The most bytes it ever holds.
  public let limit: Int

  public init(limit: Int) { self.limit = limit }

  public var count: Int { storage.count - head }
  public var isEmpty: Bool { count == 0 }
  public var free: Int { limit - count }

  /// Takes all of `bytes`, or none and answers false.
  public mutating func append(_ bytes: Span<UInt8>) -> Bool {
    guard bytes.count <= free else { return false }
    compact(for: bytes.count)
    storage.append(contentsOf: bytes)
    return true
  }

  /// Takes the byte, or answers false when full.
  public mutating func append(_ byte: UInt8) -> Bool {
    guard free > 0 else { return false }
    compact(for: 1)
    storage.append(byte)
    return true
  }

  /// The waiting bytes, oldest first.
  public func withBytes<Result, Failure: Error>(
    _ body: (Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(storage.span.extracting(head..<storage.count))
  }

  /// Forgets the oldest `count` bytes.
  public mutating func consume(_ count: Int) {
    precondition(count <= self.count, "ByteBuffer: consumed more than it holds")
    head += count
    if head == storage.count { removeAll() }
  }

  /// Forgets all waiting bytes and keeps the memory.
  public mutating func removeAll() {
    storage.removeAll(keepingCapacity: true)
    head = 0
  }

  /// Moves the waiting bytes to the front when the array would otherwise grow past the limit.
  private mutating func compact(for extra: Int) {
    guard head > 0, storage.count + extra > storage.capacity || storage.count + extra > limit
    else { return }
    storage.removeSubrange(0..<head)
    head = 0
  }
}
