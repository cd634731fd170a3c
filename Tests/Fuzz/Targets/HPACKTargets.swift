import HPACK
import Primitives

private struct Field: Equatable {
  var name: [UInt8]
  var value: [UInt8]
  var indexing: HeaderList.Indexing
}

private func fields(of list: HeaderList) -> [Field] {
  (0..<list.count).map {
    Field(
      name: list.name($0).bytes, value: list.value($0).bytes, indexing: list.fields[$0].indexing)
  }
}

extension FuzzTarget {
  /// Any blocks into a decoder: a byte of operation, its length, its bytes. Lists keep their limits,
  /// a decoder with large limits stays in step with one that has small ones, and what came out goes
  /// through the encoder and back.
  static let hpackDecoder = FuzzTarget("hpack-decoder", seeds: decoderSeeds) { bytes in
    var input = FuzzInput(bytes)
    var peers = DecoderPeers(capacity: [0, 64, 4_096, 8_192][input.below(4)])
    while !input.isAtEnd {
      let operation = input.byte()
      if operation < 16 {
        peers.resize(to: input.number16())
      } else if try !peers.take(input.piece(operation == 255 ? input.remaining : Int(input.byte())))
      {
        return
      }
    }
  }

  /// Lists that the input describes, through an encoder and a decoder whose table changes its size.
  static let hpackRoundTrip = FuzzTarget("hpack-round-trip", seeds: roundTripSeeds) { bytes in
    var input = FuzzInput(bytes)
    var encoder = HPACKEncoder(maximumTableSize: [0, 64, 4_096, 8_192][input.below(4)])
    var decoder = HPACKDecoder(
      maximumTableSize: 65_536, maximumListSize: 1 << 20, maximumFields: 1_000)
    while !input.isAtEnd {
      while input.below(4) == 3, !input.isAtEnd {
        let size = input.number16()
        encoder.setPeerMaximumTableSize(UInt32(size))
        decoder.setMaximumTableSize(size)
      }
      var list = HeaderList()
      for _ in 0..<input.below(12) {
        let indexing = HeaderList.Indexing(rawValue: UInt8(input.below(3))) ?? .yes
        let name = names[input.below(names.count)]
        let value = input.piece(input.below(64))
        let repeated = input.below(8) == 0 ? input.below(60) : 1
        var whole: [UInt8] = []
        for _ in 0..<repeated { whole += value }
        list.append(name: name.span, value: whole.span, indexing: indexing)
      }
      var block: [UInt8] = []
      encoder.encode(list, into: &block)
      var decoded = HeaderList()
      let outcome = try decoder.decode(block.span, into: &decoded)
      try requireEqual(outcome, .complete, "the outcome")
      try requireSame(list, decoded)
      try requireEqual(encoder.tableSize, decoder.tableSize, "the tables")
    }
  }

  private static let names: [[UInt8]] = [
    ":path", ":status", "accept", "cookie", "ce-id", "ce-time", "x-a", "x-b", "authorization",
    "content-length", "", "a-name-that-is-rather-long-for-a-header-field-but-happens",
  ].map(ascii)

  /// Names and values are kept; a secret stays one.
  fileprivate static func requireSame(_ list: HeaderList, _ decoded: HeaderList) throws {
    let ours = fields(of: list)
    let theirs = fields(of: decoded)
    try requireEqual(theirs.count, ours.count, "the fields")
    for (left, right) in zip(ours, theirs) {
      try require(left.name == right.name && left.value == right.value, "a field differs: \(left)")
      try require(
        left.indexing != .never || right.indexing == .never, "a secret was indexed: \(left)")
    }
  }

  private static func decoderSeeds() -> [[UInt8]] {
    var seeds: [[UInt8]] = []
    for capacity in 0..<4 {
      var encoder = HPACKEncoder(maximumTableSize: [0, 64, 4_096, 8_192][capacity])
      var seed = [UInt8(capacity)]
      for turn in 0..<4 {
        var list = HeaderList()
        list.append(":status", "200")
        list.append("ce-id", ByteString("node/stream/\(turn)"))
        list.append("x-a", "repeated", indexing: .no)
        list.append("authorization", "secret", neverIndexed: true)
        if turn == 2 {
          encoder.setPeerMaximumTableSize(100)
          seed += [0, 0, 100]
        }
        var block: [UInt8] = []
        encoder.encode(list, into: &block)
        seed += [16, UInt8(block.count)] + block
      }
      seeds.append(seed)
    }
    return seeds
  }

  private static func roundTripSeeds() -> [[UInt8]] {
    (0..<4).map { round in
      var random = SplitMix64(seed: UInt64(round))
      return [UInt8(round)] + (0..<200).map { _ in UInt8(truncatingIfNeeded: random.next() % 70) }
    }
  }
}

/// Two decoders of the same blocks, and an encoder for what they say.
private struct DecoderPeers {
  var small: HPACKDecoder
  var large: HPACKDecoder
  let capacity: Int
  var encoder = HPACKEncoder(maximumTableSize: 256)
  var check = HPACKDecoder(
    maximumTableSize: 4_096, maximumListSize: 1 << 24, maximumFields: 10_000)
  var list = HeaderList()

  init(capacity: Int) {
    self.capacity = capacity
    small = HPACKDecoder(maximumTableSize: capacity, maximumListSize: 600, maximumFields: 8)
    large = HPACKDecoder(
      maximumTableSize: capacity, maximumListSize: 1 << 24, maximumFields: 10_000)
  }

  mutating func resize(to size: Int) {
    small.setMaximumTableSize(size % (capacity + 1))
    large.setMaximumTableSize(size % (capacity + 1))
  }

  /// False when the block ended the connection.
  mutating func take(_ block: [UInt8]) throws -> Bool {
    let memory = small.memory
    var whole = HeaderList()
    let wanted = Result { () throws(HPACKError) in try large.decode(block.span, into: &whole) }
    let found = Result { () throws(HPACKError) in try small.decode(block.span, into: &list) }
    try requireEqual(small.memory, memory, "the decoder's memory")
    try require(small.tableSize <= capacity, "a table of \(small.tableSize) bytes")
    try require(
      list.bytes.capacity <= 4 * (600 + capacity) + 256, "a list of \(list.bytes.capacity) bytes")
    guard case .success(let outcome) = found else {
      try requireEqual(found, wanted, "the error")
      return false
    }
    guard case .success(.complete) = wanted else {
      throw Violation(description: "small limits took what large ones did not: \(wanted)")
    }
    try requireEqual(small.tableSize, large.tableSize, "the tables")
    let fits = whole.size <= 600 && whole.count <= 8
    try requireEqual(outcome, fits ? .complete : .tooLarge, "the outcome of \(whole.size) bytes")
    if fits { try requireEqual(fields(of: list), fields(of: whole), "the fields") }
    if !fits { try require(list.isEmpty, "a list that is too large was kept") }
    var again: [UInt8] = []
    encoder.encode(whole, into: &again)
    var decoded = HeaderList()
    _ = try check.decode(again.span, into: &decoded)
    try FuzzTarget.requireSame(whole, decoded)
    return true
  }
}
