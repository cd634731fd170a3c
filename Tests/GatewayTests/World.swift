import Configuration
import HPACK
import HTTP2
import NetworkingCore
import Primitives
import Spool
import TestSupport
import Testing

@testable import Gateway

/// A request as the upstream saw it, complete.
struct SeenRequest {
  var headers: [(name: String, value: String)] = []
  var body: [UInt8] = []
  /// Where the upstream took it.
  var address = SocketAddress(0, 0, 0, 0, port: 0)
  var path: String { self[":path"] ?? "" }
  var text: String { String(decoding: body, as: UTF8.self) }
  var id: String { self["ce-id"] ?? "" }

  subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// The whole daemon without a socket: a gateway, its disk, an upstream made of the server role of our
/// own HTTP/2, and a clock that moves only when a test says so.
final class World {
  final class Peer {
    let id: ConnectionID
    let address: SocketAddress
    var machine: HTTP2Connection
    var open: [UInt32: SeenRequest] = [:]

    init(_ id: ConnectionID, _ address: SocketAddress, now: Instant) {
      self.id = id
      self.address = address
      machine = HTTP2Connection(role: .server, configuration: HTTP2Configuration(), now: now)
    }
  }

  enum Answer {
    case status(Int, [(String, String)] = [])
    /// 200, a body, and these fields behind it.
    case trailers([(String, String)])
    case reset
    case silence
  }

  let disk: CrashingDisk
  var gateway: Gateway<CrashingStorage>
  var clocks: Clocks
  var peers: [Peer] = []
  var requests: [SeenRequest] = []
  var log: [String] = []
  /// Whether the upstream takes connections.
  var isUp = true
  /// Which addresses take connections.
  var reaches: (SocketAddress) -> Bool = { _ in true }
  /// Takes content of streams that the control plane answers; nil: there is none.
  var plane: ScriptedPlane?
  /// What was to be written to the cache, and how often it was set aside.
  var caches: [[UInt8]] = []
  var cachesSetAside = 0
  var answer: (SeenRequest) -> Answer = { _ in .status(200) }
  /// How long an answer takes.
  var answerDelay = Interval.zero
  private var answers: [(due: Instant, peer: ConnectionID, stream: UInt32, answer: Answer)] = []

  init(
    _ text: String, disk: CrashingDisk = CrashingDisk(), now: Instant? = nil, isUp: Bool = true,
    files: PolicyFiles = PolicyFiles(), plane: ScriptedPlane? = nil
  ) {
    self.disk = disk
    self.plane = plane
    self.isUp = isUp
    clocks = Clocks(
      now: now ?? Instant(nanoseconds: 1_000_000_000),
      wall: WallTime(nanoseconds: 1_800_000_000_000_000_000), quality: .synced)
    gateway = Gateway(
      configuration: World.configuration(text), storage: CrashingStorage(disk), files: files,
      seed: 7, clocks: clocks)
    turn()
  }

  static func configuration(_ text: String) -> Configuration {
    switch ConfigurationLoader.load(files: [(name: "test.toml", bytes: Array(text.utf8))]) {
    case .valid(let configuration, _): return configuration
    case .invalid(let diagnostics):
      fatalError(diagnostics.map { $0.description }.joined(separator: "\n"))
    }
  }

  /// The same disk after a SIGKILL, and a new process on it.
  func restarted(_ text: String, isUp: Bool = true) -> World {
    disk.kill()
    return World(text, disk: disk, now: clocks.now + .seconds(1), isUp: isUp)
  }

  // MARK: Looking inside (a noncopyable value cannot stand in an expectation)

  var mayRelease: Bool { gateway.mayReleaseMQTT }
  var epoch: String { EpochText.of(gateway.spool.epoch).description }
  var commits: UInt64 { gateway.spool.statistics.commits }
  var duplicates: UInt64 { gateway.mqtt.duplicates }
  var isDegraded: Bool { gateway.isDegraded }
  var badFrames: UInt64 { gateway.ports[0].framer.counters.badFrames }
  func counters(_ stream: Int) -> UplinkCounters { gateway.counters(stream) }
  func heldStatus(_ stream: Int) -> UInt16? { gateway.uplinks[stream].hold?.status }
  var reportsWaiting: Int { gateway.reports.waiting.count }
  func deliveries(_ stream: Int) -> Int { gateway.uplinks[stream].slots.count }
  func backlog(_ stream: Int) -> UInt64 { gateway.spool.backlog(stream: stream).records }
  func reload(_ text: String) -> Bool {
    gateway.reload(World.configuration(text), clocks: clocks)
  }

  // MARK: Time

  /// Turns until nothing moves at this moment.
  func turn() {
    for _ in 0..<1_000 {
      gateway.finishTurn(clocks: clocks)
      var moved = false
      while let action = gateway.nextAction() {
        if case .log(_, let message) = action { log.append(message) } else { moved = true }
        perform(action)
      }
      giveAnswers()
      for peer in peers { moved = exchange(peer) || moved }
      moved = plane?.pump(now: clocks.now) == true || moved
      if !moved { return }
    }
    Issue.record("the gateway and its upstream never come to rest")
  }

  /// One turn as the driver has it, in which every connection breaks when it is written to.
  func turnWithFailingWrites() {
    gateway.finishTurn(clocks: clocks)
    while let action = gateway.nextAction() {
      if case .transport(.flush(let id)) = action {
        peers.removeAll { $0.id == id }
        gateway.disconnected(id, "broken pipe", now: clocks.now)
      } else {
        perform(action)
      }
    }
  }

  /// Moves to the next deadline; false if there is none.
  func moveToDeadline() -> Bool {
    guard let deadline = gateway.nextDeadline() else { return false }
    move(to: max(deadline, clocks.now))
    return true
  }

  /// Whether a result waits for the next turn, and whether that turn is due.
  var waitingResult: (exists: Bool, isDue: Bool) {
    (gateway.core.hasResult, gateway.nextDeadline().map { $0 <= clocks.now } ?? false)
  }

  /// Lets time pass, from deadline to deadline.
  func advance(_ interval: Interval) {
    let end = clocks.now + interval
    var overdue = 0
    while let deadline = nextDeadline(), deadline < end {
      // A deadline that is not later after its turn would keep a real loop spinning.
      overdue = deadline <= clocks.now ? overdue + 1 : 0
      guard overdue < 10 else {
        Issue.record("the gateway spins: a deadline stays in the past: \(deadlines)")
        break
      }
      move(to: max(deadline, clocks.now + .microseconds(1)))
      turn()
    }
    move(to: end)
    turn()
  }

  /// What is due, for the failure of a test.
  private var deadlines: String {
    let now = clocks.now
    var due: [String] = []
    if let next = gateway.spool.nextDeadline(), next <= now { due.append("spool") }
    if let next = gateway.core.nextDeadline(), next <= now { due.append("core") }
    if let next = gateway.nextLossDeadline, next <= now { due.append("losses") }
    for index in gateway.uplinks.indices {
      if let next = gateway.uplinks[index].nextDeadline(), next <= now {
        due.append("uplink \(index)")
      }
    }
    return due.joined(separator: ", ")
  }

  private func nextDeadline() -> Instant? {
    let answer = answers.map { $0.due }.min()
    guard let deadline = gateway.nextDeadline() else { return answer }
    return min(deadline, answer ?? deadline)
  }

  private func move(to instant: Instant) {
    let passed = instant - clocks.now
    clocks.now = instant
    clocks.wall.nanoseconds += passed.nanoseconds
  }

  // MARK: Sources

  @discardableResult
  func publish(_ topic: String, _ payload: String, qos: UInt8 = 1, id: UInt16 = 1) -> Bool {
    let topic = Array(topic.utf8)
    let payload = Array(payload.utf8)
    let taken = gateway.receiveMQTT(
      topic: topic.span, payload: payload.span, qos: qos, messageID: id, oversize: 0,
      clocks: clocks)
    turn()
    return taken
  }

  func serial(_ text: String, port: Int = 0) {
    let bytes = Array(text.utf8)
    gateway.receiveSerial(port, bytes.span, clocks: clocks)
    turn()
  }

  // MARK: The upstream

  private func perform(_ action: GatewayAction) {
    switch action {
    case .transport(let action): perform(action)
    case .writeCache(let file): caches.append(file)
    case .setCacheAside: cachesSetAside += 1
    case .log: break
    }
  }

  private func perform(_ action: TransportAction) {
    switch action {
    case .resolve(let id, _, _):
      gateway.resolved(
        id, [SocketAddress(192, 0, 2, 1, port: 443)], ttl: nil, now: clocks.now)
    case .connect(let id, let address, _):
      guard isUp, reaches(address) else {
        return gateway.connectionFailed(id, "refused", now: clocks.now)
      }
      peers.append(Peer(id, address, now: clocks.now))
      gateway.connected(id, now: clocks.now)
    case .flush(let id):
      guard let peer = peers.first(where: { $0.id == id }) else { return }
      _ = exchange(peer)
    case .close(let id): peers.removeAll { $0.id == id }
    }
  }

  /// The upstream is gone, with every connection.
  func goDown() {
    isUp = false
    for peer in peers { gateway.disconnected(peer.id, "gone", now: clocks.now) }
    peers = []
    turn()
  }

  private func exchange(_ peer: Peer) -> Bool {
    var moved = false
    var sent: [UInt8] = []
    gateway.withOutput(peer.id) { span in sent.append(contentsOf: span) }
    if !sent.isEmpty {
      gateway.consumeOutput(peer.id, sent.count, now: clocks.now)
      moved = true
      receive(sent, peer)
    }
    var reply: [UInt8] = []
    peer.machine.withOutput { span in reply.append(contentsOf: span) }
    if !reply.isEmpty {
      peer.machine.consumeOutput(reply.count, now: clocks.now)
      moved = true
      gateway.received(peer.id, reply.span, now: clocks.now)
    }
    return moved
  }

  private func receive(_ bytes: [UInt8], _ peer: Peer) {
    var offset = 0
    while let event = peer.machine.receive(bytes.span, from: &offset, now: clocks.now) {
      switch event {
      case .headers(let stream, _, let end):
        var request = SeenRequest()
        request.address = peer.address
        let list = peer.machine.receivedHeaders
        for index in 0..<list.count {
          request.headers.append((list.name(index).description, list.value(index).description))
        }
        peer.open[stream] = request
        if end { complete(stream, peer) }
      case .data(let stream, let range, let credit, let end):
        peer.machine.release(credit, on: stream)
        if plane?.take(bytes[range], peer.open[stream], stream, peer, clocks.now) == true {
          continue
        }
        peer.open[stream]?.body += bytes[range]
        if end { complete(stream, peer) }
      case .reset(let stream, _, _): peer.open[stream] = nil
      default: break
      }
    }
  }

  private func complete(_ stream: UInt32, _ peer: Peer) {
    guard let request = peer.open.removeValue(forKey: stream) else { return }
    requests.append(request)
    let answer = self.answer(request)
    guard answerDelay == .zero else {
      answers.append((clocks.now + answerDelay, peer.id, stream, answer))
      return
    }
    give(answer, stream, peer)
  }

  private func giveAnswers() {
    let due = answers.filter { $0.due <= clocks.now }
    answers.removeAll { $0.due <= clocks.now }
    for answer in due {
      guard let peer = peers.first(where: { $0.id == answer.peer }) else { continue }
      give(answer.answer, answer.stream, peer)
    }
  }

  private func give(_ chosen: Answer, _ stream: UInt32, _ peer: Peer) {
    switch chosen {
    case .status(let status, let fields):
      var headers = HeaderList()
      headers.append(":status", ByteString("\(status)"))
      for field in fields { headers.append(ByteString(field.0), ByteString(field.1)) }
      do throws(HTTP2SubmitError) {
        try peer.machine.submitHeaders(headers, on: stream, endStream: true, now: clocks.now)
      } catch {
        Issue.record("the upstream cannot answer: \(error)")
      }
    case .trailers(let fields): answer(peer, stream, trailers: fields)
    case .reset: peer.machine.reset(stream, .internalError)
    case .silence: break
    }
  }

  private func answer(_ peer: Peer, _ stream: UInt32, trailers fields: [(String, String)]) {
    var headers = HeaderList()
    headers.append(":status", "200")
    headers.append("content-type", "application/grpc")
    var trailers = HeaderList()
    for field in fields { trailers.append(ByteString(field.0), ByteString(field.1)) }
    let body: [UInt8] = [0, 0, 0, 0, 0]
    do throws(HTTP2SubmitError) {
      try peer.machine.submitHeaders(headers, on: stream, endStream: false, now: clocks.now)
      _ = try peer.machine.submitData(body.span, on: stream, endStream: false, now: clocks.now)
      try peer.machine.submitHeaders(trailers, on: stream, endStream: true, now: clocks.now)
    } catch {
      Issue.record("the upstream cannot answer: \(error)")
    }
  }
}
