import Primitives
import Testing

@Suite("Sorting in place")
struct HeapSortTests {
  @Test("Sorts as the standard library does", arguments: 0..<64)
  func agrees(count: Int) {
    var random = SplitMix64(seed: UInt64(count))
    for _ in 0..<20 {
      // Few values, so that many are equal.
      let numbers = (0..<count).map { _ in Int(random.next() % 16) }
      var sorted = numbers
      sorted.heapSort { $0 < $1 }
      #expect(sorted == numbers.sorted(), "seed \(count)")
      sorted.heapSort { $0 > $1 }
      #expect(sorted == numbers.sorted(by: >), "seed \(count)")
    }
  }

  @Test("A thousand names, sorted already, the other way round, and shuffled")
  func names() {
    let names = (0..<1_000).map { ByteString("name.\(100_000 + $0)") }
    var random = SplitMix64(seed: 1)
    for start in [names, names.reversed(), names.shuffled(using: &random)] {
      var sorted = start
      sorted.heapSort { ByteString.precedes($0, $1) }
      #expect(sorted == names)
    }
  }
}

@Suite("Values in texts")
struct InterpolationTests {
  @Test("Numbers of every width, at their ends")
  func numbers() {
    #expect(
      "\(UInt64.max) \(Int64.min) \(Int64.max)"
        == "18446744073709551615 -9223372036854775808 9223372036854775807")
    #expect("\(Int.min)|\(0)|\(-1)" == "-9223372036854775808|0|-1")
    #expect(
      "\(Int32.min) \(UInt32.max) \(UInt16.max) \(UInt8.max)" == "-2147483648 4294967295 65535 255")
  }

  @Test("Text as it is; bytes that are not UTF-8 become U+FFFD")
  func texts() {
    let bytes = ByteString([0x61, 0xFF, 0x62])
    #expect("<\("é" as String)><\(bytes)>" == "<é><a\u{FFFD}b>")
  }
}
