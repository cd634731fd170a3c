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
/// longest frame lasts at the port's rate, 20 ms at least and 2 s at most; then it is given up in the same way.
/// Lines may pause: they wait for their delimiter. Where a delimiter ends frames and stands nowhere else,
/// it goes on behind the delimiter. Whatever the bytes, memory stays as it was made.
/// Where each byte looks like the start of a long frame, checks that fail would take all the time there is. They may
/// cover 256 bytes for each that came, and as much for the longest frame ahead; then a false frame is given up
/// whole. That is twice what random bytes make of a sync of one byte and frames of any length.
public struct Framer: Sendable {
  enum Kind: Sendable {
    case line(LineFraming)
    case nmea(NMEAFraming)
    case escaped(EscapedFraming)
    case stxEtx(STXETXFraming)
    case modbusASCII
    case modbusRTU(ModbusRTUFraming)
    case length([LengthFraming], FramingSpecification.Deliver)
  }

  let kind: Kind
  private let silence: Interval?
  /// Bytes not yet settled are `head..<tail`.
  private(set) var storage: [UInt8]
  private(set) var head = 0
  private(set) var tail = 0
  /// How many of them are known to hold no delimiter.
  private var examined = 0
  /// Inside what is already counted as too long, or before the first delimiter of all.
  var isDiscarding = false
  /// For frames that end with silence.
  var gaps = GapState()
  /// Between two frames, bytes have been skipped.
  private var isSkipping = false
  /// A false start below this place lies inside a frame that is already counted as bad, and is not
  /// counted again.
  private var failedUntil: UInt64 = 0
  private var lastByte = Instant(nanoseconds: 0)
  /// How many bytes may still be covered by checks that fail.
  private var effort: Int
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
    case .jsonLines:
      let lines = LineFraming(delimiter: 0x0A, isJSON: true)
      self.init(.line(lines), frameMax: LineFraming.bufferBytes, silence: nil)
    case .sentences(let allowsMissingChecksum):
      let silence = Self.silence(frameBytes: FramingLimits.sentenceMax + 2, baud: baud)
      self.init(
        .nmea(NMEAFraming(allowsMissingChecksum: allowsMissingChecksum)),
        frameMax: FramingLimits.sentenceMax, silence: silence)
    case .slip(let maximum): self.init(.slip, maximum, baud: baud)
    case .cobs(let maximum): self.init(.cobs, maximum, baud: baud)
    case .hdlc(let maximum): self.init(.hdlc, maximum, baud: baud)
    case .stxEtx(let framing):
      let silence = Self.silence(frameBytes: framing.typicalBytes, baud: baud)
      self.init(.stxEtx(framing), frameMax: framing.bufferBytes, silence: silence)
    case .modbusRTU(let latency):
      let framing = ModbusRTUFraming(baud: baud, latency: latency)
      self.init(
        .modbusRTU(framing), frameMax: ModbusRTUFraming.bufferBytes, silence: framing.patience)
      gaps.origins = [UInt16](repeating: 0, count: ModbusRTUFraming.bufferBytes + 1)
    case .modbusASCII:
      let silence = Self.silence(frameBytes: FramingLimits.modbusASCIIMax, baud: baud)
      // Modbus over serial line V1.02 §2.5.2.1: up to a second between two characters.
      self.init(
        .modbusASCII, frameMax: FramingLimits.modbusASCIIMax, silence: max(silence, .seconds(1)))
    case .length(let formats, let deliver):
      self.init(formats, deliver: deliver, baud: baud)
    }
  }

  private init(_ encoding: EscapedFraming.Encoding, _ maximum: Int, baud: UInt32) {
    let framing = EscapedFraming(encoding: encoding, maximum: maximum)
    // Escapes are rare: senders' frames are hardly longer than what they hold.
    let silence = Self.silence(frameBytes: maximum + 4, baud: baud)
    self.init(.escaped(framing), frameMax: framing.bufferBytes, silence: silence)
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
    effort = storage.count * effortPerByte
    frame.reserveCapacity(frameMax)
    isDiscarding = startsDiscarding
  }

  /// Takes bytes from `offset` on and answers the next event; nil when all are taken. Call until nil.
  public mutating func receive(
    _ bytes: Span<UInt8>, from offset: inout Int, now: Instant
  ) -> FramerEvent? {
    while true {
      if let event = advance(ending: nil) { return event }
      guard offset < bytes.count else { return nil }
      if case .modbusRTU(let framing) = kind, !gaps.isSeen, now - lastByte >= framing.gap {
        passGap()
        continue
      }
      fill(bytes, &offset)
      lastByte = now
      gaps.isSeen = false
    }
  }

  /// The next byte was received with a parity or framing error: the frame that it is in is bad, even
  /// if its check holds, or it has none.
  public mutating func receiveDamage() { damagedAt = settled + UInt64(tail - head) }

  /// The line was interrupted: the frame under way, if there is one, is bad.
  public mutating func receiveBreak() {
    if head < tail { damagedAt = settled + UInt64(tail - head - 1) }
  }

  /// When a partial frame will have waited long enough, or silence will have ended a frame.
  public func nextDeadline() -> Instant? {
    guard let silence, head < tail else { return nil }
    if case .modbusRTU(let framing) = kind {
      if gaps.hasNews { return lastByte }
      if !gaps.isSeen { return lastByte + framing.gap }
    }
    return lastByte + silence
  }

  /// Gives a partial frame up when its time has come. Call until nil: good frames may come out of
  /// what stood behind it.
  public mutating func handleTimeout(now: Instant) -> FramerEvent? {
    guard let deadline = nextDeadline(), now >= deadline else { return nil }
    if case .modbusRTU = kind {
      if !gaps.isSeen { passGap() }
      if let event = advance(ending: nil) { return event }
      guard let deadline = nextDeadline(), now >= deadline else { return nil }
      // It has been looked at with every silence, and no CRC fits.
      return advance(ending: tail - head < ModbusRTUFraming.frameMin ? .timeout : .checksum)
    }
    return advance(ending: .timeout)
  }

  /// The port hung up: nothing follows what has been received. Call until nil; then it is ready for
  /// the port's return. The counters go on.
  public mutating func receiveHangUp() -> FramerEvent? {
    if case .modbusRTU = kind, !gaps.isSeen { passGap() }
    if let event = advance(ending: .truncated) { return event }
    reset()
    return nil
  }

  /// Takes the place of another framer of the same port, whose counters go on here.
  public mutating func continueCounting(from other: borrowing Framer) { counters = other.counters }

  /// Forgets a partial frame without a word. The counters go on.
  public mutating func reset() {
    head = 0
    tail = 0
    examined = 0
    isDiscarding = startsDiscarding
    isSkipping = false
    failedUntil = settled
    gaps.reset()
  }

  /// The memory that it holds, in bytes: as much from the start as ever.
  public var memory: Int { storage.capacity + frame.capacity + 2 * gaps.origins.capacity }

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
        let skip = mayHoldAnother ? 1 : extent
        if let event = fail(ending, extent: extent, skip: skip) { return event }
      case .skip(let count, let skipped): self.skip(count, skipped)
      case .frame(let size, _) where isDamaged(size), .enclosed(let size, _) where isDamaged(size):
        if let event = fail(.lineError, extent: size, skip: size) { return event }
      case .frame(let size, let payload):
        deliver(size, payload)
        return .frame
      case .enclosed(let size, let body):
        if let event = decode(size, body) { return event }
      case .bad(let reason, let extent, let skip):
        if let event = fail(reason, extent: extent, skip: max(skip, spend(on: reason, extent))) {
          return event
        }
      case .overlong(let count):
        isDiscarding = true
        if let event = fail(.tooLong, extent: count, skip: count) { return event }
      }
    }
    return nil
  }

  /// What is to be skipped for want of effort: nothing, as a rule.
  private mutating func spend(on reason: BadFrameReason, _ extent: Int) -> Int {
    guard reason == .checksum else { return 0 }
    effort -= extent
    return effort < 0 ? extent : 0
  }

  private func isDamaged(_ size: Int) -> Bool {
    guard let damagedAt else { return false }
    return damagedAt >= settled && damagedAt < settled + UInt64(size)
  }

  private mutating func scan() -> FrameScan {
    if case .modbusRTU = kind { return scanGapped() }
    let bytes = storage.span.extracting(head..<tail)
    return switch kind {
    case .line(let framing):
      framing.scan(bytes, examined: examined, discarding: isDiscarding)
    case .nmea(let framing): framing.scan(bytes)
    case .escaped(let framing):
      framing.scan(bytes, examined: examined, discarding: isDiscarding)
    case .stxEtx(let framing): framing.scan(bytes, examined: examined)
    case .modbusASCII: ModbusASCIIFraming.scan(bytes, examined: examined)
    case .modbusRTU: .needMore
    case .length(let formats, _): LengthFraming.scan(bytes, for: formats)
    }
  }

  /// Decodes `body` into `frame`. An empty frame is no event: there is nothing to deliver.
  private mutating func decode(_ size: Int, _ body: Range<Int>) -> FramerEvent? {
    frame.removeAll(keepingCapacity: true)
    let storage = storage
    let bytes = storage.span.extracting(head + body.lowerBound..<head + body.upperBound)
    let failure: BadFrameReason? =
      switch kind {
      case .escaped(let framing): framing.decode(bytes, into: &frame)
      case .stxEtx(let framing): framing.decode(bytes, into: &frame)
      case .modbusASCII: ModbusASCIIFraming.decode(bytes, into: &frame)
      case .line where !JSONValidator.accepts(bytes, takesLoneSurrogates: true): .encoding
      case .line, .nmea, .modbusRTU, .length: copy(bytes, &frame)
      }
    if let failure { return fail(failure, extent: size, skip: size) }
    isSkipping = false
    settle(size)
    guard !frame.isEmpty else { return nil }
    counters.frames += 1
    return .frame
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
    let isEnd = isDiscarding && storage[head + count - 1] == delimiter
    settle(count)
    if isEnd {
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
    effort = min(effort + count * effortPerByte, storage.count * effortPerByte)
    examined = 0
    gaps.settle(count)
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
    switch kind {
    case .line(let framing): framing.delimiter
    case .escaped(let framing): framing.delimiter
    default: nil
    }
  }

  /// Another frame may begin inside what was given up. Not where a delimiter or silence ends frames:
  /// it would have ended this one.
  private var mayHoldAnother: Bool {
    switch kind {
    case .line, .escaped, .modbusRTU: false
    default: true
    }
  }

  /// The first COBS frame after the port opened may be half of one, and nothing tells: it is discarded.
  private var startsDiscarding: Bool {
    if case .escaped(let framing) = kind { framing.encoding == .cobs } else { false }
  }

  /// Four times the longest frame at ten bits a byte, no less than what adapters need, and no more
  /// than any pause inside a frame.
  private static func silence(frameBytes: Int, baud: UInt32) -> Interval {
    let bits = Int64(frameBytes) * 10
    let frame = Interval(nanoseconds: bits * 1_000_000_000 / Int64(max(baud, 1)))
    return min(
      max(
        .milliseconds(FramingLimits.silenceMinMilliseconds),
        Interval(nanoseconds: frame.nanoseconds * 4)),
      .milliseconds(FramingLimits.silenceMaxMilliseconds))
  }
}

private let effortPerByte = 256

private func copy(_ bytes: Span<UInt8>, _ frame: inout [UInt8]) -> BadFrameReason? {
  for index in bytes.indices { frame.append(bytes[index]) }
  return nil
}
