import Platform
import Primitives
import Spool

/// The directory of the spool as the spool wants its storage: the same calls, its own names for
/// files and errors. `Platform` does not know the spool.
struct DirectoryStorage: ~Copyable, SegmentStorage {
  private let files: FileStorage

  init(_ files: FileStorage) { self.files = files }

  mutating func list() throws(StorageError) -> [StorageFile] {
    do throws(FileStorage.Failure) {
      return try files.list().map { StorageFile($0) }
    } catch { throw StorageError(error) }
  }

  mutating func size(of file: StorageFile) throws(StorageError) -> UInt64 {
    do throws(FileStorage.Failure) {
      return try files.size(of: file.platform)
    } catch { throw StorageError(error) }
  }

  mutating func create(_ file: StorageFile, reserving bytes: UInt64) throws(StorageError) {
    do throws(FileStorage.Failure) {
      try files.create(file.platform, reserving: bytes)
    } catch { throw StorageError(error) }
  }

  mutating func write(
    _ file: StorageFile, at offset: UInt64, _ bytes: Span<UInt8>
  ) throws(StorageError) {
    do throws(FileStorage.Failure) {
      try files.write(file.platform, at: offset, bytes)
    } catch { throw StorageError(error) }
  }

  mutating func read(
    _ file: StorageFile, at offset: UInt64, count: Int, into buffer: inout [UInt8]
  ) throws(StorageError) -> Int {
    do throws(FileStorage.Failure) {
      return try files.read(file.platform, at: offset, count: count, into: &buffer)
    } catch { throw StorageError(error) }
  }

  mutating func sync(_ file: StorageFile) throws(StorageError) {
    do throws(FileStorage.Failure) {
      try files.sync(file.platform)
    } catch { throw StorageError(error) }
  }

  mutating func syncDirectory() throws(StorageError) {
    do throws(FileStorage.Failure) {
      try files.syncDirectory()
    } catch { throw StorageError(error) }
  }

  mutating func truncate(_ file: StorageFile, to bytes: UInt64) throws(StorageError) {
    do throws(FileStorage.Failure) {
      try files.truncate(file.platform, to: bytes)
    } catch { throw StorageError(error) }
  }

  mutating func remove(_ file: StorageFile) throws(StorageError) {
    do throws(FileStorage.Failure) {
      try files.remove(file.platform)
    } catch { throw StorageError(error) }
  }

  mutating func quarantine(_ file: StorageFile) throws(StorageError) {
    do throws(FileStorage.Failure) {
      try files.quarantine(file.platform)
    } catch { throw StorageError(error) }
  }

  mutating func freeBytes() throws(StorageError) -> UInt64 {
    do throws(FileStorage.Failure) {
      return try files.freeBytes()
    } catch { throw StorageError(error) }
  }
}

extension StorageFile {
  init(_ file: FileStorage.File) {
    switch file {
    case .segment(let logClass, let number): self = .segment(logClass: logClass, number: number)
    case .cursor: self = .cursor
    case .deadLetter: self = .deadLetter
    }
  }

  var platform: FileStorage.File {
    switch self {
    case .segment(let logClass, let number): .segment(logClass: logClass, number: number)
    case .cursor: .cursor
    case .deadLetter: .deadLetter
    }
  }
}

extension StorageError {
  init(_ failure: FileStorage.Failure) {
    switch failure {
    case .full: self = .full
    case .readOnly: self = .readOnly
    case .missing: self = .missing
    case .exists: self = .exists
    case .failed(let code): self = .failed(code)
    }
  }
}
