import Primitives

extension Spool where Storage: ~Copyable {
  /// Whether `nextReport` has something to tell.
  public var hasReports: Bool { reportsTaken < reports.count }

  /// What happened since the last call, oldest first.
  public mutating func nextReport() -> SpoolReport? {
    guard reportsTaken < reports.count else {
      reports.removeAll(keepingCapacity: true)
      reportsTaken = 0
      return nil
    }
    reportsTaken += 1
    return reports[reportsTaken - 1]
  }

  /// The plain report of a stretch of a stream, to be completed by the caller.
  func gapReport(
    _ stream: Int, _ first: UInt64, _ last: UInt64, _ reason: DropReason
  ) -> GapReport {
    let state = streams[stream]
    return GapReport(
      stream: state.stream.name, streamIndex: state.isConfigured ? stream : nil, epoch: epoch,
      first: first, last: last, count: last - first + 1, isUpperBound: false, from: nil, to: nil,
      reason: reason)
  }

  mutating func report(_ gap: GapReport) {
    guard gap.count > 0 else { return }
    if isMutated(.dropGapReport), gap.reason == .space { return }
    var index = reports.count - 1
    while index >= reportsTaken {
      if case .gap(var before) = reports[index], before.stream == gap.stream,
        before.reason == gap.reason, before.epoch == gap.epoch
      {
        // Beyond the limit reports are merged even when they leave something out between them: their
        // number is then bounded by that of the streams and reasons, and `count` stays true.
        guard before.last + 1 == gap.first || reports.count - reportsTaken > reportsSeparateMax
        else { break }
        before.merge(gap)
        reports[index] = .gap(before)
        return
      }
      index -= 1
    }
    report(.gap(gap))
  }

  mutating func report(_ report: SpoolReport) {
    reports.append(report)
  }
}

extension GapReport {
  mutating func merge(_ other: GapReport) {
    first = min(first, other.first)
    last = max(last, other.last)
    count += other.count
    isUpperBound = isUpperBound || other.isUpperBound
    if let time = other.from { from = min(from ?? time, time) }
    if let time = other.to { to = max(to ?? time, time) }
  }
}
