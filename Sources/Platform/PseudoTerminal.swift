import CLinux
import Primitives

/// The board's end of an emulated serial line. The other end is a path that anybody can open.
///
/// It keeps the slave open itself: the master of a pair whose slave nobody holds answers every read
/// with EIO, and only the slave's side knows how much is still unread. Who else has it open is told
/// by watching its path.
public struct PseudoTerminal: ~Copyable {
  /// The slave's path, `/dev/pts/N`.
  public private(set) var path: ByteString
  private var master: FileDescriptor
  private var slave: FileDescriptor
  private var watch: FileDescriptor
  /// How often it has been opened by others, as far as `isOpen` has seen.
  public private(set) var opens: UInt32 = 0
  private var closes: UInt32 = 0
  private var input = [UInt8](repeating: 0, count: 4096)

  public init() throws(SystemError) {
    var name = [CChar](repeating: 0, count: 128)
    var slave: Int32 = -1
    let master = spoke_pty_open(&name, name.count, &slave)
    try check("open a pseudo-terminal", master)
    let path = name.withUnsafeBufferPointer { ByteString(cString: $0.baseAddress) }
    let watch = path.withCString { spoke_pty_watch($0) }
    if watch < 0 {
      _ = spoke_close(slave)
      _ = spoke_close(master)
    }
    try check("inotify_add_watch", watch)
    self.path = path
    self.master = FileDescriptor(owning: master)
    self.slave = FileDescriptor(owning: slave)
    self.watch = FileDescriptor(owning: watch)
  }

  /// Whether somebody else has it open. When the last one closes it, a claim to exclusive use that
  /// was left behind ends, as it does on a real port.
  public mutating func isOpen() throws(SystemError) -> Bool {
    let before = closes
    try check("read inotify", spoke_pty_watched(watch.raw, &opens, &closes))
    // Two openings at the same moment are reported as one.
    if closes > opens { opens = closes }
    if closes == opens && closes != before { _ = spoke_pty_end_exclusive(slave.raw) }
    return opens > closes
  }

  /// Writes what fits, and answers how much; 0 when the reader must read first.
  public func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    switch try master.write("write to the pseudo-terminal", bytes) {
    case .bytes(let count): count
    case .blocked, .ended: 0
    }
  }

  /// Takes what the other side has written, so that it never has to wait, and answers how much.
  public mutating func discardInput() throws(SystemError) -> Int {
    var total = 0
    while case .bytes(let count) = try master.read("read the pseudo-terminal", into: &input) {
      total += count
    }
    return total
  }

  /// Bytes that nobody has read yet, what was written a moment ago among them.
  public func unread() throws(SystemError) -> Int {
    // A worker of the kernel moves what the master wrote to the slave's side. To ask whether the
    // slave is readable waits for it (`n_tty_poll` flushes the work); FIONREAD alone does not.
    try check("ppoll", spoke_wait_readable([slave.raw], 1, 0))
    return Int(try check("FIONREAD", spoke_pty_unread(slave.raw)))
  }

  /// The board goes away: whoever has the terminal open sees it hang up, and its path is gone.
  public mutating func hangUp() {
    master = FileDescriptor(owning: -1)
    slave = FileDescriptor(owning: -1)
    watch = FileDescriptor(owning: -1)
  }

  /// Waits for `interval`, or until someone opens, closes or writes, or `signals` is readable.
  public func wait(_ interval: Interval, signals: Int32) throws(SystemError) {
    let descriptors = [master.raw, watch.raw, signals]
    try check("ppoll", spoke_wait_readable(descriptors, 3, max(interval.nanoseconds, 0)))
  }
}

/// A symbolic link that names a terminal for as long as the terminal is there.
public struct TerminalLink {
  public let path: ByteString

  public init(path: ByteString) { self.path = path }

  /// Makes the link, or points it elsewhere in one step. A file that is no link is left alone.
  public func point(to target: ByteString) throws(SystemError) {
    let answer = target.withCString { target in
      path.withCString { spoke_link_replace(target, $0) }
    }
    try check("symlink", answer)
  }

  /// Removes it, unless someone has pointed it elsewhere.
  public func remove(from target: ByteString) {
    _ = target.withCString { target in path.withCString { spoke_link_remove(target, $0) } }
  }
}
