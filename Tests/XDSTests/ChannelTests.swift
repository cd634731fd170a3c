import GRPC
import Primitives
import Protobuf
import Testing

@testable import XDS

@Suite("The channel to control planes")
struct ChannelTests {
  private static func clusters(_ nonce: String, _ names: [String]) -> [UInt8] {
    ChannelHarness.framed(
      Plane.response(
        .cluster, version: nonce, nonce: nonce, names.map { Plane.resource($0) }))
  }

  @Test("the calls are those of gRPC")
  func fields() {
    let fields = ControlPlaneChannel.fields
    let found = (0..<fields.count).map {
      "\(fields.name($0).description): \(fields.value($0).description)"
    }
    #expect(
      found == [
        "te: trailers", "content-type: application/grpc",
        "user-agent: spoke/\(ProjectVersion.text.description)",
      ])
  }

  @Test(
    "each transport has its path",
    arguments: [
      (DiscoveryTransport.stateOfTheWorld, "StreamAggregatedResources"),
      (.incremental, "DeltaAggregatedResources"),
    ])
  func path(transport: DiscoveryTransport, method: String) {
    let harness = ChannelHarness(transport)
    harness.connect()
    #expect(
      harness.opened.map { $0.path }
        == ["/envoy.service.discovery.v3.AggregatedDiscoveryService/\(method)"])
    #expect(harness.opened.map { $0.server } == [0])
  }

  @Test("requests and responses, in one piece or octet by octet", arguments: [1, 5, 6, 100, .max])
  func conversation(segment: Int) throws {
    let harness = ChannelHarness()
    harness.connect()
    harness.subscribe(.cluster, ["a", "b"])
    harness.arrive(
      Self.clusters("1", ["a", "b"]) + Self.clusters("2", ["a", "b"]), segment: segment)
    #expect(harness.applied == [.cluster, .cluster])
    #expect(harness.discovery.isConnected)
    let requests = try harness.requests(harness.newest)
    #expect(requests.map { $0.nonce } == ["", "1", "2"])
    #expect(requests.map { $0.version } == ["", "1", "2"])
    #expect(harness.channel.memory == 0)
  }

  @Test func item22_nothingIsReadWhileAResponseIsProcessed() throws {
    let harness = ChannelHarness()
    harness.resumes = false
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    let second = Self.clusters("2", ["a"])
    harness.arrive(Self.clusters("1", ["a"]) + second)
    // Not a byte of the second one: its credit is not given back.
    #expect(harness.waiting[harness.newest] == second)
    harness.arrive([0, 0])
    #expect(harness.waiting[harness.newest] == second + [0, 0])
    #expect(harness.validated == ["a"])
    #expect(harness.reads == 0)

    harness.discovery.resume()
    harness.run()
    #expect(harness.reads == 1)
    #expect(harness.waiting[harness.newest] == [0, 0])
    #expect(harness.applied == [.cluster, .cluster])
    #expect(try harness.requests(harness.newest).map { $0.nonce } == ["", "1", "2"])
  }

  @Test func item22_nothingIsReadBeforeTheAnswerIsWritten() throws {
    let harness = ChannelHarness()
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    harness.room = 3
    harness.arrive(Self.clusters("1", ["a"]) + Self.clusters("2", ["a"]))
    #expect(harness.applied == [.cluster])
    #expect(harness.waiting[harness.newest]?.isEmpty == false)
    harness.room = .max
    harness.write(harness.newest)
    harness.run()
    #expect(harness.applied == [.cluster, .cluster])
    #expect(try harness.requests(harness.newest).map { $0.nonce } == ["", "1", "2"])
  }

  @Test("while the server does not read, what changes gathers in one request")
  func blocked() throws {
    let harness = ChannelHarness()
    harness.connect()
    harness.room = 10
    harness.subscribe(.cluster, ["a"])
    let held = harness.channel.memory
    for index in 0..<100 { harness.subscribe(.cluster, ["a", "x\(index)"]) }
    harness.subscribe(.endpoints, ["e"])
    #expect(harness.channel.memory == held)
    harness.room = .max
    harness.write(harness.newest)
    harness.run()
    let requests = try harness.requests(harness.newest)
    #expect(requests.map { $0.names } == [["a"], ["a", "x99"], ["e"]])
    #expect(requests.map { $0.hasNode } == [true, false, false])
  }

  @Test("a long request goes out in pieces")
  func pieces() throws {
    let harness = ChannelHarness()
    harness.connect()
    let names = (0..<100).map { String(repeating: "n", count: 900) + "\($0)" }
    harness.subscribe(.endpoints, names)
    #expect(harness.pieceMax == 16 * 1024)
    #expect(Set(try harness.requests(harness.newest)[0].names) == Set(names))
    #expect(harness.channel.memory == 0)
  }

  @Test(
    "what is no message closes the stream, and a back-off follows",
    arguments: [
      ([0, 0, 0x10, 0, 1], GRPCStatus.resourceExhausted, "longer"),
      ([0, 0xFF, 0xFF, 0xFF, 0xFF], .resourceExhausted, "longer"),
      ([1, 0, 0, 0, 1], .internalError, "compressed"),
      (Array("<html>".utf8), .internalError, "no gRPC message"),
      ([0, 0, 0, 0, 2, 0xFF, 0xFF], .unknown, ""),
    ] as [([UInt8], GRPCStatus, String)])
  func garbage(bytes: [UInt8], status: GRPCStatus, text: String) {
    let harness = ChannelHarness()
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    let stream = harness.newest
    harness.arrive(bytes + [1, 2, 3])
    #expect(harness.closed == [stream])
    #expect(harness.discovery.counters.malformed == 1)
    if !text.isEmpty {
      let end = harness.channel.lastEnd(server: 0)
      #expect(end?.status == status)
      #expect(end?.text.description.contains(text) == true)
    }
    #expect(harness.opened.count == 1)
    harness.advance(.seconds(2))
    #expect(harness.opened.count == 2)
    // What comes late is nobody's.
    harness.arrive([9, 9, 9], on: stream)
    #expect(harness.waiting[stream] == [])
  }

  @Test("a message of the limit is taken")
  func largest() {
    let harness = ChannelHarness()
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    // Field 2000, which nobody knows.
    let prefix: [UInt8] = [0x82, 0x7D, 0xFB, 0xFF, 0x3F]
    let message = prefix + [UInt8](repeating: 0, count: (1 << 20) - 5)
    #expect(message.count == DiscoveryLimits.messageBytesMax)
    harness.arrive(ChannelHarness.framed(message), segment: 16 * 1024)
    #expect(harness.closed.isEmpty)
    #expect(harness.discovery.counters.malformed == 0)
    #expect(harness.discovery.counters.ignoredResponses == 1)
    #expect(harness.channel.memory == 0)
  }

  @Test(
    "every end has its reason",
    arguments: [
      (.response(status: 200, grpcStatus: 0, message: ""), .ok, "the server ended the stream"),
      (
        .response(status: 200, grpcStatus: 14, message: "going away"), .unavailable,
        "UNAVAILABLE: going away"
      ),
      (.response(status: 200, grpcStatus: 16, message: ""), .unauthenticated, "UNAUTHENTICATED"),
      (.response(status: 200, grpcStatus: 99, message: ""), .unknown, "UNKNOWN"),
      (
        .response(status: 200, grpcStatus: nil, message: ""), .unknown,
        "the response has no grpc-status"
      ),
      (.response(status: 503, grpcStatus: nil, message: ""), .unavailable, "HTTP status 503"),
      (.response(status: 404, grpcStatus: nil, message: ""), .unimplemented, "HTTP status 404"),
      (
        .response(status: 403, grpcStatus: 7, message: ""), .permissionDenied, "HTTP status 403"
      ),
      (.failure("connect 192.0.2.1:443: refused"), .unavailable, "connect 192.0.2.1:443: refused"),
    ] as [(ChannelOutcome, GRPCStatus, ByteString)])
  func ends(outcome: ChannelOutcome, status: GRPCStatus, text: ByteString) {
    let harness = ChannelHarness()
    harness.connect()
    #expect(harness.channel.lastEnd(server: 0) == nil)
    harness.end(outcome)
    #expect(
      harness.channel.lastEnd(server: 0)
        == ChannelEnd(status: status, text: text, at: harness.now))
    #expect(harness.discovery.counters.streamsLost == 1)
    #expect(harness.closed.isEmpty)
  }

  @Test("a stream that ends within a message says so")
  func truncated() {
    let harness = ChannelHarness()
    harness.connect()
    harness.arrive([0, 0, 0])
    harness.end(.response(status: 200, grpcStatus: 0, message: ""))
    #expect(harness.channel.lastEnd(server: 0)?.status == .internalError)
  }

  @Test("a response with another status than 200 is not waited for")
  func httpStatus() {
    let harness = ChannelHarness()
    harness.connect()
    let stream = harness.newest
    harness.channel.responseBegan(stream, status: 200, &harness.discovery, now: harness.now)
    harness.run()
    #expect(harness.closed.isEmpty)
    harness.channel.responseBegan(stream, status: 502, &harness.discovery, now: harness.now)
    harness.arrive(Array("<html>".utf8), on: stream)
    #expect(harness.waiting[stream] == nil || harness.waiting[stream] == [])
    #expect(harness.closed == [stream])
    #expect(harness.channel.lastEnd(server: 0)?.status == .unavailable)
    #expect(harness.discovery.counters.streamsLost == 1)
    #expect(harness.discovery.counters.malformed == 0)
    // The owner's own word about the end comes too late to matter.
    harness.end(.failure("cancelled"), on: stream)
    #expect(harness.discovery.counters.streamsLost == 1)
  }

  @Test func item23_aStreamThatAnsweredIsOpenedAgainAtOnce() {
    let harness = ChannelHarness()
    harness.connect()
    harness.subscribe(.cluster, ["a"])
    harness.arrive(Self.clusters("1", ["a"]))
    harness.advance(.seconds(10))
    harness.end(.response(status: 200, grpcStatus: 0, message: ""))
    #expect(harness.opened.count == 2)
  }

  @Test("a stream that is stopped before it is opened is never heard of")
  func stopped() {
    let harness = ChannelHarness()
    let action = harness.discovery.nextAction(now: harness.now)
    #expect(action == .open(stream: 1, server: 0))
    harness.channel.open(1, server: 0, .stateOfTheWorld)
    harness.channel.close(1)
    #expect(harness.channel.nextAction(harness.discovery, now: harness.now) == nil)
    #expect(harness.channel.calls.isEmpty)
  }
}
