import Configuration
import Primitives

/// A record's identity, `<node>/<stream>/<epoch>-<sequence>`.
struct RecordKey: Hashable {
  /// The stream's place in the plan.
  var stream: Int
  var epoch: UInt64
  var sequence: UInt64
}

/// Why records were not delivered, as gap reports have it: a set of reasons.
struct Reasons: OptionSet {
  var rawValue: UInt8

  static let space = Reasons(rawValue: 1)
  static let expired = Reasons(rawValue: 2)
  static let rejected = Reasons(rawValue: 4)
  static let corrupt = Reasons(rawValue: 8)
  static let memory = Reasons(rawValue: 16)
  static let shed = Reasons(rawValue: 32)

  static func named(_ text: ByteString) -> Reasons? {
    switch text {
    case "space": .space
    case "expired": .expired
    case "rejected": .rejected
    case "corrupt": .corrupt
    case "memory": .memory
    case "shed": .shed
    default: nil
    }
  }
}

/// What the simulator knows of one record.
struct Entry {
  var key: RecordKey
  /// The epoch that it may have instead: that changed while several were taken at once.
  var formerEpoch: UInt64
  /// Of its payload; 0: not known, as for the daemon's own reports.
  var hash: UInt64
  var takenAt: Instant
  /// The process that took it.
  var run: Int
  var durability: Durability
  /// The disk took no writes when it was taken.
  var isWithoutDisk: Bool
  /// Its process was killed in an operation of the disk earlier in this turn: nobody has seen it.
  var isAfterEnd: Bool
  /// It must survive: its acknowledgement left, or it is older than the commit interval.
  var isPromised = false
  var isDelivered = false
  /// That was while the process that took it lived: the next one may know nothing of it.
  var isDeliveredAtOnce = false
  /// An upstream refused it for good: the daemon may have given it up, and may have forgotten that.
  var isRefused = false
  /// The daemon said once that it is dropped.
  var isGivenUp = false
  /// That was while the disk took no writes, and the disk has not come back since: its report is in memory only.
  var isToldInMemory = false
  /// Its process has crashed, and took the report that was in memory only with it.
  var isReportLost = false
  /// It was not promised, and its process has crashed: it may be gone without a word.
  var isForgiven = false
  /// Gap reports that name it: those that are exact, and those that are an upper bound.
  var named: Reasons = []
  var namedPerhaps: Reasons = []
  /// One under another epoch has its number.
  var isNumberNamed = false
}

/// Every record that was taken, what was promised of it, and what became of it.
///
/// The promise by durability, after a crash and after a power cut alike:
///
/// | | promised | not promised yet |
/// |---|---|---|
/// | `sync` | once its PUBACK left, or it is older than `sync_interval` while the disk works | nothing: nobody saw it |
/// | `spill` | once its PUBACK left, or it is older than `commit.interval` while the disk works | its number is named in a report |
/// | `memory` | never | nothing |
///
/// What is promised is delivered, or named for a reason that no crash is: space, expiry, refusal, damage
/// of the disk, or memory that was full while there was no disk.
struct Ledger {
  private(set) var entries: [Entry] = []
  private var places: [RecordKey: Int] = [:]
  /// By key: the payload that came first under it.
  private var bodies: [RecordKey: UInt64] = [:]
  /// By stream: the last number that was delivered for the first time, with its epoch.
  private var newest: [RecordKey?]
  /// Entries below this place were taken under another configuration.
  private var orderFrom = 0
  /// Those that were overtaken, which is wrong unless they were given up.
  private var overtaken: [RecordKey] = []
  private(set) var delivered = 0
  private(set) var duplicates = 0
  /// Entries below these places are promised: `sync`, `spill`.
  private var promisedSync = 0
  private var promisedSpill = 0
  private var syncEntries: [Int] = []
  private var spillEntries: [Int] = []

  init(streams: Int) {
    newest = Array(repeating: nil, count: streams)
  }

  // MARK: In

  /// A record was taken; its place.
  mutating func take(_ entry: Entry) -> Int {
    let place = entries.count
    places[entry.key] = place
    var other = entry.key
    other.epoch = entry.formerEpoch
    places[other] = place
    entries.append(entry)
    switch entry.durability {
    case .sync: syncEntries.append(place)
    case .spill: spillEntries.append(place)
    case .memory: break
    }
    return place
  }

  mutating func promise(_ place: Int) {
    guard entries[place].durability != .memory else { return }
    entries[place].isPromised = true
    entries[place].isForgiven = false
  }

  /// The disk works, and everything of this run that is older than its interval is on it.
  mutating func promiseOld(run: Int, now: Instant, sync: Interval, spill: Interval) {
    while promisedSync < syncEntries.count,
      passes(syncEntries[promisedSync], run: run, now: now, age: sync)
    {
      promisedSync += 1
    }
    while promisedSpill < spillEntries.count,
      passes(spillEntries[promisedSpill], run: run, now: now, age: spill)
    {
      promisedSpill += 1
    }
  }

  private mutating func passes(_ place: Int, run: Int, now: Instant, age: Interval) -> Bool {
    guard entries[place].run == run else { return true }
    // What is taken at the end of a turn is written in the next one at the earliest.
    guard now > entries[place].takenAt + age else { return false }
    entries[place].isPromised = true
    return true
  }

  /// The process is gone with its memory.
  mutating func crash(run: Int) {
    var place = entries.count
    while place > 0, entries[place - 1].run == run {
      place -= 1
      // Given up while there was no disk: the report of that was in memory, too.
      let isToldOnly = entries[place].isGivenUp || entries[place].isRefused
      if entries[place].isWithoutDisk && isToldOnly || entries[place].isToldInMemory {
        entries[place].isReportLost = true
      }
      if entries[place].isPromised {
        if entries[place].isReportLost { entries[place].isForgiven = true }
        continue
      }
      switch entries[place].durability {
      case .memory, .sync: entries[place].isForgiven = true
      // Of a number that no cursor could reserve nobody knows afterwards.
      case .spill:
        entries[place].isForgiven = entries[place].isWithoutDisk || entries[place].isAfterEnd
      }
    }
  }

  // MARK: Out

  /// A payload stands under a key in a request, whatever becomes of that. The complaint, if it is not
  /// the one that belongs there.
  mutating func see(_ key: RecordKey, hash: UInt64) -> String? {
    if let before = bodies[key] {
      if before != hash { return "two bodies under one id" }
    } else {
      bodies[key] = hash
    }
    guard let place = places[key] else { return nil }
    guard entries[place].hash != 0 else {
      entries[place].hash = hash
      return nil
    }
    return entries[place].hash == hash ? nil : "another body than was taken under this id"
  }

  /// The upstream has taken the record for good.
  mutating func deliver(_ key: RecordKey, inOrder: Bool, run: Int) {
    guard let place = places[key], !entries[place].isDelivered else {
      duplicates += 1
      return
    }
    entries[place].isDelivered = true
    entries[place].isDeliveredAtOnce = entries[place].run == run
    delivered += 1
    guard place >= orderFrom else { return }
    if let last = newest[key.stream], last.epoch == key.epoch, last.sequence > key.sequence {
      if inOrder { overtaken.append(key) }
    } else {
      newest[key.stream] = key
    }
  }

  /// What is under way under another configuration may overtake and be overtaken, whatever its epoch: order
  /// begins anew with the next record that is taken.
  mutating func restartOrder() {
    for stream in newest.indices { newest[stream] = nil }
    orderFrom = entries.count
  }

  /// The process wrote everything down and ended.
  mutating func promiseAll(run: Int) {
    var place = entries.count
    while place > 0, entries[place - 1].run == run {
      place -= 1
      // What was in memory only is named.
      if entries[place].durability != .memory { entries[place].isPromised = true }
    }
  }

  /// An upstream will never take it.
  mutating func refuse(_ key: RecordKey) {
    if let place = places[key] { entries[place].isRefused = true }
  }

  func place(of key: RecordKey) -> Int? { places[key] }

  /// The daemon says that it has given these up. A crash may take that back: they may be delivered after
  /// all, and then late.
  mutating func giveUp(stream: Int, _ first: UInt64, _ last: UInt64, isWithoutDisk: Bool) {
    for place in entries.indices
    where entries[place].key.stream == stream && entries[place].key.sequence >= first
      && entries[place].key.sequence <= last
    {
      entries[place].isGivenUp = true
      if isWithoutDisk { entries[place].isToldInMemory = true }
    }
  }

  /// The disk takes writes again: what is in memory only is written.
  mutating func diskIsBack() {
    for place in entries.indices { entries[place].isToldInMemory = false }
  }

  /// A gap report arrived.
  mutating func name(
    stream: Int, epoch: UInt64, _ first: UInt64, _ last: UInt64, _ reasons: Reasons,
    isUpperBound: Bool
  ) {
    for place in entries.indices
    where entries[place].key.stream == stream
      && entries[place].key.sequence >= first && entries[place].key.sequence <= last
    {
      if entries[place].key.epoch != epoch && entries[place].formerEpoch != epoch {
        entries[place].isNumberNamed = true
      } else if isUpperBound {
        entries[place].namedPerhaps.formUnion(reasons)
      } else {
        entries[place].named.formUnion(reasons)
      }
    }
  }

  // MARK: The end

  /// Whether all records of this stream were delivered, but for those that are forgiven, which were in memory. One
  /// that is named for what happens on a disk was there.
  func isComplete(stream: Int) -> Bool {
    !entries.contains {
      $0.key.stream == stream && !$0.isDelivered
        && (!$0.isForgiven || !$0.named.union($0.namedPerhaps).subtracting(.memory).isEmpty)
    }
  }

  /// Whether it was on its way when its segment was given up, which only the cursor knows: it was seen, and a later
  /// one of its stream was given up.
  func wasLent(_ entry: Entry) -> Bool {
    bodies[entry.key] != nil
      && entries.contains {
        $0.key.stream == entry.key.stream && $0.key.sequence > entry.key.sequence && $0.isGivenUp
      }
  }

  /// Whether a start can know nothing of any later record of a `sync` stream under the epoch, which is over.
  func isLast(_ entry: Entry, epochNow: UInt64) -> Bool {
    entry.durability == .sync && entry.key.epoch != epochNow
      && !entries.contains {
        $0.key.stream == entry.key.stream && $0.key.epoch == entry.key.epoch
          && $0.key.sequence > entry.key.sequence
          && ($0.isDelivered && !$0.isDeliveredAtOnce || !$0.named.union($0.namedPerhaps).isEmpty)
      }
  }

  /// What is wrong with what became of a record; nil: nothing. `wasDamaged`: the disk lost what it had
  /// said to be safe.
  func complaint(_ entry: Entry, wasDamaged: Bool) -> String? {
    if entry.isDelivered || entry.isForgiven { return nil }
    var allowed: Reasons = [.space, .expired, .rejected]
    var allowedPerhaps: Reasons = [.space, .expired, .rejected]
    allowed.insert(.memory)
    if wasDamaged {
      allowed.insert(.corrupt)
      allowedPerhaps.formUnion([.corrupt, .memory])
    }
    // Nobody knows any more that it was refused, but its number is named.
    if entry.isRefused { allowedPerhaps.insert(.memory) }
    if !entry.isPromised {
      allowed.formUnion([.corrupt, .shed])
      allowedPerhaps.formUnion([.corrupt, .memory])
    }
    if !entry.named.isDisjoint(with: allowed) { return nil }
    if !entry.namedPerhaps.isDisjoint(with: allowedPerhaps) { return nil }
    if entry.named.isEmpty, entry.namedPerhaps.isEmpty {
      return entry.isPromised
        ? "promised, and neither delivered nor named" : "neither delivered nor named"
    }
    return "promised, and lost for no reason that may be"
  }

  /// Those that came behind later ones of their stream, and were not given up before.
  var outOfOrder: [RecordKey] {
    overtaken.filter { key in
      guard let place = places[key] else { return false }
      return entries[place].named.isEmpty && entries[place].namedPerhaps.isEmpty
        && !entries[place].isRefused && !entries[place].isGivenUp
    }
  }
}
