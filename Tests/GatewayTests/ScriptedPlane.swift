import GRPC
import HPACK
import HTTP2
import Policy
import Primitives
import Protobuf
import TestSupport
import Testing
import XDS

@testable import Gateway

/// A control plane of one connection: it answers each subscription with what it has.
final class ScriptedPlane {
  /// By type, name and value.
  private(set) var resources: [(type: ResourceType, name: String, value: [UInt8])] = []
  /// NACKs, in the order in which they came.
  var refusals: [String] = []
  /// How many streams were opened.
  var streams = 0
  /// Its load reports.
  let loads = ScriptedLoads()
  private var versions = 0
  private var unsent: [UInt8] = []
  private var deframer = MessageDeframer(limit: 1 << 20)
  private var current: (peer: World.Peer, stream: UInt32)?
  private var subscribed: [ResourceType: [String]] = [:]

  /// Puts a resource, and sends its type to whoever is there.
  func set(_ type: ResourceType, _ name: String, _ value: [UInt8], now: Instant) {
    resources.removeAll { $0.type == type && $0.name == name }
    resources.append((type, name, value))
    if subscribed[type] != nil { send(type, now: now) }
  }

  func remove(_ type: ResourceType, _ name: String, now: Instant) {
    resources.removeAll { $0.type == type && $0.name == name }
    if subscribed[type] != nil { send(type, now: now) }
  }

  /// False: the stream is not its own.
  func take(
    _ bytes: ArraySlice<UInt8>, _ request: SeenRequest?, _ stream: UInt32, _ peer: World.Peer,
    _ now: Instant
  ) -> Bool {
    if loads.take(bytes, request, stream, peer, now) { return true }
    guard request?.path.hasPrefix("/envoy.service.discovery.v3") == true else { return false }
    if current == nil || current?.stream != stream || current?.peer !== peer {
      current = (peer, stream)
      subscribed = [:]
      unsent = []
      deframer = MessageDeframer(limit: 1 << 20)
      streams += 1
      peer.answerCall(on: stream, now: now)
    }
    let content = Array(bytes)
    var offset = 0
    while (try? deframer.receive(content.span, from: &offset)) == true {
      answer(deframer.message, now: now)
    }
    return true
  }

  private func answer(_ message: [UInt8], now: Instant) {
    var reader = WireReader(message.span)
    var type: ResourceType?
    var names: [String] = []
    while let field = try? reader.next(in: message.span) {
      guard let range = field.value.range else { continue }
      let text = String(decoding: message[range], as: UTF8.self)
      if field.number == 3 { names.append(text) }
      if field.number == 4 { type = ResourceType(typeURL: message.span.extracting(range)) }
      if field.number == 6 { refusals.append(text) }
    }
    guard let type, subscribed[type] != names else { return }
    subscribed[type] = names
    if resources.contains(where: { $0.type == type && names.contains($0.name) }) {
      send(type, now: now)
    }
  }

  private func send(_ type: ResourceType, now: Instant) {
    guard current != nil, let names = subscribed[type] else { return }
    versions += 1
    let current = resources.filter { $0.type == type && names.contains($0.name) }
    let message = PlaneResources.response(type, version: versions, current.map(\.value))
    var framed: [UInt8] = []
    MessageFraming.appendPrefix(length: message.count, to: &framed)
    framed += message
    unsent += framed
    pump(now: now)
  }

  /// Sends on as far as the windows let it. True: something went out.
  @discardableResult
  func pump(now: Instant) -> Bool {
    guard let current, !unsent.isEmpty else { return false }
    let count = try? current.peer.machine.submitData(
      unsent.span, on: current.stream, endStream: false, now: now)
    unsent.removeFirst(count ?? 0)
    return count ?? 0 > 0
  }

  /// A STATIC cluster with one endpoint at 10.0.0.9.
  static func cluster(_ name: ByteString, port: UInt64, type: UInt64 = 0) -> [UInt8] {
    PlaneResources.cluster(name, type: type, at: "10.0.0.9", port: port)
  }

  /// A file of `[xds] resources`.
  static func file(_ type: ResourceType, _ values: [[UInt8]]) -> [UInt8] {
    var writer = WireWriter()
    PlaneResources.text(&writer, 1, "file")
    for value in values { PlaneResources.any(&writer, 2, type.messageName, value) }
    return writer.bytes
  }
}

extension ScriptedPlane {
  /// A daemon with one serial port and one stream, which the listener `ingest` steers.
  static func text(
    servers: String = "servers = ['http://10.0.0.1:18000']", _ more: String = ""
  ) -> String {
    """
    [node]
    id = "board-1"
    [xds]
    \(servers)
    runtime = []
    [[serial]]
    name = "ecu"
    device = "/dev/ttyS0"
    baud = 9600
    framing = "line"
    stream = "state"
    [[stream]]
    name = "state"
    target = "xds:///ingest"
    path = "/v1/state"
    durability = "sync"
    \(more)
    """
  }
}

extension World.Peer {
  /// The headers of a gRPC response.
  func answerCall(on stream: UInt32, now: Instant) {
    var headers = HeaderList()
    headers.append(":status", "200")
    headers.append("content-type", "application/grpc")
    _ = try? machine.submitHeaders(headers, on: stream, endStream: false, now: now)
  }
}
