import Primitives

/// A message in the body of a call ("gRPC over HTTP/2", Length-Prefixed-Message):
///
///     0     compressed flag: 0, or 1 with the encoding that `grpc-encoding` names
///     1…4   length of the message, big-endian
///     5…    the message
public enum MessageFraming {
  /// Flag and length.
  public static let prefixBytes = 5

  /// Appends the prefix of a message that follows, uncompressed.
  public static func appendPrefix(length: Int, to body: inout [UInt8]) {
    let length = UInt32(length)
    body.append(0)
    body.append(UInt8(truncatingIfNeeded: length >> 24))
    body.append(UInt8(truncatingIfNeeded: length >> 16))
    body.append(UInt8(truncatingIfNeeded: length >> 8))
    body.append(UInt8(truncatingIfNeeded: length))
  }
}

/// What is wrong with the messages that a peer sends; each ends the call.
public enum MessageError: Error, Equatable, Sendable {
  /// No encoding was negotiated, yet the message is compressed.
  case compressed
  /// A flag other than 0 and 1.
  case invalidFlag
  /// Longer than the limit; nothing of it was kept.
  case tooLarge
  /// The body ended within a message.
  case truncated

  /// The status that the call ends with.
  public var status: GRPCStatus {
    switch self {
    case .compressed, .invalidFlag, .truncated: .internalError
    case .tooLarge: .resourceExhausted
    }
  }
}

/// Takes a body apart into messages. It keeps one message at a time, and refuses one that is too
/// long by its prefix, before anything of it is kept.
///
///     while try deframer.receive(bytes, from: &offset) { use(deframer.message) }
public struct MessageDeframer: Sendable {
  /// The message that came last; valid after `receive` answered true, until the next call.
  public private(set) var message: [UInt8] = []
  /// The longest message, in bytes; of one that has begun it is not asked again.
  public var limit: Int
  private var prefixRead = 0
  private var length: UInt32 = 0
  private var isWhole = false

  /// `limit`: the longest message, in bytes.
  public init(limit: Int) { self.limit = limit }

  /// Reads on from `offset`. True: a message is whole, and there may be more behind it.
  public mutating func receive(
    _ bytes: Span<UInt8>, from offset: inout Int
  ) throws(MessageError) -> Bool {
    if isWhole {
      isWhole = false
      prefixRead = 0
      message.removeAll(keepingCapacity: true)
    }
    while prefixRead < MessageFraming.prefixBytes {
      guard offset < bytes.count else { return false }
      try takePrefix(bytes[offset])
      offset += 1
    }
    let count = min(Int(length) - message.count, bytes.count - offset)
    message.append(contentsOf: bytes.extracting(offset..<offset + count))
    offset += count
    isWhole = message.count == Int(length)
    return isWhole
  }

  /// Moves the message out; its memory is then the taker's alone.
  public mutating func takeMessage() -> [UInt8] {
    precondition(isWhole, "MessageDeframer: a message was taken that is not whole")
    var taken: [UInt8] = []
    swap(&taken, &message)
    return taken
  }

  /// Bytes held of a message.
  public var memory: Int { message.capacity }

  /// The body is over.
  public func finish() throws(MessageError) {
    guard isWhole || prefixRead == 0 else { throw .truncated }
  }

  private mutating func takePrefix(_ byte: UInt8) throws(MessageError) {
    if prefixRead == 0 {
      guard byte <= 1 else { throw .invalidFlag }
      guard byte == 0 else { throw .compressed }
      length = 0
    } else {
      length = length << 8 | UInt32(byte)
    }
    prefixRead += 1
    // Compared as 64 bits: `Int` has 32 on some boards.
    if prefixRead == MessageFraming.prefixBytes, UInt64(length) > UInt64(limit) {
      throw .tooLarge
    }
    // At once as long as it will be: a large one would be moved over and over while it grows.
    if prefixRead == MessageFraming.prefixBytes { message.reserveCapacity(Int(length)) }
  }
}
