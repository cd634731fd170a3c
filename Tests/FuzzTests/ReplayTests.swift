import Foundation
import FuzzTargets
import TestSupport
import Testing

/// Everything that fuzzing has kept: the corpora, and each finding under a name that says what it was.
@Suite("what fuzzing has kept")
struct ReplayTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fuzz")

  /// The files of `kind`/`target`, by name.
  private static func files(_ kind: String, _ target: String) -> [URL] {
    let place = folder.appending(path: kind).appending(path: target)
    let found =
      (try? FileManager.default.contentsOfDirectory(at: place, includingPropertiesForKeys: nil))
      ?? []
    return found.sorted { $0.lastPathComponent < $1.lastPathComponent }
  }

  private static let findings: [String] = FuzzTarget.all.flatMap { target in
    files("Findings", target.name).map { target.name + "/" + $0.lastPathComponent }
  }

  @Test("the inputs of a corpus hold", arguments: FuzzTarget.all.map(\.name))
  func corpus(name: String) throws {
    let target = try #require(FuzzTarget.named(name))
    let files = Self.files("Corpora", name)
    #expect(!files.isEmpty, "\(name) has no corpus")
    for file in files {
      let bytes = Array(try Data(contentsOf: file))
      #expect(throws: Never.self, "\(name)/\(file.lastPathComponent)") { try target.check(bytes) }
    }
  }

  @Test("a finding stays mended", arguments: findings)
  func finding(path: String) throws {
    let target = try #require(FuzzTarget.named(String(path.prefix { $0 != "/" })))
    let file = Self.folder.appending(path: "Findings").appending(path: path)
    let bytes = Array(try Data(contentsOf: file))
    #expect(throws: Never.self, "\(path)") { try target.check(bytes) }
  }

  @Test(
    "the seeds hold, cut anywhere and with a byte changed", arguments: FuzzTarget.all.map(\.name))
  func seeds(name: String) throws {
    let target = try #require(FuzzTarget.named(name))
    let seeds = target.seeds()
    #expect(!seeds.isEmpty)
    for (number, seed) in seeds.enumerated() {
      #expect(throws: Never.self, "seed \(number)") { try target.check(seed) }
      guard !seed.isEmpty else { continue }
      for round in 0..<(Effort.isWhole ? 8 : 3) {
        // By turns of a fixed stride: the same places in every run.
        let place = (round * 7_919 + number) % seed.count
        var damaged = seed
        damaged[place] ^= UInt8(1 << (round % 8))
        #expect(throws: Never.self, "seed \(number) changed at \(place)") {
          try target.check(damaged)
        }
        let cut = Array(seed[..<place])
        #expect(throws: Never.self, "seed \(number) cut at \(place)") { try target.check(cut) }
      }
    }
  }

  @Test("no folder of inputs is without its target", arguments: ["Corpora", "Findings"])
  func folders(kind: String) throws {
    let place = Self.folder.appending(path: kind)
    let names = try FileManager.default.contentsOfDirectory(atPath: place.path())
    for name in names where !name.hasPrefix(".") {
      #expect(FuzzTarget.named(name) != nil, "\(kind)/\(name)")
    }
  }
}
