import Primitives
import Testing

@Suite struct RemovalTests {
  @Test("What stays keeps its order, wherever the rest was", arguments: 0..<64)
  func order(pattern: Int) {
    var numbers = Array(0..<6)
    numbers.removeEach { pattern >> $0 & 1 == 1 }
    #expect(numbers == (0..<6).filter { pattern >> $0 & 1 == 0 })
  }
}
