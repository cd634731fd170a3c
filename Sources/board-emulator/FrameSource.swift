import Ingest
import Platform
import Primitives

/// Where the frames come from, one after the other.
struct FrameSource {
  private let framing: Options.Framing
  private let seed: UInt64
  /// How many frames to generate; nil when a recording is played, which `framer` cuts.
  private var count: UInt64?
  private var recording: [UInt8] = []
  private var framer: Framer
  private var number: UInt64 = 0
  /// How far the recording has been played.
  private var place = 0

  /// The greatest file.
  static let fileMax = 256 << 20

  init(_ options: Options) throws(FileError) {
    framing = options.framing
    seed = options.seed
    let specification = options.framing.specification
    framer = Framer(specification, baud: options.baud)
    switch options.source {
    case .generate(let count): self.count = count
    case .file(let path): recording = try FileReader.contents(of: path, limit: Self.fileMax)
    }
  }

  /// Replaces `bytes` by the next frame, with what stands before it in a recording. Answers its
  /// number, 0 for the bytes of a recording behind its last frame; nil at the end.
  mutating func next(into bytes: inout [UInt8]) -> UInt64? {
    guard let count else { return replay(into: &bytes) }
    guard count == 0 || number < count else { return nil }
    number += 1
    FrameGenerator.make(framing, number: number, seed: seed, into: &bytes)
    return number
  }

  private mutating func replay(into bytes: inout [UInt8]) -> UInt64? {
    guard place < recording.count else { return nil }
    let isFrame = Self.findFrame(in: recording, &framer)
    let end = isFrame ? endOfFrame() : recording.count
    bytes.removeAll(keepingCapacity: true)
    bytes.append(contentsOf: recording.span.extracting(place..<end))
    place = end
    guard isFrame else { return 0 }
    number += 1
    return number
  }

  /// Whether there is one more frame.
  private static func findFrame(in recording: [UInt8], _ framer: inout Framer) -> Bool {
    var offset = Int(framer.counters.bytes)
    while true {
      let event = framer.receive(recording.span, from: &offset, now: Instant(nanoseconds: 0))
      // What ends with silence ends with the recording, too.
      switch event ?? framer.handleTimeout(now: Instant(nanoseconds: .max)) {
      case .frame: return true
      case .bad: continue
      case nil: return false
      }
    }
  }

  /// Behind the framer's last frame; a sentence's CR LF belongs to it.
  private func endOfFrame() -> Int {
    var end = Int(framer.settled)
    guard framing == .nmea else { return end }
    while end < recording.count && (recording[end] == 0x0D || recording[end] == 0x0A) { end += 1 }
    return end
  }
}
