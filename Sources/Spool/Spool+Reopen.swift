import Primitives

extension Spool where Storage: ~Copyable {
  /// Serves other streams from now on, as a restart would: everything is written down exactly, and
  /// what is on disk is opened again. False, and nothing has changed, while the disk takes no
  /// writes: records that are only in memory would be lost.
  public mutating func reopen(streams: [SpoolStream], clocks: Clocks) -> Bool {
    precondition(streams.count <= SpoolLimits.streamsMax, "spool: too many streams")
    commit(clocks: clocks)
    guard !disk.isDegraded else { return false }
    for index in self.streams.indices { rewind(stream: index) }
    close(clocks: clocks)
    guard !disk.isDegraded else { return false }
    isReopening = true
    open(streams)
    isReopening = false
    return true
  }

  /// The directory can be read again, but numbers that were given out without it may be taken: the clock
  /// had gone back when they were begun. Only a new start can tell them apart.
  public var isStranded: Bool { disk.isStranded }

  /// Opens the directory as a start does. What was taken without it and is not delivered is lost, with
  /// reports; nothing that was read may be on its way any more.
  public mutating func startOver(clocks: Clocks) {
    self.clocks = clocks
    timesStartedOver += 1
    for index in streams.indices { rewind(stream: index) }
    for logClass in logs.indices {
      for place in logs[logClass].tail.first..<logs[logClass].tail.end
      where logs[logClass].tail[place].state == .waiting {
        dropFromTail(logClass, place, reason: .memory)
      }
    }
    // The reports of these were among that.
    for told in unconfirmed { report(told.gap) }
    unconfirmed = []
    open(streams.filter { $0.isConfigured }.map { $0.stream })
    guard !disk.isDegraded else { return }
    report(.recovered)
    // With the reports: the sources are about to forget what they are about.
    cursor.isUrgent = true
    keepHouse()
  }

  /// Begins anew with what is on disk.
  private mutating func open(_ streams: [SpoolStream]) {
    self.streams = streams.map { StreamState($0, isConfigured: true) }
    logs = []
    for _ in 0..<4 { logs.append(ClassLog()) }
    slots = []
    for _ in 0..<limits.frameSlots { slots.append(FrameSlot()) }
    disk = DiskState()
    cursor = CursorState()
    lastSyncCommit = nil
    hasSettledSegments = false
    checkpoint = nil
    deadLetters = DeadLetterState()
    recover()
  }
}
