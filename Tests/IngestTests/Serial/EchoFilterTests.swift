import Ingest
import Primitives
import Testing

@Suite("23: echo of a half-duplex line")
struct EchoFilterTests {
  private let due = Instant(nanoseconds: 1_000)

  @Test("what was sent is taken out, wherever the reads are cut; what is around it stays")
  func cuts() {
    let heard = Array("before[status?]after".utf8)
    for cut in 0...heard.count {
      var filter = EchoFilter()
      let sent = Array("[status?]".utf8)
      filter.expect(sent.span, by: due)
      let output = take(&filter, [Array(heard[..<cut]), Array(heard[cut...])])
      #expect(output == Array("beforeafter".utf8), "cut at \(cut)")
      #expect(filter.suppressed == 1 && filter.missing == 0)
      #expect(filter.nextDeadline == nil)
    }
  }

  @Test("data that only begins like the echo comes out unchanged, and the echo behind it does not")
  func falseStart() {
    var filter = EchoFilter()
    let sent = Array("aab".utf8)
    filter.expect(sent.span, by: due)
    #expect(take(&filter, [Array("aaaab!".utf8)]) == Array("aa!".utf8))
    #expect(filter.suppressed == 1)
  }

  @Test("an answer that equals the question is not taken for its echo twice")
  func once() {
    var filter = EchoFilter()
    let sent = Array("ping".utf8)
    filter.expect(sent.span, by: due)
    #expect(take(&filter, [Array("pingping".utf8)]) == Array("ping".utf8))
  }

  @Test("an echo that a collision damaged is data, and is given up in time")
  func collision() {
    var filter = EchoFilter()
    let sent = Array("hello".utf8)
    filter.expect(sent.span, by: due)
    #expect(take(&filter, [Array("hexlo he".utf8)]) == Array("hexlo ".utf8))
    #expect(filter.nextDeadline == due)
    var output: [UInt8] = []
    filter.release(into: &output)
    #expect(output == Array("he".utf8))
    #expect(filter.missing == 1 && filter.suppressed == 0)
    #expect(take(&filter, [Array("hello".utf8)]) == Array("hello".utf8))
  }

  @Test("several transmissions are matched in their order, and only so many are kept")
  func several() {
    var filter = EchoFilter()
    for number in 0..<9 {
      let sent: [UInt8] = [UInt8(number), 0x55]
      filter.expect(sent.span, by: due)
    }
    #expect(filter.missing == 1)
    var heard: [UInt8] = []
    for number in UInt8(0)...8 { heard += [number, 0x55] }
    #expect(take(&filter, [heard]) == [8, 0x55])
  }

  @Test(
    "against a slow reference: whatever comes, an echo is the first place where all of it stands")
  func reference() {
    var random = SplitMix64(seed: 29)
    for round in 0..<2_000 {
      let sent = (0...Int(random.below(5))).map { _ in UInt8(random.below(2)) }
      let heard = (0..<Int(random.below(24))).map { _ in UInt8(random.below(2)) }
      var expected = heard
      if let start = (0...heard.count).first(where: { heard[$0...].starts(with: sent) }) {
        expected.removeSubrange(start..<(start + sent.count))
      }
      var filter = EchoFilter()
      filter.expect(sent.span, by: due)
      var output = take(&filter, heard.map { [$0] })
      filter.release(into: &output)
      #expect(output == expected, "seed 29, round \(round): \(sent) in \(heard)")
    }
  }

  private func take(_ filter: inout EchoFilter, _ parts: [[UInt8]]) -> [UInt8] {
    var output: [UInt8] = []
    for part in parts { filter.receive(part.span, into: &output) }
    return output
  }
}
