import Policy
import Primitives

/// `envoy.config.endpoint.v3.ClusterLoadAssignment` of EDS.
public struct AssignmentResource: Equatable, Sendable {
  public var name: ByteString
  public var assignment: Assignment
  /// The endpoints are too old after this. Zero: never.
  public var staleAfter: Interval

  /// Decodes the resource, or says why it is refused.
  public static func decode(
    _ bytes: Span<UInt8>
  ) throws(ResourceRejection) -> AssignmentResource {
    let message = try ResourceReader(bytes)
    let name = try message.text(1, "cluster_name")
    guard !name.isEmpty else { throw message.rejection("cluster_name", "empty") }
    var decoder = AssignmentDecoder(requiresLocality: true)
    try decoder.readEndpoints(message)
    let assignment = try decoder.assignment(message)
    let stale = try message.message(4, "policy")?.positiveDuration(4, "endpoint_stale_after")
    return AssignmentResource(name: name, assignment: assignment, staleAfter: stale ?? .zero)
  }
}

/// An endpoint before its name, if it has one, was looked up.
struct DecodedEndpoint {
  /// An address in numbers, or a name.
  var host: ByteString
  var port: UInt16
  var additional: [SocketAddress]
  var hostname: ByteString
  var weight: UInt32
  var health: EndpointHealth
  var isCanary: Bool
}

/// One `LocalityLbEndpoints`.
struct DecodedLocality {
  var locality: LocalityEndpoints
  var endpoints: [DecodedEndpoint]
  let reader: ResourceReader
}

/// Reads the `ClusterLoadAssignment` of EDS and the one in a cluster.
struct AssignmentDecoder {
  /// EDS does (gRPC A27); in a cluster a locality without a name is usual.
  let requiresLocality: Bool
  /// By priority.
  private(set) var localities: [DecodedLocality] = []
  private var count = 0

  init(requiresLocality: Bool) { self.requiresLocality = requiresLocality }

  // MARK: Reading

  mutating func readEndpoints(_ message: ResourceReader) throws(ResourceRejection) {
    let entries = try message.messages(2, "endpoints", limit: ClusterLimits.localitiesMax)
    for entry in entries { try readLocality(entry) }
    // Stable, so that the order of the control plane stays within a priority.
    for index in localities.indices {
      var place = index
      while place > 0,
        localities[place - 1].locality.priority > localities[place].locality.priority
      {
        localities.swapAt(place - 1, place)
        place -= 1
      }
    }
    try checkPriorities(message)
  }

  private mutating func readLocality(_ entry: ResourceReader) throws(ResourceRejection) {
    let name = try entry.message(1, "locality")
    guard name != nil || !requiresLocality else { throw entry.rejection("locality", "missing") }
    guard try !entry.has(7), try !entry.has(8) else {
      throw entry.rejection("lb_config", "only lb_endpoints are supported")
    }
    let priority = try entry.uint32(5)
    guard priority <= ClusterLimits.priorityMax else {
      throw entry.rejection("priority", "\(priority) is above \(ClusterLimits.priorityMax)")
    }
    let locality = LocalityEndpoints(
      locality: Locality(
        region: try name?.text(1, "region") ?? ByteString(),
        zone: try name?.text(2, "zone") ?? ByteString(),
        subZone: try name?.text(3, "sub_zone") ?? ByteString()),
      priority: priority,
      weight: try entry.wrappedUInt32(3, "load_balancing_weight") ?? 0)
    for other in localities
    where requiresLocality && other.locality.priority == priority
      && other.locality.locality == locality.locality
    {
      throw entry.rejection("locality", "the same one again in priority \(priority)")
    }
    let endpoints = try entry.messages(2, "lb_endpoints", limit: ClusterLimits.endpointsMax)
    count += endpoints.count
    guard count <= ClusterLimits.endpointsMax else {
      throw entry.rejection(
        "lb_endpoints",
        "more than \(ClusterLimits.endpointsMax) endpoints in all localities together")
    }
    var decoded: [DecodedEndpoint] = []
    decoded.reserveCapacity(endpoints.count)
    var weights: UInt64 = 0
    for endpoint in endpoints {
      let one = try readEndpoint(endpoint)
      weights += UInt64(one.weight)
      decoded.append(one)
    }
    guard weights <= UInt64(UInt32.max) else {
      throw entry.rejection("lb_endpoints", "the weights' sum is above 4294967295")
    }
    localities.append(DecodedLocality(locality: locality, endpoints: decoded, reader: entry))
  }

  private func readEndpoint(
    _ entry: ResourceReader
  ) throws(ResourceRejection) -> DecodedEndpoint {
    guard try !entry.has(5) else { throw entry.rejection("endpoint_name", "not supported") }
    guard let endpoint = try entry.message(1, "endpoint") else {
      throw entry.rejection("endpoint", "missing")
    }
    guard let address = try endpoint.message(1, "address") else {
      throw endpoint.rejection("address", "missing")
    }
    let weight = try entry.wrappedUInt32(4, "load_balancing_weight") ?? 1
    guard weight > 0 else { throw entry.rejection("load_balancing_weight", "0") }
    let (host, port) = try Self.readAddress(address)
    var additional: [SocketAddress] = []
    let more = try endpoint.messages(
      4, "additional_addresses", limit: ClusterLimits.additionalAddressesMax)
    for entry in more {
      guard let address = try entry.message(1, "address") else {
        throw entry.rejection("address", "missing")
      }
      additional.append(try Self.literal(address))
    }
    return DecodedEndpoint(
      host: host, port: port, additional: additional,
      hostname: try Self.hostname(endpoint), weight: weight,
      health: Self.health(try entry.int32(2)), isCanary: try readCanary(entry))
  }

  /// It may become the authority of a request.
  private static func hostname(_ endpoint: ResourceReader) throws(ResourceRejection) -> ByteString {
    let name = try endpoint.text(3, "hostname")
    for byte in name.bytes where byte <= 0x20 || byte == 0x7F {
      throw endpoint.rejection("hostname", "contains a blank or a control character")
    }
    return name
  }

  /// UNKNOWN counts as healthy, a value that does not exist as unhealthy.
  private static func health(_ status: Int32) -> EndpointHealth {
    switch status {
    case 0, 1: .healthy
    case 5: .degraded
    default: .unhealthy
    }
  }

  /// `Address` (1 socket_address): `SocketAddress` (1 protocol, 2 address, 3 port_value, 4 named_port,
  /// 5 resolver_name).
  private static func readAddress(
    _ address: ResourceReader
  ) throws(ResourceRejection) -> (ByteString, UInt16) {
    let members: [UInt32] = [1, 2, 3]
    guard try address.member(members) == 1,
      let socket = try address.message(1, "socket_address", among: members)
    else { throw address.rejection("", "not a socket_address") }
    guard try socket.int32(1) == 0 else { throw socket.rejection("protocol", "not TCP") }
    let host = try socket.text(2, "address")
    guard !host.isEmpty else { throw socket.rejection("address", "empty") }
    guard host.count <= ClusterLimits.hostBytesMax else {
      throw socket.rejection("address", "longer than \(ClusterLimits.hostBytesMax) bytes")
    }
    guard try socket.member([3, 4]) != 4 else {
      throw socket.rejection("named_port", "not supported")
    }
    guard try socket.text(5, "resolver_name").isEmpty else {
      throw socket.rejection("resolver_name", "not supported")
    }
    let port = try socket.uint32(3)
    guard port <= UInt32(UInt16.max) else {
      throw socket.rejection("port_value", "\(port) is above 65535")
    }
    return (host, UInt16(port))
  }

  /// An address in numbers.
  private static func literal(
    _ address: ResourceReader
  ) throws(ResourceRejection) -> SocketAddress {
    let (host, port) = try readAddress(address)
    guard let literal = SocketAddress(literal: host, port: port) else {
      throw address.rejection("socket_address.address", "\(host.description) is not an IP address")
    }
    return literal
  }

  /// `Metadata` (1 filter_metadata): `canary` under `envoy.lb`.
  private func readCanary(_ entry: ResourceReader) throws(ResourceRejection) -> Bool {
    guard let metadata = try entry.message(3, "metadata") else { return false }
    for filter in try metadata.messages(1, "filter_metadata")
    where try filter.text(1, "key") == "envoy.lb" {
      for field in try filter.message(2, "value")?.messages(1, "fields") ?? []
      where try field.text(1, "key") == "canary" {
        return try field.message(2, "value")?.bool(4) ?? false
      }
    }
    return false
  }

  // MARK: Rules over all of them

  private func checkPriorities(_ message: ResourceReader) throws(ResourceRejection) {
    var next: UInt32 = 0
    var sum: UInt64 = 0
    for (index, one) in localities.enumerated() where one.locality.weight > 0 {
      let priority = one.locality.priority
      if priority >= next {
        guard priority == next else {
          throw message.rejection(
            "endpoints", "priority \(priority) without a priority \(next)")
        }
        next += 1
        sum = 0
      }
      sum += UInt64(one.locality.weight)
      guard sum <= UInt64(UInt32.max) else {
        throw localities[index].reader.rejection(
          "load_balancing_weight",
          "the weights' sum in priority \(priority) is above 4294967295")
      }
    }
  }

  // MARK: Results

  /// The endpoints, which have addresses in numbers.
  func assignment(_ message: ResourceReader) throws(ResourceRejection) -> Assignment {
    var assignment = Assignment()
    for one in localities {
      var members: [Endpoint] = []
      members.reserveCapacity(one.endpoints.count)
      for (index, endpoint) in one.endpoints.enumerated() {
        guard let address = SocketAddress(literal: endpoint.host, port: endpoint.port) else {
          throw refusal(one, index, "\(endpoint.host.description) is not an IP address")
        }
        guard !assignment.endpoints.contains(where: { $0.address == address }),
          !members.contains(where: { $0.address == address })
        else { throw refusal(one, index, "\(address.description) a second time") }
        members.append(
          Endpoint(
            address: address, weight: endpoint.weight, health: endpoint.health,
            details: details(endpoint, &assignment)))
      }
      assignment.append(one.locality, members)
    }
    try readPolicy(message, &assignment)
    return assignment
  }

  private func refusal(
    _ locality: DecodedLocality, _ index: Int, _ reason: String
  ) -> ResourceRejection {
    var field = locality.reader.path.text("lb_endpoints")
    field.bytes.append("[\(index)].endpoint.address")
    return ResourceRejection(field: field, reason: ByteString(reason))
  }

  private func details(_ endpoint: DecodedEndpoint, _ assignment: inout Assignment) -> UInt16 {
    guard !endpoint.hostname.isEmpty || !endpoint.additional.isEmpty || endpoint.isCanary else {
      return 0
    }
    return assignment.keep(
      EndpointDetails(
        hostname: endpoint.hostname, additionalAddresses: endpoint.additional,
        isCanary: endpoint.isCanary))
  }

  /// `Policy` (4): 2 drop_overloads, 3 overprovisioning_factor, 6 weighted_priority_health.
  private func readPolicy(
    _ message: ResourceReader, _ assignment: inout Assignment
  ) throws(ResourceRejection) {
    guard let policy = try message.message(4, "policy") else { return }
    for drop in try policy.messages(2, "drop_overloads", limit: ClusterLimits.dropsMax) {
      let category = try drop.text(1, "category")
      guard !category.isEmpty else { throw drop.rejection("category", "empty") }
      let share = try drop.fraction(2, "drop_percentage")
      assignment.drops.append(
        DropOverload(category: category, share: share ?? FractionalPercent(numerator: 0)))
    }
    if let factor = try policy.wrappedUInt32(3, "overprovisioning_factor") {
      guard factor > 0 else { throw policy.rejection("overprovisioning_factor", "0") }
      assignment.overprovisioning = factor
    }
    assignment.weighsHealth = try policy.bool(6)
  }

  /// The endpoints as names to be looked up, in their order. What an assignment says of all of them is
  /// kept, too.
  func names(
    _ message: ResourceReader, kind: DNSDiscovery.Kind
  ) throws(ResourceRejection) -> DNSDiscovery {
    var hosts: [DNSHost] = []
    for (index, one) in localities.enumerated() {
      for endpoint in one.endpoints {
        hosts.append(
          DNSHost(
            host: endpoint.host, port: endpoint.port, locality: index, weight: endpoint.weight,
            health: endpoint.health,
            hostname: endpoint.hostname.isEmpty ? nil : endpoint.hostname))
      }
    }
    var dns = DNSDiscovery(hosts: hosts, localities: localities.map { $0.locality }, kind: kind)
    var shared = Assignment()
    try readPolicy(message, &shared)
    dns.drops = shared.drops
    dns.overprovisioning = shared.overprovisioning
    dns.weighsHealth = shared.weighsHealth
    return dns
  }
}
