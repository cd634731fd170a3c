import Foundation
import Primitives
import Testing

@testable import Platform

@Suite("Memory of libraries and of the queue in front of one", .oneAtATime)
struct BoundedMemoryTests {
  private static func roots() -> TLSContext? {
    try? TLSContext(authorities: "", certificate: "", key: "", minimum: .tls12)
  }

  @Test("OpenSSL is counted, and beyond its limit it is a certificate that fails, and nothing else")
  func openSSL() async {
    // In a process of its own: OpenSSL takes another allocator only before its first use.
    await #expect(processExitsWith: .success) {
      TLSMemory.begin()
      let first = Self.roots()
      guard first != nil, TLSMemory.used > 200_000, TLSMemory.refusals == 0 else { exit(1) }
      let used = TLSMemory.used
      TLSMemory.limit(to: used + 50_000)
      guard Self.roots() == nil, TLSMemory.refusals > 0 else { exit(2) }
      guard TLSMemory.used < used + 20_000 else { exit(3) }
      let high = TLSMemory.high
      guard high <= used + 50_000 + 4_096 else { exit(4) }
      TLSMemory.limit(to: used * 3)
      let second = Self.roots()
      guard second != nil, TLSMemory.high > high else { exit(5) }
      exit(withExtendedLifetime((first, second)) { 0 })
    }
  }

  private static func push(_ ring: inout MessageRing, _ topic: Int, _ payload: Int) -> Bool {
    var payload = [UInt8](repeating: 7, count: payload)
    let topic = [UInt8](repeating: 0x74, count: topic)
    return topic.withUnsafeBytes { topic in
      payload.withUnsafeMutableBytes {
        ring.push(
          topic: topic, payload: $0.baseAddress, count: $0.count, limit: 65_536, qos: 1, id: 1,
          isRetained: false)
      }
    }
  }

  @Test("the queue of messages is full by bytes, and its arrays never hold much more")
  func ring() {
    let seed = UInt64.random(in: 0..<UInt64(UInt32.max))
    var random = SplitMix64(seed: seed)
    var ring = MessageRing(capacity: 64, bytes: 65_536)
    var message = MQTTMessage()
    var high = 0
    var sizes: [(topic: Int, payload: Int)] = []
    for _ in 0..<20_000 {
      if !ring.isFull, random.below(3) > 0 {
        let isLarge = random.below(20) == 0
        let topic = Int(random.below(isLarge ? 60_000 : 40))
        let payload = Int(random.below(isLarge ? 90_000 : 300))
        #expect(Self.push(&ring, topic, payload))
        sizes.append((topic, payload))
      } else if ring.pop(into: &message) {
        let (topic, payload) = sizes.removeFirst()
        let isTooLarge = topic + payload > 65_536
        #expect(message.topic.count == topic, "seed \(seed)")
        #expect(message.payload.count == (isTooLarge ? 0 : payload), "seed \(seed)")
        #expect(message.oversizeBytes == (isTooLarge ? payload : 0), "seed \(seed)")
      }
      high = max(high, ring.memory + message.memory)
    }
    #expect(high <= 4 * 65_536, "seed \(seed)")
    #expect(high > 65_536, "seed \(seed)")
  }

  @Test("many small messages of one read are all taken, full or not")
  func burst() {
    var ring = MessageRing(capacity: 64, bytes: 1_000)
    for _ in 0..<64 { #expect(Self.push(&ring, 10, 100)) }
    #expect(ring.isFull)
    #expect(!Self.push(&ring, 10, 100), "no place is left")
  }
}
