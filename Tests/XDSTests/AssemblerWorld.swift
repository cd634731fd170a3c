import Policy
import Primitives

@testable import XDS

/// An assembler, and a control plane that says what it is told to.
final class AssemblerWorld {
  var assembler: PolicyAssembler
  var now = Instant(nanoseconds: 1_000_000_000)
  let wall = WallTime(nanoseconds: 1_700_000_000_000_000_000)
  var opened: [UInt32] = []
  var sent: [Request] = []
  /// How often another snapshot went into force.
  var applied = 0
  var failed: [String] = []
  var removed: [String] = []
  private var nonce = 0
  private let isDelta: Bool

  init(
    listeners: [String] = ["l"], layers: [String] = [], hasServers: Bool = true,
    transport: DiscoveryTransport = .stateOfTheWorld,
    _ change: (inout AssemblerSettings) -> Void = { _ in },
    client changeClient: (inout DiscoverySettings) -> Void = { _ in }
  ) {
    var discovery = DiscoverySettings()
    discovery.transport = transport
    changeClient(&discovery)
    isDelta = transport == .incremental
    var settings = AssemblerSettings()
    settings.listeners = listeners.map { ByteString($0) }
    settings.runtimeLayers = layers.map { ByteString($0) }
    change(&settings)
    assembler = PolicyAssembler(
      client: DiscoveryClient(
        discovery, node: NodeIdentity(id: "device", cluster: "fleet"), seed: 1),
      settings: settings, hasServers: hasServers)
  }

  func drain() throws {
    var steps = 0
    while let action = assembler.nextAction(now: now) {
      steps += 1
      precondition(steps < 100_000, "the assembler never comes to rest")
      switch action {
      case .open(let stream, _): opened.append(stream)
      case .send(_, let message): sent.append(try Request(message, isDelta: isDelta))
      case .close: break
      case .apply: applied += 1
      case .failed(_, let name): failed.append(name.description)
      case .removed(_, let name): removed.append(name.description)
      case .unreachable: break
      }
    }
  }

  /// The control plane answers nothing yet.
  func connect() throws {
    assembler.start()
    try drain()
    assembler.client.streamOpened(opened.last ?? 0, now: now)
    try drain()
  }

  /// A response of one type. Resources are values.
  func serve(_ type: ResourceType, _ resources: [[UInt8]], removed: [String] = []) throws {
    nonce += 1
    let values = isDelta ? [] : resources
    let wrapped = isDelta ? resources.map { wrapper(type, $0) } : []
    let message = Plane.response(
      type, version: "\(nonce)", nonce: "n\(nonce)", values, raw: wrapped, removed: removed,
      isDelta: isDelta)
    assembler.client.receive(
      message, stream: opened.last ?? 0,
      clocks: Clocks(now: now, wall: wall, quality: .synced))
    try drain()
  }

  private func wrapper(_ type: ResourceType, _ value: [UInt8]) -> [UInt8] {
    let name = value.span.extracting(2..<2 + Int(value[1]))
    return Plane.wrapper(
      type, ByteString(copying: name).description, version: "\(nonce)", value: value)
  }

  func lose() throws {
    assembler.client.streamClosed(opened.last ?? 0, now: now)
    try drain()
  }

  func advance(_ interval: Interval) throws {
    now = now + interval
    assembler.handleTimeout(now: now)
    try drain()
  }

  /// The names of the newest request of a type.
  func asked(_ type: ResourceType) -> [String]? {
    sent.last { $0.type == type }?.names
  }

  /// Listener → the clusters of its first route's share, as they are in force.
  var clusters: [String] { assembler.snapshot.clusters.map { $0.name.description } }

  /// The clusters of the listener's routes.
  func routed(_ listener: String = "l") -> [String]? {
    assembler.snapshot.listeners.first { $0.name == ByteString(listener) }
      .map { $0.routes.clusterNames.map { $0.description } }
  }

  /// The ports of a cluster's endpoints; nil: it is not in force.
  func ports(_ cluster: String) -> [UInt16]? {
    guard let found = assembler.snapshot.clusters.first(where: { $0.name == ByteString(cluster) }),
      case .endpoints(let assignment) = found.discovery
    else { return nil }
    return assignment.endpoints.map { $0.address.port }
  }

  /// The whole way to a policy of one cluster `a` with its endpoints.
  func begin(_ cluster: String = "a", ports: [UInt64] = [1]) throws {
    try connect()
    try serve(.listener, [Encode.listener("l", routes: "r")])
    try serve(.routeConfiguration, [Encode.routes("r", to: cluster)])
    try serve(.cluster, [Encode.cluster(cluster)])
    try serve(.endpoints, [Encode.endpoints(cluster, ports)])
  }
}
