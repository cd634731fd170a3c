import Primitives
import Protobuf

extension DiscoveryClient {
  /// Takes the last good resources of a cache, before anything is subscribed to. They are `available`
  /// once they are, and stay in force until the server has answered for their type and had its
  /// time to send its own. Returns how many there was no room for.
  public mutating func loadCache(_ file: [UInt8]) throws(CacheError) -> Int {
    let bytes = file.span
    let body = try ResourceCache.body(bytes)
    var refused = 0
    do throws(WireError) {
      // The header is a field of no message; a reader is made for the rest by its range.
      var reader = try WireReader(bytes).message(body)
      while let field = try reader.next(in: bytes) {
        guard field.number == 1, let range = field.value.range else { continue }
        if try !takeCached(try reader.message(range), bytes) { refused += 1 }
      }
    } catch {
      throw .corrupt
    }
    return refused
  }

  private mutating func takeCached(
    _ message: WireReader, _ bytes: Span<UInt8>
  ) throws(WireError) -> Bool {
    var reader = message
    var type: ResourceType?
    var name = 0..<0
    var version = ByteString()
    var value = 0..<0
    var updated = WallTime(nanoseconds: 0)
    while let field = try reader.next(in: bytes) {
      switch field.number {
      case 1: type = ResourceType(rawValue: UInt8(exactly: field.value.uint64 ?? 255) ?? 255)
      case 2: name = try reader.text(field.value, in: bytes) ?? name
      case 3:
        if let text = try reader.text(field.value, in: bytes) {
          version = ByteString(copying: bytes.extracting(text))
        }
      case 4: value = field.value.range ?? value
      case 5: updated = WallTime(nanoseconds: field.value.int64 ?? 0)
      default: break
      }
    }
    guard let type, !name.isEmpty, !value.isEmpty else { return false }
    let key = ByteString(copying: bytes.extracting(name))
    return put(type, key, bytes.extracting(value), version, .cache, updated)
  }

  /// Takes the resources of a file: an encoded `DiscoveryResponse`. They are in force whatever a
  /// server says. Returns how many were refused: of an unknown type, without a name, without room.
  public mutating func loadStatic(_ file: [UInt8], wall: WallTime) throws(WireError) -> Int {
    let bytes = file.span
    let header = try ResponseHeader(bytes, .stateOfTheWorld)
    var reader = WireReader(bytes)
    var refused = 0
    while let field = try reader.next(in: bytes) {
      guard field.number == 2, let range = field.value.range else { continue }
      let message = try reader.message(range)
      let resource = try DiscoveryWire.resource(message, in: bytes)
      guard let type = ResourceType(typeURL: bytes.extracting(resource.typeURL)),
        let value = resource.value, !value.isEmpty,
        let name = try DiscoveryWire.firstText(try message.message(value), in: bytes),
        !name.isEmpty
      else {
        refused += 1
        continue
      }
      let key = ByteString(copying: bytes.extracting(name))
      if !put(type, key, bytes.extracting(value), header.version, .fixed, wall) { refused += 1 }
    }
    return refused
  }

  private mutating func put(
    _ type: ResourceType, _ name: ByteString, _ value: Span<UInt8>, _ version: ByteString,
    _ source: ResourceSource, _ wall: WallTime
  ) -> Bool {
    if let place = store.place(type, name), store[type, place].source == .fixed { return false }
    guard name.count <= DiscoveryLimits.nameBytesMax, store.makePlace(type, name) != nil else {
      return false
    }
    guard store.setValue(type, name, value, version: version),
      let place = store.place(type, name)
    else {
      if let place = store.place(type, name) { dropIfUnused(type, place) }
      return false
    }
    store[type, place].source = source
    store[type, place].state = .acked
    store[type, place].updated = wall
    store[type, place].fetchDeadline = nil
    if store[type, place].isSubscribed || wildcards[Int(type.rawValue)] {
      store[type, place].isAnnounced = true
      notices.append(.available(type, name))
    }
    return true
  }
}
