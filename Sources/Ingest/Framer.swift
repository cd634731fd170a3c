import Primitives

/// What `Framer.receive` found.
public enum FramerEvent: Sendable, Equatable {
  /// A good frame; its bytes are in `Framer.frame`.
  case frame
  /// What began as a frame is none.
  case bad(BadFrameReason)
}

/// Cuts a serial port's bytes into frames.
///
///     receive ──▶ buffer (as long as the longest frame) ──▶ scan ──▶ frame: delivered
///                    ▲                                       │
///                    └── look again, one byte on ◀── bad ────┘
///
/// After a failed check it goes on one byte behind the false start, not behind the false frame, and
/// scans again what it has kept: a corrupt length or a sync inside a payload costs no good frame.
/// A partial frame waits for the rest until the line has been silent for four times as long as the
/// longest frame lasts at the port's rate, 20 ms at least; then it is given up in the same way.
/// Lines may pause: they wait for their delimiter. Whatever the bytes, memory stays as it was made.
public struct Framer: Sendable {
  private enum Kind: Sendable {
    case line(LineFraming)
    case nmea
    case length([LengthFraming], FramingSpecification.Deliver)
  }

  private let kind: Kind
  private let silence: Interval?
  /// Bytes not yet settled are `head..<tail`.
  private var storage: [UInt8]
  private var head = 0
  private var tail = 0
  /// How many of them are known to hold no delimiter.
  private var examined = 0
  /// Inside a line that is already counted as too long.
  private var isDiscarding = false
  /// Between two frames, bytes have been skipped.
  private var isSkipping = false
  /// A false start below this place lies inside a frame that is already counted as bad, and is not
  /// counted again.
  private var failedUntil: UInt64 = 0
  private var lastByte = Instant(nanoseconds: 0)
  /// The last byte that the line damaged, by its place among all bytes: its frame is bad.
  private var damagedAt: UInt64?

  /// The last frame, until the next call. Borrow it; a kept copy costs an allocation.
  public private(set) var frame: [UInt8] = []
  public private(set) var counters = FramerCounters()
  /// How many of the bytes taken in are settled: the place behind the last event's frame.
  public private(set) var settled: UInt64 = 0

  public init(_ specification: FramingSpecification, baud: UInt32) {
    switch specification {
    case .line(let delimiter):
      self.init(
        .line(LineFraming(delimiter: delimiter)), frameMax: LineFraming.bufferBytes, silence: nil)
    case .nmea:
      let silence = Self.silence(frameBytes: FramingLimits.sentenceMax + 2, baud: baud)
      self.init(.nmea, frameMax: FramingLimits.sentenceMax, silence: silence)
    case .vesc(let deliver):
      self.init(LengthFraming.vesc, deliver: deliver, baud: baud)
    }
  }

  /// Frames of any of `formats`, whose syncs differ and which have no `problem`.
  package init(
    _ formats: [LengthFraming], deliver: FramingSpecification.Deliver, baud: UInt32
  ) {
    var longest = 0
    for format in formats {
      precondition(format.problem == nil, "Framer: a length framing that cannot be followed")
      longest = max(longest, format.maximum)
    }
    let silence = Self.silence(frameBytes: longest, baud: baud)
    self.init(.length(formats, deliver), frameMax: longest, silence: silence)
  }

  private init(_ kind: Kind, frameMax: Int, silence: Interval?) {
    self.kind = kind
    self.silence = silence
    // Room for short frames to come many to a read.
    storage = [UInt8](repeating: 0, count: max(frameMax, 512))
    frame.reserveCapacity(frameMax)
  }

  /// Takes bytes from `offset` on and answers the next event; nil when all are taken. Call until nil.
  public mutating func receive(
    _ bytes: Span<UInt8>, from offset: inout Int, now: Instant
  ) -> FramerEvent? {
    while true {
      if let event = advance(ending: nil) { return event }
      guard offset < bytes.count else { return nil }
      fill(bytes, &offset)
      lastByte = now
    }
  }

  /// The next byte was received with a parity or framing error: the frame that it is in is bad, even
  /// if its check holds, or it has none.
  public mutating func receiveDamage() { damagedAt = settled + UInt64(tail - head) }

  /// The line was interrupted: the frame under way, if there is one, is bad.
  public mutating func receiveBreak() {
    if head < tail { damagedAt = settled + UInt64(tail - head - 1) }
  }

  /// When a partial frame will have waited long enough.
  public func nextDeadline() -> Instant? {
    guard let silence, head < tail else { return nil }
    return lastByte + silence
  }

  /// Gives a partial frame up when its time has come. Call until nil: good frames may come out of
  /// what stood behind it.
  public mutating func handleTimeout(now: Instant) -> FramerEvent? {
    guard let deadline = nextDeadline(), now >= deadline else { return nil }
    return advance(ending: .timeout)
  }

  /// The port hung up: nothing follows what has been received. Call until nil; then it is ready for
  /// the port's return. The counters go on.
  public mutating func receiveHangUp() -> FramerEvent? {
    if let event = advance(ending: .truncated) { return event }
    reset()
    return nil
  }

  /// Forgets a partial frame without a word. The counters go on.
  public mutating func reset() {
    head = 0
    tail = 0
    examined = 0
    isDiscarding = false
    isSkipping = false
    failedUntil = settled
  }

  /// The memory that it holds, in bytes: as much from the start as ever.
  public var memory: Int { storage.capacity + frame.capacity }

  // MARK: - The machine

  /// Settles bytes from the front until there is an event, or nothing more can be said. With an
  /// `ending` there is always more to be said: what still needs bytes will not get them.
  private mutating func advance(ending: BadFrameReason?) -> FramerEvent? {
    while head < tail {
      switch scan() {
      case .needMore:
        examined = tail - head
        guard let ending else { return nil }
        let extent = tail - head
        let skip = if case .line = kind { extent } else { 1 }
        if let event = fail(ending, extent: extent, skip: skip) { return event }
      case .skip(let count, let skipped): self.skip(count, skipped)
      case .frame(let size, let payload):
        if isDamaged(size) {
          if let event = fail(.lineError, extent: size, skip: size) { return event }
          continue
        }
        deliver(size, payload)
        return .frame
      case .bad(let reason, let extent, let skip):
        if let event = fail(reason, extent: extent, skip: skip) { return event }
      case .overlong:
        isDiscarding = true
        if let event = fail(.tooLong, extent: tail - head, skip: tail - head) { return event }
      }
    }
    return nil
  }

  private func isDamaged(_ size: Int) -> Bool {
    guard let damagedAt else { return false }
    return damagedAt >= settled && damagedAt < settled + UInt64(size)
  }

  private func scan() -> FrameScan {
    let bytes = storage.span.extracting(head..<tail)
    return switch kind {
    case .line(let framing):
      framing.scan(bytes, examined: examined, discarding: isDiscarding)
    case .nmea: NMEAFraming.scan(bytes)
    case .length(let formats, _): LengthFraming.scan(bytes, for: formats)
    }
  }

  private mutating func skip(_ count: Int, _ skipped: FrameScan.Skipped) {
    switch skipped {
    case .padding: break
    case .nul: counters.strippedNULs += UInt64(count)
    case .garbage:
      if !isSkipping && !isDiscarding { counters.resyncs += 1 }
      isSkipping = true
      counters.skippedBytes += UInt64(count)
    }
    let isLineEnd = isDiscarding && storage[head + count - 1] == delimiter
    settle(count)
    if isLineEnd {
      isDiscarding = false
      isSkipping = false
    }
  }

  /// Counts a bad frame, unless it is a false start inside one, and goes on behind `skip` bytes.
  private mutating func fail(
    _ reason: BadFrameReason, extent: Int, skip: Int
  ) -> FramerEvent? {
    let isCounted = settled >= failedUntil
    if isCounted {
      counters.count(reason)
      failedUntil = settled + UInt64(extent)
    }
    if !isSkipping { counters.resyncs += 1 }
    isSkipping = true
    counters.skippedBytes += UInt64(skip)
    settle(skip)
    return isCounted ? .bad(reason) : nil
  }

  private mutating func deliver(_ size: Int, _ payload: Range<Int>) {
    var range = payload
    if case .length(_, .frame) = kind { range = 0..<size }
    frame.removeAll(keepingCapacity: true)
    for index in range { frame.append(storage[head + index]) }
    counters.frames += 1
    isSkipping = false
    settle(size)
  }

  private mutating func settle(_ count: Int) {
    head += count
    settled += UInt64(count)
    examined = 0
    if head == tail {
      head = 0
      tail = 0
    }
  }

  /// Takes as many bytes as there is room for. There always is some: a scan that needs more has
  /// less than the longest frame.
  private mutating func fill(_ bytes: Span<UInt8>, _ offset: inout Int) {
    let wanted = bytes.count - offset
    if wanted > storage.count - tail && head > 0 {
      for index in head..<tail { storage[index - head] = storage[index] }
      tail -= head
      head = 0
    }
    let count = min(wanted, storage.count - tail)
    precondition(count > 0, "Framer: a frame longer than its limit")
    for index in 0..<count { storage[tail + index] = bytes[offset + index] }
    tail += count
    offset += count
    counters.bytes += UInt64(count)
  }

  private var delimiter: UInt8? {
    if case .line(let framing) = kind { framing.delimiter } else { nil }
  }

  /// Four times the longest frame at ten bits a byte, and no less than what adapters need.
  private static func silence(frameBytes: Int, baud: UInt32) -> Interval {
    let bits = Int64(frameBytes) * 10
    let frame = Interval(nanoseconds: bits * 1_000_000_000 / Int64(max(baud, 1)))
    return max(
      .milliseconds(FramingLimits.silenceMinMilliseconds),
      Interval(nanoseconds: frame.nanoseconds * 4))
  }
}
