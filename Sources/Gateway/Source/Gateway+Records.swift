import Configuration
import Primitives
import Spool

/// What became of a payload that a source offered.
enum TakeOutcome: Equatable {
  case taken(sequence: UInt64)
  /// Dropped for good, counted and reported: it can never be stored (too large).
  case dropped
  /// Not now; nothing was counted.
  case noRoom
}

extension Gateway where Storage: ~Copyable {
  /// A payload becomes a record of a stream.
  mutating func take(
    stream: Int, source: Span<UInt8>, subject: Span<UInt8>, token: UInt64, payload: Span<UInt8>,
    clocks: Clocks
  ) -> TakeOutcome {
    noteClock(clocks)
    if uplinks[stream].memory != nil {
      return keep(
        stream: stream, source: source, subject: subject, payload: payload, clocks: clocks)
    }
    let outcome = spool.append(
      stream: stream, time: clocks.wall, quality: quality(clocks), source: source,
      subject: subject, token: token, payload: payload, now: clocks.now)
    switch outcome {
    case .taken(let sequence):
      uplinks[stream].counters.recordsIn += 1
      return .taken(sequence: sequence)
    case .refused(.tooLarge):
      let bytes = source.count + subject.count + payload.count
      refuse(stream: stream, bytes: bytes, clocks: clocks)
      return .dropped
    case .refused:
      return .noRoom
    }
  }

  /// A payload becomes a record of a stream that is never on disk. The oldest ones make room.
  private mutating func keep(
    stream: Int, source: Span<UInt8>, subject: Span<UInt8>, payload: Span<UInt8>, clocks: Clocks
  ) -> TakeOutcome {
    let bytes = source.count + subject.count + payload.count
    guard bytes <= GatewayLimits.recordBytesMax else {
      refuse(stream: stream, bytes: bytes, clocks: clocks)
      return .dropped
    }
    uplinks[stream].counters.recordsIn += 1
    let epoch = uplinks[stream].memory?.epoch ?? 0
    while uplinks.span[stream].memory?.hasRoom(for: bytes) == false {
      guard let dropped = uplinks[stream].memory?.dropOldest() else { break }
      uplinks[stream].counters.dropped += 1
      lose(
        stream: stream, reason: .memory, epoch: epoch,
        sequence: dropped.sequence, time: dropped.time, clocks: clocks)
    }
    let quality = quality(clocks)
    let sequence = uplinks[stream].memory?.append(
      time: clocks.wall, quality: quality, source: source, subject: subject,
      payload: payload, now: clocks.now)
    return .taken(sequence: sequence ?? 0)
  }

  /// A record is larger than any may be; `bytes` are those of its payload, subject and source.
  mutating func refuse(stream: Int, bytes: Int, clocks: Clocks) {
    uplinks[stream].counters.recordsIn += 1
    uplinks[stream].counters.dropped += 1
    log(
      .warning,
      "stream \(name(stream)): a record of \(bytes) bytes, topic and source included, is larger than "
        + "\(GatewayLimits.recordBytesMax); dropped")
    reportRefused(stream: stream, reason: .rejected, clocks: clocks)
  }

  /// A source that cannot wait offered a record while there was no room for it.
  mutating func shed(stream: Int, clocks: Clocks) {
    uplinks[stream].counters.recordsIn += 1
    uplinks[stream].counters.dropped += 1
    reportRefused(stream: stream, reason: .shed, clocks: clocks)
  }

  /// Before the floor the wall clock says nothing yet about when the record was made.
  @inline(__always)
  private func quality(_ clocks: Clocks) -> ClockQuality {
    isBeforeFloor(clocks) ? .unsynced : clocks.quality
  }
}
