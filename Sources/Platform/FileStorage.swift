import CLinux
import Primitives

/// The spool's directory: its storage protocol on files, one process at a time. Names are looked up from the directory's own descriptor, so that a mount or a rename above
/// it cannot mix two spools; symbolic links are never followed. One that is deleted is made again with the
/// next file.
///
/// Nothing is tried twice. After a failed sync the kernel may call pages clean that never reached
/// the medium, and a second sync would lie: such a file never syncs again until it is created anew.
public final class FileStorage: SegmentStorage {
  /// The directory cannot be used at all.
  public struct OpenError: Error, Sendable {
    public let description: String
    /// Another process has it.
    public let isLocked: Bool
  }

  private let path: ByteString
  private var directory: FileDescriptor
  /// Holds the lock as long as it is open; -1 when the directory is only looked at.
  private var lock: FileDescriptor
  private let isReadOnly: Bool
  private var open = OpenFiles()
  /// Files whose sync failed. At most as many as there are files.
  private var poisoned: [StorageFile] = []

  /// Opens the directory, which is made if only its last part is missing, and locks it.
  public init(directory path: ByteString) throws(OpenError) {
    let directory = try FileStorage.openDirectory(path)
    let lock = try FileStorage.takeLock(directory.raw, path)
    self.path = path
    self.directory = directory
    self.lock = lock
    isReadOnly = false
  }

  /// Opens a directory to look at it, beside the process that has it. Every call that would change
  /// something fails with `.readOnly`.
  public init(reading path: ByteString) throws(OpenError) {
    let opened = path.withCString { spoke_open_directory($0) }
    guard opened >= 0 else { throw OpenError(path, SystemError("open", -opened)) }
    self.path = path
    directory = FileDescriptor(owning: opened)
    lock = FileDescriptor(owning: -1)
    isReadOnly = true
  }

  private static func openDirectory(_ path: ByteString) throws(OpenError) -> FileDescriptor {
    _ = path.withCString { spoke_create_directory($0, 0o700) }
    let opened = path.withCString { spoke_open_directory($0) }
    guard opened >= 0 else { throw OpenError(path, SystemError("open", -opened)) }
    return FileDescriptor(owning: opened)
  }

  /// The directory was deleted: it is made and locked again, empty.
  private func replaceDirectory() throws(StorageError) {
    do throws(OpenError) {
      let made = try FileStorage.openDirectory(path)
      lock = try FileStorage.takeLock(made.raw, path)
      directory = made
      open = OpenFiles()
      poisoned = []
    } catch { throw .missing }
  }

  private static func takeLock(
    _ directory: Int32, _ path: ByteString
  ) throws(OpenError) -> FileDescriptor {
    let opened = spoke_open_at(directory, "lock", 1, 0)
    guard opened >= 0 else { throw OpenError(path, SystemError("lock", -opened)) }
    let lock = FileDescriptor(owning: opened)
    let answer = spoke_lock_exclusive(lock.raw)
    guard answer >= 0 else { throw OpenError(path, SystemError("lock", -answer)) }
    return lock
  }

  /// Whether a process has the directory. It has to try the lock: who opens the directory at that very
  /// moment is refused.
  public static func isInUse(_ path: ByteString) -> Bool {
    let opened = path.withCString { spoke_open_directory($0) }
    guard opened >= 0 else { return false }
    let directory = FileDescriptor(owning: opened)
    let found = spoke_open_at(directory.raw, "lock", -1, 0)
    guard found >= 0 else { return false }
    let lock = FileDescriptor(owning: found)
    return spoke_lock_exclusive(lock.raw) == -EWOULDBLOCK
  }

  /// The files here that are ours.
  public func list() throws(StorageError) -> [StorageFile] {
    var files: [StorageFile] = []
    let answer = forEachName(in: directory.raw) { name in
      if let file = StorageFile(name: name) { files.append(file) }
    }
    try succeed(answer)
    return files
  }

  /// A file's size in bytes.
  public func size(of file: StorageFile) throws(StorageError) -> UInt64 {
    UInt64(try succeed(spoke_file_size(try descriptor(file))))
  }

  /// Makes an empty file with room for `bytes` where the file system can reserve it.
  public func create(_ file: StorageFile, reserving bytes: UInt64) throws(StorageError) {
    try mayChange()
    if spoke_is_linked(directory.raw) == 0 { try replaceDirectory() }
    let made = file.withName { spoke_open_at(directory.raw, $0, 1, 1) }
    try succeed(made)
    let answer = bytes == 0 ? 0 : spoke_reserve(made, bytes)
    if answer < 0 {
      _ = spoke_close(made)
      _ = file.withName { spoke_unlink_at(directory.raw, $0) }
      throw StorageError(-answer)
    }
    poisoned.removeEach { $0 == file }
    try keep(made, for: file)
  }

  /// Writes all of `bytes` at `offset`.
  public func write(
    _ file: StorageFile, at offset: UInt64, _ bytes: Span<UInt8>
  ) throws(StorageError) {
    try mayChange()
    let descriptor = try descriptor(file)
    open.markDirty(file)
    try succeed(
      bytes.withUnsafeBytes { spoke_write_at(descriptor, $0.baseAddress, $0.count, offset) })
  }

  /// Appends up to `count` bytes from `offset` on to `buffer`, and answers how many.
  public func read(
    _ file: StorageFile, at offset: UInt64, count: Int, into buffer: inout [UInt8]
  ) throws(StorageError) -> Int {
    let descriptor = try descriptor(file)
    // Only what is there, so that a generous `count` costs no memory.
    let size = UInt64(try succeed(spoke_file_size(descriptor)))
    guard offset < size else { return 0 }
    let wanted = Int(min(UInt64(count), size - offset))
    var got: Int64 = 0
    buffer.append(addingCapacity: wanted) { free in
      free.withUnsafeMutableBufferPointer { target, filled in
        got = spoke_read_at(descriptor, target.baseAddress, wanted, offset)
        filled += Int(max(0, got))
      }
    }
    return Int(try succeed(got))
  }

  /// Returns when the file's bytes are on the medium.
  public func sync(_ file: StorageFile) throws(StorageError) {
    if poisoned.contains(file) { throw .failed(EIO) }
    let descriptor = try descriptor(file)
    let answer = spoke_sync_data(descriptor)
    // What has no name any more is on no disk, whatever the sync says.
    guard answer < 0 || spoke_is_linked(descriptor) == 0 else {
      open.markClean(file)
      return
    }
    poison(file)
    throw answer < 0 ? StorageError(-answer) : .missing
  }

  /// Returns when creations, removals and renames are on the medium.
  public func syncDirectory() throws(StorageError) {
    try succeed(spoke_sync(directory.raw))
  }

  /// Cuts a file to `bytes`.
  public func truncate(_ file: StorageFile, to bytes: UInt64) throws(StorageError) {
    try mayChange()
    let descriptor = try descriptor(file)
    open.markDirty(file)
    try succeed(spoke_truncate(descriptor, bytes))
  }

  /// Deletes a file.
  public func remove(_ file: StorageFile) throws(StorageError) {
    try mayChange()
    open.close(file)
    try succeed(file.withName { spoke_unlink_at(directory.raw, $0) })
    poisoned.removeEach { $0 == file }
  }

  /// Gives a file the name of another one.
  public func replace(_ file: StorageFile, by other: StorageFile) throws(StorageError) {
    try mayChange()
    open.close(file)
    open.close(other)
    try succeed(
      other.withName { from in
        file.withName { spoke_rename_at(directory.raw, from, directory.raw, $0) }
      })
    poisoned.removeEach { $0 == file }
  }

  /// Moves it to `quarantine/NUMBER-NAME`. The numbers count up, so the two highest are the newest.
  public func quarantine(_ file: StorageFile) throws(StorageError) {
    try mayChange()
    open.close(file)
    let made = spoke_create_directory_at(directory.raw, "quarantine", 0o700)
    if made < 0 && made != -EEXIST { throw StorageError(-made) }
    let place = FileDescriptor(
      owning: try succeed(spoke_open_directory_at(directory.raw, "quarantine")))
    var newest = try trimQuarantine(place.raw, keeping: quarantinedFilesMax - 1)
    newest &+= 1
    let target = ByteString("\(decimal(newest, digits: 10))-\(file.name.description)")
    try succeed(
      file.withName { from in
        target.withCString { spoke_rename_at(directory.raw, from, place.raw, $0) }
      })
    poisoned.removeEach { $0 == file }
  }

  /// Bytes that the file system has free for us.
  public func freeBytes() throws(StorageError) -> UInt64 {
    UInt64(try succeed(spoke_free_bytes(directory.raw)))
  }

  /// Deletes the oldest quarantined files and answers the highest number that was given.
  private func trimQuarantine(_ place: Int32, keeping count: Int) throws(StorageError) -> UInt32 {
    var entries: [(number: UInt32, name: ByteString)] = []
    let answer = forEachName(in: place) { name in
      if let number = leadingNumber(name) { entries.append((number, name)) }
    }
    try succeed(answer)
    entries.heapSort { $0.number > $1.number }
    while entries.count > count {
      let oldest = entries.removeLast()
      try succeed(oldest.name.withCString { spoke_unlink_at(place, $0) })
    }
    return entries.first?.number ?? 0
  }

  /// The file's descriptor, opened if it is not.
  private func descriptor(_ file: StorageFile) throws(StorageError) -> Int32 {
    if let descriptor = open.find(file) { return descriptor }
    let mode: Int32 = isReadOnly ? -1 : 0
    let opened = try succeed(file.withName { spoke_open_at(directory.raw, $0, mode, 0) })
    try keep(opened, for: file)
    return opened
  }

  /// Keeps a descriptor, and closes the one used longest ago if there are too many. Bytes that were
  /// written through that one are synced first, while this process is still told of a failure.
  private func keep(_ descriptor: Int32, for file: StorageFile) throws(StorageError) {
    if let victim = open.victim() {
      if victim.isDirty, !poisoned.contains(victim.file), spoke_sync_data(victim.descriptor) < 0 {
        poisoned.append(victim.file)
      }
      open.close(victim.file)
    }
    open.insert(file, descriptor)
  }

  private func mayChange() throws(StorageError) {
    if isReadOnly { throw .readOnly }
  }

  private func poison(_ file: StorageFile) {
    open.close(file)
    if !poisoned.contains(file) { poisoned.append(file) }
  }

  @discardableResult
  private func succeed<Answer: SignedInteger & FixedWidthInteger>(
    _ answer: Answer
  ) throws(StorageError) -> Answer {
    if answer < 0 { throw StorageError(Int32(truncatingIfNeeded: -answer)) }
    return answer
  }
}

extension StorageError {
  /// What an errno means to the spool.
  init(_ code: Int32) {
    switch code {
    case ENOSPC, EDQUOT: self = .full
    case EROFS, EACCES, EPERM: self = .readOnly
    case ENOENT, ENOTDIR: self = .missing
    case EEXIST: self = .exists
    default: self = .failed(code)
    }
  }
}

extension FileStorage.OpenError {
  init(_ path: ByteString, _ error: SystemError) {
    isLocked = error.code == EWOULDBLOCK
    let reason = isLocked ? "another process uses it" : error.description
    description = "spool directory \(path.description): \(reason)"
  }
}

/// Two are enough to look at; more would eat the spool's room.
private let quarantinedFilesMax = 2
