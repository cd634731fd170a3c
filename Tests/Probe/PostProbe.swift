import HPACK
import NetworkingCore
import Platform
import Policy
import Primitives

/// `probe post --port N --requests N --streams N --bytes N [--ca FILE]`: small POSTs through the
/// networking core over one connection to localhost, for the bench. It answers with one line,
/// `N answered 2xx`, and exits with 0 if all were.
enum PostProbe {
  static func run(_ input: ProbeInput) {
    do {
      let client = try PostClient(input)
      try client.run()
      print("\(client.succeeded) answered 2xx")
      if client.succeeded != client.total {
        input.fail("the others: \(client.failure.description)")
      }
    } catch {
      input.fail("post: \(error.description)")
    }
  }
}

/// One connection's driver, as plain as one can be.
private final class PostClient {
  let total: UInt64
  private(set) var succeeded: UInt64 = 0
  private(set) var failure = ByteString()
  private let streams: UInt64
  private var submitted: UInt64 = 0
  private var ended: UInt64 = 0

  private var core: NetworkingCore
  private let request: UpstreamRequest
  private let loop: EventLoop
  private let context: TLSContext?
  private var socket: TCPSocket?
  private var session: TLSSession?
  private var connection: ConnectionID?
  private var registration: Registration?
  private var isEstablished = false
  private var buffer = [UInt8](repeating: 0, count: 16_384)

  init(_ input: ProbeInput) throws(PostError) {
    total = input.number("--requests", or: 1000)
    streams = input.number("--streams", or: 1)
    let port = UInt16(truncatingIfNeeded: input.number("--port", or: 0))
    var security = Security.plain
    if let authorities = input.option("--ca") {
      security = .tls(context: 0, serverName: "localhost")
      do {
        context = try TLSContext(
          authorities: authorities, certificate: "", key: "", minimum: .tls12)
      } catch { throw PostError(error.description) }
    } else {
      context = nil
    }
    do { loop = try EventLoop() } catch { throw PostError(error.description) }
    let target = DirectTarget(host: "127.0.0.1", port: port, security: security)
    core = NetworkingCore(seed: 1)
    core.apply(PolicySnapshot.direct(targets: [target]), now: SystemClocks.now())
    var request = UpstreamRequest(
      listener: target.name, path: "/v1/state", authority: "localhost:\(port)".asByteString,
      body: [UInt8](repeating: UInt8(ascii: "x"), count: Int(input.number("--bytes", or: 200))))
    request.headers.append("content-type", "application/json")
    request.headers.append("ce-specversion", "1.0")
    request.headers.append("ce-type", "dev.spoke.record")
    self.request = request
  }

  func run() throws(PostError) {
    while ended < total {
      let now = SystemClocks.now()
      while submitted < total, submitted - ended < streams {
        guard core.submit(request, now: now) != nil else { break }
        submitted += 1
      }
      while let action = core.nextAction() { try perform(action, now) }
      takeResults()
      guard ended < total, submitted == total || submitted - ended >= streams else { continue }
      try wait()
    }
  }

  private func takeResults() {
    while let result = core.nextResult() {
      ended += 1
      if case .response(let status, _, _) = result.outcome, status / 100 == 2 {
        succeeded += 1
      } else {
        failure = result.details
      }
    }
  }

  private func wait() throws(PostError) {
    do { try loop.wait(until: core.nextDeadline()) } catch { throw PostError(error.description) }
    while let ready = loop.nextReady() {
      if !isEstablished { try establish(SystemClocks.now()) }
      guard isEstablished, let connection else { continue }
      if ready.isReadable { receive(connection) }
      if ready.isWritable { try flush(connection) }
    }
    let now = SystemClocks.now()
    if let deadline = core.nextDeadline(), deadline <= now { core.handleTimeout(now: now) }
  }

  private func perform(_ action: TransportAction, _ now: Instant) throws(PostError) {
    switch action {
    case .resolve(let id, _, _): core.resolutionFailed(id, now: now)
    case .connect(let id, let address, let security): try connect(id, address, security)
    case .flush(let id): try flush(id)
    case .close: close()
    }
  }

  private func connect(
    _ id: ConnectionID, _ address: SocketAddress, _ security: Security
  ) throws(PostError) {
    do {
      let socket = try TCPSocket(connectingTo: address)
      if let context, case .tls(_, let name, _) = security {
        session = try tls(context, socket, name)
      }
      registration = try loop.register(socket.descriptor, token: 0, interest: .writable)
      self.socket = socket
      connection = id
    } catch { throw PostError(error.description) }
  }

  private func tls(
    _ context: TLSContext, _ socket: TCPSocket, _ name: ByteString
  ) throws(SystemError) -> TLSSession? {
    do throws(TLSError) {
      return try TLSSession(context, descriptor: socket.descriptor, serverName: name)
    } catch {
      failure = error.description.asByteString
      return nil
    }
  }

  private func establish(_ now: Instant) throws(PostError) {
    guard let socket, let connection, let registration else { return }
    do {
      try socket.finishConnect()
      if let session {
        if case .blocked(let interest) = try handshake(session) {
          try loop.modify(registration, interest: interest)
          return
        }
      }
      try loop.modify(registration, interest: .readable)
    } catch { throw PostError(error.description) }
    isEstablished = true
    core.connected(connection, now: now)
  }

  private func handshake(_ session: TLSSession) throws(SystemError) -> TLSSession.Handshake {
    do throws(TLSError) {
      return try session.handshake()
    } catch {
      print("probe: " + error.description)
      return .blocked([])
    }
  }

  private func receive(_ id: ConnectionID) {
    while case .bytes(let count) = read() {
      core.received(id, buffer.span.extracting(0..<count), now: SystemClocks.now())
      // As the daemon does (Transport.isDrained).
      if session.map({ !$0.hasPendingBytes }) ?? (count < buffer.count) { return }
    }
  }

  /// Nil: an error, which ends the connection as its end does.
  private func read() -> Transfer? {
    guard let socket else { return nil }
    let transfer =
      if let session { try? session.read(into: &buffer) } else { try? socket.read(into: &buffer) }
    if transfer == nil || transfer == .ended, let connection {
      core.disconnected(connection, "closed", now: SystemClocks.now())
    }
    return transfer
  }

  private func write(_ bytes: Span<UInt8>) -> Transfer? {
    guard let socket, !bytes.isEmpty else { return nil }
    if let session { return try? session.write(bytes) }
    return try? socket.write(bytes)
  }

  private func flush(_ id: ConnectionID) throws(PostError) {
    guard isEstablished, let registration else { return }
    var interest = Interest.readable
    while let transfer = core.withOutput(id, { write($0) }) {
      guard case .bytes(let count) = transfer else {
        interest = [.readable, .writable]
        break
      }
      core.consumeOutput(id, count, now: SystemClocks.now())
    }
    do { try loop.modify(registration, interest: interest) } catch {
      throw PostError(error.description)
    }
  }

  private func close() {
    if let registration { loop.deregister(registration) }
    (session, socket, connection, registration) = (nil, nil, nil, nil)
    isEstablished = false
  }
}

private struct PostError: Error {
  let description: String
  init(_ description: String) { self.description = description }
}

extension String {
  fileprivate var asByteString: ByteString { ByteString(Array(utf8)) }
}
