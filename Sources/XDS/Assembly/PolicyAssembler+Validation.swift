import Policy
import Primitives

extension PolicyAssembler {
  /// A resource of a response: decoded once, and kept when the client keeps it.
  mutating func validate() {
    guard let candidate = client.candidate else { return }
    var staleAfter = Interval.zero
    let form: DecodedResource
    do throws(ResourceRejection) {
      let bytes = candidate.message.span.extracting(candidate.value)
      form = try decode(candidate.type, candidate.name, bytes, &staleAfter)
    } catch {
      return client.submitVerdict(.rejected(error.text))
    }
    client.submitVerdict(.accepted(staleAfter: staleAfter))
    // The store may have had no room for it, and kept what it had.
    let value = ResourceStore.digest(candidate.message.span.extracting(candidate.value))
    guard let entry = client.store.entry(candidate.type, candidate.name), entry.hasValue,
      entry.digest == value
    else { return }
    decoded.put(candidate.type, candidate.name, form)
    isStale = true
  }

  /// A value that was there before it was asked for: of the cache, a file, a wildcard.
  mutating func adopt(_ type: ResourceType, _ name: ByteString) {
    guard let entry = client.store.entry(type, name), entry.hasValue else { return }
    isStale = true
    var staleAfter = Interval.zero
    do throws(ResourceRejection) {
      decoded.put(type, name, try decode(type, name, entry.value.span, &staleAfter))
    } catch {
      decoded.remove(type, name)
      client.discard(type, name, error.text)
      notices.append(.failed(type, name))
    }
  }

  private func decode(
    _ type: ResourceType, _ name: ByteString, _ bytes: Span<UInt8>, _ staleAfter: inout Interval
  ) throws(ResourceRejection) -> DecodedResource {
    switch type {
    case .listener: return .listener(try ListenerResource.decode(bytes))
    case .routeConfiguration: return .routeConfiguration(try RouteConfiguration.decode(bytes))
    case .cluster:
      if settings.reservedClusters.contains(name) {
        throw ResourceRejection(
          field: "name", reason: "it is the name of a target of the client's own configuration")
      }
      if isFull(without: name) {
        throw ResourceRejection(
          field: ByteString(),
          reason: ByteString("there are \(AssemblerLimits.clustersMax) clusters already"))
      }
      return .cluster(try ClusterResource.decode(bytes, fault: tlsFault))
    case .endpoints:
      let resource = try AssignmentResource.decode(bytes)
      staleAfter = resource.staleAfter
      return .endpoints(resource.assignment)
    case .secret: return .secret(try SecretResource.decode(bytes, fault: tlsFault))
    case .runtime: return .runtime(try RuntimeResource.decode(bytes).layer)
    }
  }

  /// What goes out of force does not count: its successors come before it goes.
  private func isFull(without name: ByteString) -> Bool {
    var count = 0
    for other in expected.names where other != name && decoded.contains(.cluster, other) {
      count += 1
    }
    return count >= AssemblerLimits.clustersMax
  }
}

extension PolicyAssembler {
  /// What is wrong with the resources that are there, whether anything refers to them or not: for a check
  /// of files.
  public func faults() -> [(type: ResourceType, name: ByteString, text: ByteString)] {
    var faults: [(type: ResourceType, name: ByteString, text: ByteString)] = []
    for raw in 0..<UInt8(ResourceType.count) {
      guard let type = ResourceType(rawValue: raw) else { continue }
      for entry in client.store.entries(type) where entry.hasValue {
        var staleAfter = Interval.zero
        do throws(ResourceRejection) {
          _ = try decode(type, entry.name, entry.value.span, &staleAfter)
        } catch {
          faults.append((type: type, name: entry.name, text: error.text))
        }
      }
    }
    return faults
  }
}
