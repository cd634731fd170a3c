import Platform
import Primitives

/// A spool's directory for a spool that is only looked at. What that spool would write, cut or remove,
/// as it does when it opens, is forgotten: it goes by what it remembers, and the files stay as they are.
struct LookedAtStorage: ~Copyable, SegmentStorage {
  private let files: FileStorage

  init(directory: ByteString) throws(FileStorage.OpenError) {
    files = try FileStorage(reading: directory)
  }

  mutating func list() throws(StorageError) -> [StorageFile] { try files.list() }

  mutating func size(of file: StorageFile) throws(StorageError) -> UInt64 {
    try files.size(of: file)
  }

  mutating func read(
    _ file: StorageFile, at offset: UInt64, count: Int, into buffer: inout [UInt8]
  ) throws(StorageError) -> Int {
    try files.read(file, at: offset, count: count, into: &buffer)
  }

  mutating func freeBytes() throws(StorageError) -> UInt64 { try files.freeBytes() }

  mutating func create(_: StorageFile, reserving _: UInt64) throws(StorageError) {}
  mutating func write(_: StorageFile, at _: UInt64, _: Span<UInt8>) throws(StorageError) {}
  mutating func sync(_: StorageFile) throws(StorageError) {}
  mutating func syncDirectory() throws(StorageError) {}
  mutating func truncate(_: StorageFile, to _: UInt64) throws(StorageError) {}
  mutating func remove(_: StorageFile) throws(StorageError) {}
  mutating func replace(_: StorageFile, by _: StorageFile) throws(StorageError) {}
  mutating func quarantine(_: StorageFile) throws(StorageError) {}
}
