import Primitives
import Testing

@testable import HPACK

/// Seeded traffic through an encoder and a decoder, whole and damaged.
@Suite("encoder and decoder")
struct RoundTripTests {
  static let names = [
    ":path", ":status", "accept", "cookie", "ce-id", "ce-time", "x-a", "x-b", "authorization", "",
  ]

  static func list(_ random: inout SplitMix64) -> [TestField] {
    (0..<random.below(12)).map { _ in
      let name = Array(names[Int(random.below(UInt64(names.count)))].utf8)
      let length = random.below(20) == 0 ? random.below(3_000) : random.below(12)
      let binary = random.below(4) == 0
      let value = (0..<length).map { _ in
        binary ? UInt8(random.below(256)) : UInt8(97 + random.below(3))
      }
      let indexing = HeaderList.Indexing(rawValue: UInt8(random.below(3)))!
      return TestField(name, value, indexing)
    }
  }

  @Test("what is encoded is decoded, through changes of the table's size", arguments: 0..<40)
  func roundTrip(seed: Int) throws {
    var random = SplitMix64(seed: UInt64(seed))
    let size = [0, 64, 256, 4096, 8192][seed % 5]
    var encoder = HPACKEncoder(maximumTableSize: size)
    var decoder = HPACKDecoder(
      maximumTableSize: 65_536, maximumListSize: 1_000_000, maximumFields: 1_000)
    for _ in 0..<50 {
      if random.below(5) == 0 {
        for _ in 0...random.below(3) {
          let limit = Int(random.below(9_000))
          encoder.setPeerMaximumTableSize(UInt32(limit))
          decoder.setMaximumTableSize(limit)
        }
      }
      let fields = Self.list(&random)
      let decoded = try #require(try decoder.fields(encoder.block(fields)), "seed \(seed)")
      #expect(decoded.count == fields.count, "seed \(seed)")
      for (ours, theirs) in zip(fields, decoded) {
        #expect(ours.name == theirs.name && ours.value == theirs.value, "seed \(seed)")
        if ours.indexing == .never { #expect(theirs.indexing == .never) }
      }
      #expect(encoder.tableSize == decoder.tableSize, "seed \(seed)")
    }
  }

  @Test("a block cut at any offset is an error or a shorter list, and never a trap")
  func everyCut() throws {
    var random = SplitMix64(seed: 9113)
    for _ in 0..<30 {
      let fields = Self.list(&random)
      var encoder = HPACKEncoder(maximumTableSize: 4096)
      let block = encoder.block(fields)
      for end in 0..<min(block.count, 400) {
        var decoder = HPACKDecoder()
        let outcome = Result { () throws(HPACKError) in
          try decoder.fields(Array(block[..<end]))
        }
        switch outcome {
        case .success(let decoded): #expect((decoded ?? []).count < max(fields.count, 1))
        case .failure(let error): #expect(error == .truncated)
        }
      }
    }
  }

  @Test("damaged blocks never trap, and memory stays within the limits", arguments: 0..<20)
  func damaged(seed: Int) {
    var random = SplitMix64(seed: UInt64(seed))
    var encoder = HPACKEncoder(maximumTableSize: 4096)
    var decoder = HPACKDecoder(
      maximumTableSize: 4096, maximumListSize: 4_096, maximumFields: 20)
    var list = HeaderList()
    for _ in 0..<1_000 {
      var block = encoder.block(Self.list(&random))
      for _ in 0..<random.below(4) where !block.isEmpty {
        block[Int(random.below(UInt64(block.count)))] = UInt8(random.below(256))
      }
      let outcome = try? decoder.decode(block.span, into: &list)
      #expect(decoder.tableSize <= 4_096, "seed \(seed)")
      #expect(list.bytes.capacity <= 4 * 4_096, "seed \(seed)")
      if outcome == .complete { #expect(list.size <= 4_096 && list.count <= 20, "seed \(seed)") }
    }
  }

  @Test("random octets never trap", arguments: 0..<20)
  func noise(seed: Int) {
    var random = SplitMix64(seed: UInt64(seed) + 1_000)
    var decoder = HPACKDecoder()
    for _ in 0..<2_000 {
      let block = (0..<random.below(64)).map { _ in UInt8(random.below(256)) }
      _ = try? decoder.fields(block)
      #expect(decoder.tableSize <= 4_096, "seed \(seed)")
    }
  }
}
