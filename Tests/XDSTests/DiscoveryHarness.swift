import GRPC
import Primitives
import Protobuf

@testable import XDS

/// A request as the control plane reads it.
struct Request: Equatable {
  var isDelta = false
  var hasNode = false
  var version = ""
  var type: ResourceType?
  var nonce = ""
  var names: [String] = []
  var unsubscribed: [String] = []
  var known: [String] = []
  var rejection: String?
  var code: UInt64?

  init(_ bytes: [UInt8], isDelta: Bool) throws {
    self.isDelta = isDelta
    var reader = WireReader(bytes.span)
    while let field = try reader.next(in: bytes.span) {
      guard let range = field.value.range else { continue }
      let text = String(decoding: bytes[range], as: UTF8.self)
      switch (field.number, isDelta) {
      case (2, false), (1, true): hasNode = true
      case (1, false): version = text
      case (4, false), (2, true):
        let url = bytes
        type = ResourceType(typeURL: url.span.extracting(range))
      case (3, _): names.append(text)
      case (4, true): unsubscribed.append(text)
      case (5, false), (6, true): nonce = text
      case (5, true): known.append(try Request.fields(reader, bytes, range).joined(separator: "="))
      case (6, false), (7, true):
        rejection = try Request.fields(reader, bytes, range).last
        var status = try reader.message(range)
        code = try status.next(in: bytes.span)?.value.uint64
      default: break
      }
    }
  }

  private static func fields(
    _ reader: WireReader, _ bytes: [UInt8], _ range: Range<Int>
  ) throws -> [String] {
    var inner = try reader.message(range)
    var texts: [String] = []
    while let field = try inner.next(in: bytes.span) {
      if let range = field.value.range {
        texts.append(String(decoding: bytes[range], as: UTF8.self))
      }
    }
    return texts
  }
}

/// What a control plane writes.
enum Plane {
  /// A resource with its name and something that tells its revisions apart.
  static func resource(_ name: String, _ content: String = "x") -> [UInt8] {
    var writer = WireWriter()
    writer.text(1, ByteString(name))
    writer.text(2, ByteString(content))
    return writer.bytes
  }

  static func any(_ message: StaticString, _ value: [UInt8]) -> [UInt8] {
    var writer = WireWriter()
    writer.text(1, ByteString(TypeURL.of(message)))
    if !value.isEmpty { writer.bytes(2, value.span) }
    return writer.bytes
  }

  static func wrapper(
    _ type: ResourceType, _ name: String, version: String, value: [UInt8]?, ttl: Int64? = nil
  ) -> [UInt8] {
    var writer = WireWriter()
    writer.text(3, ByteString(name))
    writer.text(1, ByteString(version))
    if let value {
      let any = any(type.messageName, value)
      writer.bytes(2, any.span)
    }
    if let ttl { writer.message(6) { $0.int64(1, ttl) } }
    return writer.bytes
  }

  static func error(_ name: String, _ status: GRPCStatus, _ text: String) -> [UInt8] {
    var writer = WireWriter()
    writer.message(1) { $0.text(1, ByteString(name)) }
    writer.message(2) {
      $0.varint(1, UInt64(status.rawValue))
      $0.text(2, ByteString(text))
    }
    return writer.bytes
  }

  /// `resources` are values of the type; `raw` are encoded entries of field 2.
  static func response(
    _ type: ResourceType, version: String, nonce: String, _ resources: [[UInt8]] = [],
    raw: [[UInt8]] = [], removed: [String] = [], errors: [[UInt8]] = [], isDelta: Bool = false
  ) -> [UInt8] {
    var writer = WireWriter()
    writer.text(1, ByteString(version))
    for value in resources {
      let any = any(type.messageName, value)
      writer.bytes(2, any.span)
    }
    for entry in raw { writer.bytes(2, entry.span) }
    let url = TypeURL.of(type.messageName)
    writer.bytes(4, url.span)
    writer.text(5, ByteString(nonce))
    for name in removed { writer.text(6, ByteString(name)) }
    for error in errors { writer.bytes(isDelta ? 9 : 7, error.span) }
    return writer.bytes
  }
}

/// The client with an owner that does what it is asked to, and notes it.
final class Harness {
  var client: DiscoveryClient
  var now = Instant(nanoseconds: 1_000_000_000)
  var wall = WallTime(nanoseconds: 1_700_000_000_000_000_000)
  /// Sent and not yet looked at, by stream.
  var sent: [Request] = []
  var opened: [UInt32] = []
  var servers: [Int] = []
  var closed: [UInt32] = []
  /// Everything else that happened, in words.
  var events: [String] = []
  var verdicts: [String: DiscoveryVerdict] = [:]
  var resumes = true
  var onApplied: ((ResourceType, Harness) -> Void)?
  let isDelta: Bool

  init(
    _ transport: DiscoveryTransport = .stateOfTheWorld, servers: Int = 1, seed: UInt64 = 7,
    _ change: (inout DiscoverySettings) -> Void = { _ in }
  ) {
    var settings = DiscoverySettings()
    settings.transport = transport
    settings.servers = servers
    change(&settings)
    isDelta = transport == .incremental
    client = DiscoveryClient(
      settings,
      node: NodeIdentity(
        id: "device", cluster: "fleet", region: "eu", metadata: [.init(key: "link", value: "2g")]),
      seed: seed)
    client.start()
  }

  /// The newest stream.
  var stream: UInt32 { opened.last ?? 0 }

  func drain() throws {
    var steps = 0
    while let action = client.nextAction(now: now) {
      steps += 1
      precondition(steps < 100_000, "the client never comes to rest")
      switch action {
      case .open(let stream, let server):
        opened.append(stream)
        servers.append(server)
      case .send(_, let message): sent.append(try Request(message, isDelta: isDelta))
      case .close(let stream): closed.append(stream)
      case .validate(_, let name):
        events.append("validate \(name.description)")
        client.submitVerdict(verdicts[name.description] ?? .accepted(staleAfter: .zero))
      case .applied(let type):
        events.append("applied \(type)")
        onApplied?(type, self)
        if resumes { client.resume() }
      case .available(_, let name): events.append("available \(name.description)")
      case .removed(_, let name): events.append("removed \(name.description)")
      case .failed(_, let name): events.append("failed \(name.description)")
      case .unreachable(let server): events.append("unreachable \(server)")
      }
    }
  }

  func connect() throws {
    try drain()
    client.streamOpened(stream, now: now)
    try drain()
  }

  func subscribe(_ type: ResourceType, _ names: [String], isWildcard: Bool = false) throws {
    _ = client.subscribe(type, names.map { ByteString($0) }, isWildcard: isWildcard)
    try drain()
  }

  func receive(_ message: [UInt8], on stream: UInt32? = nil) throws {
    client.receive(
      message, stream: stream ?? self.stream,
      clocks: Clocks(now: now, wall: wall, quality: .synced))
    try drain()
  }

  func lose() throws {
    client.streamClosed(stream, now: now)
    try drain()
  }

  func advance(_ interval: Interval) throws {
    now = now + interval
    client.handleTimeout(now: now)
    try drain()
  }

  func take() -> [Request] {
    defer { sent = [] }
    return sent
  }

  func takeEvents() -> [String] {
    defer { events = [] }
    return events
  }

  func state(_ type: ResourceType, _ name: String) -> ResourceState? {
    client.store.entry(type, ByteString(name))?.state
  }
}
