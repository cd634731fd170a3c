import Primitives
import Spool

/// A disk in memory that behaves as badly as disks do: it forgets or tears what was not synced when
/// the power goes, and it fails when told to. The disk outlives the spool that uses it.
public final class CrashingDisk {
  struct File {
    /// What a reader sees now.
    var live: [UInt8] = []
    /// What a power cut leaves.
    var durable: [UInt8] = []
    /// Since the last sync: the ranges written, in order.
    var unsynced: [(offset: Int, bytes: [UInt8])] = []
    /// The file's directory entry is on the medium.
    var isLinked = false
    /// A sync failed: the kernel has forgotten what was dirty, and calls the pages clean.
    var isPoisoned = false
    var isOpen = true
  }

  public enum Operation: Hashable, Sendable, CaseIterable {
    case list, size, create, write, read, sync, syncDirectory, truncate, remove, quarantine, free,
      replace
  }

  var files: [StorageFile: File] = [:]
  /// Removed, but the removal is not on the medium: a power cut brings them back.
  var removed: [StorageFile: File] = [:]
  /// Another one has its name, and that is not on the medium.
  var replaced: [StorageFile: File] = [:]
  public private(set) var quarantined: [StorageFile] = []
  public var capacity = UInt64.max
  /// Fails every operation of these kinds.
  public var failing: [Operation: StorageError] = [:]
  /// Fails every read of this byte.
  public var badByte: (file: StorageFile, offset: Int)?
  /// Fails every creation of a thinned segment.
  public var refusesThinned = false
  /// Fails every sync of a segment, and of nothing else.
  public var refusesSegmentSyncs = false
  /// Fails the operation with this number, counted over all kinds, once.
  public var failAt: (number: Int, error: StorageError)?
  /// A write that fails leaves this share of its bytes, in 1/256.
  public var shortWrite = 0
  public private(set) var operations = 0
  public private(set) var counts: [Operation: Int] = [:]
  public private(set) var bytesRead = 0
  /// The most bytes that all files had together.
  public private(set) var mostBytes: UInt64 = 0
  /// The operation with this number is the last one that reaches the medium: the process, or the
  /// power, is gone before it. What follows happens to a copy, until `kill` or `cutPower`.
  private var freezeAt: Int?
  public private(set) var freezesAtPowerCut = false
  private var frozen:
    (files: [StorageFile: File], removed: [StorageFile: File], replaced: [StorageFile: File])?
  /// A sync was tried again after one had failed: never to happen.
  public private(set) var syncedAfterFailure = false

  public init() {}

  /// The cursor was removed, and no other one was synced since: a crash leaves none.
  public private(set) var hasLostCursor = false
  /// A bit was turned over in the last frame of a segment, which may look as if it was torn now.
  public private(set) var hasDamagedEnd = false

  /// The same files, on the medium and in the cache: two runs can go on from one moment.
  public init(_ other: CrashingDisk) {
    files = other.files
    removed = other.removed
    replaced = other.replaced
    operations = other.operations
  }

  public var names: [StorageFile] { files.keys.sorted { key($0) < key($1) } }

  private func key(_ file: StorageFile) -> UInt64 {
    switch file {
    case .segment(let logClass, let number, let level):
      UInt64(logClass) << 40 | UInt64(number) << 8 | UInt64(level)
    case .cursor: 1 << 60
    case .deadLetter: 1 << 61
    case .newCursor: 1 << 62
    }
  }

  public func bytes(_ file: StorageFile) -> [UInt8] { files[file]?.live ?? [] }
  public var totalBytes: UInt64 { files.values.reduce(0) { $0 + UInt64($1.live.count) } }

  /// Replaces a file's content, as rot or a person would.
  public func replace(_ file: StorageFile, _ bytes: [UInt8]) {
    files[file] = File(live: bytes, durable: bytes, isLinked: true)
  }

  public func delete(_ file: StorageFile) { files[file] = nil }

  /// A disk with the same content, everything synced.
  public func copy() -> CrashingDisk {
    let other = CrashingDisk()
    for (name, file) in files { other.replace(name, file.live) }
    return other
  }

  public var isFrozen: Bool { frozen != nil }

  /// A file has bytes that every reader sees and that are not on the medium, and the kernel calls them
  /// clean.
  public var hasLies: Bool { files.values.contains { $0.isPoisoned } }

  public func freeze(at operation: Int, isPowerCut: Bool) {
    freezeAt = operation
    freezesAtPowerCut = isPowerCut
  }

  /// The process lives on.
  public func thaw() {
    freezeAt = nil
    if let frozen { (files, removed, replaced) = frozen }
    frozen = nil
  }

  /// Turns one bit over, in the cache and on the medium. False: there is none.
  public func flipBit(_ random: inout SplitMix64) -> Bool {
    let candidates = names.filter { length($0) > 0 }
    guard !candidates.isEmpty else { return false }
    let name = candidates[Int(random.below(UInt64(candidates.count)))]
    let place = Int(random.below(UInt64(length(name))))
    let bit = UInt8(1) << UInt8(random.below(8))
    files[name]!.live[place] ^= bit
    if place < files[name]!.durable.count { files[name]!.durable[place] ^= bit }
    if case .segment = name, !hasFrame(name, behind: place) { hasDamagedEnd = true }
    return true
  }

  private func hasFrame(_ name: StorageFile, behind place: Int) -> Bool {
    let bytes = files[name]!.live
    let magic = Array("SpFr".utf8)
    var start = place + 1
    while start + magic.count <= bytes.count {
      if bytes[start..<(start + magic.count)].elementsEqual(magic) { return true }
      start += 1
    }
    return false
  }

  /// Turns a bit over in each place that holds these bytes.
  public func overturn(_ bytes: [UInt8]) {
    for name in names {
      let live = files[name]?.live ?? []
      guard live.count >= bytes.count else { continue }
      for place in 0...(live.count - bytes.count)
      where live[place..<(place + bytes.count)].elementsEqual(bytes) {
        files[name]?.live[place] ^= 1
      }
    }
  }

  /// The process is killed: what was written stays.
  public func kill() {
    thaw()
    failing = [:]
    failAt = nil
    shortWrite = 0
    for name in files.keys { files[name]?.isPoisoned = false }
  }

  /// The power goes: each write since the last sync is there, is not, or is there in part; so is each
  /// creation and removal.
  public func cutPower(_ random: inout SplitMix64) {
    kill()
    for (name, file) in removed.sorted(by: { key($0.key) < key($1.key) })
    where files[name] == nil && random.below(2) == 0 {
      files[name] = file
      files[name]?.isPoisoned = false
    }
    removed = [:]
    for (name, file) in replaced.sorted(by: { key($0.key) < key($1.key) })
    where random.below(2) == 0 {
      files[name] = file
      files[name]?.isPoisoned = false
    }
    replaced = [:]
    for name in names {
      guard var file = files[name] else { continue }
      if !file.isLinked, random.below(2) == 0 {
        files[name] = nil
        continue
      }
      for write in file.unsynced { Self.tear(write, into: &file.durable, &random) }
      file.live = file.durable
      file.unsynced = []
      file.isLinked = true
      files[name] = file
    }
  }

  private static func tear(
    _ write: (offset: Int, bytes: [UInt8]), into durable: inout [UInt8],
    _ random: inout SplitMix64
  ) {
    // In sectors of 512 bytes, each of which is written, is not, or holds garbage.
    var start = 0
    let whole = random.below(4)
    while start < write.bytes.count {
      let end = min(start + 512, write.bytes.count)
      let fate = whole == 0 ? 0 : whole == 1 ? 1 : random.below(3)
      if fate != 1 {
        let place = write.offset + start
        while durable.count < write.offset + end { durable.append(0) }
        for index in 0..<(end - start) {
          durable[place + index] =
            fate == 0 ? write.bytes[start + index] : UInt8(truncatingIfNeeded: random.next())
        }
      }
      start = end
    }
  }

  // MARK: Operations

  func begin(_ operation: Operation) throws(StorageError) {
    operations += 1
    counts[operation, default: 0] += 1
    if let freezeAt, operations >= freezeAt, frozen == nil {
      frozen = (files, removed, replaced)
    }
    if let failAt, failAt.number == operations {
      self.failAt = nil
      throw failAt.error
    }
    if let error = failing[operation] { throw error }
  }

  func write(_ name: StorageFile, at offset: UInt64, _ bytes: [UInt8]) throws(StorageError) {
    guard files[name] != nil else { throw .missing }
    var failure: StorageError?
    do throws(StorageError) { try begin(.write) } catch { failure = error }
    let end = Int(offset) + bytes.count
    let growth = max(0, end - length(name))
    if failure == nil, totalBytes + UInt64(growth) > capacity { failure = .full }
    let count = failure == nil ? bytes.count : bytes.count * shortWrite / 256
    let part = Array(bytes[0..<count])
    files[name]!.live.overwrite(at: Int(offset), part)
    files[name]!.unsynced.append((Int(offset), part))
    mostBytes = max(mostBytes, totalBytes)
    if let failure { throw failure }
  }

  private func length(_ name: StorageFile) -> Int { files[name]?.live.count ?? 0 }

  func sync(_ name: StorageFile) throws(StorageError) {
    guard files[name] != nil else { throw .missing }
    if files[name]!.isPoisoned { syncedAfterFailure = true }
    do throws(StorageError) {
      try begin(.sync)
      if refusesSegmentSyncs, case .segment = name { throw .failed(5) }
    } catch {
      // The dirty pages are dropped from the list, not from the cache.
      files[name]!.isPoisoned = true
      files[name]!.unsynced = []
      throw error
    }
    files[name]!.durable = files[name]!.live
    files[name]!.unsynced = []
    if name == .cursor, frozen == nil { hasLostCursor = false }
  }

  func truncate(_ name: StorageFile, to bytes: UInt64) throws(StorageError) {
    try begin(.truncate)
    guard files[name] != nil else { throw .missing }
    var file = files[name]!
    if file.live.count > Int(bytes) { file.live.removeLast(file.live.count - Int(bytes)) }
    file.durable = Array(file.durable.prefix(Int(bytes)))
    file.unsynced.removeAll { $0.offset >= Int(bytes) }
    files[name] = file
  }

  func read(_ offset: UInt64, _ count: Int, of name: StorageFile) throws(StorageError)
    -> ArraySlice<UInt8>
  {
    try begin(.read)
    guard let file = files[name] else { throw .missing }
    let start = min(Int(offset), file.live.count)
    let end = min(start + count, file.live.count)
    if let badByte, badByte.file == name, start..<end ~= badByte.offset { throw .failed(5) }
    bytesRead += end - start
    return file.live[start..<end]
  }

  func create(_ name: StorageFile, _ bytes: UInt64) throws(StorageError) {
    try begin(.create)
    guard files[name] == nil else { throw .exists }
    if refusesThinned, case .segment(_, _, 1...) = name { throw .failed(5) }
    files[name] = File()
  }

  func remove(_ name: StorageFile) throws(StorageError) {
    try begin(.remove)
    guard let file = files[name] else { throw .missing }
    removed[name] = file
    files[name] = nil
    if name == .cursor, frozen == nil { hasLostCursor = true }
  }

  func replace(_ name: StorageFile, by other: StorageFile) throws(StorageError) {
    try begin(.replace)
    guard let file = files[other] else { throw .missing }
    let before = files[name]
    if replaced[name] == nil { replaced[name] = before }
    files[name] = file
    if before != nil { files[name]?.isLinked = true }
    files[other] = nil
    if name == .cursor, frozen == nil { hasLostCursor = false }
  }

  func quarantine(_ name: StorageFile) throws(StorageError) {
    try begin(.quarantine)
    guard files[name] != nil else { throw .missing }
    files[name] = nil
    quarantined.append(name)
  }

  func syncDirectory() throws(StorageError) {
    try begin(.syncDirectory)
    removed = [:]
    replaced = [:]
    for name in files.keys { files[name]?.isLinked = true }
  }

  func list() throws(StorageError) -> [StorageFile] {
    try begin(.list)
    return names.reversed()
  }

  func size(of name: StorageFile) throws(StorageError) -> UInt64 {
    try begin(.size)
    guard let file = files[name] else { throw .missing }
    return UInt64(file.live.count)
  }

  func free() throws(StorageError) -> UInt64 {
    try begin(.free)
    return capacity == .max ? .max >> 1 : capacity - min(totalBytes, capacity)
  }
}

extension Array where Element == UInt8 {
  mutating func overwrite(at offset: Int, _ bytes: [UInt8]) {
    if count < offset { append(contentsOf: repeatElement(0, count: offset - count)) }
    replaceSubrange(offset..<Swift.min(offset + bytes.count, count), with: bytes)
  }
}

/// What the spool gets of a disk.
public struct CrashingStorage: SegmentStorage {
  public let disk: CrashingDisk

  public init(_ disk: CrashingDisk) { self.disk = disk }

  public mutating func list() throws(StorageError) -> [StorageFile] { try disk.list() }
  public mutating func size(of file: StorageFile) throws(StorageError) -> UInt64 {
    try disk.size(of: file)
  }
  public mutating func create(
    _ file: StorageFile, reserving bytes: UInt64
  ) throws(StorageError) {
    try disk.create(file, bytes)
  }
  public mutating func write(
    _ file: StorageFile, at offset: UInt64, _ bytes: Span<UInt8>
  ) throws(StorageError) {
    var copy: [UInt8] = []
    copy.append(contentsOf: bytes)
    try disk.write(file, at: offset, copy)
  }
  public mutating func read(
    _ file: StorageFile, at offset: UInt64, count: Int, into buffer: inout [UInt8]
  ) throws(StorageError) -> Int {
    let bytes = try disk.read(offset, count, of: file)
    buffer.append(contentsOf: bytes)
    return bytes.count
  }
  public mutating func sync(_ file: StorageFile) throws(StorageError) { try disk.sync(file) }
  public mutating func syncDirectory() throws(StorageError) { try disk.syncDirectory() }
  public mutating func truncate(
    _ file: StorageFile, to bytes: UInt64
  ) throws(StorageError) {
    try disk.truncate(file, to: bytes)
  }
  public mutating func remove(_ file: StorageFile) throws(StorageError) { try disk.remove(file) }
  public mutating func replace(
    _ file: StorageFile, by other: StorageFile
  ) throws(StorageError) {
    try disk.replace(file, by: other)
  }
  public mutating func quarantine(_ file: StorageFile) throws(StorageError) {
    try disk.quarantine(file)
  }
  public mutating func freeBytes() throws(StorageError) -> UInt64 { try disk.free() }
}
