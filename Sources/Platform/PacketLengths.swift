import CLinux

/// Follows the lengths of the packets that a broker sends (MQTT 3.1.1 §2.2.3), by looking at what is
/// about to be read: one read may bring a packet of any length whole.
struct PacketLengths {
  /// Where the next packet begins, counted from the connection's first byte.
  private var next: Int64 = 0
  /// Of its fixed header: bytes that were seen, and the length so far.
  private var seen: Int64 = 0
  private var length: Int64 = 0
  /// What was read is not what was seen: it does not go on.
  private var isLost = false

  /// Call before every read.
  mutating func isTooLong(_ descriptor: Int32, limit: Int64) -> Bool {
    guard !isLost else { return false }
    let consumed = spoke_tcp_consumed(descriptor)
    // In the middle of a packet.
    if consumed < next { return false }
    guard consumed == next + seen else {
      isLost = true
      return false
    }
    var bytes: (UInt8, UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0, 0)
    let count = withUnsafeMutableBytes(of: &bytes) { spoke_peek(descriptor, $0.baseAddress, 5) }
    guard count > 0 else { return false }
    return withUnsafeBytes(of: &bytes) { look(at: $0, Int(count), limit: limit) }
  }

  private mutating func look(
    at bytes: UnsafeRawBufferPointer, _ count: Int, limit: Int64
  ) -> Bool {
    for index in 0..<count {
      seen += 1
      // The type, then seven bits of the length in each byte, the lowest first.
      guard seen > 1 else { continue }
      length |= Int64(bytes[index] & 127) << (7 * (seen - 2))
      guard bytes[index] & 128 == 0 || seen == 5 else { continue }
      let isTooLong = length > limit
      next += seen + length
      seen = 0
      length = 0
      return isTooLong
    }
    return false
  }
}
