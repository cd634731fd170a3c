import Primitives
import TestSupport
import Testing

@testable import Spool

struct Identity: Hashable {
  var stream: Int
  var epoch: UInt64
  var sequence: UInt64
}

/// What a spool has promised, beside the spool.
final class Model {
  let rig: Rig
  var random: SplitMix64
  let seed: UInt64
  var payloads: [Identity: [UInt8]] = [:]
  /// Taken, by stream and number, in this run: the epoch is known when it is read or by the spool.
  var safe: Set<Identity> = []
  var gone: Set<Identity> = []
  var pending: [Identity] = []
  var inFlight: [[Identity]]
  var lastRead: [UInt64]
  /// Read by somebody.
  var seen: Set<Identity> = []
  var counter = 0
  let withFaults: Bool

  init(seed: UInt64, limits: SpoolLimits, withFaults: Bool) {
    self.seed = seed
    self.withFaults = withFaults
    random = SplitMix64(seed: seed)
    let streams = [
      SpoolStream(name: "alarm", logClass: 0, durability: .sync),
      SpoolStream(name: "event", logClass: 1, durability: .spill),
      SpoolStream(name: "state", logClass: 2, durability: .spill),
      SpoolStream(name: "log", logClass: 2, durability: .sync),
      SpoolStream(name: "bulk", logClass: 3, durability: .spill),
    ]
    inFlight = Array(repeating: [], count: streams.count)
    lastRead = Array(repeating: 0, count: streams.count)
    rig = Rig(CrashingDisk(), streams: streams, limits: limits, seed: seed)
  }

  func below(_ bound: UInt64) -> Int { Int(random.below(bound)) }

  func step() {
    switch below(100) {
    case 0..<40: append()
    case 40..<60: read()
    case 60..<75: acknowledge()
    case 75..<88:
      rig.wait(.milliseconds(Int64(below(3) == 0 ? below(70_000) : below(100))))
      rig.turn()
    case 88..<91: rig.commit()
    case 91..<93: rewind(below(5))
    case 93..<95: fault()
    case 95: restart { self.rig.close() }
    case 96: restart { self.rig.disk.kill() }
    case 97: restart { self.rig.disk.cutPower(&self.random) }
    default: rig.wait(.seconds(1))
    }
    check()
  }

  private func append() {
    let stream = below(5)
    for _ in 0...below(8) {
      counter += 1
      let payload = Rig.payload(counter, below(200))
      if case .taken(let sequence) = rig.append(stream, payload, source: "s\(below(3))") {
        let identity = Identity(stream: stream, epoch: rig.epoch, sequence: sequence)
        // A `sync` record that was never on disk was never seen: its number is free again.
        if safe.contains(identity) || seen.contains(identity) {
          Issue.record("seed \(seed): \(identity) is given out twice")
        }
        payloads[identity] = payload
        pending.append(identity)
      }
    }
  }

  private func read() {
    let stream = below(5)
    for _ in 0...below(20) {
      guard let record = rig.next(stream) else { return }
      let identity = Identity(stream: stream, epoch: record.epoch, sequence: record.sequence)
      if payloads[identity] != record.payload {
        Issue.record("seed \(seed): \(identity) has the wrong payload")
      }
      if record.sequence <= lastRead[stream] {
        Issue.record("seed \(seed): \(identity) out of order")
      }
      lastRead[stream] = record.sequence
      seen.insert(identity)
      inFlight[stream].append(identity)
    }
  }

  private func acknowledge() {
    let stream = below(5)
    for _ in 0...below(20) where !inFlight[stream].isEmpty {
      let index = below(4) == 0 ? below(UInt64(inFlight[stream].count)) : 0
      let identity = inFlight[stream].remove(at: index)
      rig.acknowledge(stream, identity.sequence)
      gone.insert(identity)
    }
  }

  private func rewind(_ stream: Int) {
    rig.spool.rewind(stream: stream)
    inFlight[stream] = []
    lastRead[stream] = 0
  }

  private func fault() {
    guard withFaults else { return }
    switch below(6) {
    case 0: rig.disk.failAt = (rig.disk.operations + 1 + below(12), .failed(5))
    case 1: rig.disk.failAt = (rig.disk.operations + 1 + below(12), .full)
    case 2:
      rig.disk.failing = [.write: .readOnly, .create: .readOnly, .remove: .readOnly]
      rig.disk.shortWrite = below(256)
    case 3: rig.disk.failing = [.sync: .failed(5)]
    case 4: rig.disk.capacity = rig.disk.totalBytes + UInt64(below(10_000))
    default:
      rig.disk.failing = [:]
      rig.disk.capacity = .max
      rig.disk.shortWrite = 0
    }
  }

  private func restart(_ end: () -> Void) {
    // Reports are taken every step, as the daemon does every turn.
    note()
    end()
    note()
    // The daemon does not start again on a disk that is still failing in this test.
    rig.disk.kill()
    rig.disk.capacity = .max
    rig.reopen(seed: random.next())
    pending = []
    for stream in inFlight.indices {
      inFlight[stream] = []
      lastRead[stream] = 0
    }
  }

  private func note() {
    pending.removeAll { identity in
      guard rig.isSafe(identity.stream, identity.sequence) else { return false }
      safe.insert(identity)
      return true
    }
    for gap in rig.gaps() {
      guard let stream = gap.streamIndex else { continue }
      guard gap.first <= gap.last, gap.count <= gap.last - gap.first + 1, gap.count > 0 else {
        Issue.record("seed \(seed): strange report \(gap)")
        continue
      }
      for sequence in gap.first...min(gap.last, gap.first + 10_000) {
        gone.insert(Identity(stream: stream, epoch: gap.epoch, sequence: sequence))
      }
    }
  }

  private func check() {
    note()
    if rig.disk.syncedAfterFailure { Issue.record("seed \(seed): a failed sync was repeated") }
    if rig.disk.totalBytes > rig.limits.totalBytes {
      Issue.record("seed \(seed): \(rig.disk.totalBytes) bytes on disk")
    }
  }

  /// Everything that was safe was delivered, was reported, or comes now.
  func finish() {
    restart { self.rig.disk.kill() }
    note()
    for stream in 0..<5 {
      for record in rig.readAll(stream, acknowledge: true) {
        let identity = Identity(stream: stream, epoch: record.epoch, sequence: record.sequence)
        if payloads[identity] != record.payload {
          Issue.record("seed \(seed): \(identity) has the wrong payload at the end")
        }
        gone.insert(identity)
      }
    }
    note()
    let lost = safe.subtracting(gone)
    if !lost.isEmpty {
      Issue.record("seed \(seed): \(lost.count) safe records lost, \(lost.first!)")
    }
    for stream in 0..<5 where rig.backlog(stream) != (0, 0) {
      Issue.record("seed \(seed): stream \(stream) keeps a backlog of \(rig.backlog(stream))")
    }
  }
}

@Suite("Model")
struct ModelTests {
  @Test("whatever happens, a safe record is delivered or reported", arguments: 0..<8)
  func crashes(_ seed: Int) {
    run(seed: UInt64(seed), limits: Rig.smallLimits, withFaults: false)
  }

  @Test("nor does a disk that fails lose a safe record", arguments: 0..<8)
  func faults(_ seed: Int) {
    run(seed: 1000 + UInt64(seed), limits: Rig.smallLimits, withFaults: true)
  }

  @Test("nor does a disk that is too small", arguments: 0..<8)
  func space(_ seed: Int) {
    run(
      seed: 2000 + UInt64(seed),
      limits: SpoolLimits(
        segmentBytes: 4096, totalBytes: 64 << 10, freeFloorBytes: 2000, commitBytes: 1024),
      withFaults: seed % 2 == 0)
  }

  private func run(seed: UInt64, limits: SpoolLimits, withFaults: Bool) {
    let model = Model(seed: seed, limits: limits, withFaults: withFaults)
    for _ in 0..<600 { model.step() }
    model.finish()
  }
}
