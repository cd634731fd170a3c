import Configuration
import NetworkingCore
import Policy
import Primitives
import XDS

/// What the control plane's machines ask for, and what there is to say about it.
extension Gateway where Storage: ~Copyable {
  mutating func carryOutDiscovery(_ plane: ControlPlane, clocks: Clocks) {
    while let action = plane.assembler.nextAction(now: clocks.now) {
      switch action {
      case .open(let stream, let server):
        plane.channel.open(stream, server: server, plane.assembler.client.settings.transport)
      case .send(let stream, let message):
        plane.channel.send(message, on: stream, &plane.assembler.client)
      case .close(let stream): plane.channel.close(stream)
      case .apply:
        applyPolicy(now: clocks.now)
        logPolicy()
      case .failed(let type, let name): reportFailure(type, name, clocks: clocks)
      case .removed(let type, let name): reportRemoval(type, name, clocks: clocks)
      case .unreachable(let server): reportUnreachable(server)
      }
    }
  }

  private mutating func logPolicy() {
    guard let snapshot = controlPlane?.assembler.snapshot else { return }
    log(
      .info,
      "xds: a policy of \(snapshot.listeners.count) listeners and \(snapshot.clusters.count) "
        + "clusters is in force")
  }

  private mutating func reportFailure(
    _ type: ResourceType, _ name: ByteString, clocks: Clocks
  ) {
    guard let entry = controlPlane?.assembler.client.store.entry(type, name) else { return }
    guard let failure = entry.failure else {
      if entry.state == .doesNotExist {
        log(.warning, "xds: \(type.word.description) \(name.description) is deleted, and kept")
      }
      return
    }
    let refusal = ControlPlane.Refusal(
      type: type, name: name, version: failure.version, text: failure.text)
    guard controlPlane?.isNews(refusal) == true else { return }
    let kept = entry.hasValue ? "; the last good one stays in force" : ""
    log(
      .warning,
      "xds: \(type.word.description) \(name.description): \(failure.text.description)\(kept)")
    report("resource_rejected", clocks: clocks) { json in
      json.member("type", type.word)
      json.member("name", name)
      json.member("version", failure.version)
      json.member("state", ByteString(entry.state.name))
      json.member("reason", failure.text)
      json.member("kept", entry.hasValue)
    }
  }

  private mutating func reportRemoval(
    _ type: ResourceType, _ name: ByteString, clocks: Clocks
  ) {
    log(.warning, "xds: \(type.word.description) \(name.description) does not exist")
    // What a stream cannot do without.
    guard type == .listener || type == .routeConfiguration || type == .cluster else { return }
    report("resource_missing", clocks: clocks) { json in
      json.member("type", type.word)
      json.member("name", name)
    }
  }

  private mutating func reportUnreachable(_ server: Int) {
    guard let plane = controlPlane, plane.failures.indices.contains(server) else { return }
    plane.failures[server] &+= 1
    let failures = plane.failures[server]
    // The first and every power of two: a dead server must not fill the log.
    guard failures & (failures - 1) == 0 else { return }
    log(
      .warning,
      "xds: \(plane.servers[server].authority.description): \(plane.lastFailure(server).description), "
        + "attempt \(failures)")
  }

  /// Tells when the control plane comes and goes.
  mutating func noteConnection(clocks: Clocks) {
    guard let plane = controlPlane, plane.assembler.client.isConnected != plane.isConnected else {
      return
    }
    let isConnected = !plane.isConnected
    controlPlane?.isConnected = isConnected
    if isConnected, let server = plane.assembler.client.activeServer {
      controlPlane?.failures[server] = 0
      log(.info, "xds: \(plane.servers[server].authority.description) answers")
    } else {
      log(.info, "xds: no server answers: \(plane.lastFailure(0).description)")
    }
  }

  // MARK: The cache

  mutating func keepCache(now: Instant) {
    guard let plane = controlPlane, plane.mayWriteCache else { return }
    plane.cache.note(generation: plane.assembler.client.store.generation, now: now)
    if let deadline = plane.cache.nextDeadline(), deadline <= now { writeCache(now: now) }
  }

  /// Writes down what changed since the last time.
  mutating func writeCache(now: Instant) {
    guard let plane = controlPlane, plane.mayWriteCache, plane.cache.nextDeadline() != nil else {
      return
    }
    let file = ResourceCache.encode(plane.assembler.client.store)
    guard plane.cache.shouldWrite(file, now: now) else { return }
    if actions.append(.writeCache(file)) {
      plane.counters.cacheWrites += 1
    } else {
      plane.cache.writeFailed(now: now)
    }
  }

  /// Answers `.writeCache`: it could not be done.
  public mutating func cacheFailed(_ reason: String, clocks: Clocks) {
    controlPlane?.counters.cacheWriteFailures += 1
    controlPlane?.cache.writeFailed(now: clocks.now)
    controlPlane?.noteDeadline()
    log(.warning, "xds: the cache cannot be written: \(reason)")
  }
}

extension ResourceType {
  /// As pages and reports have it.
  var word: ByteString {
    switch self {
    case .listener: "listener"
    case .routeConfiguration: "route"
    case .cluster: "cluster"
    case .endpoints: "endpoints"
    case .secret: "secret"
    case .runtime: "runtime"
    }
  }
}
