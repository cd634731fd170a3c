import Configuration
import Gateway
import Platform
import Primitives

/// The admin endpoint's sockets: listeners and at most a few clients at once.
struct AdminServer {
  /// A client more is answered by closing: the endpoint serves operators, not the world.
  static let clientsMax = 8

  var listeners: [Listener] = []
  var clients: [AdminClient] = []
  private var clientsOpened: UInt32 = 0

  mutating func listen(
    _ configuration: AdminConfiguration, loop: EventLoop
  ) throws(StartError) {
    do throws(SystemError) {
      try add(try Listener(unix: configuration.socket), to: loop)
    } catch {
      throw StartError(
        "[admin] socket \(configuration.socket.description): \(error.reason)",
        key: ["admin", "socket"])
    }
    guard let listen = configuration.listen,
      // The configuration admits numbers only; a name would have to be looked up first.
      let address = SocketAddress(numeric: listen.host, port: listen.port)
    else { return }
    do throws(SystemError) {
      try add(try Listener(tcp: address), to: loop)
    } catch {
      throw StartError(
        "[admin] listen \(listen.host.description), port \(listen.port): \(error.reason)",
        key: ["admin", "listen"])
    }
  }

  private mutating func add(_ listener: Listener, to loop: EventLoop) throws(SystemError) {
    let token = Token.adminListener(UInt32(listeners.count)).packed
    _ = try loop.register(listener.descriptor, token: token, interest: .readable)
    listeners.append(listener)
  }

  mutating func admit(_ socket: TCPSocket, loop: EventLoop, now: Instant) throws(SystemError) {
    guard clients.count < Self.clientsMax else { return }
    clientsOpened &+= 1
    let registration = try loop.register(
      socket.descriptor, token: Token.admin(clientsOpened).packed, interest: .readable)
    clients.append(
      AdminClient(number: clientsOpened, socket: socket, registration: registration, now: now))
  }

  /// Bytes held, for the memory ledger.
  var memory: Int {
    var sum = 0
    for client in clients { sum += client.connection.memory }
    return sum
  }

  var nextDeadline: Instant? {
    var earliest: Instant?
    for client in clients {
      guard let deadline = client.connection.nextDeadline() else { continue }
      earliest = min(earliest ?? deadline, deadline)
    }
    return earliest
  }
}

/// One client of the admin endpoint.
final class AdminClient {
  let number: UInt32
  let socket: TCPSocket
  let registration: Registration
  var connection: AdminConnection
  var isOver = false

  init(number: UInt32, socket: TCPSocket, registration: Registration, now: Instant) {
    self.number = number
    self.socket = socket
    self.registration = registration
    connection = AdminConnection(now: now)
  }
}

extension Driver {
  func acceptAdmin(_ number: UInt32) {
    guard Int(number) < admin.listeners.count else { return }
    do throws(SystemError) {
      while let socket = try admin.listeners[Int(number)].accept() {
        try admin.admit(socket, loop: loop, now: clocks.now)
      }
    } catch {
      log(.warning, "admin: \(error.description)")
    }
  }

  func adminReady(_ number: UInt32, _ ready: Ready) {
    guard let client = admin.clients.first(where: { $0.number == number }) else { return }
    if ready.isReadable || ready.isHangUp, client.connection.wantsInput { read(client) }
  }

  private func read(_ client: AdminClient) {
    do throws(SystemError) {
      // No more than the connection takes for certain, so that nothing sent ahead is lost.
      var bytes = [UInt8](repeating: 0, count: max(client.connection.inputRoom, 1))
      switch try client.socket.read(into: &bytes) {
      case .bytes(let count):
        receive(client, bytes.span.extracting(0..<count))
      case .blocked: return
      case .ended: client.connection.receiveEnd()
      }
    } catch {
      client.isOver = true
    }
  }

  private func receive(_ client: AdminClient, _ bytes: Span<UInt8>) {
    var offset = 0
    while let request = client.connection.receive(bytes, from: &offset, now: clocks.now) {
      let room = gateway.memoryLimit(.admin) - admin.memory
      let page = gateway.answer(request, room: room, clocks: clocks) {
        self.contexts.described() + self.policyTLS.described()
      }
      standardError.threshold = gateway.logLevel.severity
      client.connection.respond(page, now: clocks.now)
    }
  }

  /// Writes what clients are owed, answers what they sent ahead, closes those that are done.
  func serveAdmin() {
    guard !admin.clients.isEmpty else { return }
    for client in admin.clients {
      if let deadline = client.connection.nextDeadline(), deadline <= clocks.now {
        client.connection.handleTimeout(now: clocks.now)
      }
      write(client)
    }
    for client in admin.clients where client.isOver || client.connection.wantsClose {
      loop.deregister(client.registration)
      client.isOver = true
    }
    admin.clients.removeEach { $0.isOver }
  }

  private func write(_ client: AdminClient) {
    do throws(SystemError) {
      while client.connection.hasOutput, !client.isOver {
        var outcome = Transfer.bytes(0)
        var failure: SystemError?
        client.connection.withOutput { bytes in
          do throws(SystemError) { outcome = try client.socket.write(bytes) } catch {
            failure = error
          }
        }
        if let failure { throw failure }
        switch outcome {
        case .bytes(let count):
          client.connection.consumeOutput(count, now: clocks.now)
          if !client.connection.hasOutput { receive(client, Span()) }
        case .blocked:
          return try loop.modify(client.registration, interest: .writable)
        case .ended: client.isOver = true
        }
      }
      let interest: Interest = client.connection.wantsInput ? .readable : []
      try loop.modify(client.registration, interest: interest)
    } catch {
      client.isOver = true
    }
  }
}
