import Primitives

// When the disk does not take writes, `spill` records live in memory until they are delivered; what
// does not fit is dropped, the oldest of the least urgent class first, and reported. `sync` records
// that were taken before wait for the disk; new ones are refused.

extension Spool where Storage: ~Copyable {
  mutating func degrade(_ error: StorageError) {
    disk.retryAt = clocks.now + retryInterval
    let isNews = disk.failure == nil && !disk.isRetrying
    disk.failure = error
    if isNews { report(.degraded(error)) }
  }

  /// Whether a commit before its time is tried: a disk that takes no writes is not asked in each turn, because each
  /// time may cost it a new segment.
  public func mayPress(now: Instant) -> Bool {
    !disk.isDegraded || now + retryInterval >= disk.retryAt + pressedInterval
  }

  mutating func retryDisk() {
    // The same outage is not reported twice.
    disk.isRetrying = true
    disk.failure = nil
    if disk.isBlind {
      if !readDirectory() {
        disk.isRetrying = false
        return
      }
    }
    // What says that there must be another epoch goes with the next segment that is written: not before that is
    // in the cursor.
    if !(asides.isEmpty && torn.isEmpty) {
      do throws(StorageError) { try writeCursor() } catch { degrade(error) }
    }
    commitAll()
    if !disk.isDegraded {
      // Also the probe when nothing waits.
      do throws(StorageError) { try writeCursor() } catch { degrade(error) }
    }
    disk.isRetrying = false
    guard !disk.isDegraded else { return }
    report(.recovered)
    keepHouse()
  }

  // MARK: Memory

  /// Makes room for a record of this class, by committing, else by dropping what is less urgent.
  mutating func makeMemory(_ bytes: Int, for logClass: Int) -> Bool {
    if tailBytes + bytes > limits.tailBytesMax {
      commitAll()
      while tailBytes + bytes > limits.tailBytesMax {
        guard dropFromMemory(for: logClass, bytes: bytes) else { return false }
      }
    }
    // What one class has needed must not be missing when another needs as much.
    var held = bytes + 2 * RecordTail.pieceBytes
    for index in logs.indices { held += logs[index].tail.memory }
    if held > 2 * limits.tailBytesMax {
      for index in logs.indices { logs[index].tail.shrink() }
    }
    return true
  }

  /// Drops the oldest `spill` records of the least urgent class that is not more urgent than
  /// `logClass`, until `bytes` are free.
  private mutating func dropFromMemory(for logClass: Int, bytes: Int) -> Bool {
    for victim in (logClass..<4).reversed() {
      var freed = 0
      var place = logs[victim].tail.first
      while place < logs[victim].tail.end, freed < bytes {
        let entry = logs[victim].tail[place]
        if entry.state == .waiting, !entry.isSync {
          dropFromTail(victim, place, reason: .memory)
          freed += entry.bytes + RecordTail.entryBytes
        }
        place += 1
      }
      if freed > 0 {
        logs[victim].tail.collect()
        return true
      }
    }
    return false
  }

  /// Drops one record that is not on disk.
  mutating func dropFromTail(_ logClass: Int, _ place: UInt64, reason: DropReason) {
    let entry = logs[logClass].tail[place]
    removeFromTail(logClass, place)
    guard !wasRead(entry.stream, entry.sequence) else {
      return lendFromTail(entry, reason: reason)
    }
    streams[entry.stream].settled.settle(entry.sequence, entry.sequence)
    var gap = gapReport(entry.stream, entry.sequence, entry.sequence, reason)
    gap.epoch = entry.epoch
    gap.from = WallTime(nanoseconds: entry.time)
    gap.to = gap.from
    report(gap)
    if entry.token != 0 { holdBack(entry.stream, entry.sequence) }
  }

  mutating func removeFromTail(_ logClass: Int, _ place: UInt64) {
    let entry = logs[logClass].tail[place]
    logs[logClass].tail.setState(.gone, at: place)
    streams[entry.stream].tailRecords -= 1
    streams[entry.stream].tailBytes -= UInt64(entry.payloadBytes)
  }

  // MARK: Numbers

  /// Sees to it that the next number of a `spill` stream is reserved on disk, so that no other
  /// record ever gets it, not even after a crash.
  mutating func reserveNumber(_ stream: Int) {
    streams[stream].isActive = true
    let state = streams[stream]
    guard state.assigned >= state.reserved else {
      if state.reserved - state.assigned == state.reservation / 4 { cursor.isUrgent = true }
      return
    }
    if !disk.isDegraded {
      do throws(StorageError) { return try writeCursor() } catch { degrade(error) }
    }
    // The disk cannot promise it. Another epoch, known to nobody else, can.
    epoch = random.next()
    for index in streams.indices { streams[index].reserved = .max }
  }
}
