import Gateway
import Platform
import Primitives
import Spool

/// What a spool has to say when it was opened and read: damage, and what is missing for other reasons.
enum SpoolReportText {
  /// Prints what is damaged on the standard error. True: something is. With the directory of the spool
  /// also what a start would report, though nothing is wrong with the files.
  static func print(
    _ spool: inout Spool<LookedAtStorage>, withNotesOn directory: ByteString? = nil
  ) -> Bool {
    var isDamaged = false
    // Asked once, and only when there is something to note: it has to try the lock.
    lazy var isRunning = directory.map { FileStorage.isInUse($0) } ?? false
    while let report = spool.nextReport() {
      if isDamage(report) {
        isDamaged = true
        StandardOutput.writeError("spokectl: \(describe(report))\n")
      } else if case .gap(let gap) = report, directory != nil {
        StandardOutput.writeError("spokectl: \(note(gap, isRunning: isRunning))\n")
      }
    }
    return isDamaged
  }

  /// A gap is, where bytes do not hold. Numbers that the cursor has reserved ahead are missing at any
  /// moment of a healthy daemon, and what was given up for want of room or time is not on the disk.
  private static func isDamage(_ report: SpoolReport) -> Bool {
    switch report {
    case .gap(let gap): gap.reason == .corrupt
    case .degraded, .quarantined, .epochChanged: true
    case .recovered: false
    }
  }

  private static func note(_ gap: GapReport, isRunning: Bool) -> String {
    let place = "\(gap.first) to \(gap.last) of epoch \(EpochText.of(gap.epoch))"
    guard gap.reason == .memory, gap.isUpperBound else {
      return "stream \(gap.stream): \(gap.count) records, \(place), were given up, reason "
        + "\(gap.reason.text); \(isRunning ? "the daemon" : "the next start") reports it"
    }
    return "stream \(gap.stream): up to \(gap.count) numbers, \(place), are reserved "
      + (isRunning
        ? "by the daemon that runs"
        : "and not accounted for; no daemon runs, and the next start reports them")
  }

  /// Prints it, and keeps it as records of the stream for reports. False: there was no room.
  static func store(_ spool: inout Spool<FileStorage>, on stream: Int?) -> Bool {
    var isStored = true
    while let report = spool.nextReport() {
      StandardOutput.writeError("spokectl: \(describe(report))\n")
      guard let stream, let payload = body(report) else { continue }
      let clocks = SpoolCommand.clocks()
      let source: ByteString = "spoke"
      let outcome = spool.append(
        stream: stream, time: clocks.wall, quality: clocks.quality, source: source.bytes.span,
        subject: Span(), token: 0, payload: payload.span, now: clocks.now)
      if case .refused = outcome { isStored = false }
    }
    if !isStored { StandardOutput.writeError("spokectl: there was no room for a report\n") }
    return isStored
  }

  private static func describe(_ report: SpoolReport) -> String {
    switch report {
    case .gap(let gap):
      let bound = gap.isUpperBound ? "at most " : ""
      return "stream \(gap.stream): \(bound)\(gap.count) records lost, \(gap.first) to "
        + "\(gap.last) of epoch \(EpochText.of(gap.epoch)), reason \(gap.reason.text)"
    case .degraded(let error): return "the spool cannot be used: \(error.text)"
    case .recovered: return "the storage works again"
    case .quarantined(let file): return "\(file.text) is not a segment of this spool"
    case .epochChanged(let reason): return "records have another epoch from now on: \(reason.text)"
    }
  }

  /// Nil: it says nothing that its reader would act on.
  private static func body(_ report: SpoolReport) -> [UInt8]? {
    var json = JSONWriter()
    json.beginObject()
    switch report {
    case .gap(let gap):
      json.key("gap")
      json.beginObject()
      gap.write(to: &json)
    case .degraded(let error):
      json.key("degraded")
      json.beginObject()
      json.member("reason", ByteString(error.text))
    case .recovered:
      json.key("recovered")
      json.beginObject()
    case .quarantined(let file):
      json.key("quarantined")
      json.beginObject()
      json.member("file", ByteString(file.text))
    case .epochChanged: return nil
    }
    json.endObject()
    json.endObject()
    return json.bytes
  }
}
