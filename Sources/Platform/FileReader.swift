import CLinux
import Primitives

/// A file that could not be read, with its name.
public struct FileError: Error, Sendable {
  public let path: ByteString
  public let reason: String

  /// `/etc/spoke/spoke.toml: No such file or directory`.
  public var description: String { "\(path.description): \(reason)" }
}

/// Reads whole files.
public enum FileReader {
  /// All bytes of a file; an error when there are more than `limit`. Devices and directories are
  /// refused.
  public static func contents(of path: ByteString, limit: Int) throws(FileError) -> [UInt8] {
    let opened = path.withCString { spoke_open_read($0) }
    if opened < 0 { throw FileError(path: path, reason: SystemError("open", -opened).reason) }
    let file = FileDescriptor(owning: opened)
    guard spoke_is_regular_file(file.raw) == 1 else {
      throw FileError(path: path, reason: "not a file")
    }
    let size = spoke_file_size(file.raw)
    guard size <= Int64(limit) else {
      throw FileError(path: path, reason: "larger than \(limit) bytes")
    }
    // One more than the size, to see a file that grew; a file of /proc says that it has none.
    var bytes = [UInt8](repeating: 0, count: size > 0 ? Int(size) + 1 : min(limit + 1, 65_536))
    let room = bytes.count
    let got = bytes.withUnsafeMutableBytes { spoke_read_at(file.raw, $0.baseAddress, room, 0) }
    if got < 0 {
      throw FileError(path: path, reason: SystemError("read", Int32(clamping: -got)).reason)
    }
    guard got <= Int64(limit) else {
      throw FileError(path: path, reason: "larger than \(limit) bytes")
    }
    bytes.removeLast(room - Int(got))
    return bytes
  }

  /// The checksum of the contents; 0 when they cannot be read.
  public static func checksum(of path: ByteString, limit: Int) -> UInt32 {
    let bytes: [UInt8]
    do throws(FileError) {
      bytes = try contents(of: path, limit: limit)
    } catch {
      return 0
    }
    return CRC32C.of(bytes.span)
  }

  /// The names in a directory that end with `suffix`, in byte order. A directory that does not
  /// exist is empty.
  public static func names(
    in directory: ByteString, suffix: ByteString
  ) throws(FileError) -> [ByteString] {
    let opened = directory.withCString { spoke_open_directory($0) }
    if opened == -ENOENT { return [] }
    if opened < 0 { throw FileError(path: directory, reason: SystemError("open", -opened).reason) }
    let file = FileDescriptor(owning: opened)
    var names: [ByteString] = []
    let answer = forEachName(in: file.raw) { name in
      if name.count > suffix.count, name.bytes[0] != UInt8(ascii: "."), name.hasSuffix(suffix) {
        names.append(name)
      }
    }
    if answer < 0 {
      throw FileError(path: directory, reason: SystemError("readdir", -answer).reason)
    }
    names.heapSort { ByteString.precedes($0, $1) }
    return names
  }
}

/// Calls `body` for every name but `.` and `..`. 0, or a negative errno.
@inline(never)
func forEachName(in directory: Int32, _ body: (ByteString) -> Void) -> Int32 {
  var stream: UnsafeMutableRawPointer?
  let opened = spoke_list_open(directory, &stream)
  if opened < 0 { return opened }
  defer { spoke_list_close(stream) }
  var buffer = [CChar](repeating: 0, count: 256)
  while true {
    let answer = spoke_list_next(stream, &buffer, buffer.count)
    if answer <= 0 { return answer }
    let name = buffer.withUnsafeBufferPointer { ByteString(cString: $0.baseAddress) }
    if name != "." && name != ".." { body(name) }
  }
}

extension ByteString {
  func hasSuffix(_ suffix: ByteString) -> Bool {
    count >= suffix.count && bytes[(count - suffix.count)...].elementsEqual(suffix.bytes)
  }
}
