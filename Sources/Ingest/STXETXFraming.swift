import Primitives

/// Frames between the control characters STX and ETX, with a block check behind them (ISO 1745).
///
///     plain     02 data 03 check            `data` holds no 03
///     stuffed   10 02 data 10 03 check      a 10 in `data` is 10 10
///
/// The check covers the data, its stuffing removed, and the ETX.
public struct STXETXFraming: Sendable, Equatable {
  /// What stands behind the ETX, the high byte first; nil for nothing.
  public var check: ChecksumAlgorithm?
  /// A DLE before each control character and each DLE of the data.
  public var isStuffed: Bool
  /// The longest data, in bytes.
  public var maximum: Int

  /// The block check character, BCC: all bytes exclusive-or.
  public init(
    check: ChecksumAlgorithm? = .xor, isStuffed: Bool = false,
    maximum: Int = FramingLimits.escapedFrameDefault
  ) {
    self.check = check
    self.isStuffed = isStuffed
    self.maximum = maximum
  }

  private var checkBytes: Int { check?.width ?? 0 }
  private var startBytes: Int { isStuffed ? 2 : 1 }

  /// The longest frame on the wire.
  var bufferBytes: Int { (isStuffed ? 2 * maximum + 4 : maximum + 2) + checkBytes }

  /// Silence counts from the longest frame that senders send: stuffing is rare.
  var typicalBytes: Int { maximum + 4 + checkBytes }

  /// `examined`: so many bytes held no whole frame when they were last looked at.
  func scan(_ bytes: Span<UInt8>, examined: Int) -> FrameScan {
    if let skip = toStart(bytes) { return skip }
    guard bytes.count > startBytes else { return .needMore }
    return isStuffed ? scanStuffed(bytes, examined) : scanPlain(bytes, examined)
  }

  /// To where a frame begins; nil when one begins at the front, or may.
  private func toStart(_ bytes: Span<UInt8>) -> FrameScan? {
    let first: UInt8 = isStuffed ? 0x10 : 0x02
    var index = 0
    while index < bytes.count {
      if bytes[index] == first
        && (!isStuffed || index + 1 == bytes.count || bytes[index + 1] == 0x02)
      {
        return index == 0 ? nil : .skip(index, .garbage)
      }
      index += 1
    }
    return .skip(bytes.count, .garbage)
  }

  private func scanPlain(_ bytes: Span<UInt8>, _ examined: Int) -> FrameScan {
    // An ETX may be among the last bytes that were examined, without its check then.
    let from = max(1, examined - checkBytes - 1)
    guard let end = firstIndex(of: 0x03, in: bytes, from: from) else {
      return bytes.count < bufferBytes
        ? .needMore : .bad(.tooLong, extent: bufferBytes, skip: 1)
    }
    return close(bytes, body: 1..<end, etx: end)
  }

  private func scanStuffed(_ bytes: Span<UInt8>, _ examined: Int) -> FrameScan {
    var index = max(2, examined - checkBytes - 3)
    // Pairs are counted from the start of a run of DLEs.
    while index > 2 && bytes[index - 1] == 0x10 { index -= 1 }
    while index + 1 < min(bytes.count, bufferBytes) {
      guard bytes[index] == 0x10 else {
        index += 1
        continue
      }
      switch bytes[index + 1] {
      case 0x10: index += 2
      case 0x03: return close(bytes, body: 2..<index, etx: index + 1)
      // DLE STX begins a frame: the one before was cut short.
      case 0x02: return .bad(.truncated, extent: index, skip: index)
      default: return .bad(.encoding, extent: index + 2, skip: 2)
      }
    }
    return bytes.count < bufferBytes ? .needMore : .bad(.tooLong, extent: bufferBytes, skip: 2)
  }

  private func close(_ bytes: Span<UInt8>, body: Range<Int>, etx: Int) -> FrameScan {
    let size = etx + 1 + checkBytes
    guard size <= bufferBytes else {
      return .bad(.tooLong, extent: bufferBytes, skip: startBytes)
    }
    guard bytes.count >= size else { return .needMore }
    if let check {
      var checksum = Checksum(check)
      cover(bytes.extracting(body), &checksum)
      checksum.update(0x03)
      var stated: UInt32 = 0
      for index in etx + 1..<size { stated = stated << 8 | UInt32(bytes[index]) }
      guard checksum.value == stated else {
        return .bad(.checksum, extent: size, skip: startBytes)
      }
    }
    return .enclosed(size: size, body: body)
  }

  private func cover(_ body: Span<UInt8>, _ checksum: inout Checksum) {
    var index = 0
    while index < body.count {
      checksum.update(body[index])
      index += isStuffed && body[index] == 0x10 ? 2 : 1
    }
  }

  /// Replaces `frame` by the data of `body`; nil when it is good.
  func decode(_ body: Span<UInt8>, into frame: inout [UInt8]) -> BadFrameReason? {
    var index = 0
    while index < body.count {
      guard frame.count < maximum else { return .tooLong }
      frame.append(body[index])
      index += isStuffed && body[index] == 0x10 ? 2 : 1
    }
    return nil
  }
}
