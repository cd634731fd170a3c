import HPACK
import Primitives
import Testing

@testable import HTTP2

/// Seeded lists of operations: frames that are nearly right, mutated bytes, local calls in any
/// order. Nothing traps, memory keeps its bound, and each stream ends once.
@Suite("Fuzzing")
struct FuzzTests {
  @Test("a client under random frames, mutations and calls", arguments: 0..<300)
  func client(seed: UInt64) {
    var fuzzer = Fuzzer(seed: seed, role: .client)
    fuzzer.run(operations: 300)
  }

  @Test("a server under random frames, mutations and calls", arguments: 0..<300)
  func server(seed: UInt64) {
    var fuzzer = Fuzzer(seed: seed, role: .server)
    fuzzer.run(operations: 300)
  }

  @Test("random bytes end the connection and nothing else", arguments: 0..<100)
  func noise(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    for role in [HTTP2Connection.Role.client, .server] {
      var scripted = Scripted(role: role)
      var bytes = (0..<4_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      bytes = (role == .server ? Frames.preface : []) + Frames.settings() + bytes
      scripted.step = Int(random.below(40))
      _ = scripted.receive(bytes)
    }
  }
}

private struct Fuzzer {
  let seed: UInt64
  let role: HTTP2Connection.Role
  var random: SplitMix64
  var scripted: Scripted
  var opened: [UInt32] = []
  var ended: Set<UInt32> = []
  var reset: Set<UInt32> = []
  var isOver = false

  init(seed: UInt64, role: HTTP2Connection.Role) {
    self.seed = seed
    self.role = role
    random = SplitMix64(seed: seed)
    let tuning = random.next()
    let adjust: (inout HTTP2Configuration) -> Void = {
      $0.initialWindowSize = tuning & 1 == 0 ? 65_535 : 300
      $0.maxConcurrentStreams = tuning & 2 == 0 ? 100 : 3
      $0.maxHeaderListSize = tuning & 4 == 0 ? 61_440 : 200
      $0.keepAliveInterval = tuning & 8 == 0 ? nil : .seconds(3)
    }
    scripted = role == .client ? .client(adjust) : .server(adjust)
  }

  mutating func run(operations: Int) {
    for _ in 0..<operations where !isOver {
      scripted.step = random.below(4) == 0 ? Int(random.below(30)) + 1 : 0
      switch random.below(10) {
      case 0..<6: note(scripted.receive(bytes()))
      case 6, 7: call()
      case 8: note(scripted.advance(.milliseconds(Int64(random.below(2_000)))))
      default: write()
      }
      note(scripted.events())
      checkBounds()
    }
    write()
  }

  private mutating func note(_ events: [HTTP2Event]) {
    for event in events {
      if case .closed = event {
        #expect(!isOver, "seed \(seed): closed twice")
        isOver = true
      } else {
        #expect(!isOver, "seed \(seed): \(event) after closed")
      }
      let stream = event.stream
      guard stream != 0 else { continue }
      if role == .server, case .headers(_, .request, _) = event {
        #expect(!opened.contains(stream), "seed \(seed): opened twice")
        opened.append(stream)
      }
      #expect(opened.contains(stream), "seed \(seed): \(event) for a stream never opened")
      #expect(!reset.contains(stream), "seed \(seed): \(event) after reset")
      if role == .client, case .writable = event { continue }
      if role == .client {
        #expect(!ended.contains(stream), "seed \(seed): \(event) after the end")
        if event.isTerminal { ended.insert(stream) }
      } else if case .reset = event {
        reset.insert(stream)
      }
    }
  }

  private func checkBounds() {
    let machine = scripted.machine
    let most =
      machine.configuration.outputLimit + HTTP2Limits.controlBytesMax + HTTP2Limits.goAwayBytesMax
    #expect(machine.outputCount <= most, "seed \(seed)")
    #expect(machine.activeStreams <= Int(machine.configuration.maxConcurrentStreams))
    #expect(machine.block.count <= Int(machine.configuration.maxHeaderBlockSize) + 300)
  }

  private mutating func write() {
    _ = scripted.sent()
    note(scripted.events())
  }

  private mutating func stream() -> UInt32 {
    if !opened.isEmpty && random.below(8) != 0 {
      return opened[opened.count - 1 - Int(random.below(UInt64(min(opened.count, 6))))]
    }
    return UInt32(random.below(20))
  }

  private mutating func call() {
    let now = scripted.now
    switch random.below(12) {
    case 0..<5 where role == .client:
      let isEnd = random.below(2) == 0
      let method = random.below(5) == 0 ? "HEAD" : "POST"
      guard let id = try? scripted.open(method, endStream: isEnd) else { return }
      opened.append(id)
    case 0..<5:
      let list = headerList([(":status", random.below(3) == 0 ? "103" : "200")])
      try? scripted.machine.submitHeaders(
        list, on: stream(), endStream: random.below(2) == 0, now: now)
    case 5..<8:
      let content = [UInt8](repeating: 1, count: Int(random.below(30_000)))
      _ = try? scripted.machine.submitData(
        content.span, on: stream(), endStream: random.below(3) == 0, now: now)
    case 8, 9:
      let id = stream()
      scripted.machine.reset(id, .cancel)
      if opened.contains(id) {
        reset.insert(id)
      }
    case 10:
      guard random.below(10) == 0 else { return }
      scripted.machine.shutDown()
    default:
      let trailers = headerList([("a", "b")])
      try? scripted.machine.submitHeaders(trailers, on: stream(), endStream: true, now: now)
    }
  }

  /// A frame, or several, nearly right; now and then with an octet changed.
  private mutating func bytes() -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0..<Int(random.below(4)) + 1 { bytes += frame() }
    if random.below(12) == 0 {
      bytes[Int(random.below(UInt64(bytes.count)))] = UInt8(truncatingIfNeeded: random.next())
    }
    return bytes
  }

  private mutating func frame() -> [UInt8] {
    let isEnd = random.below(3) == 0
    switch random.below(20) {
    case 0..<6: return headers(isEnd)
    case 6..<11:
      let content = [UInt8](repeating: 2, count: Int(random.below(random.below(2) == 0 ? 20 : 500)))
      let padding: UInt8? = random.below(4) == 0 ? UInt8(random.below(50)) : nil
      return Frames.data(stream(), content, end: isEnd, padding: padding)
    case 11: return Frames.reset(stream(), HTTP2ErrorCode(rawValue: UInt32(random.below(16))))
    case 12, 13:
      let id = random.below(2) == 0 ? 0 : stream()
      return Frames.windowUpdate(id, UInt32(random.below(random.below(9) == 0 ? 1 << 31 : 4_000)))
    case 14: return Frames.ping(ack: isEnd)
    case 15, 16:
      let identifier = UInt16(random.below(8))
      return Frames.settings([
        (identifier, UInt32(random.below(random.below(3) == 0 ? 1 << 32 : 9)))
      ])
    case 17: return Frames.frame(UInt8(random.below(16)), stream: stream(), [0, 0, 0, 0, 5])
    case 18 where random.below(20) == 0:
      return Frames.goAway(random.below(2) == 0 ? 0x7fff_ffff : stream(), .noError, "debug")
    default: return Frames.settingsAck
    }
  }

  private mutating func headers(_ isEnd: Bool) -> [UInt8] {
    var fields: [(String, String)] = []
    if role == .client {
      fields = random.below(5) == 0 ? [] : [(":status", random.below(4) == 0 ? "100" : "200")]
    } else if random.below(5) != 0 {
      fields = [(":method", "POST"), (":scheme", "http"), (":path", "/")]
    }
    if random.below(6) == 0 { fields.append(("content-length", "\(random.below(30))")) }
    if random.below(20) == 0 { fields.append(("Bad", "x")) }
    let block = Frames.block(fields)
    var id = stream()
    if role == .server && random.below(2) == 0 { id = scripted.machine.lastPeerStream + 2 | 1 }
    guard random.below(5) == 0, !block.isEmpty else { return Frames.headers(id, block, end: isEnd) }
    let cut = Int(random.below(UInt64(block.count)))
    return Frames.headers(id, Array(block[..<cut]), end: isEnd, flags: 0)
      + Frames.continuation(id, Array(block[cut...]), end: true)
  }
}
