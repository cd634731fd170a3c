import FuzzTargets
import Glibc

// `fuzz list` names the targets. `fuzz seed FOLDER` writes the first corpus of each into its own folder
// there. `fuzz TARGET …` runs libFuzzer on one; the rest is libFuzzer's (https://llvm.org/docs/LibFuzzer.html).

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main
enum Main {
  /// libFuzzer's callback takes no context.
  private nonisolated(unsafe) static var target = FuzzTarget.all[0]

  static func main() {
    let words = CommandLine.arguments
    guard words.count >= 2 else { fail("usage: fuzz list | seed FOLDER | TARGET [OPTION]...") }
    if words[1] == "list" {
      for target in FuzzTarget.all { print(target.name) }
    } else if words[1] == "seed", words.count == 3 {
      for target in FuzzTarget.all { writeSeeds(target, into: words[2] + "/" + target.name) }
    } else if let found = FuzzTarget.named(words[1]) {
      target = found
      exit(fuzz())
    } else {
      fail("no such target: " + words[1])
    }
  }

  private static func fail(_ message: String) -> Never {
    print(message)
    exit(64)
  }

  /// Runs libFuzzer; the target's name is taken out of its arguments.
  private static func fuzz() -> CInt {
    let words = CommandLine.arguments
    let kept = [words[0], "-max_len=\(target.longest)"] + words.dropFirst(2)
    // They live as long as the process does.
    let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(
      capacity: kept.count + 1)
    for (index, word) in kept.enumerated() { pointers[index] = strdup(word) }
    pointers[kept.count] = nil
    var count = CInt(kept.count)
    var arguments = pointers
    return runDriver(&count, &arguments) { start, count in
      let bytes = Array(UnsafeBufferPointer(start: start, count: count))
      do {
        try Main.target.check(bytes)
      } catch {
        fatalError("\(Main.target.name): \(error)")
      }
      return 0
    }
  }

  private static func writeSeeds(_ target: FuzzTarget, into folder: String) {
    mkdir(folder, 0o755)
    for (index, seed) in target.seeds().enumerated() {
      let path = "\(folder)/seed-\(index < 10 ? "0" : "")\(index)"
      guard let file = fopen(path, "w") else { fail("cannot write " + path) }
      let written = fwrite(seed, 1, seed.count, file)
      guard fclose(file) == 0, written == seed.count else { fail("cannot write " + path) }
    }
  }
}
