/// One line of the memory ledger: how much of a named kind of memory may be used, is used, and was
/// used at most (`/memory`, `spoke.memory.POOL.*`). Whoever holds the memory holds its pool.
public struct Pool: Sendable {
  public let name: String
  /// Bytes.
  public var limit: Int
  public private(set) var used = 0
  public private(set) var high = 0

  public init(name: String, limit: Int) {
    self.name = name
    self.limit = limit
  }

  /// Takes `bytes` if they fit. False is an answer: shed, hold back, refuse; never grow.
  public mutating func take(_ bytes: Int) -> Bool {
    guard bytes <= limit - used else { return false }
    used += bytes
    if used > high { high = used }
    return true
  }

  /// Returns `bytes` that were taken; traps on more than are in use.
  public mutating func giveBack(_ bytes: Int) {
    precondition(bytes <= used, "Pool: more given back than taken")
    used -= bytes
  }

  /// Records a use that is measured rather than taken piece by piece; `peak`: it was more meanwhile.
  public mutating func set(used bytes: Int, high peak: Int = 0) {
    used = bytes
    high = max(high, max(used, peak))
  }
}
