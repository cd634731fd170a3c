import CLinux
import Primitives

/// A stream socket, TCP or Unix, that never waits.
public final class TCPSocket {
  private let file: FileDescriptor

  /// Starts to connect. The socket becomes writable when it is decided; then `finishConnect`.
  /// Keepalive stays off: HTTP/2's PING and MQTT's keepalive do that work.
  public init(connectingTo address: SocketAddress) throws(SystemError) {
    var target = spoke_address(address)
    file = FileDescriptor(owning: try check("connect", spoke_tcp_connect(&target)))
  }

  /// Connects to a Unix socket; that is decided at once.
  public init(connectingTo path: ByteString) throws(SystemError) {
    let descriptor = path.withCString { spoke_unix_connect($0) }
    file = FileDescriptor(owning: try check("connect", descriptor))
  }

  init(accepted descriptor: Int32) { file = FileDescriptor(owning: descriptor) }

  public var descriptor: Int32 { file.raw }

  /// The result of the connect, once the socket is writable.
  public func finishConnect() throws(SystemError) {
    let code = spoke_socket_error(file.raw)
    if code != 0 { throw SystemError("connect", code) }
  }

  /// Fills `buffer`, all of which is scratch, from its start.
  public func read(into buffer: inout [UInt8]) throws(SystemError) -> Transfer {
    try file.read("read", into: &buffer)
  }

  /// Writes what the kernel takes of `bytes`.
  public func write(_ bytes: Span<UInt8>) throws(SystemError) -> Transfer {
    try file.write("write", bytes)
  }

  /// Says that nothing more will be written.
  public func shutDownWriting() { _ = spoke_shutdown_write(file.raw) }

  /// The address on this side.
  public func localAddress() -> SocketAddress? { SocketAddress(localOf: file.raw) }
}

/// A socket that others connect to.
public final class Listener {
  private let file: FileDescriptor

  /// A TCP listener; port 0 takes a free one.
  public init(tcp address: SocketAddress, backlog: Int32 = 16) throws(SystemError) {
    var target = spoke_address(address)
    file = FileDescriptor(owning: try check("listen", spoke_tcp_listen(&target, backlog)))
  }

  /// A Unix listener that its group may use. The file of a process that is gone is replaced; a
  /// living one's (EADDRINUSE) and anything that is not a socket (EEXIST) are left alone.
  public init(unix path: ByteString, mode: UInt32 = 0o660, backlog: Int32 = 16)
    throws(SystemError)
  {
    let descriptor = path.withCString { spoke_unix_listen($0, mode, backlog) }
    file = FileDescriptor(owning: try check("listen", descriptor))
  }

  public var descriptor: Int32 { file.raw }

  /// The next waiting client; nil when there is none.
  public func accept() throws(SystemError) -> TCPSocket? {
    let descriptor = spoke_accept(file.raw)
    if descriptor == -EAGAIN { return nil }
    return TCPSocket(accepted: try check("accept", descriptor))
  }

  /// The address on this side.
  public func localAddress() -> SocketAddress? { SocketAddress(localOf: file.raw) }
}

extension spoke_address {
  init(_ address: SocketAddress) {
    self.init()
    let octets = address.bytes
    count = UInt32(octets.count)
    port = address.port
    scope = address.scope
    withUnsafeMutableBytes(of: &bytes) { target in
      for index in octets.indices { target[index] = octets[index] }
    }
  }
}

extension SocketAddress {
  init?(_ address: spoke_address) {
    let bytes = withUnsafeBytes(of: address.bytes) { Array($0.prefix(Int(address.count))) }
    self.init(bytes: bytes, port: address.port, scope: address.scope)
  }

  init?(localOf descriptor: Int32) {
    var local = spoke_address()
    guard spoke_local_address(descriptor, &local) == 0 else { return nil }
    self.init(local)
  }

  /// An address written in numbers, without a name server.
  public init?(numeric host: ByteString, port: UInt16) {
    var list: UnsafeMutableRawPointer?
    guard host.withCString({ spoke_resolve($0, 1, &list) }) == 0 else { return nil }
    defer { spoke_addresses_free(list) }
    var found = spoke_address()
    var position = list
    guard spoke_addresses_next(&position, &found) == 1 else { return nil }
    found.port = port
    self.init(found)
  }
}
