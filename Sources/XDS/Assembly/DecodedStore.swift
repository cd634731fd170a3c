import Policy
import Primitives

/// A resource as it is used. Its bytes are in the client's `ResourceStore`, for the cache and for telling
/// an update from a repetition. Kept in a box of its own: tables of large values are large code.
indirect enum DecodedResource: Sendable {
  case listener(ListenerResource)
  case routeConfiguration(RouteConfiguration)
  case cluster(ClusterResource)
  case endpoints(Assignment)
  case secret(SecretResource)
  case runtime(RuntimeLayer)
}

/// The decoded form of every resource that has a value in force, by type and name.
struct DecodedStore: Sendable {
  private struct Entry: Sendable {
    let name: ByteString
    var form: DecodedResource
  }
  /// By type, each in the order of the names.
  private var types: [[Entry]] = Array(repeating: [], count: ResourceType.count)

  @inline(never)
  func count(_ type: ResourceType) -> Int { types[Int(type.rawValue)].count }

  @inline(never)
  func contains(_ type: ResourceType, _ name: ByteString) -> Bool { place(type, name) != nil }

  @inline(never)
  mutating func put(_ type: ResourceType, _ name: ByteString, _ form: DecodedResource) {
    if let place = place(type, name) {
      types[Int(type.rawValue)][place].form = form
    } else {
      types[Int(type.rawValue)].insert(
        Entry(name: name, form: form), at: insertionPlace(type, name))
    }
  }

  @inline(never)
  mutating func remove(_ type: ResourceType, _ name: ByteString) {
    if let place = place(type, name) { types[Int(type.rawValue)].remove(at: place) }
  }

  /// Forgets what the client does not know any more.
  @inline(never)
  mutating func keep(_ isKept: (ResourceType, ByteString) -> Bool) {
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      types[Int(raw)].removeEach { !isKept(type, $0.name) }
    }
  }

  @inline(never)
  func listener(_ name: ByteString) -> ListenerResource? {
    guard case .listener(let form) = form(.listener, name) else { return nil }
    return form
  }

  @inline(never)
  func routeConfiguration(_ name: ByteString) -> RouteConfiguration? {
    guard case .routeConfiguration(let form) = form(.routeConfiguration, name) else { return nil }
    return form
  }

  @inline(never)
  func cluster(_ name: ByteString) -> ClusterResource? {
    guard case .cluster(let form) = form(.cluster, name) else { return nil }
    return form
  }

  @inline(never)
  func endpoints(_ name: ByteString) -> Assignment? {
    guard case .endpoints(let form) = form(.endpoints, name) else { return nil }
    return form
  }

  @inline(never)
  func secret(_ name: ByteString) -> SecretResource? {
    guard case .secret(let form) = form(.secret, name) else { return nil }
    return form
  }

  @inline(never)
  func runtime(_ name: ByteString) -> RuntimeLayer? {
    guard case .runtime(let form) = form(.runtime, name) else { return nil }
    return form
  }

  @inline(never)
  private func form(_ type: ResourceType, _ name: ByteString) -> DecodedResource? {
    guard let place = place(type, name) else { return nil }
    return types[Int(type.rawValue)][place].form
  }

  @inline(never)
  private func place(_ type: ResourceType, _ name: ByteString) -> Int? {
    let place = insertionPlace(type, name)
    let entries = types[Int(type.rawValue)]
    return place < entries.count && entries[place].name == name ? place : nil
  }

  @inline(never)
  private func insertionPlace(_ type: ResourceType, _ name: ByteString) -> Int {
    let entries = types[Int(type.rawValue)]
    return sortedPlace(entries.count) { ByteString.precedes(entries[$0].name, name) }
  }
}
