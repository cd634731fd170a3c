import Configuration
import NetworkingCore
import Policy
import Primitives
import Protobuf
import XDS

/// Where the policy in force comes from: the configuration's own targets and servers, and what a control
/// plane says.
extension Gateway where Storage: ~Copyable {
  /// A control plane as the configuration wants it; nil: none.
  mutating func makeControlPlane(
    _ configuration: Configuration, _ files: PolicyFiles, clocks: Clocks
  ) -> ControlPlane? {
    guard let xds = configuration.xds else { return nil }
    let plane = ControlPlane(
      xds, node: configuration.node, settings: configuration.assemblerSettings,
      servers: configuration.managementServers, storeBytes: ledger[.resources].limit,
      seed: random.next(), tlsFault: files.tlsFault)
    for (name, bytes) in files.resources {
      load(name, bytes, into: plane, clocks: clocks)
    }
    var isCached = false
    if let cache = files.cache { isCached = loadCache(cache, into: plane, clocks: clocks) }
    plane.cache = CacheSchedule(
      generation: plane.assembler.client.store.generation, isFirst: !isCached)
    plane.filesDigest = files.digest
    plane.assembler.start()
    return plane
  }

  /// SIGHUP: what can go on goes on. Another server, another node or other files need another client;
  /// what the former one knows stays in force until the new one has its own. So does a resource that was
  /// refused: the file that it names may be there by now.
  mutating func takeControlPlane(
    _ new: Configuration, instead old: Configuration, _ files: PolicyFiles, clocks: Clocks
  ) {
    guard let xds = new.xds else {
      dropCalls(now: clocks.now)
      controlPlane = nil
      return
    }
    if let plane = controlPlane, let former = old.xds, xds.isServedBy(former),
      new.node == old.node, files.digest == plane.filesDigest,
      !plane.assembler.client.store.isRefusing
    {
      plane.assembler.change(new.assemblerSettings)
      plane.servers = new.managementServers
      plane.keepsCache = xds.keepsCache
      if xds.cache != former.cache { plane.cache.move(now: clocks.now) }
      plane.isTouched = true
      return
    }
    var files = files
    let before = controlPlane
    if let before { files.cache = ResourceCache.encode(before.assembler.client.store) }
    dropCalls(now: clocks.now)
    let plane = makeControlPlane(new, files, clocks: clocks)
    if let before {
      plane?.assembler.inherit(before.assembler)
      plane?.cache.inherit(before.cache)
      if xds.cache != old.xds?.cache { plane?.cache.move(now: clocks.now) }
      plane?.counters = before.counters
      plane?.channel.load.inherit(before.channel.load)
    }
    controlPlane = plane
  }

  private mutating func load(
    _ name: ByteString, _ bytes: [UInt8], into plane: ControlPlane, clocks: Clocks
  ) {
    do throws(WireError) {
      let refused = try plane.assembler.client.loadStatic(bytes, wall: clocks.wall)
      guard refused > 0 else { return }
      plane.counters.refusedFromFiles += UInt64(refused)
      log(.error, "\(name.description): \(refused) resources have no known type or no room")
    } catch {
      plane.counters.corruptFiles += 1
      log(.error, "\(name.description): not a DiscoveryResponse: \(error.text.description)")
      report("resources_unreadable", clocks: clocks) { json in
        json.member("file", name)
        json.member("reason", ByteString(error.text))
      }
    }
  }

  private mutating func loadCache(
    _ bytes: [UInt8], into plane: ControlPlane, clocks: Clocks
  ) -> Bool {
    do throws(CacheError) {
      let refused = try plane.assembler.client.loadCache(bytes)
      plane.counters.refusedFromFiles += UInt64(refused)
      return true
    } catch {
      plane.counters.corruptFiles += 1
      setCacheAside(error.text, clocks: clocks)
      return false
    }
  }

  /// A cache costs nothing but itself.
  private mutating func setCacheAside(_ reason: StaticString, clocks: Clocks) {
    let text = ByteString(reason)
    log(.error, "xds: the cache is set aside: \(text.description)")
    report("cache_corrupt", clocks: clocks) { $0.member("reason", text) }
    _ = actions.append(.setCacheAside)
  }

  // MARK: In force

  /// Puts in force what the configuration and the control plane say together.
  mutating func applyPolicy(now: Instant) {
    var snapshot = configuration.directSnapshot
    if let plane = controlPlane {
      snapshot.listeners += plane.assembler.snapshot.listeners
      snapshot.clusters += plane.assembler.snapshot.clusters
      snapshot.runtime = plane.assembler.snapshot.runtime
    }
    let former = policy
    if isMutated(.keepPolicy), !former.listeners.isEmpty { return }
    policy = snapshot
    core.apply(snapshot, now: now)
    if let plane = controlPlane {
      plane.wantsLoadReports = snapshot.clusters.contains { $0.reportsLoad }
      steerLoadReports(plane, now: now)
    }
    for index in uplinks.indices {
      guard case .listener(let name) = configuration.streams[index].target else { continue }
      let isThere = snapshot.listener(named: name) != nil
      // A hold or a pause ends when what the stream follows is another one.
      if isThere, former.differs(from: snapshot, for: name) { uplinks[index].endWaiting(now: now) }
      uplinks[index].awaitsPolicy = !isThere
    }
  }
}

extension PolicySnapshot {
  /// Whether requests to a listener may fare differently.
  fileprivate func differs(from other: PolicySnapshot, for name: ByteString) -> Bool {
    guard let old = listener(named: name), let new = other.listener(named: name) else {
      return true
    }
    guard listeners[old] == other.listeners[new] else { return true }
    for cluster in listeners[old].routes.clusterNames {
      guard let before = self.cluster(named: cluster), let after = other.cluster(named: cluster)
      else {
        if (self.cluster(named: cluster) == nil) != (other.cluster(named: cluster) == nil) {
          return true
        }
        continue
      }
      guard clusters[before] == other.clusters[after] else { return true }
    }
    return false
  }
}

extension Configuration {
  /// What the assembler is asked for.
  var assemblerSettings: AssemblerSettings {
    var settings = AssemblerSettings()
    for stream in streams {
      guard case .listener(let name) = stream.target else { continue }
      if !settings.listeners.contains(name) { settings.listeners.append(name) }
      for header in stream.headers {
        settings.headerClusters.append(
          HeaderCluster(listener: name, header: header.name, value: header.value))
      }
    }
    settings.runtimeLayers = xds?.runtime ?? []
    settings.reservedClusters = directSnapshot.clusters.map { $0.name }
    return settings
  }

  /// By server: the listener that leads to it, and its `:authority`.
  var managementServers: [(listener: ByteString, authority: ByteString)] {
    let servers = xds?.servers ?? []
    let names = PolicySnapshot.directNames(targets: directTargets).suffix(servers.count)
    return zip(names, servers).map { (listener: $0, authority: $1.authority) }
  }
}
