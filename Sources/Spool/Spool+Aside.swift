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

  /// What is in the file is not known in this run.
  mutating func setAside(_ file: StorageFile) {
    flagDamage()
    guard !asides.contains(file) else { return }
    counters.quarantined += 1
    report(.quarantined(file))
    asides.append(file)
  }

  /// Moves and cuts off what the start has found. What that fails for is passed over at each start, and what can
  /// be read by now is found by the next one.
  mutating func clearAway() {
    guard !(asides.isEmpty && torn.isEmpty) else { return }
    for file in asides where !isSegment(file) {
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

  /// Whether all of it can be read, and begins as a segment does.
  private mutating func isSegment(_ file: StorageFile) -> Bool {
    do throws(StorageError) {
      guard let header = try readHeader(file), header.file == file else { return false }
      let size = try storage.size(of: file)
      var offset: UInt64 = 0
      while offset < size {
        input.removeAll(keepingCapacity: true)
        let count = try storage.read(file, at: offset, count: 8192, into: &input)
        guard count > 0 else { return true }
        offset += UInt64(count)
      }
      return true
    } catch {
      return false
    }
  }
}
