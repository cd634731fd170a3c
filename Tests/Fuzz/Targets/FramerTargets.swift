import Ingest
import Primitives

extension FuzzTarget {
  static let framers: [FuzzTarget] = FramerCase.all.map { framing in
    FuzzTarget(
      "framer-" + framing.name, seeds: { framerSeeds(framing) },
      check: { bytes in
        var run = FramerRun { Framer(framing.specification, baud: 115_200) }
        try run.check(bytes, wire: framing.wire, delivered: framing.delivered)
        for frame in run.frames {
          try require(framing.isFrame(frame), "no frame: \(hexadecimal(frame))")
        }
      })
  }

  private static func framerSeeds(_ framing: FramerCase) -> [[UInt8]] {
    // A request to read holding registers (Modbus V1.1b3 §6.3), for the framing without a wire form.
    let wire = framing.wire ?? [0x11, 3, 0, 0x6B, 0, 3, 0x76, 0x87]
    var damaged = wire
    damaged[wire.count / 2] ^= 1
    return [wire, wire + wire, damaged + wire, Array(wire.dropLast(2)) + wire, [0] + wire]
  }

  /// Any length framing that can be followed, described by the beginning of the input.
  static let lengthFraming = FuzzTarget("framer-length", seeds: lengthSeeds) { bytes in
    var input = FuzzInput(bytes)
    let framing = lengthFraming(&input)
    let deliver: FramingSpecification.Deliver = input.flag() ? .payload : .frame
    guard framing.problem == nil else { return }
    var run = FramerRun { Framer([framing], deliver: deliver, baud: 9_600) }
    try run.check(input.rest(), wire: nil, delivered: [])
    for frame in run.frames {
      try require(frame.count <= framing.maximum, "a frame of \(frame.count) bytes")
    }
  }

  private static func lengthFraming(_ input: inout FuzzInput) -> LengthFraming {
    let order: LengthFraming.ByteOrder = input.flag() ? .big : .little
    let sync = input.piece(input.below(4))
    let size: LengthFraming.Size =
      input.flag()
      ? .fixed(input.below(64))
      : .field(
        LengthFraming.LengthField(
          offset: input.below(8), width: input.below(6), order: order,
          mask: input.flag() ? 0x3FF : .max, bias: input.below(32) - 8,
          minimum: UInt32(input.below(8)), maximum: UInt32(input.number16())))
    var fixed: [LengthFraming.FixedByte] = []
    for _ in 0..<input.below(3) {
      fixed.append(
        LengthFraming.FixedByte(offset: input.below(8), mask: input.byte(), value: input.byte()))
    }
    let headerCheck = input.flag() ? check(&input, order) : nil
    let check = input.flag() ? check(&input, order) : nil
    let trailer = input.piece(input.below(3))
    let more =
      input.below(4) == 0
      ? LengthFraming.Extension(
        offset: input.below(8), mask: input.byte(), size: input.below(20)) : nil
    return LengthFraming(
      sync: sync, size: size, fixed: fixed, headerCheck: headerCheck, check: check,
      trailer: trailer, extension: more, payloadStart: input.below(8), payloadEnd: place(&input),
      maximum: input.number16() % 2_048)
  }

  private static func place(_ input: inout FuzzInput) -> LengthFraming.Place {
    input.flag() ? .start(input.below(12)) : .end(input.below(8))
  }

  private static func check(
    _ input: inout FuzzInput, _ order: LengthFraming.ByteOrder
  ) -> LengthFraming.Check {
    let algorithms: [ChecksumAlgorithm] = [
      .crc16XModem, .crc16Modbus, .crc16X25, .crc16MCRF4XX, .crc24Q, .crc32, .xor, .sum8,
      .sum8Negated, .sum16, .sum16Inverted, .sum16Negated,
    ]
    let seed =
      input.below(4) == 0
      ? LengthFraming.MessageSeed(
        offset: input.below(8), width: input.below(4), messages: [0, 30, 65_000],
        seeds: [50, 39, 7]) : nil
    return LengthFraming.Check(
      algorithms[input.below(algorithms.count)], from: input.below(8), to: place(&input),
      at: place(&input), order: order, seed: seed)
  }

  private static func lengthSeeds() -> [[UInt8]] {
    // Big-endian; sync 0xAA; a field of one byte at 1; a CRC-16 before the end; the payload between.
    let head: [UInt8] = [
      1, 1, 0xAA, 0, 1, 1, 0, 12, 0, 0, 100, 0, 0, 1, 1, 0, 0, 0, 2, 0, 2, 0, 1, 2, 0, 2, 1, 0, 0,
    ]
    return [
      head + [0xAA, 3, 1, 2, 3, 0, 0, 0xAA, 1, 9, 0, 0],
      head + FramerCase.vesc([1, 2, 3]) + [0xAA, 0xAA, 2, 0xAA],
      [0, 0, 1, 8, 0, 0, 0, 0, 0, 1, 0, 4, 0, 1, 0, 0, 40, 0] + Array(0..<64),
    ]
  }
}

/// One input through fresh framers, cut in every way.
private struct FramerRun {
  enum Outcome: Equatable {
    case frame([UInt8])
    case bad(BadFrameReason)
  }

  let make: () -> Framer
  private(set) var frames: [[UInt8]] = []

  init(_ make: @escaping () -> Framer) { self.make = make }

  /// However the bytes are cut, the same comes out, in bounded memory, and a good frame that comes
  /// after them, when the line was silent or the port came back, is delivered alone.
  mutating func check(_ bytes: [UInt8], wire: [UInt8]?, delivered: [UInt8]) throws {
    var first: (outcomes: [Outcome], counters: [UInt64])?
    for cut in Cut.allCases {
      for hangsUp in [false, true] {
        var framer = make()
        let memory = framer.memory
        var now = Instant(nanoseconds: 1_000_000_000)
        var outcomes: [Outcome] = []
        for piece in cut.pieces(of: bytes) { try feed(piece, &framer, now, &outcomes) }
        if !hangsUp {
          let counters = Self.counters(framer)
          try requireEqual(framer.counters.bytes, UInt64(bytes.count), "the bytes counted")
          if let first {
            try requireEqual(outcomes, first.outcomes, "what came out, cut by \(cut)")
            try requireEqual(counters, first.counters, "the counters, cut by \(cut)")
          } else {
            first = (outcomes, counters)
          }
        }
        // A byte may be waited for twice: for a gap, and for the rest of its frame.
        try end(&framer, hangsUp: hangsUp, &now, &outcomes, most: 2 * bytes.count)
        try require(framer.memory == memory, "memory grew from \(memory) to \(framer.memory)")
        let bad = outcomes.count { if case .bad = $0 { true } else { false } }
        try requireEqual(framer.counters.badFrames, UInt64(bad), "the bad frames counted")
        for case .frame(let frame) in outcomes { frames.append(frame) }
        if let wire, hangsUp || framer.nextDeadline() == nil, !isHalfALine(framer, hangsUp) {
          var fresh: [Outcome] = []
          try feed(wire, &framer, now, &fresh)
          try requireEqual(fresh, [.frame(delivered)], "a good frame behind them")
        }
      }
    }
  }

  /// A line has no time limit: what has come of it stays until its end.
  private func isHalfALine(_ framer: Framer, _ hangsUp: Bool) -> Bool {
    !hangsUp && framer.settled != framer.counters.bytes
  }

  private func feed(
    _ piece: [UInt8], _ framer: inout Framer, _ now: Instant, _ outcomes: inout [Outcome]
  ) throws {
    var offset = 0
    let most = outcomes.count + piece.count + 5_000
    while let event = framer.receive(piece.span, from: &offset, now: now) {
      outcomes.append(Self.kept(event, framer))
      try require(outcomes.count <= most, "more events than bytes")
    }
    try requireEqual(offset, piece.count, "the bytes taken")
  }

  private func end(
    _ framer: inout Framer, hangsUp: Bool, _ now: inout Instant, _ outcomes: inout [Outcome],
    most: Int
  ) throws {
    var turns = 0
    if hangsUp {
      while let event = framer.receiveHangUp() {
        outcomes.append(Self.kept(event, framer))
        turns += 1
        try require(turns <= most, "a hang-up without an end")
      }
      try require(framer.nextDeadline() == nil, "a deadline behind a hang-up")
    }
    while let deadline = framer.nextDeadline() {
      try require(deadline > now, "a deadline that is over")
      now = deadline
      while let event = framer.handleTimeout(now: now) { outcomes.append(Self.kept(event, framer)) }
      turns += 1
      try require(turns <= most, "a silence without an end")
    }
  }

  private static func kept(_ event: FramerEvent, _ framer: Framer) -> Outcome {
    switch event {
    // A copy that shares no storage: one that does costs the framer an allocation.
    case .frame: .frame(framer.frame.map { $0 })
    case .bad(let reason): .bad(reason)
    }
  }

  private static func counters(_ framer: Framer) -> [UInt64] {
    let counters = framer.counters
    return [
      counters.frames, counters.resyncs, counters.skippedBytes, counters.strippedNULs,
      framer.settled,
    ] + BadFrameReason.all.map { counters.badFrames($0) }
  }
}
