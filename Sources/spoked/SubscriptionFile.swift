import Configuration
import Platform
import Primitives

/// What the session at the broker may be subscribed to, in a file beside the spool: a daemon that starts
/// with another configuration unsubscribes what it does not want any more. Parts with a NUL behind
/// each: the broker, the client, the filters.
struct SubscriptionFile {
  private static let name: ByteString = "subscriptions"
  /// As many filters as a configuration has, and as many former ones, of their greatest length.
  private static let bytesMax = 2 * 65 * 65_536

  private let directory: ByteString
  private var written: [UInt8] = []

  init(_ directory: ByteString) { self.directory = directory }

  /// The filters that an earlier run may have left in the session; none if it was another's.
  mutating func read(_ mqtt: MQTTConfiguration) throws(FileError) -> [ByteString] {
    written = try ResourceFiles.read(Self.name, in: directory, limit: Self.bytesMax) ?? []
    let parts = written.split(separator: 0, omittingEmptySubsequences: false).map {
      ByteString(Array($0))
    }
    guard parts.count > 2, parts[0] == Self.broker(mqtt), parts[1] == mqtt.clientID else {
      return []
    }
    return Array(parts[2..<(parts.count - 1)])
  }

  /// Writes down what is, or is going to be, subscribed.
  mutating func write(_ filters: [ByteString], _ mqtt: MQTTConfiguration) throws(FileError) {
    var bytes: [UInt8] = []
    for part in [Self.broker(mqtt), mqtt.clientID] + filters {
      bytes.append(contentsOf: part.bytes)
      bytes.append(0)
    }
    guard bytes != written else { return }
    try ResourceFiles.write(bytes, as: Self.name, in: directory)
    written = bytes
  }

  private static func broker(_ mqtt: MQTTConfiguration) -> ByteString {
    mqtt.host + ByteString(":\(mqtt.port)")
  }
}
