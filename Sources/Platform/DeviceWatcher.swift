import CLinux
import Primitives

/// Tells when a device may have come back, without polling: inotify on the directory that its path
/// is in, or that its symbolic link points into. Watch first, then try to open: what comes between
/// is then seen. It only hints; the caller also retries by itself, now and then.
public final class DeviceWatcher {
  private let file: FileDescriptor
  private var buffer: [UInt8]

  public init() throws(SystemError) {
    file = FileDescriptor(owning: try check("inotify_init", spoke_inotify()))
    // Room for at least fifteen events with names of the longest kind.
    buffer = Array(repeating: 0, count: 4_096)
  }

  public var descriptor: Int32 { file.raw }

  /// Watches for `path`. Again before every attempt to open it: directories under `/dev` come and go
  /// with their devices. A directory that is watched already stays so at no cost.
  public func watch(_ path: ByteString) {
    watchNearest(path)
    if let target = linkTarget(path) { watchNearest(target) }
  }

  /// Forgets what has happened, and answers whether anything has.
  public func drain() -> Bool {
    var happened = false
    while true {
      do throws(SystemError) {
        guard case .bytes = try file.read("read", into: &buffer) else { return happened }
        happened = true
      } catch { return happened }
    }
  }

  /// The directory of `path`, or the nearest one above it that exists.
  private func watchNearest(_ path: ByteString) {
    var directory = path
    while true {
      directory = parent(directory)
      let answer = directory.withCString { spoke_watch_directory(file.raw, $0) }
      if answer >= 0 || directory.bytes == [UInt8(ascii: "/")] { return }
    }
  }

  private func linkTarget(_ path: ByteString) -> ByteString? {
    guard let target = readLink(path) else { return nil }
    if target.bytes[0] == UInt8(ascii: "/") { return target }
    return parent(path) + "/" + target
  }
}

/// `/` for a path without a directory above it.
func parent(_ path: ByteString) -> ByteString {
  var end = path.count
  while end > 0, path.bytes[end - 1] != UInt8(ascii: "/") { end -= 1 }
  while end > 0, path.bytes[end - 1] == UInt8(ascii: "/") { end -= 1 }
  return end == 0 ? "/" : ByteString(Array(path.bytes[..<end]))
}
