import Ingest
import Primitives
import Testing

@Suite("Line framing")
struct LineFramerTests {
  static func framer(_ delimiter: UInt8 = 0x0A) -> Framer {
    Framer(.line(delimiter: delimiter), baud: 9600)
  }

  @Test("LF, CR LF and empty lines, split at every offset")
  func everyOffset() {
    let stream = bytes("one\ntwo\r\n\n\r\nthree \r\r\nfour\n")
    let expected = ["one", "two", "three \r", "four"].map { Outcome.frame(bytes($0)) }
    for cut in 0...stream.count {
      var framer = Self.framer()
      #expect(framer.take(stream, splitAt: cut) == expected, "cut at \(cut)")
      #expect(framer.counters.frames == 4)
      #expect(framer.counters.resyncs == 0)
      #expect(framer.counters.skippedBytes == 0)
    }
    for chunk in 1...5 {
      var framer = Self.framer()
      #expect(framer.take(stream, chunk: chunk) == expected)
    }
  }

  @Test("a delimiter of one's own", arguments: [UInt8(0x0D), 0x00, 0x3B, 0xFF])
  func otherDelimiters(delimiter: UInt8) {
    var framer = Self.framer(delimiter)
    let stream = bytes("a\nb") + [delimiter, delimiter] + bytes("c") + [delimiter]
    #expect(framer.take(stream) == [.frame(bytes("a\nb")), .frame(bytes("c"))])
    #expect(framer.counters.strippedNULs == 0)
  }

  @Test("NULs and control bytes are data, except NULs before a line, which are counted")
  func controlBytes() {
    let line: [UInt8] = [0x41, 0x00, 0x03, 0x11, 0x13, 0x1A, 0x00, 0xFF, 0x0D, 0x42]
    let stream = [0, 0, 0] + line + [0x0A, 0, 0x43, 0x0A, 0, 0x0A]
    for cut in 0...stream.count {
      var framer = Self.framer()
      #expect(framer.take(stream, splitAt: cut) == [.frame(line), .frame([0x43])])
      #expect(framer.counters.strippedNULs == 5)
      #expect(framer.counters.skippedBytes == 0)
    }
  }

  @Test("4096 bytes are a line, with CR LF too; 4097 are not, however the reads fall")
  func greatestLine() {
    let longest = [UInt8](repeating: 0x78, count: 4096)
    for chunk in [0, 1, 7, 4096, 4097, 4098] {
      var framer = Self.framer()
      #expect(framer.take(longest + [0x0A], chunk: chunk) == [.frame(longest)])
      #expect(framer.take(longest + [0x0D, 0x0A], chunk: chunk) == [.frame(longest)])
      let tooLong = longest + [0x78, 0x0A] + bytes("next\n")
      #expect(framer.take(tooLong, chunk: chunk) == [.bad(.tooLong), .frame(bytes("next"))])
      let withReturn = longest + [0x78, 0x0D, 0x0A] + bytes("next\n")
      #expect(framer.take(withReturn, chunk: chunk) == [.bad(.tooLong), .frame(bytes("next"))])
      #expect(framer.counters.badFrames == 2)
      #expect(framer.counters.resyncs == 2)
      #expect(framer.counters.skippedBytes == 4098 + 4099)
    }
  }

  @Test("1 MiB without a delimiter is one bad frame and no memory; the next line is whole")
  func noDelimiter() {
    var framer = Self.framer()
    let memory = framer.memory
    let read = [UInt8](repeating: 0x55, count: 4096)
    var outcomes: [Outcome] = []
    for _ in 0..<256 { outcomes += framer.take(read) }
    #expect(outcomes == [.bad(.tooLong)])
    #expect(framer.take(bytes("\nnext\n")) == [.frame(bytes("next"))])
    #expect(framer.memory == memory)
    #expect(framer.counters.badFrames(.tooLong) == 1)
    #expect(framer.counters.resyncs == 1)
    #expect(framer.counters.skippedBytes == 1 << 20 | 1)
    #expect(framer.counters.bytes == UInt64(1 << 20 + 6))
  }

  @Test("a line may pause: there is no deadline")
  func pause() {
    var framer = Self.framer()
    #expect(framer.take(bytes("half")).isEmpty)
    #expect(framer.nextDeadline() == nil)
    #expect(framer.timeOut(now: Instant(nanoseconds: .max)).isEmpty)
    #expect(framer.take(bytes(" a line\n")) == [.frame(bytes("half a line"))])
  }

  @Test("a hang-up ends a partial line as a bad frame; the counters go on")
  func hangUp() {
    var framer = Self.framer()
    #expect(framer.take(bytes("whole\npart")) == [.frame(bytes("whole"))])
    #expect(framer.hangUp() == [.bad(.truncated)])
    #expect(framer.hangUp().isEmpty)
    #expect(framer.take(bytes("new\n")) == [.frame(bytes("new"))])
    #expect(framer.counters.frames == 2)
    #expect(framer.counters.skippedBytes == 4)
  }

  @Test("a hang-up inside an overlong line: the next line after it is whole")
  func hangUpWhileDiscarding() {
    var framer = Self.framer()
    #expect(framer.take([UInt8](repeating: 1, count: 5000)) == [.bad(.tooLong)])
    #expect(framer.hangUp().isEmpty)
    #expect(framer.take(bytes("new\n")) == [.frame(bytes("new"))])
  }

  @Test("reset forgets a partial line and keeps the counters")
  func reset() {
    var framer = Self.framer()
    #expect(framer.take(bytes("one\npart")) == [.frame(bytes("one"))])
    framer.reset()
    #expect(framer.take(bytes("two\n")) == [.frame(bytes("two"))])
    #expect(framer.counters.frames == 2)
    #expect(framer.counters.badFrames == 0)
  }

  @Test("random streams in random reads yield what splitting the whole at the delimiter yields")
  func randomStreams() {
    for seed in UInt64(1)...200 {
      var random = SplitMix64(seed: seed)
      // A small alphabet makes delimiters, returns and NULs meet.
      let alphabet: [UInt8] = [0x0A, 0x0D, 0x00, 0x61, 0x62, 0xFF]
      let stream = (0..<Int(random.below(600))).map { _ in alphabet[Int(random.below(6))] }
      var expected: [[UInt8]] = []
      for part in stream.split(separator: 0x0A, omittingEmptySubsequences: false).dropLast() {
        var line = Array(part.drop { $0 == 0 })
        if line.last == 0x0D { line.removeLast() }
        if !line.isEmpty { expected.append(line) }
      }
      var framer = Self.framer()
      var got: [Outcome] = []
      var start = 0
      while start < stream.count {
        let end = min(stream.count, start + 1 + Int(random.below(40)))
        got += framer.take(Array(stream[start..<end]))
        start = end
      }
      #expect(got == expected.map { .frame($0) }, "seed \(seed)")
    }
  }
}
