import Primitives

// What of a running daemon may go on when its configuration is read again.

extension SerialConfiguration {
  /// The same port, line and framing. The stream that its frames go to may be another one: that is
  /// an index, and changes when streams are added before it.
  @inline(never)
  public func isSamePort(as other: SerialConfiguration) -> Bool {
    var other = other
    other.stream = stream
    return self == other
  }
}

extension MQTTConfiguration {
  /// The same broker, client and filters. Streams and the `[tls.NAME]` table are indices.
  @inline(never)
  public func isSameSession(as other: MQTTConfiguration) -> Bool {
    guard subscriptions.count == other.subscriptions.count else { return false }
    var other = other
    other.tls = tls
    for index in subscriptions.indices {
      other.subscriptions[index].stream = subscriptions[index].stream
    }
    return self == other
  }
}

extension Configuration {
  /// Takes over from the running daemon what is settled when it starts. The names of the tables
  /// whose changes wait for the next start.
  @inline(never)
  public mutating func keepWhatNeedsRestart(of running: Configuration) -> [ByteString] {
    var tables: [ByteString] = []
    if spool != running.spool { tables.append("[spool]") }
    if admin != running.admin { tables.append("[admin]") }
    spool = running.spool
    admin = running.admin
    return tables
  }
}
