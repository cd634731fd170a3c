import Primitives

/// What happened, as one number: two runs of a seed are the same run when their traces are.
struct Trace {
  private(set) var hash = Hash64()
  private(set) var lines: UInt64 = 0
  /// Prints each line, too.
  var print: ((ByteString) -> Void)?

  mutating func note(
    _ now: Instant, _ what: StaticString, _ first: UInt64 = 0, _ second: UInt64 = 0,
    _ third: UInt64 = 0
  ) {
    lines += 1
    hash.add(now.nanoseconds)
    var text: [UInt8] = []
    text.append(text: what)
    hash.add(text.span)
    hash.add(first)
    hash.add(second)
    hash.add(third)
    guard let print else { return }
    var line: [UInt8] = []
    line.append(decimal: now.nanoseconds / 1_000)
    line.append(text: " ")
    line.append(text: what)
    for number in [first, second, third] {
      line.append(text: " ")
      line.append(decimal: number)
    }
    print(ByteString(line))
  }

  /// A line for a person, which is no part of the trace.
  func say(_ now: Instant, _ text: String) {
    guard let print else { return }
    print(ByteString("\(now.nanoseconds / 1_000) # \(text)"))
  }
}

/// FNV-1a over 64 bits.
struct Hash64 {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }

  mutating func add(_ number: UInt64) {
    var rest = number
    for _ in 0..<8 {
      add(byte: UInt8(truncatingIfNeeded: rest))
      rest >>= 8
    }
  }

  mutating func add(_ bytes: Span<UInt8>) {
    for index in bytes.indices { add(byte: bytes[index]) }
  }

  /// Never 0, which stands for "not known".
  static func of(_ bytes: Span<UInt8>) -> UInt64 {
    var hash = Hash64()
    hash.add(bytes)
    return max(hash.value, 1)
  }
}
