import GRPC
import Primitives
import Testing

@testable import XDS

@Suite("ADS: any order of events")
struct DiscoveryOperationsTests {
  @Test(arguments: [DiscoveryTransport.stateOfTheWorld, .incremental], [UInt64(1), 2, 3, 4])
  func everyResponseIsAnsweredOnceAndTheLedgerHolds(
    transport: DiscoveryTransport, seed: UInt64
  ) throws {
    var random = SplitMix64(seed: seed)
    let harness = Harness(transport, servers: 3, seed: seed) {
      $0.keepDeleted = seed == 3
      $0.failsOnDataErrors = seed == 4
    }
    harness.verdicts["n0"] = .rejected("bad")
    harness.verdicts["n1"] = .accepted(staleAfter: .seconds(40))
    var open: [UInt32] = []
    for step in 0..<5_000 {
      let type = try #require(ResourceType(rawValue: UInt8(random.below(6))))
      let names = (0..<6).filter { _ in random.below(2) == 0 }.map { "n\($0)" }
      switch random.below(12) {
      case 0, 1: try harness.subscribe(type, names, isWildcard: random.below(6) == 0)
      case 2, 3:
        harness.client.streamOpened(harness.stream, now: harness.now)
        open.append(harness.stream)
        try harness.drain()
      case 4:
        let stream = random.below(2) == 0 ? harness.stream : (open.last ?? 0)
        harness.client.streamClosed(stream, now: harness.now)
        try harness.drain()
      case 5: try harness.advance(.milliseconds(Int64(random.below(20_000))))
      case 6:
        harness.client.retryNow()
        try harness.drain()
      default:
        harness.sent = []
        let stream =
          open.isEmpty ? 0 : open[open.count - 1 - Int(random.below(UInt64(min(open.count, 3))))]
        try harness.receive(
          response(type, "s\(step)", names, harness.isDelta, &random), on: stream)
        let answers = harness.sent.filter { $0.nonce == "s\(step)" && $0.type == type }
        #expect(answers.count <= 1, "seed \(seed), step \(step)")
      }
      let total = (0..<UInt8(ResourceType.count)).compactMap { ResourceType(rawValue: $0) }
        .flatMap { harness.client.store.entries($0) }.reduce(0) { $0 + $1.bytes }
      #expect(harness.client.store.bytes == total, "seed \(seed), step \(step)")
      #expect(harness.client.isReady)
      harness.sent = []
      harness.events = []
    }
    #expect(harness.client.counters.accepted > 50 && harness.client.counters.rejected > 10)
  }

  private func response(
    _ type: ResourceType, _ nonce: String, _ names: [String], _ isDelta: Bool,
    _ random: inout SplitMix64
  ) -> [UInt8] {
    var raw: [[UInt8]] = []
    for name in names {
      let value = random.below(5) == 0 ? nil : Plane.resource(name, "\(random.below(3))")
      let ttl: Int64? = random.below(3) == 0 ? Int64(random.below(30)) : nil
      let wrapper = Plane.wrapper(type, name, version: "1", value: value, ttl: ttl)
      raw.append(isDelta ? wrapper : Plane.any("envoy.service.discovery.v3.Resource", wrapper))
    }
    let status = GRPCStatus(code: UInt16(random.below(17)))
    let errors = random.below(4) == 0 ? [Plane.error("n2", status, "why")] : []
    let removed = isDelta && random.below(3) == 0 ? ["n3", "n4"] : []
    return Plane.response(
      type, version: "\(random.below(9))", nonce: nonce, raw: raw, removed: removed,
      errors: errors, isDelta: isDelta)
  }
}
