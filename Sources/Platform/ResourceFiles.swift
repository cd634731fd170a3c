import CLinux
import Primitives

/// The files of a control plane's resources: what the daemon keeps of them, and what an operator gives.
public enum ResourceFiles {
  /// One file of an operator, and all of them together at most this often.
  static let bytesMax = 1 << 20
  static let filesMax = 64
  static let cacheName: ByteString = "resources"
  static let corruptName: ByteString = "resources.corrupt"

  /// The `*.pb` files of a directory, which must be there, in the order of their names.
  public static func read(
    in directory: ByteString
  ) throws(FileError) -> [(name: ByteString, bytes: [UInt8])] {
    var files: [(name: ByteString, bytes: [UInt8])] = []
    _ = try open(directory)
    for name in try FileReader.names(in: directory, suffix: ".pb").prefix(filesMax) {
      let path = directory + "/" + name
      files.append((name: path, bytes: try FileReader.contents(of: path, limit: bytesMax)))
    }
    return files
  }

  /// What was kept in a directory; nil: nothing yet.
  public static func readCache(
    in directory: ByteString, limit: Int
  ) throws(FileError) -> [UInt8]? {
    try read(cacheName, in: directory, limit: limit)
  }

  /// A file of a directory; nil: it is not there.
  public static func read(
    _ name: ByteString, in directory: ByteString, limit: Int
  ) throws(FileError) -> [UInt8]? {
    let isThere = try FileReader.names(in: directory, suffix: "").contains(name)
    return isThere ? try FileReader.contents(of: directory + "/" + name, limit: limit) : nil
  }

  /// Replaces what is kept. The directory is made if only its last part is missing.
  public static func writeCache(_ bytes: [UInt8], in directory: ByteString) throws(FileError) {
    _ = directory.withCString { spoke_create_directory($0, 0o700) }
    try write(bytes, as: cacheName, in: directory)
  }

  /// Replaces a file: written whole under another name, then renamed, so that a power cut leaves the old
  /// one or the new one.
  public static func write(
    _ bytes: [UInt8], as name: ByteString, in directory: ByteString
  ) throws(FileError) {
    let newName = name + ".new"
    let folder = try open(directory)
    let opened = newName.withCString { spoke_open_at(folder.raw, $0, 1, 0) }
    try check(opened, directory, "open")
    let file = FileDescriptor(owning: opened)
    try check(spoke_truncate(file.raw, 0), directory, "truncate")
    let written = bytes.withUnsafeBytes {
      spoke_write_at(file.raw, $0.baseAddress, $0.count, 0)
    }
    try check(written, directory, "write")
    try check(spoke_sync(file.raw), directory, "sync")
    try rename(newName, name, folder.raw, directory)
  }

  /// Keeps a file that cannot be used out of the way, for whoever wants to look at it.
  public static func setCacheAside(in directory: ByteString) throws(FileError) {
    let folder = try open(directory)
    try rename(cacheName, corruptName, folder.raw, directory)
  }

  private static func rename(
    _ from: ByteString, _ to: ByteString, _ folder: Int32, _ directory: ByteString
  ) throws(FileError) {
    let answer = from.withCString { from in
      to.withCString { spoke_rename_at(folder, from, folder, $0) }
    }
    try check(answer, directory, "rename")
    try check(spoke_sync(folder), directory, "sync")
  }

  private static func open(_ directory: ByteString) throws(FileError) -> FileDescriptor {
    let opened = directory.withCString { spoke_open_directory($0) }
    try check(opened, directory, "open")
    return FileDescriptor(owning: opened)
  }

  private static func check(
    _ answer: Int32, _ path: ByteString, _ call: StaticString
  ) throws(FileError) {
    guard answer < 0 else { return }
    throw FileError(path: path, reason: SystemError(call, -answer).description)
  }
}
