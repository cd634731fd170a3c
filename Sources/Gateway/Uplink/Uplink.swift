import Configuration
import HPACK
import NetworkingCore
import Primitives
import Spool

/// One stream on its way upstream: the deliveries that are under way, and why the next one waits.
/// With one delivery order holds by construction: the next records are read only into an empty one.
struct Uplink {
  /// 401, 403, 404 and redirects: everything is kept, and one delivery probes now and then.
  struct Hold: Equatable {
    var status: UInt16
    var probeAt: Instant
  }

  static let probeInterval = Interval.seconds(30)
  /// How long a request of an alarm keeps the other classes waiting, and one of a live stream with
  /// more to send the backlog of others.
  static let precedence = Interval.seconds(1)

  /// The index of the stream in the configuration, in the spool and here.
  let stream: Int
  let configuration: StreamConfiguration
  /// A stream that sends live records first has as many again for those.
  var slots: [Delivery]
  /// So many deliveries the configuration has. A reload may leave more that are in memory only.
  private let slotsMost: Int
  var heads = [DeliveryHead(), DeliveryHead()]
  /// The records of a stream that are never on disk.
  var memory: MemoryRing?
  /// Up to this number they were read before the last reload.
  private(set) var keptThrough: UInt64 = 0
  var hold: Hold?
  /// What waited for its upstream was given back to the spool: until then nothing is read again.
  var pausedUntil: Instant?
  /// How often it had failed then.
  var pausedFailures: UInt32 = 0
  /// Its listener is not in force: nothing is sent until a control plane has said where to.
  var awaitsPolicy = false
  /// When the newest request set out.
  var sentAt = Instant(nanoseconds: 0)
  /// Why delivery failed last, in words.
  var lastFailure = ByteString()
  var encoder: RequestEncoder
  var counters = UplinkCounters()

  init(stream: Int, configuration: StreamConfiguration, node: ByteString) {
    self.stream = stream
    self.configuration = configuration
    slots = []
    for _ in 0..<configuration.inFlight { slots.append(Delivery(lane: .ordered)) }
    if isMutated(.overtake) { slots.append(Delivery(lane: .ordered)) }
    if configuration.order == .liveFirst, configuration.durability != .memory {
      for _ in 0..<configuration.inFlight { slots.append(Delivery(lane: .live)) }
    }
    slotsMost = slots.count
    encoder = RequestEncoder(node: node, stream: configuration)
  }

  /// A held stream sends nothing until its probe is due, and then one delivery at a time.
  func maySend(now: Instant) -> Bool {
    guard !awaitsPolicy, pausedUntil == nil else { return false }
    guard let hold else { return requests < configuration.inFlight }
    return now >= hold.probeAt && !hasRequest
  }

  var requests: Int {
    var count = 0
    for index in slots.indices where slots[index].isRequesting { count += 1 }
    return count
  }

  var hasRequest: Bool { requests > 0 }

  /// A record that is on no disk could set out: nothing keeps it but that it is not its turn yet.
  var hasUnsentMemory: Bool {
    guard let memory, hold == nil, !awaitsPolicy else { return false }
    if memory.count > 0 || heads[0].isLoaded { return !isBackingOff }
    for index in slots.indices where slots[index].isFromMemory {
      if slots[index].phase == .ready || slots[index].phase == .filling { return true }
    }
    return false
  }

  private var isBackingOff: Bool {
    for index in slots.indices {
      if case .backingOff = slots[index].phase { return true }
    }
    return false
  }

  /// A request is on its way and has not been for long.
  func precedes(now: Instant) -> Bool { hasRequest && now < sentAt + Self.precedence }

  /// When the others need not wait for it any longer; nil when that has passed.
  func precedenceEnds(now: Instant) -> Instant? {
    precedes(now: now) ? sentAt + Self.precedence : nil
  }

  func slot(of request: RequestID) -> Int? {
    for index in slots.indices where slots[index].phase == .requesting(request) { return index }
    return nil
  }

  /// The delivery that waits to be sent with the oldest record of a lane. Where order holds, what a
  /// configuration with more deliveries has left does not overtake either.
  func readySlot(_ lane: Lane) -> Int? {
    var oldest: Int?
    for index in slots.indices
    where slots[index].lane == lane && slots[index].phase != .empty
      && (slots[index].phase == .ready || configuration.inFlight == 1)
    {
      if let other = oldest, slots[other].first < slots[index].first { continue }
      oldest = index
    }
    guard let oldest, slots[oldest].phase == .ready else { return nil }
    return oldest
  }

  /// The delivery that takes the next record of a lane, as far as the configuration has more of them.
  func fillingSlot(_ lane: Lane) -> Int? {
    var empty: Int?
    var busy = 0
    for index in slots.indices where slots[index].lane == lane {
      switch slots[index].phase {
      case .filling: return index
      case .empty: if empty == nil { empty = index }
      case .ready, .requesting, .backingOff: busy += 1
      }
    }
    return busy < configuration.inFlight || isMutated(.overtake) ? empty : nil
  }

  /// No record of the lane is on its way or was read, not even into the delivery that is being filled.
  func isIdle(_ lane: Lane) -> Bool { !heads[lane.rawValue].isLoaded && !isUsed(lane) }

  /// A delivery of the lane has records already: one that is being filled is `empty` until that is over.
  func isUsed(_ lane: Lane) -> Bool {
    for index in slots.indices where slots[index].lane == lane {
      if slots[index].phase != .empty || !slots[index].batch.isEmpty { return true }
    }
    return false
  }

  /// Puts the head of a lane into a delivery. False: it does not fit; the delivery is full.
  mutating func takeHead(of lane: Lane, into slot: Int, room: inout Int) -> Bool {
    let head = lane.rawValue
    let size = heads[head].record.byteCount
    let limit = MemoryNeeds.bodyMax(configuration)
    var bytes = encoder.bodyBytesMax(of: heads[head].record)
    if slots[slot].batch.isEmpty {
      bytes += encoder.bodyBytesOverhead
    } else {
      // A body may leave out what a record has, a topic of 60 KiB say, and memory does not.
      guard slots[slot].bodyBytes + bytes <= configuration.batch.bytes,
        slots[slot].batch.byteCount + size <= limit,
        slots[slot].isFromMemory == heads[head].isFromMemory,
        encoder.mayJoin(heads[head].record, slots[slot].batch)
      else { return false }
    }
    guard slots[slot].reserve(size, upTo: limit, recordsMax, room: &room) else { return false }
    slots[slot].append(heads[head], bytes: bytes)
    heads[head].isLoaded = false
    return true
  }

  /// Reads the next record of the stream that is in memory only.
  mutating func loadFromMemory() -> Bool {
    let head = Lane.ordered.rawValue
    guard let bytes = memory?.firstBytes else { return false }
    heads[head].tooLongBytes = heads[head].record.refuses(bytes) ? bytes : 0
    if heads[head].tooLongBytes == 0 {
      heads[head].isFromMemory = memory?.next(into: &heads[head].record) == true
    }
    return true
  }

  /// Writes down the part of a delivery that is sent next.
  mutating func encode(_ slot: Int, headers: inout HeaderList, body: inout [UInt8]) {
    slots[slot].shorten(to: encoder.recordsMax)
    encoder.encode(slots[slot].batch, slots[slot].part, headers: &headers, body: &body)
  }

  /// What the stream has in memory only goes on with another configuration of it. That may have less room:
  /// then these deliveries are above it until they have left, and become no larger.
  mutating func takeMemory(of old: Uplink) {
    guard memory != nil, let kept = old.memory else { return }
    memory = kept
    keptThrough = kept.assigned - UInt64(kept.count)
    let head = Lane.ordered.rawValue
    if old.heads[head].isLoaded, old.heads[head].isFromMemory { heads[head] = old.heads[head] }
    for var slot in old.slots where slot.isFromMemory {
      if slot.phase == .filling { slot.close() }
      slots.append(slot)
    }
    removeSurplus()
  }

  /// Deliveries that an earlier configuration has left go when they are empty.
  private mutating func removeSurplus() {
    while slots.count > slotsMost, let empty = slots.firstIndex(where: { $0.phase == .empty }) {
      slots.remove(at: empty)
    }
  }

  /// Everything that the spool has, too, is read again.
  mutating func giveBack() {
    for index in slots.indices where !slots[index].isFromMemory { slots[index].clear() }
    for index in heads.indices where !heads[index].isFromMemory { heads[index].isLoaded = false }
  }

  /// The memory that its deliveries hold, in bytes.
  var memoryBytes: Int {
    var sum = 0
    for index in slots.indices { sum += slots[index].memoryBytes }
    for index in heads.indices { sum += heads[index].record.memoryBytes }
    return sum
  }

  /// The most records of one request.
  var recordsMax: Int { min(configuration.batch.records, encoder.recordsMax) }

  /// Whether a delivery that is not full leaves all the same: its oldest record has waited `linger`,
  /// lay on disk before, or is to probe whether the stream is still held.
  func isDue(_ slot: Int, now: Instant) -> Bool {
    let linger = configuration.batch.linger
    return linger == .zero || slots[slot].isBacklog || hold != nil
      || now >= slots[slot].waitingSince + linger
  }

  /// The next moment at which something here changes by itself.
  func nextDeadline() -> Instant? {
    if let hold { return hasRequest ? nil : hold.probeAt }
    var earliest = pausedUntil
    for index in slots.indices {
      let deadline: Instant
      switch slots[index].phase {
      case .backingOff where isMutated(.forgetRetryTimer): continue
      case .backingOff(let until): deadline = until
      case .filling: deadline = slots[index].waitingSince + configuration.batch.linger
      case .empty, .ready, .requesting: continue
      }
      earliest = min(earliest ?? deadline, deadline)
    }
    return earliest
  }

  /// An alarm goes first: pauses end as they would, and a probe that is due waits a moment.
  mutating func yield(now: Instant) {
    wake(now: now)
    if let due = hold?.probeAt, due <= now { hold?.probeAt = now + Self.precedence }
  }

  /// The upstream is there again: pauses of records that could not reach it are over.
  mutating func endOutage() {
    pausedUntil = nil
    for index in slots.indices where slots[index].isUnreachable {
      slots[index].isUnreachable = false
      if case .backingOff = slots[index].phase { slots[index].phase = .ready }
    }
  }

  /// A probe was due and there was nothing to send, or no room for it: look again later, not at once.
  mutating func postponeProbe(now: Instant) {
    guard let due = hold?.probeAt, due <= now, !hasRequest else { return }
    hold?.probeAt = now + Uplink.probeInterval
  }

  /// A new policy, a new secret or an operator's SIGHUP: try again now.
  mutating func endWaiting(now: Instant) {
    if hold != nil { hold?.probeAt = now }
    pausedUntil = nil
    for index in slots.indices {
      if case .backingOff = slots[index].phase { slots[index].phase = .ready }
    }
  }

  /// Pauses that are over end, and what has lingered long enough is complete.
  mutating func wake(now: Instant) {
    removeSurplus()
    if let end = pausedUntil, end <= now, !isMutated(.forgetRetryTimer) { pausedUntil = nil }
    for index in slots.indices {
      switch slots[index].phase {
      case .backingOff(let until) where until <= now && !isMutated(.forgetRetryTimer):
        slots[index].phase = .ready
      case .filling where isDue(index, now: now): slots[index].close()
      case .empty, .filling, .ready, .requesting, .backingOff: break
      }
    }
  }
}

/// `spoke.stream.NAME.*`, what the spool does not count itself. At the end of every turn
/// `recordsIn + recovered = delivered + dropped + expired + parked + backlog`.
struct UplinkCounters {
  /// Records that a source offered in this run.
  var recordsIn: UInt64 = 0
  /// Records of earlier runs: those that were found, and those whose loss was found.
  var recovered: UInt64 = 0
  var delivered: UInt64 = 0
  /// Requests that are to be made again.
  var retried: UInt64 = 0
  var dropped: UInt64 = 0
  var expired: UInt64 = 0
  var parked: UInt64 = 0

  /// How many records have left.
  var settled: UInt64 { delivered + dropped + expired + parked }
}
