import Configuration
import Gateway
import Platform
import Primitives
import Spool

/// `spokectl spool`: a spool's files, of a daemon that runs or of one that does not. `ls`, `dump` and
/// `verify` change nothing and need no lock; `repair` and `drain --export` need the spool for themselves.
struct SpoolCommand {
  enum Action: Equatable {
    case list
    case dump(stream: ByteString?)
    case deadLetters, verify, repair, drain, export
  }

  let action: Action
  let file: ByteString
  let socket: ByteString
  let json: Bool

  func run() -> Int32 {
    if case .drain = action { return SpoolDrain(daemon: Daemon(socket: socket)).run() }
    guard let configuration = load() else { return ExitCode.configuration }
    do throws(FileStorage.OpenError) {
      switch action {
      case .list: return list(try look(configuration))
      case .dump(let stream): return dump(try look(configuration), configuration, stream)
      case .deadLetters: return dumpDeadLetters(try look(configuration), configuration)
      case .verify: return verify(try look(configuration), configuration)
      case .repair: return repair(try open(configuration), configuration)
      case .export: return export(try open(configuration), configuration)
      case .drain: return ExitCode.usage
      }
    } catch {
      let hint = error.isLocked ? "; stop the daemon first, which also repairs what it finds" : ""
      StandardOutput.writeError("spokectl: \(error.description)\(hint)\n")
      return ExitCode.unavailable
    }
  }

  // MARK: Opening

  private func load() -> Configuration? {
    do throws(FileError) {
      switch ConfigurationLoader.load(files: try ConfigurationFiles.read(file)) {
      case .valid(let configuration, _): return configuration
      case .invalid(let diagnostics):
        for diagnostic in diagnostics { StandardOutput.writeError(diagnostic.description + "\n") }
      }
    } catch {
      StandardOutput.writeError(error.description + "\n")
    }
    return nil
  }

  /// Streams that are looked at have no time limit: what has expired is still there to be seen.
  private func look(
    _ configuration: Configuration
  ) throws(FileStorage.OpenError) -> Spool<LookedAtStorage> {
    var streams = configuration.spoolStreams
    for index in streams.indices { streams[index].ttl = .zero }
    return Spool(
      opening: try LookedAtStorage(directory: configuration.spool.directory),
      limits: SpoolLimits(configuration), streams: streams, seed: 1, clocks: Self.clocks())
  }

  private func open(
    _ configuration: Configuration
  ) throws(FileStorage.OpenError) -> Spool<FileStorage> {
    let storage = try FileStorage(directory: configuration.spool.directory)
    // What is exported is to be whole.
    var limits = SpoolLimits(configuration)
    limits.isThinning = false
    return Spool(
      opening: storage, limits: limits, streams: configuration.spoolStreams, seed: Self.seed(),
      clocks: Self.clocks())
  }

  /// An epoch may be drawn from it, so that it must not repeat; without the kernel's randomness the
  /// clock has to do.
  private static func seed() -> UInt64 {
    do throws(SystemError) { return try RandomSeed.next() } catch {
      return UInt64(bitPattern: SystemClocks.wall().nanoseconds)
    }
  }

  static func clocks() -> Clocks {
    var time = SystemClocks()
    return time.read()
  }

  // MARK: Looking

  private func dump(
    _ opened: consuming Spool<LookedAtStorage>, _ configuration: Configuration,
    _ wanted: ByteString?
  ) -> Int32 {
    var spool = opened
    var record = SpooledRecord()
    var isKnown = wanted == nil
    for stream in 0..<spool.streamCount {
      let name = spool.streamName(stream)
      if let wanted, wanted != name { continue }
      isKnown = true
      while spool.next(stream: stream, into: &record, clocks: Self.clocks()) {
        let line = SpoolRecordText.line(record, stream: name, node: configuration.node.id)
        guard StandardOutput.write(line.span) else { return Output.broken() }
      }
    }
    guard isKnown else {
      StandardOutput.writeError("spokectl: the spool has no stream of that name\n")
      return ExitCode.refused
    }
    return SpoolReportText.print(&spool) ? ExitCode.refused : ExitCode.success
  }

  private func dumpDeadLetters(
    _ opened: consuming Spool<LookedAtStorage>, _ configuration: Configuration
  ) -> Int32 {
    var spool = opened
    var isWritten = true
    let isRead = spool.forEachDeadLetter { record, stream, status in
      let line = SpoolRecordText.line(
        record, stream: stream, node: configuration.node.id, status: status)
      isWritten = isWritten && StandardOutput.write(line.span)
    }
    guard isWritten else { return Output.broken() }
    guard isRead else {
      StandardOutput.writeError("spokectl: the dead letters could not be read to their end\n")
      return ExitCode.refused
    }
    return ExitCode.success
  }

  private func verify(
    _ opened: consuming Spool<LookedAtStorage>, _ configuration: Configuration
  ) -> Int32 {
    var spool = opened
    let unreadable = spool.verify(clocks: Self.clocks())
    let isDamaged = SpoolReportText.print(&spool, withNotesOn: configuration.spool.directory)
    let statistics = spool.statistics
    let isWhole =
      !isDamaged && unreadable == 0 && statistics.corruptFrames == 0
      && statistics.damagedCursors == 0 && statistics.quarantined == 0
    if json { return printDocument(statistics, unreadable: unreadable, isWhole: isWhole) }
    var text: [UInt8] = []
    text.append("\(statistics.segments) segments, \(statistics.records) records that wait, ")
    text.append("\(statistics.corruptFrames) corrupt frames, ")
    text.append("\(statistics.damagedCursors) damaged cursor slots, ")
    text.append("\(statistics.quarantined) files that are no segments, \(unreadable) unreadable\n")
    return Output.print(text, isWhole ? ExitCode.success : ExitCode.refused)
  }

  /// What `verify` and `repair` found, as JSON; the answer is the exit code.
  private func printDocument(
    _ statistics: SpoolStatistics, unreadable: Int, isWhole: Bool
  ) -> Int32 {
    var json = JSONWriter()
    json.beginObject()
    json.member("segments", UInt64(statistics.segments))
    json.member("records", statistics.records)
    json.member("corrupt_frames", statistics.corruptFrames)
    json.member("damaged_cursors", statistics.damagedCursors)
    json.member("quarantined", statistics.quarantined)
    json.member("unreadable", UInt64(unreadable))
    json.member("whole", isWhole)
    json.endObject()
    return Output.print(
      json.bytes + [0x0A], isWhole ? ExitCode.success : ExitCode.refused)
  }

  // MARK: Changing

  /// Opens the spool as the daemon would, reads every frame, and writes down what is lost: as records
  /// of the `[reports]` stream, for the daemon to send.
  private func repair(
    _ opened: consuming Spool<FileStorage>, _ configuration: Configuration
  ) -> Int32 {
    var spool = opened
    let unreadable = spool.verify(clocks: Self.clocks())
    let isStored = SpoolReportText.store(&spool, on: configuration.reports)
    close(&spool, isStored: isStored)
    let statistics = spool.statistics
    let isWhole = isStored && unreadable == 0 && !statistics.isDegraded
    if json { return printDocument(statistics, unreadable: unreadable, isWhole: isWhole) }
    return Output.print(
      "\(statistics.segments) segments, \(statistics.records) records that wait, "
        + "\(unreadable) unreadable\n", isWhole ? ExitCode.success : ExitCode.refused)
  }

  /// Every waiting record leaves the spool for the standard output. A record is settled once it was
  /// written, so that an output that breaks loses nothing.
  private func export(
    _ opened: consuming Spool<FileStorage>, _ configuration: Configuration
  ) -> Int32 {
    var spool = opened
    var record = SpooledRecord()
    var isWhole = true
    var written: [(stream: Int, sequence: UInt64)] = []
    for stream in 0..<spool.streamCount where isWhole {
      let name = spool.streamName(stream)
      while spool.next(stream: stream, into: &record, clocks: Self.clocks()) {
        let line = SpoolRecordText.line(record, stream: name, node: configuration.node.id)
        guard StandardOutput.write(line.span) else {
          Output.broken()
          isWhole = false
          break
        }
        written.append((stream, record.sequence))
        guard written.count == Self.settledAtOnce else { continue }
        isWhole = settle(&written, in: &spool)
        if !isWhole { break }
      }
    }
    isWhole = settle(&written, in: &spool) && isWhole
    let isStored = SpoolReportText.store(&spool, on: configuration.reports)
    close(&spool, isStored: isStored)
    return isWhole && isStored ? ExitCode.success : ExitCode.refused
  }

  /// What was reported is a record by now: once that is on the disk, the next start need not report it again.
  private func close(_ spool: inout Spool<FileStorage>, isStored: Bool) {
    spool.commit(clocks: Self.clocks())
    if isStored, !spool.statistics.isDegraded { spool.confirmGaps(through: spool.gapsTold) }
    spool.close(clocks: Self.clocks())
  }

  /// Records that are written before they are made safe and settled.
  private static let settledAtOnce = 256

  private func settle(
    _ written: inout [(stream: Int, sequence: UInt64)], in spool: inout Spool<FileStorage>
  ) -> Bool {
    guard StandardOutput.synchronize() else {
      StandardOutput.writeError("spokectl: the output could not be made safe\n")
      return false
    }
    for (stream, sequence) in written {
      spool.acknowledge(stream: stream, sequence: sequence, now: SystemClocks.now())
    }
    written.removeAll(keepingCapacity: true)
    spool.commitIfDue(clocks: Self.clocks())
    return true
  }
}
