import GRPC
import Primitives

/// What became of a resource (`envoy.admin.v3.ClientResourceStatus`).
public enum ResourceState: UInt8, Sendable {
  case requested = 1
  case doesNotExist = 2
  case acked = 3
  case nacked = 4
  case receivedError = 5
  case timeout = 6

  /// As `/config_dump` writes it.
  public var name: StaticString {
    switch self {
    case .requested: "REQUESTED"
    case .doesNotExist: "DOES_NOT_EXIST"
    case .acked: "ACKED"
    case .nacked: "NACKED"
    case .receivedError: "RECEIVED_ERROR"
    case .timeout: "TIMEOUT"
    }
  }
}

/// Where a resource's value came from.
public enum ResourceSource: UInt8, Sendable {
  case server = 0
  /// The last good resources on flash.
  case cache = 1
  /// A file that the configuration names; never asked of a server.
  case fixed = 2

  /// As `/config_dump` writes it.
  public var name: StaticString {
    switch self {
    case .server: "server"
    case .cache: "cache"
    case .fixed: "static"
    }
  }
}

/// The last thing that went wrong with a resource (`envoy.admin.v3.UpdateFailureState`).
public struct ResourceFailure: Equatable, Sendable {
  /// The version that was refused; empty when the server sent an error instead of a resource.
  public let version: ByteString
  public let time: WallTime
  /// What is wrong, in at most 512 bytes.
  public let text: ByteString
  /// What the server said of the resource; nil for a NACK.
  public let status: GRPCStatus?
}

/// One resource, asked for or received.
public struct ResourceEntry: Equatable, Sendable {
  public let name: ByteString
  public internal(set) var state = ResourceState.requested
  public internal(set) var source = ResourceSource.server
  /// The version of the value in force.
  public internal(set) var version = ByteString()
  /// The value in force, encoded; empty: none. A resource has a name, so its encoding is not empty.
  public internal(set) var value: [UInt8] = []
  /// Of the value in force.
  public internal(set) var digest: UInt64 = 0
  /// When the value in force, or the error, came.
  public internal(set) var updated = WallTime(nanoseconds: 0)
  /// Nil: the last update was fine.
  public internal(set) var failure: ResourceFailure?
  /// Somebody needs it.
  public internal(set) var isSubscribed = false
  /// When the server has had its time to send it.
  var fetchDeadline: Instant?
  /// When the value goes out of force: its TTL, or `endpoint_stale_after`.
  var expiry: Instant?
  /// `endpoint_stale_after` of the value in force; zero: never.
  var staleAfter = Interval.zero
  /// The server that the value is from, by its place.
  var server = 0
  /// A bit for each server on whose stream the name was asked for.
  var asked: UInt8 = 0
  /// The cache's value was given to the owner for a wildcard.
  var isAnnounced = false
  /// The call of `subscribe` that named it last.
  var wanted: UInt32 = 0
  /// The response that named it last.
  var mark: UInt32 = 0

  init(name: ByteString) { self.name = name }

  /// There is a value in force.
  public var hasValue: Bool { !value.isEmpty }

  /// It outlives the process: not with a time limit, which a restart would forget.
  var isPersistent: Bool { isNeeded && hasValue && expiry == nil && source != .fixed }

  /// What the cache brought and nobody has asked for is not.
  var isNeeded: Bool { isSubscribed || isAnnounced || source != .cache }

  var bytes: Int {
    DiscoveryLimits.entryOverheadBytes + name.count + version.count + value.count
  }
}

/// All resources, by type and name, bounded in number and in bytes.
public struct ResourceStore: Sendable {
  /// Of all entries together.
  public var bytesMax: Int
  /// What they take now.
  public private(set) var bytes = 0
  /// Counts the changes of what is in force, for the cache on flash.
  public private(set) var generation: UInt64 = 0
  /// By type, each in the order of the names.
  private var types: [[ResourceEntry]]

  public init(bytesMax: Int = DiscoveryLimits.storeBytesMax) {
    self.bytesMax = bytesMax
    types = Array(repeating: [], count: ResourceType.count)
  }

  /// All resources of a type, in the order of their names.
  public func entries(_ type: ResourceType) -> [ResourceEntry] { types[Int(type.rawValue)] }

  /// The resource with this name; nil: neither asked for nor received.
  public func entry(_ type: ResourceType, _ name: ByteString) -> ResourceEntry? {
    guard let place = place(type, name) else { return nil }
    return types[Int(type.rawValue)][place]
  }

  /// The last value of a resource was refused.
  public var isRefusing: Bool { types.contains { $0.contains { $0.state == .nacked } } }

  /// Bytes that are left.
  var room: Int { bytesMax - bytes }

  func count(_ type: ResourceType) -> Int { types[Int(type.rawValue)].count }

  func place(_ type: ResourceType, _ name: ByteString) -> Int? {
    let place = insertionPlace(type, name)
    let entries = types[Int(type.rawValue)]
    return place < entries.count && entries[place].name == name ? place : nil
  }

  /// The place of the resource, which is made if there is room for it.
  mutating func makePlace(_ type: ResourceType, _ name: ByteString) -> Int? {
    if let place = place(type, name) { return place }
    let entry = ResourceEntry(name: name)
    if count(type) == DiscoveryLimits.resourcesMax || bytes + entry.bytes > bytesMax {
      evictUnused()
    }
    guard count(type) < DiscoveryLimits.resourcesMax, bytes + entry.bytes <= bytesMax else {
      return nil
    }
    let place = insertionPlace(type, name)
    types[Int(type.rawValue)].insert(entry, at: place)
    bytes += entry.bytes
    return place
  }

  /// Changes nothing that `ResourceEntry.bytes` counts.
  subscript(type: ResourceType, place: Int) -> ResourceEntry {
    get { types[Int(type.rawValue)][place] }
    _modify { yield &types[Int(type.rawValue)][place] }
  }

  /// Puts a value in force. False: there is no room, and the old value stays.
  mutating func setValue(
    _ type: ResourceType, _ name: ByteString, _ value: Span<UInt8>, version: ByteString
  ) -> Bool {
    guard var place = place(type, name) else { return false }
    let more = value.count + version.count
    if bytes + more - self[type, place].value.count > bytesMax {
      evictUnused()
      guard let moved = self.place(type, name) else { return false }
      place = moved
    }
    let old = self[type, place].value.count + self[type, place].version.count
    guard bytes + more - old <= bytesMax else { return false }
    bytes += more - old
    var copy: [UInt8] = []
    copy.reserveCapacity(value.count)
    copy.append(contentsOf: value)
    self[type, place].value = copy
    self[type, place].version = version
    self[type, place].digest = ResourceStore.digest(value)
    self[type, place].expiry = nil
    generation += 1
    return true
  }

  /// The version of a value that came once more.
  mutating func setVersion(_ type: ResourceType, _ place: Int, _ version: ByteString) {
    bytes += version.count - self[type, place].version.count
    self[type, place].version = version
  }

  mutating func clearValue(_ type: ResourceType, _ place: Int) {
    bytes -= self[type, place].value.count + self[type, place].version.count
    self[type, place].value = []
    self[type, place].version = ByteString()
    self[type, place].digest = 0
    self[type, place].expiry = nil
    generation += 1
  }

  mutating func drop(_ type: ResourceType, _ place: Int) {
    bytes -= self[type, place].bytes
    if self[type, place].hasValue { generation += 1 }
    types[Int(type.rawValue)].remove(at: place)
  }

  /// What the cache brought and nobody has asked for gives way to what is asked for.
  private mutating func evictUnused() {
    for index in types.indices {
      for entry in types[index] where !entry.isNeeded { bytes -= entry.bytes }
      types[index].removeEach { !$0.isNeeded }
    }
  }

  private func insertionPlace(_ type: ResourceType, _ name: ByteString) -> Int {
    let entries = types[Int(type.rawValue)]
    return sortedPlace(entries.count) { ByteString.precedes(entries[$0].name, name) }
  }

  static let emptyDigest: UInt64 = 0xCBF2_9CE4_8422_2325

  /// FNV-1a with 64 bits: it tells an update from a repetition, of one server that is trusted.
  static func digest(_ bytes: Span<UInt8>, after begun: UInt64 = emptyDigest) -> UInt64 {
    var digest = begun
    for index in bytes.indices {
      digest = (digest ^ UInt64(bytes[index])) &* 0x100_0000_01B3
    }
    return digest
  }
}
