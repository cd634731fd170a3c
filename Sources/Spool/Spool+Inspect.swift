import Primitives

// What a person asks of a spool: which files there are, whether every byte of them holds, and what
// was put aside. `spokectl spool` asks it of a spool that it opened itself.

/// A segment as it is on disk.
public struct SegmentDescription: Equatable, Sendable {
  /// What it holds of one stream.
  public struct Stream: Equatable, Sendable {
    public var name: ByteString
    /// The lowest and the highest sequence number.
    public var first: UInt64
    public var last: UInt64
    public var records: UInt32
    /// Records that are neither delivered nor dropped.
    public var waiting: UInt32
  }

  public var file: StorageFile
  /// How often it was thinned: one record of 4 to the power of it is left.
  public var level: UInt8
  public var epoch: UInt64
  public var bytes: UInt32
  /// It takes further frames.
  public var isOpen: Bool
  public var streams: [Stream]
}

extension Spool where Storage: ~Copyable {
  /// All segments, by class, the oldest first.
  public func segments() -> [SegmentDescription] {
    var descriptions: [SegmentDescription] = []
    for log in logs {
      for segment in log.segments {
        descriptions.append(
          SegmentDescription(
            file: segment.file, level: segment.header.level, epoch: segment.header.epoch,
            bytes: segment.bytes,
            isOpen: segment.state == .open, streams: segment.entries.map { describe($0) }))
      }
    }
    return descriptions
  }

  private func describe(_ entry: SegmentEntry) -> SegmentDescription.Stream {
    SegmentDescription.Stream(
      name: streams[entry.totals.stream].stream.name, first: entry.totals.first,
      last: entry.totals.last, records: entry.totals.count, waiting: entry.remaining)
  }

  /// Reads every frame of every segment, so that damage shows now and not only when its records are
  /// due. What is found is in the reports, as ever. Returns how many segments could not be read.
  public mutating func verify(clocks: Clocks) -> Int {
    self.clocks = clocks
    var unreadable = 0
    for logClass in logs.indices {
      for index in logs[logClass].segments.indices
      where !logs[logClass].segments[index].isScanned {
        do throws(StorageError) {
          try rescan(SegmentPlace(logClass: logClass, index: index))
        } catch {
          unreadable += 1
        }
      }
    }
    return unreadable
  }

  /// Hands out what was put aside, the oldest first: the record, its stream, and the status with which
  /// the upstream refused it. Damage ends the list. False: the file could not be read.
  public mutating func forEachDeadLetter(
    _ body: (_ record: SpooledRecord, _ stream: ByteString, _ status: UInt16) -> Void
  ) -> Bool {
    guard let segment = deadLetters.header else { return true }
    let end = UInt32(clamping: deadLetters.bytes)
    var offset = UInt32(segmentHeaderBytes)
    var record = SpooledRecord()
    do throws(StorageError) {
      while case .frame(let slot, let next) = try probe(.deadLetter, segment, at: offset, end: end)
      {
        var place = 0
        while let view = slots[slot].record(at: &place) {
          slots[slot].copy(view, into: &record)
          body(record, slots[slot].name(view.tableIndex), slots[slot].header?.status ?? 0)
        }
        offset = next
      }
      return true
    } catch {
      return false
    }
  }
}
