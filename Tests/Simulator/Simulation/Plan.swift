import Configuration
import Primitives

/// How a board frames its bytes.
enum BoardFraming: CaseIterable {
  case line, jsonLines, nmea, slip, cobs, hdlc, stxEtx, vesc, modbusASCII

  /// The word of the configuration.
  var word: StaticString {
    switch self {
    case .line: "line"
    case .jsonLines: "json-lines"
    case .nmea: "nmea"
    case .slip: "slip"
    case .cobs: "cobs"
    case .hdlc: "hdlc"
    case .stxEtx: "stx-etx"
    case .vesc: "vesc"
    case .modbusASCII: "modbus-ascii"
    }
  }

  /// The longest payload that goes into a frame.
  var payloadMax: Int {
    switch self {
    case .line, .jsonLines, .slip, .cobs, .hdlc: 4_000
    case .nmea: 90
    case .stxEtx: 800
    case .vesc: 500
    case .modbusASCII: 240
    }
  }
}

/// Where a stream's records come from.
enum SourceKind {
  case serial(port: Int, BoardFraming)
  case mqtt(qos: UInt8)
}

/// Something that makes records of one stream.
struct SourcePlan {
  var kind: SourceKind
  var stream: Int
  /// The mean time between two records.
  var every: Interval
  var payload: ClosedRange<Int>
  /// So many at once, now and then.
  var burst: Int
}

/// A stream as the configuration has it; a reload may change some of it.
struct StreamPlan {
  var name: ByteString
  var host: Int
  var durability = Durability.spill
  var priority = Priority.telemetry
  var encoding = Encoding.cloudEvents
  var isLiveFirst = false
  var inFlight = 1
  var records = 1
  var batchBytes = 65_536
  var linger = Interval.zero
  var ttl = Interval.zero
  var isJSON = false
  /// Of so many records the upstream never takes one; 0: it takes all.
  var poison = 0
}

/// An upstream and the way to it.
struct HostPlan {
  /// The host of the target; a name, or an address.
  var name: ByteString
  var isName: Bool
  var isTLS: Bool
  var addresses: Int
  var latency: Interval
  var jitter: Interval
  /// What is under way in one direction at most, as a socket's buffers have it.
  var buffer: Int
  var window: UInt32
  var streams: UInt32
  var tableSize: UInt32
  var thinking: Interval
}

/// One world: everything that its seed drew.
struct Plan {
  let seed: UInt64
  /// For so long sources make records and faults happen; then everything works, until all is drained.
  var duration: Interval
  var streams: [StreamPlan] = []
  /// The stream that takes the daemon's own reports: the last one.
  var reports: Int { streams.count - 1 }
  var sources: [SourcePlan] = []
  var hosts: [HostPlan] = []
  var plane: PlanePlan?
  var faults: FaultMix
  var spoolBytes: Int
  var segmentBytes: Int
  var commitBytes: Int
  var commitInterval: Interval
  var syncInterval: Interval
  var isThinning = false
  var isUnsyncedAtStart: Bool
  /// The longest `Retry-After` of an upstream, in seconds.
  var retryAfterMax: Int
  /// For what happens, after everything was planned.
  var draw: Draw

  /// `hours`: nil lets the seed decide.
  init(seed: UInt64, hours: Interval?) {
    self.seed = seed
    var draw = Draw(seed: seed)
    duration = hours ?? draw.scaled(.seconds(120), .seconds(7_200))
    var mix = draw.split()
    faults = FaultMix(&mix, hours: duration)
    var shape = draw.split()
    spoolBytes = shape.pick([512 << 10, 512 << 10, 1 << 20, 4 << 20])
    segmentBytes = shape.pick([64 << 10, 64 << 10, 128 << 10])
    commitBytes = shape.pick([2 << 10, 8 << 10, 32 << 10, 64 << 10])
    commitInterval = shape.pick([.seconds(2), .seconds(10), .seconds(30)])
    syncInterval = shape.pick([.zero, .milliseconds(50), .milliseconds(500)])
    isUnsyncedAtStart = shape.chance(1, in: 8)
    retryAfterMax = shape.pick([2, 30, 300])
    self.draw = draw.split()
    for index in 0..<shape.range(1...3) { hosts.append(Plan.host(index, &shape)) }
    addSources(&shape)
    addReports(&shape)
    // Not more than a run of a second can bear.
    let records = Int64(shape.range(300...3_000))
    for index in sources.indices {
      let share = max(duration.nanoseconds * Int64(sources.count) / records, 1_000_000)
      sources[index].every = shape.scaled(
        Interval(nanoseconds: share / 2), Interval(nanoseconds: 2 * share))
    }
    var steering = draw.split()
    addPlane(&steering)
    var thinning = draw.split()
    isThinning = thinning.chance(1, in: 2) && 8 * segmentBytes <= spoolBytes
  }

  /// Every third world has one; the host that it is comes last.
  private mutating func addPlane(_ draw: inout Draw) {
    guard draw.chance(1, in: 3) else { return }
    var isSteered: [Bool] = []
    for _ in streams { isSteered.append(draw.chance(1, in: 2)) }
    isSteered[draw.below(streams.count)] = true
    plane = PlanePlan(host: hosts.count, isSteered: isSteered, isCached: draw.chance(1, in: 2))
    var host = Plan.host(hosts.count, &draw)
    host.name = ByteString("192.0.2.\(hosts.count + 1)")
    host.isName = false
    host.isTLS = false
    host.addresses = 1
    hosts.append(host)
  }

  private static func host(_ index: Int, _ draw: inout Draw) -> HostPlan {
    let isName = draw.chance(3, in: 4)
    return HostPlan(
      name: isName ? ByteString("h\(index).example") : ByteString("192.0.2.\(index + 1)"),
      isName: isName, isTLS: draw.chance(1, in: 3),
      addresses: isName ? draw.range(1...3) : 1,
      latency: draw.scaled(.milliseconds(1), .milliseconds(400)),
      jitter: draw.pick([.zero, .milliseconds(5), .milliseconds(300)]),
      buffer: draw.pick([2_048, 16_384, 65_536, 262_144]),
      window: draw.pick([1_024, 16_384, 65_535, 65_535, 1 << 20]),
      streams: draw.pick([1, 2, 8, 100, 100]), tableSize: draw.pick([0, 256, 4_096, 4_096]),
      thinking: draw.pick([.zero, .milliseconds(20), .milliseconds(800)]))
  }

  private mutating func addSources(_ draw: inout Draw) {
    var port = 0
    for index in 0..<draw.range(1...5) {
      var stream = StreamPlan(name: ByteString("s\(index)"), host: draw.below(hosts.count))
      Plan.shape(&stream, &draw)
      var kind = SourceKind.mqtt(qos: draw.chance(1, in: 8) ? 0 : 1)
      if port < 2, draw.chance(1, in: 2) {
        kind = .serial(port: port, draw.pick(BoardFraming.allCases))
        port += 1
      }
      let longest = draw.pick([40, 200, 200, 1_000, 4_000, 12_000])
      streams.append(stream)
      sources.append(
        SourcePlan(
          kind: kind, stream: index, every: .zero, payload: 16...longest,
          burst: draw.pick([0, 0, 5, 50, 300])))
    }
  }

  private static func shape(_ stream: inout StreamPlan, _ draw: inout Draw) {
    stream.durability = draw.pick([.sync, .sync, .spill, .spill, .memory])
    stream.priority = draw.pick([.alarm, .event, .telemetry, .telemetry, .bulk])
    stream.encoding = draw.pick([.cloudEvents, .cloudEventsBatch, .protobuf, .grpc])
    stream.isLiveFirst = draw.chance(1, in: 5)
    stream.isJSON = draw.chance(1, in: 2)
    stream.poison = draw.chance(1, in: 4) ? draw.range(3...60) : 0
    if draw.chance(1, in: 5) { stream.ttl = draw.scaled(.seconds(5), .seconds(3_600)) }
    tune(&stream, &draw)
  }

  /// What a reload may change, too.
  static func tune(_ stream: inout StreamPlan, _ draw: inout Draw) {
    stream.inFlight = draw.pick([1, 1, 2, 4, 32])
    stream.records = draw.pick([1, 2, 10, 100])
    stream.batchBytes = draw.pick([1_024, 16_384, 65_536])
    stream.linger = draw.pick([.zero, .zero, .milliseconds(200), .seconds(5)])
  }

  private mutating func addReports(_ draw: inout Draw) {
    var stream = StreamPlan(name: "health", host: draw.below(hosts.count))
    stream.durability = draw.chance(1, in: 4) ? .spill : .sync
    stream.priority = draw.pick([.alarm, .event])
    stream.encoding = draw.pick([.cloudEvents, .cloudEventsBatch, .protobuf])
    Plan.tune(&stream, &draw)
    streams.append(stream)
  }

  /// The same streams, tuned otherwise; now and then a class or a durability changes.
  func other(_ draw: inout Draw) -> Plan {
    var plan = self
    for index in plan.streams.indices {
      if draw.chance(1, in: 2) { Plan.tune(&plan.streams[index], &draw) }
      guard index != reports else { continue }
      if draw.chance(1, in: 6) { plan.streams[index].priority = draw.pick([.event, .telemetry]) }
      if draw.chance(1, in: 6) {
        plan.streams[index].durability = draw.pick([.sync, .spill, .memory])
      }
    }
    return plan
  }
}
