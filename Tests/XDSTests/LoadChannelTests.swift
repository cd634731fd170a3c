import GRPC
import Primitives
import Testing

@testable import XDS

@Suite("Load reports on the channel")
struct LoadChannelTests {
  /// Discovery is connected and a report of cluster `a` was asked for, every ten seconds.
  private func reporting(servers: Int = 1) throws -> (ChannelHarness, ChannelStream, LoadPlace) {
    let harness = ChannelHarness(servers: servers)
    harness.channel.load.start()
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    answer(harness)
    let stream = harness.newest
    #expect(stream == .load(1))
    harness.opened(stream)
    harness.arrive(
      ChannelHarness.framed(LoadReporterTests.response(["a"], seconds: 10)), on: stream)
    let place = harness.channel.load.place(
      cluster: "a", service: "", region: "", zone: "z", subZone: "", priority: 0,
      now: harness.now)
    return (harness, stream, try #require(place))
  }

  private func answer(_ harness: ChannelHarness) {
    harness.arrive(
      ChannelHarness.framed(
        Plane.response(.cluster, version: "1", nonce: "1", [Plane.resource("a")])))
  }

  @Test("reports go to the server that answers, and nowhere before one does")
  func opened() throws {
    let harness = ChannelHarness()
    harness.channel.load.start()
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    harness.advance(.seconds(100))
    #expect(harness.opened.map { $0.stream } == [.discovery(1)])
    answer(harness)
    #expect(harness.newest == .load(1))
    #expect(
      harness.opened[1].path
        == "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats")
    harness.opened(harness.newest)
    #expect(try harness.messages(harness.newest).count == 1)
  }

  @Test("counts are in a report when the interval is over")
  func reports() throws {
    let (harness, stream, place) = try reporting()
    harness.channel.load.started(place)
    harness.channel.load.finished(place, isSuccess: true)
    harness.advance(.seconds(10))
    let messages = try harness.messages(stream)
    #expect(messages.count == 2)
    #expect(String(decoding: messages[1], as: UTF8.self).contains("a"))
  }

  @Test func item105_reportsThatTheServerDoesNotReadAreMerged() throws {
    let (harness, stream, place) = try reporting()
    harness.room = 0
    for _ in 0..<5 {
      harness.channel.load.started(place)
      harness.channel.load.finished(place, isSuccess: true)
      harness.advance(.seconds(10))
    }
    #expect(harness.channel.load.reports == 1)
    harness.room = .max
    harness.write(stream)
    harness.run()
    #expect(harness.channel.load.reports == 2)
    let last = try #require(try harness.messages(stream).last)
    let text = try LoadReporterTests.text(last, .init(last.span))
    // Four successes, issued four times; the first report had one.
    #expect(text.contains("2:4") && text.contains("8:4"))
  }

  @Test func item105_theFinalReportIsWrittenBeforeTheCallEnds() throws {
    let (harness, stream, place) = try reporting()
    harness.channel.load.started(place)
    harness.room = 4
    harness.channel.load.stop()
    harness.run()
    #expect(harness.finished.isEmpty)
    harness.room = .max
    harness.write(stream)
    harness.run()
    #expect(harness.finished == [stream])
    #expect(try harness.messages(stream).count == 2)
    // The server's last words are read and forgotten.
    harness.arrive(ChannelHarness.framed([1, 2, 3]), on: stream)
    #expect(harness.waiting[stream] == [])
    harness.end(.response(status: 200, grpcStatus: 0, message: ""), on: stream)
    #expect(harness.channel.calls.map { $0.stream } == [.discovery(1)])
    harness.advance(.seconds(1_000))
    #expect(harness.opened.count == 2)
  }

  @Test("a stream that does not end after its final report is reset by the next one")
  func restarted() throws {
    let (harness, stream, _) = try reporting()
    harness.channel.load.stop()
    harness.run()
    #expect(harness.finished == [stream])
    harness.channel.load.start()
    harness.run()
    #expect(harness.closed == [stream])
    #expect(harness.newest == .load(2))
  }

  @Test("a server without load reports is asked again after a back-off; discovery is not concerned")
  func unimplemented() throws {
    let (harness, stream, _) = try reporting()
    harness.end(.response(status: 200, grpcStatus: 12, message: "unknown service"), on: stream)
    #expect(harness.channel.lastLoadEnd?.text == "UNIMPLEMENTED: unknown service")
    #expect(harness.channel.lastEnd(server: 0) == nil)
    #expect(harness.opened.count == 2)
    harness.advance(.seconds(2))
    #expect(harness.newest == .load(2))
    #expect(harness.discovery.isConnected)
    harness.arrive(Array("<html>".utf8), on: .load(2))
    #expect(harness.closed == [.load(2)])
    #expect(harness.channel.load.malformed == 1)
    #expect(harness.discovery.counters.malformed == 0)
  }

  @Test("reports follow discovery from one server to the other")
  func moves() throws {
    let harness = ChannelHarness(servers: 2)
    harness.channel.load.start()
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    harness.end(.failure("refused"))
    // The second server answers.
    #expect(harness.opened.last?.server == 1)
    harness.opened(harness.newest)
    answer(harness)
    #expect(harness.newest == .load(1))
    #expect(harness.opened.last?.server == 1)
    harness.opened(harness.newest)
    // The first one does, at last.
    harness.advance(.seconds(2))
    let primary = harness.newest
    #expect(harness.opened.last?.server == 0)
    harness.opened(primary)
    answer(harness)
    #expect(harness.closed.contains(.load(1)))
    #expect(harness.newest == .load(2))
    #expect(harness.opened.last?.server == 0)
  }

  @Test("beside a message as long as the limit, one of another stream is refused")
  func besideTheLongest() throws {
    let (harness, stream, _) = try reporting()
    harness.arrive([0, 0, 0x10, 0, 0], on: .discovery(1))
    harness.arrive(
      ChannelHarness.framed(LoadReporterTests.response(["b"], seconds: 20)), on: stream)
    #expect(harness.channel.load.malformed == 1)
    #expect(harness.discovery.isConnected)
  }

  @Test("messages of load reports are read while discovery is busy")
  func independent() throws {
    let (harness, stream, _) = try reporting()
    harness.resumes = false
    harness.arrive(
      ChannelHarness.framed(
        Plane.response(.cluster, version: "2", nonce: "2", [Plane.resource("a")])),
      on: .discovery(1))
    #expect(!harness.discovery.isReady)
    harness.arrive(
      ChannelHarness.framed(LoadReporterTests.response(["b"], seconds: 20)), on: stream)
    #expect(harness.waiting[stream] == [])
    #expect(harness.channel.load.nextDeadline() == harness.now + .seconds(20))
  }
}
