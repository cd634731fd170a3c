import GRPC
import Primitives

@testable import XDS

/// A discovery client and its channel, with an owner whose streams are all in memory.
final class ChannelHarness {
  var discovery: DiscoveryClient
  var channel = ControlPlaneChannel(
    load: LoadReporter(node: NodeIdentity(id: "device", cluster: "fleet"), seed: 5))
  var now = Instant(nanoseconds: 1_000_000_000)
  /// In the order of their opening.
  var opened: [(stream: ChannelStream, server: Int, path: String)] = []
  var closed: [ChannelStream] = []
  var finished: [ChannelStream] = []
  /// By stream: what was written.
  var written: [ChannelStream: [UInt8]] = [:]
  /// By stream: what the server has sent and nobody has taken.
  var waiting: [ChannelStream: [UInt8]] = [:]
  var validated: [String] = []
  var applied: [ResourceType] = []
  /// False: what is applied stays so until the test resumes.
  var resumes = true
  /// Bytes that the transport still takes.
  var room = Int.max
  /// The largest piece that was lent.
  var pieceMax = 0
  var reads = 0

  init(servers: Int = 1, _ transport: DiscoveryTransport = .stateOfTheWorld) {
    var settings = DiscoverySettings()
    settings.transport = transport
    settings.servers = servers
    discovery = DiscoveryClient(
      settings, node: NodeIdentity(id: "device", cluster: "fleet"), seed: 7)
    discovery.start()
  }

  var newest: ChannelStream { opened[opened.count - 1].stream }
  var clocks: Clocks {
    Clocks(now: now, wall: WallTime(nanoseconds: 1_700_000_000_000_000_000), quality: .synced)
  }

  /// Until nothing moves.
  func run() {
    for _ in 0..<10_000 {
      if let action = discovery.nextAction(now: now) {
        perform(action)
      } else if let action = channel.nextAction(discovery, now: now) {
        perform(action)
      } else {
        return
      }
    }
    preconditionFailure("the channel never comes to rest")
  }

  private func perform(_ action: DiscoveryAction) {
    switch action {
    case .open(let stream, let server):
      channel.open(stream, server: server, discovery.settings.transport)
    case .send(let stream, let message): channel.send(message, on: stream, &discovery)
    case .close(let stream): channel.close(stream)
    case .validate(_, let name):
      validated.append(name.description)
      discovery.submitVerdict(.accepted(staleAfter: .zero))
    case .applied(let type):
      applied.append(type)
      if resumes { discovery.resume() }
    case .available, .removed, .failed, .unreachable: break
    }
  }

  private func perform(_ action: ChannelAction) {
    switch action {
    case .open(let stream, let server, let path):
      opened.append((stream, server, path.description))
    case .write(let stream): write(stream)
    case .finish(let stream): finished.append(stream)
    case .close(let stream):
      closed.append(stream)
      waiting[stream] = nil
    case .read(let stream):
      reads += 1
      read(stream)
    }
  }

  func write(_ stream: ChannelStream) {
    while true {
      let piece = channel.withOutput(stream) { bytes in
        var piece: [UInt8] = []
        for index in 0..<min(bytes.count, room) { piece.append(bytes[index]) }
        return piece
      }
      pieceMax = max(pieceMax, piece.count)
      guard !piece.isEmpty else { return }
      room -= piece.count
      written[stream, default: []] += piece
      channel.consumeOutput(stream, piece.count, &discovery)
    }
  }

  func read(_ stream: ChannelStream) {
    let bytes = waiting[stream] ?? []
    let count = channel.receive(bytes.span, on: stream, &discovery, clocks: clocks)
    waiting[stream] = Array(bytes[count...])
  }

  // MARK: What happens

  func connect() {
    run()
    opened(newest)
  }

  func opened(_ stream: ChannelStream) {
    channel.streamOpened(stream, &discovery, now: now)
    run()
  }

  func subscribe(_ type: ResourceType, _ names: [String]) {
    _ = discovery.subscribe(type, names.map { ByteString($0) })
    run()
  }

  static func framed(_ message: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    MessageFraming.appendPrefix(length: message.count, to: &bytes)
    return bytes + message
  }

  /// Bytes arrive, in pieces of at most `segment`.
  func arrive(_ bytes: [UInt8], on stream: ChannelStream? = nil, segment: Int = .max) {
    let stream = stream ?? newest
    var start = 0
    while start < bytes.count {
      let end = start + min(segment, bytes.count - start)
      waiting[stream, default: []] += bytes[start..<end]
      read(stream)
      run()
      start = end
    }
  }

  func end(_ outcome: ChannelOutcome, on stream: ChannelStream? = nil) {
    channel.streamClosed(stream ?? newest, outcome, &discovery, now: now)
    run()
  }

  func advance(_ interval: Interval) {
    now = now + interval
    discovery.handleTimeout(now: now)
    channel.load.handleTimeout(now: now)
    run()
  }

  // MARK: What was written

  func messages(_ stream: ChannelStream) throws -> [[UInt8]] {
    let bytes = written[stream] ?? []
    var deframer = MessageDeframer(limit: .max)
    var found: [[UInt8]] = []
    var offset = 0
    while try deframer.receive(bytes.span, from: &offset) { found.append(deframer.takeMessage()) }
    try deframer.finish()
    return found
  }

  func requests(_ stream: ChannelStream) throws -> [Request] {
    let isDelta = discovery.settings.transport == .incremental
    return try messages(stream).map { try Request($0, isDelta: isDelta) }
  }
}
