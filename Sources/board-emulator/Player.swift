import Platform
import Primitives

/// Plays frames on a pseudo-terminal.
struct Player: ~Copyable {
  private let options: Options
  private let signals: SignalDescriptor
  private var source: FrameSource
  private var terminal: PseudoTerminal
  private var pacer: LinePacer
  private var faults: SplitMix64
  /// The bytes under way, and how many of them are written.
  private var pending: [UInt8] = []
  private var written = 0
  private var frame: [UInt8] = []
  /// Where the bytes under way pause, and for how long, in their order.
  private var pauses: [(at: Int, interval: Interval)] = []
  private var resumeAt = Instant(nanoseconds: 0)
  private var nextFrameAt = Instant(nanoseconds: 0)
  private var hangUpAt = Instant(nanoseconds: .max)
  private var opensSeen: UInt32 = 0
  private var isStopped = false
  private(set) var summary = Summary()

  /// What was played.
  struct Summary {
    var frames: UInt64 = 0
    var noiseBytes: UInt64 = 0
    var hangUps: UInt64 = 0
    var cut: [UInt64] = []
  }

  /// A USB adapter holds bytes back for as long.
  private static let gap = Interval.milliseconds(16)
  /// Between frames that silence ends: enough for a reader that is a little late.
  private static let silence = Interval.milliseconds(10)
  /// Whoever opens a port sets it up and empties it first: what came before that would be lost.
  private static let settling = Interval.milliseconds(300)
  /// At most this much of the line's time is written at once.
  private static let chunk = Interval.milliseconds(5)
  /// How long a reader that has taken everything may go on before the line hangs up on it.
  private static let quiet = Interval.milliseconds(100)

  init(
    _ options: Options, _ source: FrameSource, signals: SignalDescriptor
  ) throws(SystemError) {
    let terminal = try PseudoTerminal()
    if let path = options.link { try TerminalLink(path: path).point(to: terminal.path) }
    self.options = options
    self.source = source
    self.signals = signals
    self.terminal = terminal
    pacer = LinePacer(baud: options.baud)
    faults = SplitMix64(seed: options.seed ^ 0x5EED_0F0F_FA17_5000)
  }

  /// Where the terminal is found for as long as the emulator runs.
  var path: ByteString { options.link ?? terminal.path }

  /// Plays until the source ends and all is read, or until a signal.
  mutating func run() throws(SystemError) {
    do throws(SystemError) {
      while try play() {}
      if options.hold && !isStopped {
        while try pause(.seconds(1)) { _ = try terminal.discardInput() }
      }
    } catch {
      unlink()
      throw error
    }
    unlink()
  }

  /// One turn; false at the end.
  private mutating func play() throws(SystemError) -> Bool {
    _ = try terminal.discardInput()
    var now = SystemClocks.now()
    guard try terminal.isOpen() else {
      return try pause(.milliseconds(50))
    }
    if terminal.opens != opensSeen {
      opensSeen = terminal.opens
      resumeAt = max(resumeAt, now + Self.settling)
      if hangUpAt.nanoseconds == .max, let every = options.hangUpEvery {
        hangUpAt = now + Self.settling + every
      }
    }
    if now >= hangUpAt && (written == 0 || written == pending.count) { return try hangUp() }
    if written == pending.count {
      guard prepare(now) else {
        _ = try drain()
        return false
      }
    }
    if now < resumeAt {
      guard try pause(min(resumeAt - now, .milliseconds(20))) else { return false }
      now = SystemClocks.now()
      pacer.restart(now: now)
      return true
    }
    return try step(now)
  }

  /// Writes what the line has carried, and waits for the next bytes.
  private mutating func step(_ now: Instant) throws(SystemError) -> Bool {
    if let pause = pauses.first, written == pause.at {
      pauses.removeFirst()
      resumeAt = now + pause.interval
      return true
    }
    let most = max(1, Int(options.baud) / 10 * Int(Self.chunk.milliseconds) / 1000)
    let end = min(pauses.first?.at ?? pending.count, written + min(pacer.due(now: now), most))
    if end > written {
      let count = try terminal.write(pending.span.extracting(written..<end))
      written += count
      pacer.write(count)
      if count == 0 {
        // The reader is behind: the board holds its bytes, as one with flow control does.
        pacer.restart(now: now)
        return try pause(.milliseconds(2))
      }
      if written == pending.count { return true }
    }
    return try pause(max(pacer.wait(now: now), .milliseconds(2)))
  }

  /// Takes the next frame with its faults; false when there is none.
  private mutating func prepare(_ now: Instant) -> Bool {
    guard let number = source.next(into: &frame) else { return false }
    pending.removeAll(keepingCapacity: true)
    written = 0
    pauses.removeAll(keepingCapacity: true)
    if happens(options.noise) { addNoise() }
    let start = pending.count
    if options.framing.endsWithSilence {
      pauses.append((at: 0, interval: Self.silence))
      if start > 0 { pauses.append((at: start, interval: Self.silence)) }
    }
    pending += frame
    if number > 0 {
      summary.frames += 1
      if happens(options.cut) { cut(number, from: start) }
    }
    if happens(options.gap), pending.count > start + 1 {
      let at = start + 1 + Int(faults.below(UInt64(pending.count - start - 1)))
      pauses.append((at: at, interval: Self.gap))
    }
    if let rate = options.rate {
      let interval = Interval(nanoseconds: Int64(1_000_000_000_000_000 / rate))
      nextFrameAt = max(nextFrameAt, resumeAt)
      // A stalled line does not make up for more than a second.
      if now - nextFrameAt > .seconds(1) { nextFrameAt = now }
      resumeAt = nextFrameAt
      nextFrameAt = nextFrameAt + interval
    }
    return true
  }

  private mutating func happens(_ millionths: UInt64) -> Bool {
    millionths > 0 && faults.below(1_000_000) < millionths
  }

  private mutating func addNoise() {
    let start = pending.count
    options.framing.appendNoise(1 + Int(faults.below(32)), &faults, to: &pending)
    summary.noiseBytes += UInt64(pending.count - start)
  }

  private mutating func cut(_ number: UInt64, from start: Int) {
    let most = options.framing.longestCut(pending.count - start)
    guard most >= 2 else { return }
    let kept = 1 + Int(faults.below(UInt64(most - 1)))
    pending.removeLast(pending.count - start - kept)
    if let end = options.framing.endOfCut { pending.append(end) }
    summary.cut.append(number)
  }

  /// Waits until everything has been read; false on a signal.
  private mutating func drain() throws(SystemError) -> Bool {
    var emptySince = SystemClocks.now()
    while SystemClocks.now() - emptySince < Self.quiet {
      guard try pause(.milliseconds(5)) else { return false }
      _ = try terminal.discardInput()
      _ = try terminal.isOpen()
      if try terminal.unread() > 0 { emptySince = SystemClocks.now() }
    }
    return true
  }

  /// The board goes away once everything has been read, and comes back; false on a signal.
  private mutating func hangUp() throws(SystemError) -> Bool {
    guard try drain() else { return false }
    unlink()
    let old = terminal.path
    terminal.hangUp()
    summary.hangUps += 1
    opensSeen = 0
    let back = SystemClocks.now() + .milliseconds(200 + Int64(faults.below(801)))
    while SystemClocks.now() < back {
      guard try pause(min(back - SystemClocks.now(), .milliseconds(50))) else { return false }
    }
    terminal = try PseudoTerminal()
    if let path = options.link { try TerminalLink(path: path).point(to: terminal.path) }
    // Counted from the next opening: the board plays between any two hang-ups.
    hangUpAt = Instant(nanoseconds: .max)
    if options.link == nil { announce(terminal.path, after: old) }
    return true
  }

  /// Without a link, whoever drives the emulator must be told where it has gone.
  private func announce(_ path: ByteString, after old: ByteString) {
    StandardOutput.writeError("hung up \(old.description), now \(path.description)\n")
  }

  private func unlink() {
    if let path = options.link { TerminalLink(path: path).remove(from: terminal.path) }
  }

  /// Waits; false when a signal asks for the end.
  private mutating func pause(_ interval: Interval) throws(SystemError) -> Bool {
    try terminal.wait(interval, signals: signals.descriptor)
    while let signal = signals.next() {
      if signal == .terminate || signal == .interrupt || signal == .hangUp { isStopped = true }
    }
    return !isStopped
  }
}
