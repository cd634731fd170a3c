import Primitives

// What a start cannot use: files that are no segments or cannot be read, and what stands behind the last frame of
// one. All of it stays where it is until the cursor has another epoch. Before, nothing else says that numbers may
// have been given out of which nothing is known, and a start that fails at the cursor would take it away.

extension Spool where Storage: ~Copyable {
  /// A file could not be read. True: nor could it long ago, and it is not waited for any more. Attempts say
  /// nothing: a broker that waits for acknowledgements has many made in a moment.
  mutating func isGivenUp(_ file: StorageFile) -> Bool {
    for known in disk.unreadable where known.file == file {
      return clocks.now >= known.since + unreadableMax
    }
    disk.unreadable.append(UnreadableFile(file: file, since: clocks.now))
    return false
  }

  /// So many records may be lost of each `sync` stream of the class of which nothing comes behind that.
  mutating func noteLost(_ logClass: UInt8, _ count: UInt64, epoch: UInt64) {
    for index in streams.indices
    where streams[index].afterDamage && streams[index].hasNoHoles
      && streams[index].stream.logClass == logClass
    {
      streams[index].lostMax += count
      streams[index].lostEpoch = epoch
    }
  }

  /// A sync of it failed, or its removal: it is never synced again.
  mutating func markUnsyncable(_ file: StorageFile) {
    if !unsyncable.contains(file) { unsyncable.append(file) }
  }

  /// What is in the file is not known in this run.
  mutating func setAside(_ file: StorageFile) {
    var header: SegmentHeader?
    do throws(StorageError) { header = try readHeader(file) } catch {
      // Then nobody knows its epoch.
    }
    flagDamage(in: header)
    if case .segment(let logClass, _, _) = file {
      let before = logs[Int(logClass)].segments.last?.header.epoch ?? 0
      noteLost(
        logClass, UInt64(limits.segmentBytes) / recordBytesMin,
        epoch: header?.epoch ?? (cursor.epoch == 0 ? before : cursor.epoch))
    }
    guard !asides.contains(file) else { return }
    counters.quarantined += 1
    report(.quarantined(file))
    asides.append(file)
  }

  /// Moves and cuts off what the start has found, also what could be read by now: its numbers are behind those
  /// that have been given out since. What that fails for is passed over at each start.
  mutating func clearAway() {
    guard !(asides.isEmpty && torn.isEmpty) else { return }
    for file in asides {
      do throws(StorageError) { try storage.quarantine(file) } catch { counters.filesLeft += 1 }
    }
    for log in logs {
      for segment in log.segments where torn.contains(segment.file) {
        do throws(StorageError) {
          try storage.truncate(segment.file, to: UInt64(segment.bytes))
        } catch {
          counters.filesLeft += 1
        }
      }
    }
    asides = []
    torn = []
  }
}
