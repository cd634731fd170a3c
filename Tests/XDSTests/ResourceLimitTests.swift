import Policy
import Primitives
import Protobuf
import Testing

@testable import XDS

/// Elements beyond the limits: they are counted for the text, and not kept.
@Suite("Limits of elements")
struct ResourceLimitTests {
  private func refusal(_ type: ResourceType, _ bytes: [UInt8]) throws -> String? {
    let world = AssemblerWorld()
    try world.begin()
    try world.serve(type, [bytes])
    return world.sent.last { $0.type == type }?.rejection
  }

  @Test("a message that comes in too many parts is refused by its field")
  func parts() throws {
    let most = Encode.cluster("a")
    let timeout: [UInt8] = [0x22, 2, 0x08, 1]
    let few = most + (0..<64).flatMap { _ in timeout }
    #expect(try refusal(.cluster, few) == nil)
    let many = most + [[UInt8]](repeating: [0x22, 0], count: 450_000).joined()
    #expect(
      try refusal(.cluster, many)
        == "envoy.config.cluster.v3.Cluster a: connect_timeout: 450000 elements, the limit is 64")
  }

  @Test("repeated messages, texts and numbers beyond their limits are refused with their number")
  func repeated() throws {
    func routes(_ body: (inout WireWriter) -> Void) -> [UInt8] {
      Encode.message { writer in
        writer.text(1, "r")
        body(&writer)
      }
    }
    let hosts = routes { writer in for _ in 0..<10_000 { writer.message(2) { _ in } } }
    let text = try refusal(.routeConfiguration, hosts)
    #expect(text?.contains("virtual_hosts: 10000 elements, the limit is ") == true)
    let domains = routes { writer in
      writer.message(2) { host in
        host.text(1, "v")
        for _ in 0..<10_000 { host.text(2, "*") }
      }
    }
    let names = try refusal(.routeConfiguration, domains)
    #expect(names?.contains("virtual_hosts[0].domains: 10000 elements, the limit is ") == true)
    let codes = routes { writer in
      writer.message(2) { host in
        host.text(1, "v")
        host.text(2, "*")
        host.message(16) { policy in
          let packed = [UInt8](repeating: 7, count: 100_000)
          policy.bytes(7, packed.span)
        }
      }
    }
    let numbers = try refusal(.routeConfiguration, codes)
    #expect(
      numbers?.contains("retriable_status_codes: 100000 elements, the limit is ") == true)
  }

  @Test("XDS 36: other demands of the certificate's name are other connections")
  func otherDemands() throws {
    /// `upstream_http_protocol_options`: 1 auto_sni, 2 auto_san_validation.
    func cluster(_ options: UInt32?) throws -> Cluster {
      var bytes = Encode.cluster("a", secret: "ca")
      if let options {
        bytes += Encode.message { writer in writer.message(46) { $0.varint(options, 1) } }
      }
      let context = Encode.validationContext("ca", "one")
      let secret = try SecretResource.decode(context.span) { _ in nil }
      return try ClusterResource.decode(bytes.span) { _ in nil }
        .assembled(assignment: nil) { _ in secret }
    }
    let plain = try cluster(nil)
    let sni = try cluster(1)
    let san = try cluster(2)
    #expect(plain.security.continues(try cluster(nil).security))
    #expect(!plain.security.continues(sni.security))
    #expect(!plain.security.continues(san.security))
    #expect(!sni.security.continues(san.security))
  }
}
