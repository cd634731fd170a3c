import Primitives

extension Spool where Storage: ~Copyable {
  /// Whether `nextReport` has something to tell to one who makes records of it.
  public var hasReports: Bool { nextToTell(storing: true) != nil }

  /// What happened since the last call, oldest first. `storing`: records are made of it. Then what memory had
  /// no room for waits until there is some again: in a full memory a report would push out another record,
  /// whose report would push out the next.
  public mutating func nextReport(storing: Bool = false) -> SpoolReport? {
    guard let place = nextToTell(storing: storing) else {
      reports.removeFirst(reportsTaken)
      reportsTaken = 0
      return nil
    }
    if place > reportsTaken { reports.insert(reports.remove(at: place), at: reportsTaken) }
    reportsTaken += 1
    if case .gap(let gap) = reports[reportsTaken - 1] { remember(gap) }
    return reports[reportsTaken - 1]
  }

  private func nextToTell(storing: Bool) -> Int? {
    let isWaiting = storing && disk.isDegraded && isUnderPressure
    for place in reportsTaken..<reports.count {
      if isWaiting, case .gap(let gap) = reports[place], gap.reason == .memory { continue }
      return place
    }
    return nil
  }

  /// The gap reports that nobody has taken yet.
  package var untoldGaps: [GapReport] {
    reports[reportsTaken...].compactMap { if case .gap(let gap) = $0 { gap } else { nil } }
  }

  /// Whoever took the gap reports up to this `gapsTold` has them where no crash reaches them.
  @inline(never)
  public mutating func confirmGaps(through number: UInt64) {
    let before = unconfirmed.count
    unconfirmed.removeEach { $0.number <= number }
    if unconfirmed.count < before { cursor.isStale = true }
  }

  /// Until it is confirmed the cursor keeps it, and after a crash it is told again.
  private mutating func remember(_ gap: GapReport) {
    gapsTold += 1
    if unconfirmed.count >= reportsSeparateMax {
      for index in unconfirmed.indices
      where unconfirmed[index].gap.stream == gap.stream
        && unconfirmed[index].gap.reason == gap.reason && unconfirmed[index].gap.epoch == gap.epoch
      {
        unconfirmed[index].gap.merge(gap)
        unconfirmed[index].number = gapsTold
        return
      }
    }
    unconfirmed.append(UnconfirmedGap(gap: gap, number: gapsTold))
  }

  /// What was told, or is still to be told, and is not known to be safe.
  func gapsForCursor(atMost limit: Int) -> [CursorGap] {
    var gaps: [CursorGap] = []
    for told in unconfirmed { add(told.gap, to: &gaps, atMost: limit) }
    for gap in thinning { add(gap, to: &gaps, atMost: limit) }
    for stream in streams.indices {
      for lent in lentBeyondEntry(stream) {
        add(gapReport(stream, lent), to: &gaps, atMost: limit)
      }
    }
    for index in reportsTaken..<reports.count {
      if case .gap(let gap) = reports[index] { add(gap, to: &gaps, atMost: limit) }
    }
    return gaps
  }

  /// Where there is no room for one more it becomes part of one of its stream.
  private func add(_ gap: GapReport, to gaps: inout [CursorGap], atMost limit: Int) {
    guard gap.count > 0,
      let entry = streams.firstIndex(where: { $0.stream.name == gap.stream })
    else { return }
    guard gaps.count >= limit else { return gaps.append(CursorGap(gap, entry: entry)) }
    guard let place = gaps.lastIndex(where: { $0.entry == entry }) else { return }
    gaps[place].range.first = min(gaps[place].range.first, gap.first)
    gaps[place].range.last = max(gaps[place].range.last, gap.last)
    gaps[place].count += gap.count
    gaps[place].isUpperBound = true
  }

  /// What the last run had told, or was to tell, and had not been confirmed when it ended.
  mutating func tellAgain(_ gap: CursorGap, stream: Int) {
    var report = gapReport(stream, gap.range.first, gap.range.last, gap.reason)
    report.epoch = gap.epoch
    report.count = gap.count
    report.isUpperBound = gap.isUpperBound
    report.from = gap.from
    report.to = gap.to
    self.report(report)
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

/// A gap report that was handed out, and the number of the last one that is in it.
struct UnconfirmedGap {
  var gap: GapReport
  var number: UInt64
}

extension GapReport {
  mutating func merge(_ other: GapReport) {
    first = min(first, other.first)
    last = max(last, other.last)
    // What was told again after a crash may be in both.
    count = min(count + other.count, last - first + 1)
    isUpperBound = isUpperBound || other.isUpperBound
    if let time = other.from { from = min(from ?? time, time) }
    if let time = other.to { to = max(to ?? time, time) }
  }
}
