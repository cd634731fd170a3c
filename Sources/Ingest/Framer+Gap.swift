import Primitives

/// Frames that end with silence.
extension Framer {
  /// The line has been silent for as long as it is between two frames: says what the bytes are, as
  /// far as one can.
  mutating func passGap() {
    gaps.isSeen = true
    isDiscarding = false
    let count = tail - head
    guard count > 0 else { return }
    let storage = storage
    let bytes = storage.span.extracting(head..<tail)
    if ModbusRTUFraming.firstEnd(bytes, reaching: count, &gaps.origins) != nil {
      gaps.ready = count
      return
    }
    let newest = bytes.extracting(gaps.newest..<count)
    if ModbusRTUFraming.firstEnd(newest, reaching: newest.count, &gaps.origins) != nil {
      gaps.stale = gaps.newest
      gaps.ready = newest.count
    }
    gaps.newest = count
  }

  mutating func scanGapped() -> FrameScan {
    let storage = storage
    let bytes = storage.span.extracting(head..<tail)
    if gaps.stale > 0 { return bad(gaps.stale) }
    if isDiscarding { return .skip(bytes.count, .garbage) }
    let isFull = bytes.count == ModbusRTUFraming.bufferBytes
    guard gaps.ready > 0 || isFull else { return .needMore }
    // Of bytes that fill the buffer the last ones may be half a frame.
    let known = gaps.ready > 0 ? bytes.extracting(0..<gaps.ready) : bytes
    let goal = gaps.ready > 0 ? gaps.ready : bytes.count - FramingLimits.modbusRTUMax + 1
    guard let end = ModbusRTUFraming.firstEnd(known, reaching: goal, &gaps.origins) else {
      return .overlong(bytes.count)
    }
    return .enclosed(size: end, body: 0..<end - 2)
  }

  private func bad(_ count: Int) -> FrameScan {
    .bad(
      count < ModbusRTUFraming.frameMin ? .truncated : .checksum, extent: count, skip: count)
  }
}
