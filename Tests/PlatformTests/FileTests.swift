import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

@Suite(.oneAtATime) struct FileStorageTests {
  private let segment = StorageFile.segment(logClass: 2, number: 42)

  @Test("what is written at an offset is read back, appended to what the buffer holds")
  func writeAndRead() throws {
    let directory = TemporaryDirectory()
    let storage = try FileStorage(directory: directory.name)
    try storage.create(segment, reserving: 65_536)
    #expect(try storage.size(of: segment) == 0)
    try storage.write(segment, at: 0, Array("hello ".utf8).span)
    try storage.write(segment, at: 6, Array("world".utf8).span)
    try storage.sync(segment)
    try storage.syncDirectory()
    var buffer = Array("> ".utf8)
    #expect(try storage.read(segment, at: 6, count: 1_000_000, into: &buffer) == 5)
    #expect(buffer == Array("> world".utf8))
    #expect(try storage.read(segment, at: 11, count: 10, into: &buffer) == 0)
    #expect(try storage.read(segment, at: .max, count: 10, into: &buffer) == 0)
    #expect(try storage.size(of: segment) == 11)
    try storage.truncate(segment, to: 5)
    #expect(try storage.size(of: segment) == 5)
    #expect(try storage.freeBytes() > 0)
  }

  @Test("a pipe that nobody writes to is no file, and is not waited for")
  func pipe() {
    let directory = TemporaryDirectory()
    let path = directory.file("pipe")
    #expect(path.withCString { mkfifo($0, 0o600) } == 0)
    #expect {
      try FileReader.contents(of: path, limit: 100)
    } throws: { ($0 as? FileError)?.reason == "not a file" }
  }

  @Test("a directory that is only looked at needs no lock and cannot be changed")
  func reading() throws {
    let directory = TemporaryDirectory()
    let owner = try FileStorage(directory: directory.name)
    try owner.create(segment, reserving: 0)
    try owner.write(segment, at: 0, Array("bytes".utf8).span)
    let reader = try FileStorage(reading: directory.name)
    var buffer: [UInt8] = []
    #expect(try reader.read(segment, at: 0, count: 100, into: &buffer) == 5)
    #expect(try reader.list() == [segment])
    #expect(failure { try reader.write(segment, at: 0, Array("x".utf8).span) } == .readOnly)
    #expect(failure { try reader.truncate(segment, to: 0) } == .readOnly)
    #expect(failure { try reader.create(.cursor, reserving: 0) } == .readOnly)
    #expect(failure { try reader.remove(segment) } == .readOnly)
    #expect(failure { try reader.quarantine(segment) } == .readOnly)
    #expect(try owner.list() == [segment])
    #expect(throws: FileStorage.OpenError.self) {
      _ = try FileStorage(reading: directory.file("nowhere"))
    }
  }

  @Test("only our own names are listed, and the files are for us alone")
  func list() throws {
    let directory = TemporaryDirectory()
    for name in [
      "4-0000000001.seg", "0-1.seg", "0-00000000001.seg", "0-9999999999.seg", "0-000000000x.seg",
      "notes", "cursor.bak", "0-0000000001.seg.tmp", "2-0000000001-0.seg", "2-0000000001-4.seg",
      "2-0000000001x1.seg", "2-0000000001-1.sex",
    ] {
      try Data().write(to: URL(fileURLWithPath: directory.file(name).description))
    }
    let storage = try FileStorage(directory: directory.name)
    #expect(try storage.list().isEmpty)
    let files: Set<StorageFile> = [
      .cursor, .newCursor, .deadLetter, segment, .segment(logClass: 0, number: 0),
      .segment(logClass: 3, number: .max), .segment(logClass: 2, number: 42, level: 1),
      .segment(logClass: 2, number: 42, level: 3),
    ]
    for file in files { try storage.create(file, reserving: 0) }
    #expect(Set(try storage.list()) == files)
    #expect(segment.name == "2-0000000042.seg")
    #expect(
      StorageFile.segment(logClass: 2, number: 42, level: 3).name == "2-0000000042-3.seg")
    let path = directory.file("2-0000000042.seg").description
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
    #expect(mode as? Int == 0o600)
  }

  @Test("each refusal has its case: exists, missing; and symbolic links are not followed")
  func refusals() throws {
    let directory = TemporaryDirectory()
    let storage = try FileStorage(directory: directory.name)
    #expect(failure { try storage.size(of: .cursor) } == .missing)
    #expect(failure { try storage.remove(.cursor) } == .missing)
    #expect(failure { try storage.quarantine(.cursor) } == .missing)
    try storage.create(.cursor, reserving: 0)
    #expect(failure { try storage.create(.cursor, reserving: 0) } == .exists)
    try FileManager.default.createSymbolicLink(
      atPath: directory.file("dead-letter.seg").description, withDestinationPath: "/etc/passwd")
    #expect(failure { try storage.size(of: .deadLetter) } == .failed(ELOOP))
    #expect(failure { try storage.create(.deadLetter, reserving: 0) } == .exists)
  }

  @Test("a file takes another one's name, with its bytes, and syncs although that one could not")
  func replaces() throws {
    let directory = TemporaryDirectory()
    let storage = try FileStorage(directory: directory.name)
    try storage.create(.cursor, reserving: 0)
    try storage.write(.cursor, at: 0, [1, 2, 3].span)
    #expect(failure { try storage.replace(.cursor, by: .newCursor) } == .missing)
    try storage.create(.newCursor, reserving: 0)
    try storage.write(.newCursor, at: 0, [4, 5].span)
    try storage.sync(.newCursor)
    try storage.replace(.cursor, by: .newCursor)
    try storage.syncDirectory()
    #expect(try storage.list() == [.cursor])
    var bytes: [UInt8] = []
    _ = try storage.read(.cursor, at: 0, count: 10, into: &bytes)
    #expect(bytes == [4, 5])
    try storage.write(.cursor, at: 2, [6].span)
    try storage.sync(.cursor)
    #expect(try storage.size(of: .cursor) == 3)
  }

  /// Where a reservation of more than there is fails at once. A file system on a disk takes all that is
  /// free first, and everybody else's writes fail with it.
  private static let memory = "/dev/shm/"
  private static var isMemory: Bool {
    let mounts = try? String(contentsOfFile: "/proc/mounts", encoding: .utf8)
    return mounts?.contains(" /dev/shm tmpfs ") == true
  }

  @Test(
    "a full disk is told as full, and a reservation that fails leaves no file",
    .enabled(if: isMemory, "/dev/shm is no tmpfs"))
  func full() throws {
    let directory = TemporaryDirectory(in: Self.memory)
    let storage = try FileStorage(directory: directory.name)
    let free = try storage.freeBytes()
    #expect(failure { try storage.create(segment, reserving: free * 2 + 1 << 40) } == .full)
    #expect(try storage.list().isEmpty)
  }

  @Test("a second instance is refused and told why; the first one's end frees the directory")
  func locked() throws {
    let directory = TemporaryDirectory()
    do {
      let first = try FileStorage(directory: directory.name)
      var message = ""
      do throws(FileStorage.OpenError) {
        _ = try FileStorage(directory: directory.name)
      } catch {
        message = error.description
        #expect(error.isLocked)
      }
      #expect(message == "spool directory \(directory.path): another process uses it")
      _ = first
    }
    _ = try FileStorage(directory: directory.name)
  }

  @Test("a directory that is deleted is told by the next sync, and made again with the next file")
  func deleted() throws {
    let directory = TemporaryDirectory()
    let storage = try FileStorage(directory: directory.name)
    try storage.create(segment, reserving: 0)
    try storage.write(segment, at: 0, [1, 2, 3].span)
    try storage.sync(segment)
    try FileManager.default.removeItem(atPath: directory.path)
    try storage.write(segment, at: 3, [4].span)
    #expect(failure { try storage.sync(segment) } == .missing)
    #expect(try storage.list().isEmpty)
    let next = StorageFile.segment(logClass: 2, number: 43)
    try storage.create(next, reserving: 0)
    try storage.write(next, at: 0, [5].span)
    try storage.sync(next)
    try storage.syncDirectory()
    #expect(try storage.list() == [next])
    #expect(failure { try storage.size(of: segment) } == .missing)
    // It is locked as the first one was.
    var isLocked = false
    do throws(FileStorage.OpenError) {
      _ = try FileStorage(directory: directory.name)
    } catch { isLocked = error.isLocked }
    #expect(isLocked)
  }

  @Test("a directory that cannot be made names itself")
  func noDirectory() {
    var message = ""
    do throws(FileStorage.OpenError) {
      _ = try FileStorage(directory: "/proc/none/spool")
    } catch { message = error.description }
    #expect(message == "spool directory /proc/none/spool: open: No such file or directory")
  }

  @Test("quarantine keeps the two newest")
  func quarantine() throws {
    let directory = TemporaryDirectory()
    let storage = try FileStorage(directory: directory.name)
    for number in UInt32(1)...4 {
      let file = StorageFile.segment(logClass: 1, number: number)
      try storage.create(file, reserving: 0)
      try storage.write(file, at: 0, [UInt8(number)].span)
      try storage.quarantine(file)
      #expect(failure { try storage.size(of: file) } == .missing)
    }
    #expect(try storage.list().isEmpty)
    let kept = try FileManager.default.contentsOfDirectory(
      atPath: directory.file("quarantine").description)
    #expect(
      kept.sorted() == ["0000000003-1-0000000003.seg", "0000000004-1-0000000004.seg"])
  }

  @Test("many more files than descriptors: all are written and read, few are open")
  func descriptors() throws {
    let directory = TemporaryDirectory()
    let storage = try FileStorage(directory: directory.name)
    let files = (0..<40).map { StorageFile.segment(logClass: 0, number: UInt32($0)) }
    for (index, file) in files.enumerated() {
      try storage.create(file, reserving: 0)
      try storage.write(file, at: 0, [UInt8(index)].span)
    }
    for (index, file) in files.enumerated() {
      var buffer: [UInt8] = []
      #expect(try storage.read(file, at: 0, count: 9, into: &buffer) == 1)
      #expect(buffer == [UInt8(index)])
      try storage.sync(file)
    }
    let links = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
      try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
    }
    #expect(links.filter { $0.hasPrefix(directory.path) && $0.hasSuffix(".seg") }.count == 8)
  }

  @Test("a file whose sync failed never syncs again until it is made anew")
  func poisoned() throws {
    let directory = TemporaryDirectory()
    let storage = try FileStorage(directory: directory.name)
    try storage.create(segment, reserving: 0)
    // A device whose writes do not sync stands in for a broken disk: fdatasync of it is EINVAL.
    try storage.remove(segment)
    let path = directory.file("2-0000000042.seg").description
    try #require(mkfifo(path, 0o600) == 0)
    #expect(failure { try storage.sync(segment) } == .failed(EINVAL))
    #expect(unlink(path) == 0)
    try Data([1]).write(to: URL(fileURLWithPath: path))
    #expect(failure { try storage.sync(segment) } == .failed(EIO))
    var buffer: [UInt8] = []
    #expect(try storage.read(segment, at: 0, count: 1, into: &buffer) == 1)
    try storage.remove(segment)
    try storage.create(segment, reserving: 0)
    try storage.sync(segment)
  }

  private func failure<Result>(_ body: () throws -> Result) -> StorageError? {
    do { _ = try body() } catch { return error as? StorageError }
    return nil
  }
}

@Suite(.oneAtATime) struct FileReaderTests {
  @Test("a whole file up to its limit; what is not a file, or too large, names itself")
  func contents() throws {
    let directory = TemporaryDirectory()
    let file = directory.file("file")
    let bytes = (0..<1_000).map { UInt8(truncatingIfNeeded: $0) }
    try Data(bytes).write(to: URL(fileURLWithPath: file.description))
    #expect(try FileReader.contents(of: file, limit: 1_000) == bytes)
    func message(_ path: ByteString, _ limit: Int) -> String? {
      do throws(FileError) { _ = try FileReader.contents(of: path, limit: limit) } catch {
        return error.description
      }
      return nil
    }
    #expect(message(file, 999) == "\(file.description): larger than 999 bytes")
    #expect(message(directory.name, 9) == "\(directory.path): not a file")
    #expect(message("/none", 9) == "/none: No such file or directory")
    try Data().write(to: URL(fileURLWithPath: file.description))
    #expect(try FileReader.contents(of: file, limit: 0).isEmpty)
  }

  @Test("conf.d: the names with the suffix in byte order, hidden ones left out; absent is empty")
  func names() throws {
    let directory = TemporaryDirectory()
    for name in ["b.toml", "10.toml", "a.toml", "9.toml", ".x.toml", "c.toml~", ".toml", "toml"] {
      try Data().write(to: URL(fileURLWithPath: directory.file(name).description))
    }
    let names = try FileReader.names(in: directory.name, suffix: ".toml")
    #expect(names == ["10.toml", "9.toml", "a.toml", "b.toml"])
    #expect(try FileReader.names(in: "/none", suffix: ".toml").isEmpty)
  }
}
