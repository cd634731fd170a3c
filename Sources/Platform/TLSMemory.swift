import CLinux
import COpenSSL

/// OpenSSL's memory, libmosquitto's use of it included: all of it is counted, and none is beyond the limit.
/// What does not fit fails as it would on a system without memory, and with it the connection or the
/// certificate that asked for it. Of one thread, like all TLS here.
public enum TLSMemory {
  /// Begins to count. Call it before anything else of TLS; later OpenSSL lets nobody allocate for it.
  public static func begin() {
    _ = CRYPTO_set_mem_functions(
      { bytes, _, _ in TLSMemory.allocate(bytes) },
      { block, bytes, _, _ in TLSMemory.resize(block, to: bytes) },
      { block, _, _ in TLSMemory.release(block) })
  }

  /// Bytes held.
  public static var used: Int { Int(bitPattern: bytesUsed) }
  /// The most that was held.
  public static var high: Int { Int(bitPattern: bytesHigh) }
  /// How often something did not fit.
  public static var refusals: UInt64 { bytesRefused }

  /// What may be held. What is held stays.
  public static func limit(to bytes: Int) { bytesMax = UInt(bytes) }

  /// OpenSSL passes over a certificate of the system's roots for which there is no memory; whoever trusts
  /// those wants all of them.
  static func requireAll(since before: UInt64) throws(TLSError) {
    if refusals != before { throw TLSError("no memory for the certificates") }
  }

  private static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer? {
    guard bytes > 0, fits(UInt(bytes)), let block = malloc(bytes) else { return nil }
    count(from: 0, to: malloc_usable_size(block))
    return block
  }

  private static func resize(
    _ block: UnsafeMutableRawPointer?, to bytes: Int
  ) -> UnsafeMutableRawPointer? {
    guard let block else { return allocate(bytes) }
    guard bytes > 0 else {
      release(block)
      return nil
    }
    let before = malloc_usable_size(block)
    guard bytes <= before || fits(UInt(bytes) - UInt(before)), let moved = realloc(block, bytes)
    else { return nil }
    count(from: before, to: malloc_usable_size(moved))
    return moved
  }

  private static func release(_ block: UnsafeMutableRawPointer?) {
    guard let block else { return }
    count(from: malloc_usable_size(block), to: 0)
    free(block)
  }

  private static func fits(_ bytes: UInt) -> Bool {
    if bytesUsed <= bytesMax, bytes <= bytesMax - bytesUsed { return true }
    bytesRefused += 1
    return false
  }

  private static func count(from before: Int, to after: Int) {
    bytesUsed = bytesUsed &- UInt(before) &+ UInt(after)
    bytesHigh = max(bytesHigh, bytesUsed)
  }
}

private nonisolated(unsafe) var bytesMax = UInt.max
private nonisolated(unsafe) var bytesUsed: UInt = 0
private nonisolated(unsafe) var bytesHigh: UInt = 0
private nonisolated(unsafe) var bytesRefused: UInt64 = 0
