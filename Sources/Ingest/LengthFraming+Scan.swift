import Primitives

extension LengthFraming {
  /// Looks at the front of `bytes` for a frame of any of `formats`, whose syncs differ.
  static func scan(_ bytes: Span<UInt8>, for formats: [LengthFraming]) -> FrameScan {
    var isPartial = false
    for index in formats.indices {
      switch formats[index].matchSync(bytes, at: 0) {
      case .whole: return formats[index].scan(bytes)
      case .partial: isPartial = true
      case .none: break
      }
    }
    if isPartial { return .needMore }
    var skip = 1
    while skip < bytes.count && !startsAny(of: formats, bytes[skip]) { skip += 1 }
    return .skip(skip, .garbage)
  }

  private enum Match { case none, partial, whole }

  private func matchSync(_ bytes: Span<UInt8>, at start: Int) -> Match {
    for index in sync.indices {
      if start + index == bytes.count { return .partial }
      if bytes[start + index] != sync[index] { return .none }
    }
    return .whole
  }

  private static func startsAny(of formats: [LengthFraming], _ byte: UInt8) -> Bool {
    for index in formats.indices where formats[index].sync[0] == byte { return true }
    return false
  }

  private func scan(_ bytes: Span<UInt8>) -> FrameScan {
    let header = headerBytes
    // The first wrong byte of the frame, not of the list: what is counted must not depend on how
    // much of the header has come yet.
    var wrong = Int.max
    for byte in fixed where byte.offset < min(bytes.count, wrong) {
      if bytes[byte.offset] & byte.mask != byte.value { wrong = byte.offset }
    }
    if wrong < Int.max { return .bad(.header, extent: wrong + 1, skip: 1) }
    guard bytes.count >= header else { return .needMore }
    if let headerCheck, failure(of: headerCheck, bytes, size: header) != nil {
      return .bad(.header, extent: header, skip: 1)
    }
    guard let base = frameSize(bytes) else { return .bad(.length, extent: header, skip: 1) }
    let total = base + extensionSize(bytes)
    guard total <= maximum else { return .bad(.length, extent: header, skip: 1) }
    guard bytes.count >= total else { return .needMore }
    for index in trailer.indices
    where bytes[base - trailer.count + index] != trailer[index] {
      return .bad(.trailer, extent: total, skip: 1)
    }
    if let check, let reason = failure(of: check, bytes, size: base) {
      return .bad(reason, extent: total, skip: 1)
    }
    return .frame(size: total, payload: payloadStart..<payloadEnd.offset(in: base))
  }

  /// The frame's size without its extension; nil when the field holds what no frame has.
  private func frameSize(_ bytes: Span<UInt8>) -> Int? {
    switch size {
    case .fixed(let size): return size
    case .field(let field):
      let value =
        integer(bytes, at: field.offset, width: field.width, order: field.order) & field.mask
      // `maximum` is at most 64 KiB, so the sum cannot overflow a 32-bit Int.
      guard value >= field.minimum && value <= field.maximum else { return nil }
      return Int(value) + field.bias
    }
  }

  private func extensionSize(_ bytes: Span<UInt8>) -> Int {
    guard let `extension`, bytes[`extension`.offset] & `extension`.mask != 0 else { return 0 }
    return `extension`.size
  }

  private func failure(
    of check: Check, _ bytes: Span<UInt8>, size: Int
  ) -> BadFrameReason? {
    var checksum = Checksum(check.algorithm)
    checksum.update(bytes.extracting(check.from..<check.to.offset(in: size)))
    if let seed = check.seed {
      let message = integer(bytes, at: seed.offset, width: seed.width, order: .little)
      guard let byte = seed.seed(of: message) else { return .unknownMessage }
      checksum.update(byte)
    }
    let at = check.at.offset(in: size)
    return checksum.value
      == integer(bytes, at: at, width: check.algorithm.width, order: check.order)
      ? nil : .checksum
  }
}

private func integer(
  _ bytes: Span<UInt8>, at offset: Int, width: Int, order: LengthFraming.ByteOrder
) -> UInt32 {
  var value: UInt32 = 0
  for index in 0..<width {
    let place = order == .big ? offset + index : offset + width - 1 - index
    value = value << 8 | UInt32(bytes[place])
  }
  return value
}
