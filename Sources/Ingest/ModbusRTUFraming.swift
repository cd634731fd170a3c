import Primitives

/// Modbus over serial line in RTU mode (V1.02 §2.5.1): address, PDU, CRC with its low byte first, and
/// nothing but silence between two frames.
///
/// A program sees the silence when it reads, which may be late: two frames come in one read, or one
/// frame in two. So the silence only proposes where frames end, and the CRC decides:
///
///     bytes, silence: do the bytes consist of whole frames?          then they are these frames
///                     do those since the silence before?             then what came earlier is bad
///                     neither: more bytes may belong to them         wait on, for `patience` at most
///
/// That a damaged frame passes takes a CRC that fits by chance, as in any framing: pieces of it must
/// fill it without a rest.
struct ModbusRTUFraming: Equatable {
  let gap: Interval
  /// How long incomplete bytes wait for more.
  let patience: Interval

  /// Address, function, CRC.
  static let frameMin = 4
  /// Two of the longest frames: of bytes without any silence, the first frame is certain when a
  /// second one follows it.
  static let bufferBytes = 2 * FramingLimits.modbusRTUMax

  /// §2.5.1.1: 3.5 characters of 11 bits, and no less than 1.75 ms; an adapter that holds bytes back
  /// may do so in the middle of a frame.
  init(baud: UInt32, latency: Interval) {
    let characters = Interval(nanoseconds: 38_500_000_000 / Int64(max(baud, 1)))
    let held = Interval(nanoseconds: 2 * latency.nanoseconds)
    gap = max(characters, max(.microseconds(1750), held))
    patience = max(
      .milliseconds(FramingLimits.silenceMinMilliseconds),
      Interval(nanoseconds: 2 * gap.nanoseconds))
  }

  /// The end of the first of the whole frames that stand one behind the other from the start of
  /// `bytes` on; nil unless they reach `goal`. `origins` is room for a number for each byte, and one.
  static func firstEnd(
    _ bytes: Span<UInt8>, reaching goal: Int, _ origins: inout [UInt16]
  ) -> Int? {
    // Where a frame that ends there begins, plus one; 0 where none ends.
    for index in 0...bytes.count { origins[index] = 0 }
    origins[0] = 1
    var furthest = 0
    for start in 0..<bytes.count where origins[start] != 0 {
      var checksum = Checksum(.crc16Modbus)
      for index in start..<min(start + FramingLimits.modbusRTUMax, bytes.count) {
        checksum.update(bytes[index])
        let end = index + 1
        // Over a frame with its CRC the CRC is 0.
        if end - start >= frameMin && checksum.value == 0 && origins[end] == 0 {
          origins[end] = UInt16(start + 1)
          furthest = max(furthest, end)
        }
      }
    }
    guard furthest > 0 && furthest >= goal else { return nil }
    while origins[furthest] > 1 { furthest = Int(origins[furthest]) - 1 }
    return furthest
  }
}

/// What a framer whose frames end with silence knows of its bytes, counted from their front.
struct GapState {
  /// The silence behind the last byte has been considered.
  var isSeen = true
  /// Bytes that are certainly no frame.
  var stale = 0
  /// Bytes behind them that are certainly whole frames.
  var ready = 0
  /// Where the bytes since the last silence begin.
  var newest = 0
  /// Room for `ModbusRTUFraming.firstEnd`.
  var origins: [UInt16] = []

  var hasNews: Bool { stale > 0 || ready > 0 }

  mutating func settle(_ count: Int) {
    let fromReady = max(count - stale, 0)
    stale = max(stale - count, 0)
    ready = max(ready - fromReady, 0)
    newest = max(newest - count, 0)
  }

  mutating func reset() {
    isSeen = true
    stale = 0
    ready = 0
    newest = 0
  }
}
