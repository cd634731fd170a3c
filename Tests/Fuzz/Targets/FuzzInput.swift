/// An input as a source of decisions: numbers and pieces, from the front to the end. Behind the end
/// there are zeros, so that every input means something.
struct FuzzInput {
  let bytes: [UInt8]
  private(set) var place = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { place >= bytes.count }
  var remaining: Int { bytes.count - place }

  mutating func byte() -> UInt8 {
    guard place < bytes.count else { return 0 }
    place += 1
    return bytes[place - 1]
  }

  /// Big-endian.
  mutating func number16() -> Int { Int(byte()) << 8 | Int(byte()) }

  /// Below `bound`, which is at most 256.
  mutating func below(_ bound: Int) -> Int { Int(byte()) % max(bound, 1) }

  mutating func flag() -> Bool { byte() & 1 == 1 }

  /// Up to `count` bytes.
  mutating func piece(_ count: Int) -> [UInt8] {
    let end = min(place + count, bytes.count)
    defer { place = end }
    return Array(bytes[place..<end])
  }

  mutating func rest() -> [UInt8] { piece(remaining) }
}

func ascii(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Bytes as a message shows them.
func hexadecimal(_ bytes: [UInt8]) -> String {
  let digits = Array("0123456789abcdef")
  return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

/// The ways in which a stream of bytes is cut into reads: none, every byte, and by these lengths in turn.
enum Cut: CaseIterable {
  case whole, bytes, uneven

  func pieces(of bytes: [UInt8]) -> [[UInt8]] {
    guard self != .whole, !bytes.isEmpty else { return [bytes] }
    var pieces: [[UInt8]] = []
    var start = 0
    var length = 1
    while start < bytes.count {
      let end = min(start + length, bytes.count)
      pieces.append(Array(bytes[start..<end]))
      start = end
      if self == .uneven { length = (length * 3 + 1) % 17 + 1 }
    }
    return pieces
  }
}
