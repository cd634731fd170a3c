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
    isReopening = true
    recover()
    isReopening = false
    return true
  }
}
