import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

/// A mosquitto of our own.
final class Broker {
  let port: UInt16
  private let directory = TemporaryDirectory()
  private var program: Program?

  init(password: Bool = false, certificate: String? = nil) throws {
    port = try freePort()
    var text = "listener \(port) 127.0.0.1\nallow_anonymous \(!password)\nuser root\n"
    text += "persistence true\nautosave_interval 1\nautosave_on_changes true\n"
    text += "persistence_location \(directory.path)/\n"
    if password {
      let file = directory.file("passwords").description
      try run("/usr/bin/mosquitto_passwd", ["-b", "-c", file, "u", "secret"])
      text += "password_file \(file)\n"
    }
    if let certificate {
      let files = try Certificates.shared
      text += "cafile \(files.path("ca.pem"))\n"
      text += "certfile \(files.path("\(certificate).pem"))\n"
      text += "keyfile \(files.path("\(certificate).key"))\n"
    }
    try Data(text.utf8).write(to: URL(fileURLWithPath: directory.file("conf").description))
    try start()
  }

  func start() throws {
    program = try Program("/usr/sbin/mosquitto", ["-c", directory.file("conf").description])
    _ = try connectTo(port)
  }

  func stop() { program?.stop() }

  func publish(_ topic: String, _ text: String, qos: Int = 1, options: [String] = []) throws {
    try run(
      "/usr/bin/mosquitto_pub",
      ["-h", "127.0.0.1", "-p", "\(port)", "-q", "\(qos)", "-t", topic]
        + (text.isEmpty ? ["-n"] : ["-m", text]) + options)
  }
}

func connectTo(_ port: UInt16) throws -> TCPSocket { try connect(to: port) }

extension MosquittoClient {
  @discardableResult
  func publishText(_ topic: String, _ text: String) throws -> Int32 {
    let bytes = Array(text.utf8)
    let id = publish(topic: ByteString(topic), payload: bytes.span, qos: 1, isRetained: false)
    return try #require(id)
  }
}

/// A client with a loop of its own. Its time is the clock's, plus what a test skips.
final class MQTTSession {
  let client: MosquittoClient
  private let loop: EventLoop
  private let port: UInt16
  private var isSafe: Bool
  private(set) var messages: [MQTTMessage] = []
  private(set) var fullestTurn = 0
  var now = SystemClocks.now()

  convenience init(
    _ broker: Broker, id: String, filters: [(String, UInt8)], isSafe: Bool = true,
    queue: Int = 64, payloadMax: Int = 262_144, login: (String, String)? = nil,
    tls: MosquittoTLS? = nil
  ) throws {
    try self.init(
      port: broker.port, id: id, filters: filters, isSafe: isSafe, queue: queue,
      payloadMax: payloadMax, login: login, tls: tls)
  }

  init(
    port: UInt16, id: String, filters: [(String, UInt8)], isSafe: Bool = true, queue: Int = 64,
    payloadMax: Int = 262_144, login: (String, String)? = nil, tls: MosquittoTLS? = nil
  ) throws {
    var settings = MosquittoSettings(
      clientID: ByteString(id),
      filters: filters.map { MQTTFilter(topic: ByteString($0.0), qos: $0.1) })
    settings.messagesMax = queue
    settings.messageBytesMax = payloadMax
    if let login {
      settings.username = ByteString(login.0)
      settings.password = Array(login.1.utf8)
    }
    client = try MosquittoClient(settings, tls: tls, seed: 1)
    loop = try EventLoop(capacity: 2)
    self.port = port
    self.isSafe = isSafe
  }

  var texts: [String] {
    messages.map {
      String(decoding: $0.topic, as: UTF8.self) + "=" + String(decoding: $0.payload, as: UTF8.self)
    }
  }

  func begin() {
    #expect(client.handleTimeout(now: now) == .resolve)
    client.connect(to: [loopback(port)], now: now)
  }

  /// Connected and subscribed.
  func connect() throws {
    begin()
    try turn(until: { $0.state == .connected })
    // A session that the broker kept has its subscriptions.
    if !client.status.sessionPresent { try waitForBroker() }
  }

  /// Makes the session that the broker keeps, and goes.
  func establish() throws {
    try connect()
    client.close(everythingIsSafe: true)
  }

  func acknowledge() { client.transmit(everythingIsSafe: true, now: now) }

  /// A session with the same name that begins earlier would take the acknowledgements away unread.
  func acknowledgeAndWait() throws {
    acknowledge()
    try waitForBroker()
  }

  /// Until the broker has read what was sent: it reads in order, so it has when it confirms what comes
  /// behind.
  func waitForBroker() throws {
    let last = try client.publishText("behind/everything", "")
    var isConfirmed = false
    try turn(until: { client in
      while let publication = client.nextPublication() {
        if publication.id == last { isConfirmed = publication.isDelivered }
      }
      return isConfirmed
    })
  }

  func collect(_ count: Int) throws { try turn(until: { _ in messages.count >= count }) }

  func skipPause() {
    if let deadline = client.nextDeadline(), deadline > now { now = deadline }
    begin()
  }

  func turn(until isDone: (MosquittoClient) -> Bool) throws {
    let end = patienceEnd()
    while !isDone(client) {
      if SystemClocks.now() > end { throw Timeout() }
      try turn(milliseconds: 50, isDone)
    }
  }

  func turn(milliseconds: Int64, _ isDone: (MosquittoClient) -> Bool = { _ in false }) throws {
    let end = SystemClocks.now() + .milliseconds(milliseconds)
    repeat {
      try client.updateRegistration(in: loop, token: 0)
      try loop.wait(until: end)
      while let ready = loop.nextReady() {
        if ready.isHangUp { client.hangUp(now: now) } else { client.receive(now: now) }
      }
      var message = MQTTMessage()
      var fetched = 0
      while client.nextMessage(into: &message) {
        messages.append(message)
        fetched += 1
      }
      fullestTurn = max(fullestTurn, fetched)
      client.transmit(everythingIsSafe: isSafe, now: now)
    } while SystemClocks.now() < end && !isDone(client)
  }
}
