import Configuration
import Ingest
import Primitives

/// `probe frames --framing NAME [--delimiter N] [--deliver frame|payload] [--baud N] [--chunk N]
/// [--rounds N]`: NAME is what a configuration has behind `framing =`, a name or a table. The standard
/// input is hexadecimal bytes in lines; a line `silence` lets the line be silent for a minute,
/// `silence N` for N microseconds, a line `hang-up` ends the connection. Prints `frame HEX` and
/// `bad REASON` in order, and the counters at the end. With `--rounds`, everything comes so many times
/// and only the counters are printed; the caller counts the processor time.
enum FramerProbe {
  private enum Step {
    case bytes([UInt8])
    case silence(Interval)
    case hangUp
  }

  static func run(_ input: ProbeInput) {
    let baud = UInt32(input.number("--baud", or: 115_200))
    let chunk = Int(input.number("--chunk", or: 0))
    var framer = Framer(specification(input), baud: baud)
    var now = Instant(nanoseconds: 1_000_000_000)
    let steps = input.readLines().map { step($0, input) }
    let isReported = input.option("--rounds") == nil
    for _ in 0..<input.number("--rounds", or: 1) {
      for step in steps {
        switch step {
        case .bytes(let bytes):
          feed(bytes, chunk, to: &framer, now: &now, baud: baud, isReported: isReported)
        case .silence(let pause):
          now = now + pause
          while let event = framer.handleTimeout(now: now) {
            if isReported { report(event, framer) }
          }
        case .hangUp:
          while let event = framer.receiveHangUp() { if isReported { report(event, framer) } }
        }
      }
    }
    report(framer.counters)
  }

  private static func step(_ line: ByteString, _ input: ProbeInput) -> Step {
    if line.hasPrefix("silence") { return .silence(pause(line, input)) }
    return line == "hang-up" ? .hangUp : .bytes(decode(line, input))
  }

  private static func specification(_ input: ProbeInput) -> FramingSpecification {
    let framing = input.option("--framing") ?? ""
    if framing == "line" {
      return .line(delimiter: UInt8(truncatingIfNeeded: input.number("--delimiter", or: 10)))
    }
    let name = framing.hasPrefix("{") ? framing : "\"" + framing + "\""
    var text: ByteString =
      "node.id = \"n\"\n[[stream]]\nname = \"s\"\ntarget = \"http://h\"\npath = \"/\"\n"
    text = text + "[[serial]]\nname = \"p\"\ndevice = \"/d\"\nbaud = 9600\nstream = \"s\"\n"
    text = text + "framing = " + name + "\n"
    if let deliver = input.option("--deliver") { text = text + "deliver = \"" + deliver + "\"\n" }
    switch ConfigurationLoader.load(files: [(name: "framing", bytes: text.bytes)]) {
    case .valid(let configuration, _): return configuration.serial[0].framing
    case .invalid(let errors): input.fail(errors[0].description)
    }
  }

  private static func pause(_ line: ByteString, _ input: ProbeInput) -> Interval {
    guard line.count > 8 else { return .seconds(60) }
    let word = ProbeInput(arguments: ["silence", ByteString(Array(line.bytes[8...])), ""])
    return .microseconds(Int64(word.number("silence", or: 0)))
  }

  private static func feed(
    _ bytes: [UInt8], _ chunk: Int, to framer: inout Framer, now: inout Instant, baud: UInt32,
    isReported: Bool
  ) {
    var start = 0
    while start < bytes.count {
      let end = chunk == 0 ? bytes.count : min(start + chunk, bytes.count)
      now = now + Interval(nanoseconds: Int64(end - start) * 10_000_000_000 / Int64(baud))
      var offset = 0
      let part = bytes.span.extracting(start..<end)
      while let event = framer.receive(part, from: &offset, now: now) {
        if isReported { report(event, framer) }
      }
      start = end
    }
  }

  private static func report(_ event: FramerEvent, _ framer: borrowing Framer) {
    switch event {
    case .frame: print("frame " + hexadecimal(framer.frame))
    case .bad(let reason): print("bad \(reason.name)")
    }
  }

  private static func report(_ counters: FramerCounters) {
    print(
      "counters bytes=\(counters.bytes) frames=\(counters.frames) bad=\(counters.badFrames) "
        + "resyncs=\(counters.resyncs) skipped=\(counters.skippedBytes) "
        + "nuls=\(counters.strippedNULs)")
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits: [UInt8] = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  private static func decode(_ line: ByteString, _ input: ProbeInput) -> [UInt8] {
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in line.bytes where character != UInt8(ascii: " ") {
      let digit: UInt8
      switch character {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = character - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = character - UInt8(ascii: "A") + 10
      default: input.fail("not hexadecimal: " + line.description)
      }
      if let upper = high {
        bytes.append(upper << 4 | digit)
        high = nil
      } else {
        high = digit
      }
    }
    return bytes
  }
}
