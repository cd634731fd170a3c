import Configuration
import Primitives
import Spool

/// What became of the daemon's own reports.
struct ReportCounters {
  var made: UInt64 = 0
  /// Made while no `[reports] stream` was set, or while more than `waitingMax` waited for room.
  var notStored: UInt64 = 0
  /// Their stream had no room yet, oldest first: a disk that is full makes reports itself.
  var waiting: [WaitingReport] = []
  static let waitingMax = 32
  /// Stored, but not safe yet: the spool remembers the gaps until they are.
  var unsafe: [UnsafeReport] = []
  /// Records lost outside the spool since the last gap reports about them.
  var losses: [Loss] = []
}

/// A report that waits for room; `gap` as in `UnsafeReport`.
struct WaitingReport {
  var payload: [UInt8]
  var gap: UInt64
}

/// A gap report of the spool, by its number, and the record that it became.
struct UnsafeReport {
  var gap: UInt64
  var stream: Int
  var sequence: UInt64
}

extension Gateway where Storage: ~Copyable {
  /// Makes a record `{"KIND": {…}}` on the `[reports]` stream.
  /// `gap`: the number of the spool's gap report that it is, else 0.
  mutating func report(
    _ kind: StaticString, gap: UInt64 = 0, clocks: Clocks, _ members: (inout JSONWriter) -> Void
  ) {
    guard var json = beginReport(kind, gap: gap) else { return }
    members(&json)
    endReport(&json, gap: gap, clocks: clocks)
  }

  /// Nil: no stream takes reports.
  @inline(never)
  private mutating func beginReport(_ kind: StaticString, gap: UInt64) -> JSONWriter? {
    reports.made += 1
    guard configuration.reports != nil else {
      reports.notStored += 1
      spool.confirmGaps(through: gap)
      return nil
    }
    var json = JSONWriter()
    json.beginObject()
    json.key(kind)
    json.beginObject()
    return json
  }

  @inline(never)
  private mutating func endReport(_ json: inout JSONWriter, gap: UInt64, clocks: Clocks) {
    json.endObject()
    json.endObject()
    let report = WaitingReport(payload: json.bytes, gap: gap)
    guard reports.waiting.isEmpty, let stream = configuration.reports,
      store(report, on: stream, clocks: clocks)
    else {
      guard hasRoomForReports else {
        reports.notStored += 1
        return
      }
      reports.waiting.append(report)
      return
    }
  }

  /// Whoever can wait with a report waits until there is room: then none is given up.
  var hasRoomForReports: Bool { reports.waiting.count < ReportCounters.waitingMax }

  /// The others are told in the next turn, which comes at once. The last one has none behind it.
  private var hasRoomForLog: Bool { draining || actions.count < GatewayLimits.actionsMax / 2 }

  /// False: the stream has no room at the moment.
  private mutating func store(
    _ report: WaitingReport, on stream: Int, clocks: Clocks
  ) -> Bool {
    let source = RequestEncoder.reportSource.bytes
    let outcome = take(
      stream: stream, source: source.span, subject: Span(), token: 0,
      payload: report.payload.span, clocks: clocks)
    switch outcome {
    case .noRoom: return false
    case .dropped: break
    case .taken(let sequence):
      if report.gap > 0 {
        reports.unsafe.append(UnsafeReport(gap: report.gap, stream: stream, sequence: sequence))
      }
    }
    return true
  }

  /// The spool may forget the gaps whose reports no crash reaches any more.
  mutating func confirmReports() {
    var count = 0
    while count < reports.unsafe.count, isSafe(reports.unsafe[count]) { count += 1 }
    confirmReports(count)
  }

  private func isSafe(_ report: UnsafeReport) -> Bool {
    uplinks[report.stream].memory != nil
      || spool.isSafe(stream: report.stream, sequence: report.sequence)
  }

  /// The oldest `count` are safe.
  private mutating func confirmReports(_ count: Int) {
    guard count > 0 else { return }
    spool.confirmGaps(through: reports.unsafe[count - 1].gap)
    reports.unsafe.removeFirst(count)
  }

  /// Everything that was stored is on disk, and streams have other numbers from now on.
  mutating func confirmAllReports() { confirmReports(reports.unsafe.count) }

  private mutating func storeWaitingReports(clocks: Clocks) {
    guard let stream = configuration.reports else {
      // Those of before a reload.
      reports.notStored += UInt64(reports.waiting.count)
      reports.waiting = []
      return
    }
    while let oldest = reports.waiting.first {
      guard store(oldest, on: stream, clocks: clocks) else { return }
      reports.waiting.removeFirst()
    }
  }

  /// Turns what the spool has to say into records, counters and log lines. Those that wait go first: behind
  /// as many as may wait, nothing else would be told.
  mutating func takeSpoolReports(clocks: Clocks) {
    storeWaitingReports(clocks: clocks)
    while hasRoomForReports, hasRoomForLog, let event = spool.nextReport(storing: true) {
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
      case .epochChanged(let reason):
        log(.warning, "spool: records have another epoch from now on: \(reason.text)")
      }
    }
    flushLosses(clocks: clocks)
  }

  /// What cannot become a report any more, because the disk takes none, is in the log at least.
  mutating func logUntold() {
    for loss in reports.losses { log(loss) }
    for gap in spool.untoldGaps { log(gap) }
  }

  private mutating func log(_ gap: GapReport) {
    log(
      .warning,
      "stream \(gap.stream.description): \(gap.count) records dropped, "
        + "\(gap.first) to \(gap.last), reason \(gap.reason.text.description)")
  }

  private mutating func reportGap(_ gap: GapReport, clocks: Clocks) {
    count(gap)
    log(gap)
    report("gap", gap: spool.gapsTold, clocks: clocks) { gap.write(to: &$0) }
  }

  /// What became of a stream's records, also those of which the spool tells only when it has room.
  func counters(_ stream: Int) -> UplinkCounters {
    var counters = uplinks[stream].counters
    for gap in spool.untoldGaps where gap.streamIndex == stream && gap.reason == .memory {
      counters.dropped += gap.count
    }
    return counters
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
