import Configuration
import Primitives
import Spool

/// What became of the daemon's own reports.
struct ReportCounters {
  var made: UInt64 = 0
  /// Made while no `[reports] stream` was set, or while more than `waitingMax` waited for room.
  var notStored: UInt64 = 0
  /// Their stream had no room yet, oldest first: a disk that is full makes reports itself.
  var waiting: [[UInt8]] = []
  static let waitingMax = 32
  /// Records lost outside the spool since the last gap reports about them.
  var losses: [Loss] = []
}

extension Gateway where Storage: ~Copyable {
  /// Makes a record `{"KIND": {…}}` on the `[reports]` stream.
  mutating func report(
    _ kind: ByteString, clocks: Clocks, _ members: (inout JSONWriter) -> Void
  ) {
    reports.made += 1
    guard let stream = configuration.reports else {
      reports.notStored += 1
      return
    }
    var json = JSONWriter()
    json.beginObject()
    json.key(kind)
    json.beginObject()
    members(&json)
    json.endObject()
    json.endObject()
    guard reports.waiting.isEmpty, store(json.bytes, on: stream, clocks: clocks) else {
      guard reports.waiting.count < ReportCounters.waitingMax else {
        reports.notStored += 1
        return
      }
      reports.waiting.append(json.bytes)
      return
    }
  }

  /// False: the stream has no room at the moment.
  private mutating func store(_ payload: [UInt8], on stream: Int, clocks: Clocks) -> Bool {
    let source = RequestEncoder.reportSource.bytes
    return take(
      stream: stream, source: source.span, subject: Span(), token: 0, payload: payload.span,
      clocks: clocks) != .noRoom
  }

  private mutating func storeWaitingReports(clocks: Clocks) {
    guard let stream = configuration.reports else { return }
    while let oldest = reports.waiting.first {
      guard store(oldest, on: stream, clocks: clocks) else { return }
      reports.waiting.removeFirst()
    }
  }

  /// Turns what the spool has to say into records, counters and log lines.
  mutating func takeSpoolReports(clocks: Clocks) {
    while let event = spool.nextReport() {
      switch event {
      case .gap(let gap): reportGap(gap, clocks: clocks)
      case .degraded(let error):
        log(.error, "spool: \(error.text); records are kept in memory only")
        report("degraded", clocks: clocks) { $0.member("reason", ByteString(error.text)) }
      case .recovered:
        log(.info, "spool: storage works again")
        report("recovered", clocks: clocks) { _ in }
      case .quarantined(let file):
        log(.error, "spool: \(file.text) could not be read and was put aside")
        report("quarantined", clocks: clocks) { $0.member("file", ByteString(file.text)) }
      }
    }
    flushLosses(clocks: clocks)
    storeWaitingReports(clocks: clocks)
  }

  private mutating func reportGap(_ gap: GapReport, clocks: Clocks) {
    count(gap)
    log(
      .warning,
      "stream \(gap.stream.description): \(gap.count) records dropped, "
        + "\(gap.first) to \(gap.last), reason \(gap.reason.text.description)")
    report("gap", clocks: clocks) { gap.write(to: &$0) }
  }

  private mutating func count(_ gap: GapReport) {
    guard let index = configuration.streams.firstIndex(where: { $0.name == gap.stream }) else {
      return
    }
    switch gap.reason {
    case .expired: uplinks[index].counters.expired += gap.count
    case .rejected: break
    case .space, .corrupt, .memory, .shed: uplinks[index].counters.dropped += gap.count
    }
  }
}
