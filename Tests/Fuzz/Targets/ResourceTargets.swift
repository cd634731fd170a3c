import Policy
import Primitives
import Protobuf
import XDS

extension FuzzTarget {
  /// Any bytes as a cluster of CDS: it is refused with a reason, or what comes of it keeps its bounds.
  static let clusterResource = FuzzTarget("xds-cluster", seeds: clusterSeeds) { bytes in
    do throws(ResourceRejection) {
      let resource = try ClusterResource.decode(bytes.span)
      let cluster = resource.assembled(assignment: nil) { _ in nil }
      try? checkName(cluster.name)
      if case .endpoints(let assignment) = cluster.discovery { checkBounds(assignment) }
      if case .policy(let policy) = cluster.security {
        precondition(policy.roots != .source(.inline("")), "roots that are empty")
      }
      precondition(cluster.connectTimeout > .zero, "no time to connect")
    } catch {
      try require(!error.reason.isEmpty, "refused without a reason")
    }
  }

  /// Any bytes as an assignment of EDS.
  static let assignmentResource = FuzzTarget("xds-endpoints", seeds: assignmentSeeds) { bytes in
    do throws(ResourceRejection) {
      let resource = try AssignmentResource.decode(bytes.span)
      checkBounds(resource.assignment)
      var random = SplitMix64(seed: 1)
      pick(resource.assignment, &random)
    } catch {
      try require(!error.reason.isEmpty, "refused without a reason")
    }
  }

  /// Any bytes as a secret of SDS.
  static let secretResource = FuzzTarget("xds-secret", seeds: secretSeeds) { bytes in
    do throws(ResourceRejection) {
      let resource = try SecretResource.decode(bytes.span)
      if case .validation(let validation) = resource.content {
        precondition(validation.roots != nil, "a server would be left unverified")
      }
    } catch {
      try require(!error.reason.isEmpty, "refused without a reason")
    }
  }

  private static func checkName(_ name: ByteString) throws {
    try require(!name.isEmpty, "a cluster without a name")
  }

  private static func checkBounds(_ assignment: Assignment) {
    precondition(assignment.endpoints.count <= 256, "too many endpoints")
    for endpoint in assignment.endpoints {
      precondition(endpoint.weight > 0, "an endpoint of weight 0")
      precondition(Int(endpoint.details) <= assignment.details.count, "details that are not there")
    }
  }

  /// Whatever was taken can be balanced, and only what is not unhealthy is picked.
  private static func pick(_ assignment: Assignment, _ random: inout SplitMix64) {
    var balancing = Balancing()
    balancing.panicThreshold = 0
    balancing.weighsLocalities = random.next() % 2 == 0
    var balancer = LoadBalancer()
    balancer.adopt(
      assignment, previous: [Int?](repeating: nil, count: assignment.endpoints.count),
      from: Assignment(), balancing, using: &random)
    var shares: UInt32 = 0
    for index in balancer.loads.healthy.indices {
      shares += balancer.loads.healthy[index] + balancer.loads.degraded[index]
    }
    precondition(shares == 0 || shares == 100, "shares of \(shares) %")
    for _ in 0..<8 {
      let picked = balancer.pick(assignment, balancing, using: &random) { _ in true }
      if case .endpoint(let place) = picked {
        precondition(assignment.endpoints[place].health != .unhealthy, "an unhealthy endpoint")
      }
    }
  }

  // MARK: Seeds

  private static func text(_ writer: inout WireWriter, _ number: UInt32, _ text: String) {
    let bytes = ascii(text)
    writer.bytes(number, bytes.span)
  }

  private static func wrapper(_ writer: inout WireWriter, _ number: UInt32, _ value: UInt64) {
    writer.message(number) { $0.varint(1, value) }
  }

  private static func host(_ writer: inout WireWriter, _ address: String, weight: UInt64) {
    writer.message(2) { entry in
      entry.message(1) { endpoint in
        endpoint.message(1) { outer in
          outer.message(1) { socket in
            text(&socket, 2, address)
            socket.varint(3, 443)
          }
        }
        text(&endpoint, 3, "a.example")
      }
      entry.varint(2, 5)
      wrapper(&entry, 4, weight)
    }
  }

  private static func assignmentSeeds() -> [[UInt8]] {
    var writer = WireWriter()
    text(&writer, 1, "up")
    for (priority, address) in ["192.0.2.1", "2001:db8::1"].enumerated() {
      writer.message(2) { locality in
        locality.message(1) { text(&$0, 2, "zone") }
        host(&locality, address, weight: 3)
        wrapper(&locality, 3, 7)
        locality.varint(5, UInt64(priority))
      }
    }
    writer.message(4) { policy in
      policy.message(2) { drop in
        text(&drop, 1, "lb")
        drop.message(2) { $0.varint(1, 50) }
      }
      wrapper(&policy, 3, 150)
      policy.message(4) { $0.varint(1, 30) }
    }
    return [writer.bytes, [0x0A, 1, 0x61]]
  }

  private static func clusterSeeds() -> [[UInt8]] {
    var eds = WireWriter()
    text(&eds, 1, "up")
    eds.varint(2, 3)
    eds.message(3) { config in
      config.message(1) { $0.message(3) { _ in } }
      text(&config, 2, "service")
    }
    eds.message(10) { breakers in
      breakers.message(1) { wrapper(&$0, 4, 100) }
    }
    eds.message(24) { socket in
      socket.message(3) { any in
        text(&any, 1, "x/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")
        any.message(2) { context in
          text(&context, 2, "up.example")
          context.message(1) { common in
            common.message(3) { validation in
              validation.message(1) { text(&$0, 1, "/ca.pem") }
              validation.message(15) { typed in
                typed.varint(1, 2)
                typed.message(2) { text(&$0, 1, "up.example") }
              }
            }
          }
        }
      }
    }
    var dns = WireWriter()
    text(&dns, 1, "names")
    dns.varint(2, 1)
    dns.message(4) { $0.varint(1, 5) }
    dns.message(33) { load in
      load.message(2) { host(&$0, "a.example", weight: 1) }
    }
    return [eds.bytes, dns.bytes]
  }

  private static func secretSeeds() -> [[UInt8]] {
    var roots = WireWriter()
    text(&roots, 1, "ca")
    roots.message(4) { validation in
      validation.message(1) { text(&$0, 3, "PEM") }
      text(&validation, 2, String(repeating: "ab", count: 32))
      text(&validation, 3, String(repeating: "A", count: 43) + "=")
    }
    var identity = WireWriter()
    text(&identity, 1, "id")
    identity.message(2) { certificate in
      certificate.message(1) { text(&$0, 2, "chain") }
      certificate.message(2) { text(&$0, 2, "key") }
    }
    return [roots.bytes, identity.bytes]
  }
}
