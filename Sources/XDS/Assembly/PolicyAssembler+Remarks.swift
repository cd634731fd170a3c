import Policy
import Primitives

extension PolicyAssembler {
  /// What the control plane asked for in a resource that is in force, and this client does not do, and the
  /// values that are lower than it asked; each for a person.
  public func remarks(
    _ type: ResourceType, _ name: ByteString
  ) -> (notApplied: [ByteString], clamped: [ByteString]) {
    switch type {
    case .listener:
      guard let listener = decoded.listener(name) else { return ([], []) }
      var remarks = listener.notApplied
      if case .inline(let routes) = listener.source { remarks += routes.notApplied }
      return (remarks, [])
    case .routeConfiguration: return (decoded.routeConfiguration(name)?.notApplied ?? [], [])
    case .cluster:
      guard let cluster = decoded.cluster(name)?.cluster else { return ([], []) }
      return (cluster.notApplied, cluster.clamped)
    case .endpoints, .secret, .runtime: return ([], [])
    }
  }

  /// The layers of RTDS that are in force, the one that wins last.
  public var runtimeLayers: [RuntimeLayer] {
    settings.runtimeLayers.compactMap { decoded.runtime($0) }
  }

  /// Listeners and clusters that are there and not yet in force: `warming`.
  public var warming: (listeners: Int, clusters: Int) {
    var count = (listeners: 0, clusters: 0)
    for name in settings.listeners
    where decoded.contains(.listener, name)
      && !listeners.contains(where: { $0.listener.name == name })
    {
      count.listeners += 1
    }
    for name in expected.names
    where decoded.contains(.cluster, name) && !clusters.contains(where: { $0.cluster.name == name })
    {
      count.clusters += 1
    }
    return count
  }
}
