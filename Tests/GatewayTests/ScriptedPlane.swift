import GRPC
import HPACK
import HTTP2
import Policy
import Primitives
import Protobuf
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
    var writer = WireWriter()
    Self.text(&writer, 1, "\(versions)")
    for resource in resources where resource.type == type && names.contains(resource.name) {
      writer.message(2) { any in
        let url = TypeURL.of(type.messageName)
        any.bytes(1, url.span)
        any.bytes(2, resource.value.span)
      }
    }
    let url = TypeURL.of(type.messageName)
    writer.bytes(4, url.span)
    Self.text(&writer, 5, "n\(versions)")
    var framed: [UInt8] = []
    MessageFraming.appendPrefix(length: writer.bytes.count, to: &framed)
    framed += writer.bytes
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

  // MARK: Resources

  static func text(_ writer: inout WireWriter, _ number: UInt32, _ value: String) {
    writer.bytes(number, ByteString(value).bytes.span)
  }

  static func any(
    _ writer: inout WireWriter, _ number: UInt32, _ type: StaticString, _ value: [UInt8]
  ) {
    writer.message(number) { any in
      let url = TypeURL.of(type)
      any.bytes(1, url.span)
      any.bytes(2, value.span)
    }
  }

  /// A listener whose routes stand in it: everything goes to one cluster, or ends with a status.
  static func listener(_ name: String, to cluster: String, status: UInt64 = 0) -> [UInt8] {
    var manager = WireWriter()
    text(&manager, 2, "spoke")
    manager.message(4) { routes in
      text(&routes, 1, "routes")
      routes.message(2) { host in
        text(&host, 1, "all")
        text(&host, 2, "*")
        host.message(3) { route in
          route.message(1) { text(&$0, 1, "/") }
          if status > 0 {
            route.message(7) { $0.varint(1, status) }
          } else {
            route.message(2) { text(&$0, 1, cluster) }
          }
        }
      }
    }
    manager.message(5) { filter in
      text(&filter, 1, "router")
      any(&filter, 4, "envoy.extensions.filters.http.router.v3.Router", [])
    }
    var listener = WireWriter()
    text(&listener, 1, name)
    listener.message(19) { api in
      any(
        &api, 1,
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        manager.bytes)
    }
    return listener.bytes
  }

  /// A STATIC cluster with one endpoint at 10.0.0.9.
  static func cluster(_ name: String, port: UInt64, type: UInt64 = 0) -> [UInt8] {
    var cluster = WireWriter()
    text(&cluster, 1, name)
    cluster.varint(2, type)
    cluster.message(33) { assignment in
      text(&assignment, 1, name)
      assignment.message(2) { locality in
        locality.message(2) { entry in
          entry.message(1) { endpoint in
            endpoint.message(1) { address in
              address.message(1) { socket in
                text(&socket, 2, "10.0.0.9")
                socket.varint(3, port)
              }
            }
          }
        }
      }
    }
    return cluster.bytes
  }

  /// A file of `[xds] resources`.
  static func file(_ type: ResourceType, _ values: [[UInt8]]) -> [UInt8] {
    var writer = WireWriter()
    text(&writer, 1, "file")
    for value in values { any(&writer, 2, type.messageName, value) }
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
