import Gateway
import Platform
import Primitives
import Spool

/// What a spool has to say when it was opened and read: damage, gaps.
enum SpoolReportText {
  /// Prints it on the standard error. True: there was something.
  static func print(_ spool: inout Spool<LookedAtStorage>) -> Bool {
    var isDamaged = false
    while let report = spool.nextReport() {
      isDamaged = true
      StandardOutput.writeError("spokectl: \(describe(report))\n")
    }
    return isDamaged
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
