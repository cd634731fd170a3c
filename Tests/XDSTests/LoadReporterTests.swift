import Primitives
import Protobuf
import Testing

@testable import XDS

/// One attempt after the other, as a test counts them.
extension LoadReporter {
  mutating func started(_ place: LoadPlace) {
    guard let active = clusters[place.cluster]?.localities[place.locality].inProgress else {
      return
    }
    add(place, issued: 1, succeeded: 0, failed: 0, inProgress: active + 1)
  }

  mutating func finished(_ place: LoadPlace, isSuccess: Bool) {
    guard let active = clusters[place.cluster]?.localities[place.locality].inProgress else {
      return
    }
    add(
      place, issued: 0, succeeded: isSuccess ? 1 : 0, failed: isSuccess ? 0 : 1,
      inProgress: active - 1)
  }
}

@Suite("LRS")
struct LoadReporterTests {
  struct Report: Equatable {
    var hasNode = false
    var clusters: [String] = []
  }

  /// Fields as text: a message's fields in parentheses, in their order.
  static func text(_ bytes: [UInt8], _ reader: WireReader, depth: Int = 0) throws -> String {
    var reader = reader
    var parts: [String] = []
    while let field = try reader.next(in: bytes.span) {
      if let range = field.value.range {
        let isMessage = depth == 0 ? true : (depth == 1 ? [2, 4, 5] : [1]).contains(field.number)
        let inner =
          isMessage && !(depth == 2 && bytes[range].first != 0x0A)
          ? "(" + (try text(bytes, try reader.message(range), depth: depth + 1)) + ")"
          : String(decoding: bytes[range], as: UTF8.self)
        parts.append("\(field.number):\(inner)")
      } else if let value = field.value.uint64 {
        parts.append("\(field.number):\(value)")
      }
    }
    return parts.joined(separator: " ")
  }

  static func response(
    _ clusters: [String] = [], seconds: Int64, all: Bool = false, endpoints: Bool = false
  ) -> [UInt8] {
    var writer = WireWriter()
    for name in clusters { writer.text(1, ByteString(name)) }
    writer.message(2) { $0.int64(1, seconds) }
    if endpoints { writer.varint(3, 1) }
    if all { writer.varint(4, 1) }
    return writer.bytes
  }

  final class Owner {
    var reporter = LoadReporter(node: NodeIdentity(id: "device", cluster: "fleet"), seed: 5)
    var now = Instant(nanoseconds: 5_000_000_000)
    var stream: UInt32 = 0
    var sent: [[UInt8]] = []
    var closed: [UInt32] = []

    func drain() {
      while let action = reporter.nextAction(now: now) {
        switch action {
        case .open(let stream): self.stream = stream
        case .send(_, let message): sent.append(message)
        case .close(let stream): closed.append(stream)
        }
      }
    }

    func connect() {
      reporter.start()
      drain()
      reporter.streamOpened(stream)
      drain()
    }

    func receive(_ message: [UInt8]) {
      reporter.receive(message, stream: stream, now: now)
      drain()
    }

    func advance(_ interval: Interval) {
      now = now + interval
      reporter.handleTimeout(now: now)
      drain()
    }

    func place(_ cluster: String, zone: String = "z", priority: UInt32 = 0) -> LoadPlace? {
      reporter.place(
        cluster: ByteString(cluster), service: "", region: "", zone: ByteString(zone), subZone: "",
        priority: priority, now: now)
    }

    /// The newest report, in words.
    func last() throws -> String {
      let bytes = try #require(sent.last)
      return try LoadReporterTests.text(bytes, WireReader(bytes.span))
    }
  }

  @Test func item103_theNodeFirstAndReportsAtTheInterval() throws {
    let owner = Owner()
    owner.connect()
    #expect(owner.sent.count == 1)
    let first = String(decoding: try #require(owner.sent.first), as: UTF8.self)
    #expect(first.contains("device") && first.contains("envoy.lrs.supports_send_all_clusters"))
    #expect(owner.reporter.nextDeadline() == nil)
    owner.receive(Self.response(["a"], seconds: 10))
    let place = try #require(owner.place("a"))
    _ = owner.place("a", zone: "silent")
    let other = try #require(owner.place("b"))
    owner.reporter.started(place)
    owner.reporter.started(place)
    owner.reporter.finished(place, isSuccess: true)
    owner.reporter.started(other)
    owner.advance(.seconds(12))
    #expect(
      try owner.last() == "2:(1:a 2:(1:z 2:1 3:1 4:0 8:2) 4:(1:12 2:0))"
        || owner.last().contains("2:1 3:1 4:0 8:2"))
    #expect(try !owner.last().contains("silent") && !owner.last().contains("1:b"))
  }

  @Test func item104_deltasAndGauges() throws {
    let owner = Owner()
    owner.connect()
    owner.receive(Self.response(seconds: 10, all: true))
    let place = try #require(owner.place("a", priority: 2))
    owner.reporter.started(place)
    owner.reporter.started(place)
    owner.reporter.finished(place, isSuccess: false)
    owner.reporter.dropped(cluster: "a", service: "", category: "lb", now: owner.now)
    owner.reporter.dropped(cluster: "a", service: "", category: "", now: owner.now)
    owner.advance(.seconds(10))
    #expect(try owner.last().contains("2:0 3:1 4:1 6:2 8:2"))
    #expect(try owner.last().contains("3:2 4:(1:10 2:0) 5:(1:lb 2:1)"))
    owner.advance(.seconds(10))
    #expect(try owner.last().contains("2:0 3:1 4:0 6:2 8:0"))
    #expect(try !owner.last().contains("lb"))
    owner.reporter.finished(place, isSuccess: true)
    owner.advance(.seconds(10))
    #expect(try owner.last().contains("2:1 3:0 4:0 6:2 8:0"))
    owner.advance(.seconds(10))
    #expect(try owner.last() == "")
  }

  @Test func item105_countersOutliveTheStream() throws {
    let owner = Owner()
    owner.connect()
    let early = try #require(owner.place("a"))
    owner.reporter.started(early)
    owner.receive(Self.response(["a"], seconds: 10))
    owner.reporter.started(early)
    owner.reporter.streamClosed(owner.stream, now: owner.now)
    owner.drain()
    owner.reporter.started(early)
    owner.advance(.seconds(2))
    owner.connect()
    owner.receive(Self.response(["a", "b"], seconds: 20))
    owner.advance(.seconds(20))
    // What was counted before the server asked is not reported, what is in progress is.
    #expect(try owner.last().contains("2:0 3:3 4:0 8:2"))
    #expect(try owner.last().contains("4:(1:22 2:0)"))
  }

  @Test func item105_intervalsAreValid() {
    let owner = Owner()
    owner.connect()
    owner.receive(Self.response(["a"], seconds: 0))
    #expect(owner.closed == [owner.stream] && owner.reporter.malformed == 1)
    owner.advance(.seconds(2))
    owner.connect()
    owner.receive([0xFF])
    #expect(owner.reporter.malformed == 2)
  }

  @Test func item105_aFinalReport() throws {
    let owner = Owner()
    owner.connect()
    owner.receive(Self.response(seconds: 100, all: true))
    let place = try #require(owner.place("a"))
    owner.reporter.started(place)
    owner.reporter.stop()
    owner.drain()
    #expect(try owner.last().contains("8:1"))
    #expect(owner.closed == [owner.stream])
  }

  @Test func item32_aRemovedClusterIsReportedOnceMore() throws {
    let owner = Owner()
    owner.connect()
    owner.receive(Self.response(seconds: 10, all: true))
    let place = try #require(owner.place("a"))
    owner.reporter.started(place)
    owner.reporter.finished(place, isSuccess: true)
    owner.reporter.remove(cluster: "a", service: "")
    owner.advance(.seconds(10))
    #expect(try owner.last().contains("1:a"))
    // Its place is free for another cluster.
    for number in 0..<LoadLimits.clustersMax { #expect(owner.place("c\(number)") != nil) }
    #expect(owner.place("one more") == nil)
    #expect(owner.reporter.untracked == 1)
  }

  @Test("a removed cluster that the server no longer asks for gives its place up")
  func removedAndNotAskedFor() throws {
    let owner = Owner()
    owner.connect()
    for _ in 0...LoadLimits.clustersMax {
      owner.receive(Self.response(["a"], seconds: 10))
      let place = try #require(owner.place("a"))
      owner.reporter.started(place)
      owner.reporter.remove(cluster: "a", service: "")
      owner.receive(Self.response(["b"], seconds: 10))
    }
    #expect(owner.reporter.clusters.allSatisfy { $0 == nil })
    #expect(owner.reporter.untracked == 0)
  }

  @Test("a cluster that is counted for the first time was counted since the last report")
  func newCluster() throws {
    let owner = Owner()
    owner.connect()
    owner.receive(Self.response(seconds: 10, all: true))
    owner.advance(.seconds(10))
    owner.now = owner.now + .seconds(10)
    let place = try #require(owner.place("a"))
    owner.reporter.started(place)
    owner.advance(.zero)
    #expect(try owner.last().contains("4:(1:10 2:0)"))
  }

  @Test("localities that come and go take the places of those without requests")
  func churn() throws {
    let owner = Owner()
    owner.connect()
    owner.receive(Self.response(seconds: 10, all: true))
    for number in 0..<LoadLimits.localitiesMax {
      owner.reporter.started(try #require(owner.place("a", zone: "z\(number)")))
    }
    #expect(owner.place("a", zone: "new") == nil && owner.reporter.untracked == 1)
    let gone = try #require(owner.place("a", zone: "z7"))
    owner.reporter.finished(gone, isSuccess: true)
    #expect(owner.place("a", zone: "new") == nil, "it has not been reported")
    owner.advance(.seconds(10))
    #expect(owner.place("a", zone: "new") == gone)
  }

  @Test("what one reporter has not reported, the next one does")
  func inheritance() throws {
    let former = Owner()
    former.connect()
    former.receive(Self.response(["a"], seconds: 10))
    former.reporter.started(try #require(former.place("a")))
    let owner = Owner()
    owner.reporter.inherit(former.reporter)
    owner.connect()
    let late = try #require(owner.place("a", zone: "late"))
    owner.reporter.started(late)
    owner.receive(Self.response(["a"], seconds: 10))
    owner.advance(.seconds(10))
    #expect(try owner.last().contains("8:1"))
    #expect(try owner.last().contains("late"))
    #expect(owner.reporter.reports == 1 && owner.reporter.requests == 3)
  }

  @Test("an interval below a second is a second, and that is noted")
  func shortInterval() {
    let owner = Owner()
    owner.connect()
    var writer = WireWriter()
    writer.message(2) { $0.int64(2, 1_000_000) }
    writer.varint(4, 1)
    owner.receive(writer.bytes)
    #expect(owner.reporter.interval == .seconds(1) && owner.reporter.isIntervalClamped)
    owner.receive(Self.response(["a"], seconds: 100))
    #expect(owner.reporter.interval == .seconds(100) && !owner.reporter.isIntervalClamped)
    #expect(!owner.reporter.sendsAll && owner.reporter.requested == ["a"])
  }

  @Test func item106_endpointsAreNotReported() {
    let owner = Owner()
    owner.connect()
    owner.receive(Self.response(seconds: 10, all: true, endpoints: true))
    #expect(owner.reporter.refusesEndpointGranularity)
  }
}
