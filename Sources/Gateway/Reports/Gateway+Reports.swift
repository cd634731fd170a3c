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
  /// Records refused since the last gap report about refusals, by stream.
  var refusals: [Refusals] = []
}

/// Records that never got a sequence number, because they were refused at the door. They are added
/// up, so that a flood makes one report a second and not one a record.
struct Refusals {
  var stream: Int
  var reason: DropReason
  var count: UInt64
  var from: WallTime
  var to: WallTime
  var dueAt: Instant
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
    flushRefusals(clocks: clocks)
    storeWaitingReports(clocks: clocks)
  }

  private mutating func reportGap(_ gap: GapReport, clocks: Clocks) {
    count(gap)
    log(
      .warning,
      "stream \(gap.stream.description): \(gap.count) records dropped, "
        + "\(gap.first) to \(gap.last), reason \(gap.reason.text.description)")
    report("gap", clocks: clocks) { json in
      json.member("stream", gap.stream)
      json.member("epoch", EpochText.of(gap.epoch))
      json.member("first", gap.first)
      json.member("last", gap.last)
      json.member("count", gap.count)
      json.time("from", gap.from)
      json.time("to", gap.to)
      if gap.isUpperBound { json.member("upper_bound", true) }
      json.member("reason", gap.reason.text)
    }
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

  // MARK: Refusals

  mutating func reportRefused(stream: Int, reason: DropReason, clocks: Clocks) {
    for index in reports.refusals.indices
    where reports.refusals[index].stream == stream && reports.refusals[index].reason == reason {
      reports.refusals[index].count += 1
      reports.refusals[index].to = clocks.wall
      return
    }
    reports.refusals.append(
      Refusals(
        stream: stream, reason: reason, count: 1, from: clocks.wall, to: clocks.wall,
        dueAt: clocks.now + .seconds(1)))
  }

  /// A refused record has no sequence number: `first` and `last` are 0 and only `count` speaks.
  private mutating func flushRefusals(clocks: Clocks) {
    guard reports.refusals.contains(where: { $0.dueAt <= clocks.now }) else { return }
    let due = reports.refusals.filter { $0.dueAt <= clocks.now }
    reports.refusals.removeAll { $0.dueAt <= clocks.now }
    let epoch = EpochText.of(spool.epoch)
    for refusal in due {
      let name = configuration.streams[refusal.stream].name
      log(
        .warning,
        "stream \(name.description): \(refusal.count) records refused, "
          + "reason \(refusal.reason.text.description)")
      report("gap", clocks: clocks) { json in
        json.member("stream", name)
        json.member("epoch", epoch)
        json.member("first", UInt64(0))
        json.member("last", UInt64(0))
        json.member("count", refusal.count)
        json.time("from", refusal.from)
        json.time("to", refusal.to)
        json.member("reason", refusal.reason.text)
      }
    }
  }

  var nextRefusalDeadline: Instant? { reports.refusals.map { $0.dueAt }.min() }
}

extension DropReason {
  /// As the gap report has it.
  var text: ByteString {
    switch self {
    case .space: "space"
    case .expired: "expired"
    case .rejected: "rejected"
    case .corrupt: "corrupt"
    case .memory: "memory"
    case .shed: "shed"
    }
  }
}

extension StorageError {
  var text: String {
    switch self {
    case .full: "no space left on the device"
    case .readOnly: "the directory cannot be written"
    case .missing: "the directory or a file in it is gone"
    case .exists: "a file is there that should not be"
    case .failed(let code): "input/output error (errno \(code))"
    }
  }
}

extension StorageFile {
  var text: String {
    switch self {
    case .segment(let logClass, let number): "segment \(logClass)-\(number)"
    case .cursor: "cursor"
    case .deadLetter: "dead-letter segment"
    }
  }
}

extension JSONWriter {
  /// An RFC 3339 time, or null when it is not known.
  fileprivate mutating func time(_ name: ByteString, _ time: WallTime?) {
    key(name)
    guard let time, time.nanoseconds > 0 else { return null() }
    string(TimestampText.of(time))
  }
}
