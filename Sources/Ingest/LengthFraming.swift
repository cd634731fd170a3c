import Primitives

/// A framing that is described, not programmed: sync bytes, a length, a check, a trailer.
///
///     +------+--------+----------------+-----------+---------+
///     | sync | length | header … body  |   check   | trailer | [extension]
///     +------+--------+----------------+-----------+---------+
///     0      start(n) ------>                 <------ end(n)
///
/// A frame is good when the sync stands at its start, the fixed bytes are what they must be, the
/// header's own check (if it has one) matches, the length lies within its bounds, the trailer
/// stands at the end and the check matches. A protocol with several kinds of frame is several of these.
public struct LengthFraming: Sendable, Equatable {
  /// How a number of several bytes stands in a frame.
  public enum ByteOrder: Sendable { case big, little }

  /// A place in a frame, by its distance from the first byte, or back from behind the last one (an
  /// extension does not count).
  public enum Place: Sendable, Equatable {
    case start(Int)
    case end(Int)

    func offset(in size: Int) -> Int {
      switch self {
      case .start(let distance): distance
      case .end(let distance): size - distance
      }
    }
  }

  /// Where a frame's size comes from.
  public enum Size: Sendable, Equatable {
    case fixed(Int)
    case field(LengthField)
  }

  /// The frame's size in bytes is the field's value and `bias`.
  public struct LengthField: Sendable, Equatable {
    public var offset: Int
    /// 1 to 4 bytes.
    public var width: Int
    public var order: ByteOrder
    public var mask: UInt32
    public var bias: Int
    /// The values that occur.
    public var minimum: UInt32
    public var maximum: UInt32

    public init(
      offset: Int, width: Int, order: ByteOrder, mask: UInt32 = .max, bias: Int,
      minimum: UInt32 = 0, maximum: UInt32
    ) {
      self.offset = offset
      self.width = width
      self.order = order
      self.mask = mask
      self.bias = bias
      self.minimum = minimum
      self.maximum = maximum
    }
  }

  /// A byte of the header whose masked value never changes.
  public struct FixedByte: Sendable, Equatable {
    public var offset: Int
    public var mask: UInt8
    public var value: UInt8

    public init(offset: Int, mask: UInt8 = .max, value: UInt8) {
      self.offset = offset
      self.mask = mask
      self.value = value
    }
  }

  /// A check that covers `from..<to` and stands at `at`.
  public struct Check: Sendable, Equatable {
    public var algorithm: ChecksumAlgorithm
    public var from: Int
    public var to: Place
    public var at: Place
    public var order: ByteOrder
    public var seed: MessageSeed?

    public init(
      _ algorithm: ChecksumAlgorithm, from: Int, to: Place, at: Place, order: ByteOrder,
      seed: MessageSeed? = nil
    ) {
      self.algorithm = algorithm
      self.from = from
      self.to = to
      self.at = at
      self.order = order
      self.seed = seed
    }
  }

  /// One more byte that the check covers and the wire does not carry, by the kind of message:
  /// MAVLink's CRC_EXTRA. A message that the table does not list cannot be checked, and is bad.
  public struct MessageSeed: Sendable, Equatable {
    /// Where the message's number stands, little-endian.
    public var offset: Int
    public var width: Int
    /// Ascending numbers, and the byte of each.
    public var messages: [UInt32]
    public var seeds: [UInt8]

    public init(offset: Int, width: Int, messages: [UInt32], seeds: [UInt8]) {
      self.offset = offset
      self.width = width
      self.messages = messages
      self.seeds = seeds
    }

    func seed(of message: UInt32) -> UInt8? {
      let place = sortedPlace(messages.count) { messages[$0] < message }
      return place < messages.count && messages[place] == message ? seeds[place] : nil
    }
  }

  /// Bytes behind the trailer when a bit of the header is set: MAVLink's signature.
  public struct Extension: Sendable, Equatable {
    public var offset: Int
    public var mask: UInt8
    public var size: Int

    public init(offset: Int, mask: UInt8, size: Int) {
      self.offset = offset
      self.mask = mask
      self.size = size
    }
  }

  public var sync: [UInt8]
  public var size: Size
  public var fixed: [FixedByte]
  public var headerCheck: Check?
  public var check: Check?
  public var trailer: [UInt8]
  public var `extension`: Extension?
  /// What `deliver = "payload"` delivers.
  public var payloadStart: Int
  public var payloadEnd: Place
  /// The greatest frame, its extension included.
  public var maximum: Int

  public init(
    sync: [UInt8], size: Size, fixed: [FixedByte] = [], headerCheck: Check? = nil, check: Check?,
    trailer: [UInt8] = [], extension: Extension? = nil, payloadStart: Int, payloadEnd: Place,
    maximum: Int
  ) {
    self.sync = sync
    self.size = size
    self.fixed = fixed
    self.headerCheck = headerCheck
    self.check = check
    self.trailer = trailer
    self.extension = `extension`
    self.payloadStart = payloadStart
    self.payloadEnd = payloadEnd
    self.maximum = maximum
  }

  /// How many bytes must be there before the frame's size can be believed.
  package var headerBytes: Int {
    var count = sync.count
    if case .field(let field) = size { count = max(count, field.offset + field.width) }
    if let `extension` { count = max(count, `extension`.offset + 1) }
    if let headerCheck {
      count = max(count, headerCheck.at.offset(in: 0) + headerCheck.algorithm.width)
    }
    for byte in fixed { count = max(count, byte.offset + 1) }
    return count
  }
}
