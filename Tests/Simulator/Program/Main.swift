import Platform
import Primitives

/// Plays seeds: `simulate [--seed N] [--seeds COUNT] [--hours H] [--trace] [--stop] [--mutation M]`.
@main
struct Main {
  static let usage =
    "usage: simulate [--seed N] [--seeds COUNT] [--hours H] [--trace] [--stop] [--mutation M]\n"
    + "       simulate --mutations"

  static func main() {
    let words = CommandLineArguments.read()
    if words == ["--mutations"] {
      for name in Mutations.names { StandardOutput.write("\(name)\n") }
      ProcessExit.exit(0)
    }
    guard let options = Options(words) else {
      StandardOutput.writeError(usage + "\n")
      ProcessExit.exit(64)
    }
    if let mutation = options.mutation, !Mutations.activate(mutation) {
      StandardOutput.writeError("simulate: this build has no mutation \(mutation)\n")
      ProcessExit.exit(64)
    }
    ProcessExit.exit(run(options))
  }

  private static func run(_ options: Options) -> Int32 {
    let hours = options.hours.map { Interval.seconds(Int64($0) * 3_600) }
    var total = Total()
    for seed in options.seed..<(options.seed + options.seeds) {
      // Should the program trap, this line says where.
      if options.seeds > 1 { StandardOutput.writeError("seed \(seed)\n") }
      let outcome = Simulation.run(
        seed: seed, hours: hours,
        print: options.isTraced ? { StandardOutput.write($0.description + "\n") } : nil)
      total.add(outcome)
      if options.seeds == 1 || !outcome.isGood { describe(outcome) }
      if options.stops, !outcome.isGood { break }
    }
    total.describe()
    return total.failed == 0 ? 0 : 1
  }

  private static func describe(_ outcome: Outcome) {
    StandardOutput.write(
      "seed \(outcome.seed): \(outcome.isGood ? "good" : "FAILED"), "
        + "\(outcome.records) records, \(outcome.delivered) delivered, "
        + "\(outcome.duplicates) again, \(outcome.runs) starts, \(outcome.turns) turns, "
        + "\(outcome.duration.milliseconds / 1_000) s, trace \(hexadecimal(outcome.hash))\n")
    for complaint in outcome.complaints { StandardOutput.write("  \(complaint)\n") }
  }

  private static func hexadecimal(_ number: UInt64) -> ByteString {
    var text: [UInt8] = []
    for place in 0..<16 {
      text.append(hexadecimalDigit(UInt8(number >> UInt64(60 - 4 * place) & 15)))
    }
    return ByteString(text)
  }
}

/// What the program was asked to do.
struct Options {
  var seed: UInt64 = 1
  var seeds: UInt64 = 1
  var hours: UInt64?
  var mutation: UInt64?
  var isTraced = false
  /// The first seed that fails is the last.
  var stops = false

  init?(_ words: [ByteString]) {
    var index = 0
    while index < words.count {
      index += 1
      switch words[index - 1] {
      case "--trace":
        isTraced = true
        continue
      case "--stop":
        stops = true
        continue
      default: break
      }
      guard index < words.count, let value = Options.number(words[index]) else { return nil }
      switch words[index - 1] {
      case "--seed": seed = value
      case "--seeds": seeds = value
      case "--hours": hours = value
      case "--mutation": mutation = value
      default: return nil
      }
      index += 1
    }
  }

  private static func number(_ text: ByteString) -> UInt64? {
    guard !text.isEmpty, text.count < 19 else { return nil }
    var value: UInt64 = 0
    for byte in text.bytes {
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      value = value * 10 + UInt64(byte - 0x30)
    }
    return value
  }
}

/// What all seeds came to together.
struct Total {
  private var seeds = 0
  private(set) var failed = 0
  private var seconds: Int64 = 0
  private var records = 0
  private var starts = 0
  private var faults: FaultCounts?

  mutating func add(_ outcome: Outcome) {
    seeds += 1
    if !outcome.isGood { failed += 1 }
    seconds += outcome.duration.milliseconds / 1_000
    records += outcome.records
    starts += outcome.runs
    if faults == nil { faults = outcome.faults } else { faults?.add(outcome.faults) }
  }

  /// Lines that a script can add up: a number, then what it counts.
  func describe() {
    guard seeds > 1 else { return }
    for line in faults?.lines ?? [] { StandardOutput.write("\(line)\n") }
    for (count, what) in [
      (seeds, "seeds"), (failed, "seeds failed"), (Int(seconds), "simulated seconds"),
      (records, "records"), (starts, "starts of the daemon"),
    ] { StandardOutput.write("\(count)  \(what)\n") }
  }
}
