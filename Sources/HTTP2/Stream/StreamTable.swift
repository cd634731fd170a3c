/// The open streams, in storage that is reused. Its size is bounded by the limits on concurrent
/// streams; with a hundred of them, looking through the identifiers beats any other structure.
struct StreamTable: Sendable {
  private var identifiers: [UInt32] = []
  private var streams: [Stream] = []
  /// Where the last stream was found: frames of one stream come in a row.
  private var recent = 0
  /// Streams for which `writable` is due.
  private(set) var blockedCount = 0
  /// Streams for which `refused` is due.
  private(set) var refusedCount = 0
  /// Where the search for a blocked stream begins, so that each has its turn.
  private var turn = 0

  var count: Int { streams.count }
  var isEmpty: Bool { streams.isEmpty }

  /// Bytes held, used or not.
  var memory: Int {
    streams.capacity * MemoryLayout<Stream>.stride + identifiers.capacity * 4
  }

  subscript(index: Int) -> Stream {
    get { streams[index] }
    _modify { yield &streams[index] }
  }

  mutating func index(of id: UInt32) -> Int? {
    if recent < identifiers.count && identifiers[recent] == id { return recent }
    for index in identifiers.indices where identifiers[index] == id {
      recent = index
      return index
    }
    return nil
  }

  mutating func insert(_ stream: Stream) {
    recent = streams.count
    identifiers.append(stream.id)
    streams.append(stream)
  }

  mutating func remove(at index: Int) {
    unblock(index)
    if streams[index].isRefused { refusedCount -= 1 }
    identifiers.swapAt(index, identifiers.count - 1)
    streams.swapAt(index, streams.count - 1)
    identifiers.removeLast()
    streams.removeLast()
  }

  mutating func removeAll() {
    identifiers.removeAll(keepingCapacity: true)
    streams.removeAll(keepingCapacity: true)
    blockedCount = 0
    refusedCount = 0
  }

  mutating func block(_ index: Int, on reason: Waiting) {
    if streams[index].waiting == .no { blockedCount += 1 }
    streams[index].waiting = reason
  }

  mutating func unblock(_ index: Int) {
    guard streams[index].waiting != .no else { return }
    streams[index].waiting = .no
    blockedCount -= 1
  }

  /// Marks every stream above `last` as never processed.
  mutating func refuse(above last: UInt32) {
    for index in streams.indices where streams[index].id > last && !streams[index].isRefused {
      unblock(index)
      streams[index].isRefused = true
      refusedCount += 1
    }
  }

  /// Takes one refused stream out.
  mutating func removeRefused() -> Stream? {
    guard refusedCount > 0 else { return nil }
    for index in streams.indices where streams[index].isRefused {
      let stream = streams[index]
      remove(at: index)
      return stream
    }
    return nil
  }

  /// Finds a blocked stream that can go on as far as windows are concerned, the one after the last
  /// found first.
  mutating func nextUnblocked(isConnectionOpen: Bool) -> UInt32? {
    guard blockedCount > 0 else { return nil }
    for step in 0..<streams.count {
      let index = (turn + step) % streams.count
      switch streams[index].waiting {
      case .no: continue
      case .content:
        guard isConnectionOpen && streams[index].sendWindow.available > 0 else { continue }
      case .headers: break
      }
      unblock(index)
      turn = index + 1
      return streams[index].id
    }
    return nil
  }
}
