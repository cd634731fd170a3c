// The Huffman code of RFC 7541, appendix B. It is canonical: sorted by length and then by symbol, each
// code is the one before plus one, shifted to its length. The 257 lengths therefore say everything.
// EOS (symbol 256) is thirty ones; a string is padded to an octet with up to 7 bits of its beginning.

import Primitives

/// Both directions of the code, built once.
struct HuffmanCode: Sendable {
  static let shared = HuffmanCode()

  private static let endOfString: UInt16 = 256
  private static let longest = 30

  /// By symbol: its code, right-aligned.
  private var codes: [UInt32] = Array(repeating: 0, count: 257)
  /// All symbols in the order of their codes.
  private var sorted: [UInt16] = []
  /// By length: the first code of this length, how many there are, where they begin in `sorted`.
  private var first: [UInt32] = Array(repeating: 0, count: longest + 1)
  private var total: [UInt32] = Array(repeating: 0, count: longest + 1)
  private var place: [Int] = Array(repeating: 0, count: longest + 1)
  /// By the next 8 bits: the symbol (high octet) and its length (low octet), or 0 when its code is
  /// longer. The 74 codes of up to 8 bits are the printable text of almost every header.
  private var short: [UInt16] = Array(repeating: 0, count: 256)

  private init() {
    sorted.reserveCapacity(257)
    var code: UInt32 = 0
    for length in 1...Self.longest {
      code <<= 1
      first[length] = code
      place[length] = sorted.count
      for symbol in 0..<257 where Int(huffmanCodeLengths[symbol]) == length {
        codes[symbol] = code
        sorted.append(UInt16(symbol))
        if length <= 8 { fillShort(symbol: symbol, code: Int(code), length: length) }
        code += 1
      }
      total[length] = UInt32(sorted.count - place[length])
    }
  }

  private mutating func fillShort(symbol: Int, code: Int, length: Int) {
    let start = code << (8 - length)
    for index in start..<(start + (1 << (8 - length))) {
      short[index] = UInt16(symbol) << 8 | UInt16(length)
    }
  }

  /// The octets that `text` takes when coded.
  func encodedCount(_ text: Span<UInt8>) -> Int {
    // 30 bits a symbol: a 32-bit Int would overflow above 71 MB, far beyond any list.
    var bits = 0
    for index in text.indices { bits += Int(huffmanCodeLengths[Int(text[index])]) }
    return (bits + 7) / 8
  }

  /// `total`: what `encodedCount` says, so that there is room for all of it at once.
  func encode(_ text: Span<UInt8>, count total: Int, into block: inout [UInt8]) {
    let codes = codes.span
    block.append(addingCapacity: total) { free in
      var bits: UInt64 = 0
      var count: UInt64 = 0
      for index in text.indices {
        let symbol = Int(text[index])
        let length = UInt64(huffmanCodeLengths[symbol])
        // At most 7 bits are left over from before: 37 in all.
        bits = bits << length | UInt64(codes[symbol])
        count += length
        while count >= 8 {
          count -= 8
          free.append(UInt8(truncatingIfNeeded: bits >> count))
        }
      }
      if count > 0 {
        let padding = 8 - count
        free.append(UInt8(truncatingIfNeeded: bits << padding | (1 << padding - 1)))
      }
    }
  }

  /// Decodes `text`, storing at most `limit` bytes. The answer is how many there are: more than
  /// `limit` means that the rest was checked but not kept.
  func decode(
    _ text: Span<UInt8>, into bytes: inout [UInt8], limit: Int
  ) throws(HPACKError) -> Int {
    var decoded = 0
    // The low `count` bits of `bits` are not decoded yet. A code is complete with 30 of them, so at
    // most 29 + 8 are ever waiting.
    var bits: UInt64 = 0
    var count = 0
    for index in text.indices {
      bits = bits << 8 | UInt64(text[index])
      count += 8
      while count >= 8 {
        guard let (symbol, length) = try symbol(bits: bits, count: count) else { break }
        count -= length
        if decoded < limit { bytes.append(symbol) }
        decoded += 1
      }
    }
    // What remains is shorter than an octet, or the beginning of a long code: then it is no padding.
    guard count < 8 else { throw .huffmanPadding }
    while count > 0 {
      let padded = Int((bits << UInt64(8 - count)) & 0xFF) | (1 << (8 - count) - 1)
      let entry = short[padded]
      let length = Int(entry & 0xFF)
      guard length > 0, length <= count else { break }
      count -= length
      if decoded < limit { bytes.append(UInt8(entry >> 8)) }
      decoded += 1
    }
    let ones: UInt64 = 1 << UInt64(count) - 1
    guard bits & ones == ones else { throw .huffmanPadding }
    return decoded
  }

  /// The symbol at the head of the low `count` (at least 8) bits; nil when its code is not complete.
  private func symbol(bits: UInt64, count: Int) throws(HPACKError) -> (UInt8, Int)? {
    let entry = short[Int((bits >> UInt64(count - 8)) & 0xFF)]
    if entry != 0 { return (UInt8(entry >> 8), Int(entry & 0xFF)) }
    var length = 9
    while length <= count, length <= Self.longest {
      let code =
        UInt32(truncatingIfNeeded: bits >> UInt64(count - length)) & (1 << UInt32(length) - 1)
      // A code below the first one of this length is impossible: its beginning would have matched.
      let rank = code &- first[length]
      if rank < total[length] {
        let symbol = sorted[place[length] + Int(rank)]
        guard symbol != Self.endOfString else { throw .huffmanEndOfString }
        return (UInt8(symbol), length)
      }
      length += 1
    }
    return nil
  }
}

/// RFC 7541, appendix B: the length of each symbol's code in bits; the last one is EOS.
private let huffmanCodeLengths: [UInt8] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
  28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
  7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
  23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
  21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
]
