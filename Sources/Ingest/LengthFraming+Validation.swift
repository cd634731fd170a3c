/// What makes a length framing one that no framer can follow.
public enum LengthFramingProblem: Error, Sendable, Equatable {
  /// The sync has no byte, or more than four.
  case sync
  /// The length field is not 1 to 4 bytes wide, stands inside the sync, or can hold only values
  /// that no frame has.
  case length
  /// A fixed byte stands inside the sync or outside the smallest frame.
  case fixedByte
  /// The header's check does not stand behind what it covers, within the smallest frame.
  case headerCheck
  /// The check lies outside the smallest frame, or covers what is outside it.
  case check
  /// The seeds are not as many as the messages, or the messages do not ascend.
  case seed
  /// The trailer does not fit the smallest frame.
  case trailer
  /// The payload does not lie within the smallest frame.
  case payload
  /// The greatest frame is smaller than the smallest, or above 64 KiB.
  case maximum
}

extension LengthFraming {
  /// Whether frames of this description can be cut out of a stream; nil when they can.
  public var problem: LengthFramingProblem? {
    guard (1...4).contains(sync.count) else { return .sync }
    guard let smallest = smallestSize else { return .length }
    guard maximum <= FramingLimits.lengthFrameMax && smallest <= maximum else { return .maximum }
    for byte in fixed where byte.offset < sync.count || byte.offset >= smallest {
      return .fixedByte
    }
    if let problem = headerCheckProblem(smallest) { return problem }
    guard headerBytes <= smallest else { return .length }
    guard trailer.count <= smallest - headerBytes else { return .trailer }
    if let check, !isWithin(check, smallest) { return .check }
    if let seed = check?.seed, !isUsable(seed, smallest) { return .seed }
    let end = payloadEnd.offset(in: smallest)
    guard payloadStart >= 0 && payloadStart <= end && end <= smallest else { return .payload }
    return nil
  }

  private var smallestSize: Int? {
    switch size {
    case .fixed(let size): return size >= sync.count ? size : nil
    case .field(let field):
      let limit = UInt32(FramingLimits.lengthFrameMax)
      guard (1...4).contains(field.width), field.offset >= sync.count,
        field.offset <= FramingLimits.lengthFrameMax,
        field.minimum <= field.maximum, field.maximum <= limit,
        field.bias.magnitude <= limit
      else { return nil }
      let size = Int(field.minimum) + field.bias
      return size >= sync.count ? size : nil
    }
  }

  private func headerCheckProblem(_ smallest: Int) -> LengthFramingProblem? {
    guard let headerCheck else { return nil }
    guard case .start(let to) = headerCheck.to, case .start(let at) = headerCheck.at,
      headerCheck.from >= 0, headerCheck.from <= to, to <= at,
      at + headerCheck.algorithm.width <= smallest, headerCheck.seed == nil
    else { return .headerCheck }
    return nil
  }

  private func isWithin(_ check: Check, _ smallest: Int) -> Bool {
    let to = check.to.offset(in: smallest)
    let at = check.at.offset(in: smallest)
    return check.from >= 0 && check.from <= to && to <= smallest && at >= 0
      && at + check.algorithm.width <= smallest
  }

  private func isUsable(_ seed: MessageSeed, _ smallest: Int) -> Bool {
    guard seed.messages.count == seed.seeds.count, (1...4).contains(seed.width),
      seed.offset >= 0, seed.offset + seed.width <= smallest
    else { return false }
    for index in seed.messages.indices.dropFirst()
    where seed.messages[index - 1] >= seed.messages[index] { return false }
    return true
  }
}
