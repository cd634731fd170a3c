/// What the spool asks of a disk. The daemon's is a directory of files; a test's is memory that
/// tears, forgets and refuses. Nothing here retries: the spool decides what an error means.
public protocol SegmentStorage: ~Copyable {
  /// Every file in the spool's directory that is one of ours, in no particular order. Files with
  /// other names are left alone.
  mutating func list() throws(StorageError) -> [StorageFile]

  /// The size of a file in bytes.
  mutating func size(of file: StorageFile) throws(StorageError) -> UInt64

  /// Makes an empty file and reserves `bytes` of room for it where the file system can. Fails with
  /// `.exists` when it is there already.
  mutating func create(_ file: StorageFile, reserving bytes: UInt64) throws(StorageError)

  /// Writes all of `bytes` at `offset`; a short write is an error that may have left some of them.
  mutating func write(
    _ file: StorageFile, at offset: UInt64, _ bytes: Span<UInt8>
  ) throws(StorageError)

  /// Appends up to `count` bytes from `offset` on to `buffer` and returns how many there were.
  mutating func read(
    _ file: StorageFile, at offset: UInt64, count: Int, into buffer: inout [UInt8]
  ) throws(StorageError) -> Int

  /// Returns when the file's bytes are on the medium (`fdatasync`). After an error the file's state
  /// is unknown and this descriptor must not be synced again.
  mutating func sync(_ file: StorageFile) throws(StorageError)

  /// Returns when creations, removals and renames are on the medium.
  mutating func syncDirectory() throws(StorageError)

  mutating func truncate(_ file: StorageFile, to bytes: UInt64) throws(StorageError)

  mutating func remove(_ file: StorageFile) throws(StorageError)

  /// Gives a file the name of another one, which is gone then: at every moment, also after a power cut, one
  /// of the two has it.
  mutating func replace(_ file: StorageFile, by other: StorageFile) throws(StorageError)

  /// Moves a file that cannot be read out of the way, for a person to look at (`quarantine/`, where
  /// the two newest are kept).
  mutating func quarantine(_ file: StorageFile) throws(StorageError)

  /// Bytes that the file system has free.
  mutating func freeBytes() throws(StorageError) -> UInt64
}

/// A file of the spool. The file names are `CLASS-NNNNNNNNNN.seg` (class 0 to 3, decimal number),
/// `CLASS-NNNNNNNNNN-LEVEL.seg` for one that was thinned so often (1 to 3), `cursor`, `cursor.new` while it is
/// made anew, and `dead-letter.seg`.
public enum StorageFile: Hashable, Sendable {
  case segment(logClass: UInt8, number: UInt32, level: UInt8 = 0)
  case cursor
  case newCursor
  case deadLetter
}

/// Why the disk did not do as it was told.
public enum StorageError: Error, Equatable, Sendable {
  /// ENOSPC, EDQUOT.
  case full
  /// EROFS, EACCES, EPERM.
  case readOnly
  /// ENOENT, ENOTDIR: the file or the directory is gone.
  case missing
  /// EEXIST.
  case exists
  /// EIO and everything else, with the errno.
  case failed(Int32)
}
