import Foundation
import Primitives

@testable import Platform

enum Outcome: Equatable {
  case answered(String)
  case failed(String)
}

func failure(_ outcome: Outcome) -> String {
  if case .failed(let text) = outcome { return text }
  return "\(outcome)"
}

func exchange(
  with server: TLSServer, name: String, minimum: TLSContext.Version = .tls12,
  identity: String? = nil,
  time: Int64? = nil
) throws -> Outcome {
  do {
    let transport = try TLSConnection(
      server, name: name, minimum: minimum, identity: identity, time: time)
    try transport.handshake()
    try transport.send(Array("hello\n".utf8))
    return .answered(try transport.line())
  } catch let error as TLSError {
    return .failed(error.description)
  }
}

/// One connection, driven by a loop of its own.
final class TLSConnection {
  let socket: TCPSocket
  let session: TLSSession
  private let loop: EventLoop
  private let registration: Registration
  private var received: [UInt8] = []

  convenience init(
    _ server: TLSServer, name: String, minimum: TLSContext.Version = .tls12,
    identity: String? = nil, time: Int64? = nil
  ) throws {
    let files = try Certificates.shared
    let context = try TLSContext(
      authorities: files.file("ca.pem"),
      certificate: identity.map { files.file("\($0).pem") } ?? "",
      key: identity.map { files.file("\($0).key") } ?? "", minimum: minimum)
    try self.init(context, port: server.port, name: name, time: time)
  }

  init(
    _ context: TLSContext, port: UInt16, name: String = "localhost", time: Int64? = nil,
    accepts: (([CertificateDetails.Name]) -> Bool)? = nil
  ) throws {
    socket = try connect(to: port)
    session = try TLSSession(
      context, descriptor: socket.descriptor, serverName: ByteString(name), port: port,
      verificationTime: time, accepts: accepts)
    loop = try EventLoop(capacity: 1)
    registration = try loop.register(socket.descriptor, token: 0, interest: [])
  }

  private func wait(_ interest: Interest) throws {
    try loop.modify(registration, interest: interest)
    _ = try drive(loop) { $0 }
  }

  func handshake() throws {
    while case .blocked(let interest) = try session.handshake() { try wait(interest) }
  }

  func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      switch try session.write(bytes.span.extracting(sent..<bytes.count)) {
      case .bytes(let count): sent += count
      case .blocked(let interest): try wait(interest)
      case .ended: throw Timeout()
      }
    }
  }

  func line() throws -> String {
    var buffer = [UInt8](repeating: 0, count: 1_000)
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        defer { received.removeFirst(end + 1) }
        return String(decoding: received[..<end], as: UTF8.self)
      }
      switch try session.read(into: &buffer) {
      case .bytes(let count): received += buffer[..<count]
      case .blocked(let interest): try wait(interest)
      case .ended: throw Timeout()
      }
    }
  }
}

final class TLSServer {
  let port: UInt16
  let program: Program

  init(certificate: String, alpn: Bool = true, _ options: [String] = [], port wanted: UInt16? = nil)
    throws
  {
    let files = try Certificates.shared
    port = try wanted ?? freePort()
    program = try Program(
      "/usr/bin/openssl",
      [
        "s_server", "-accept", "127.0.0.1:\(port)", "-quiet", "-rev", "-cert",
        files.path("\(certificate).pem"), "-key", files.path("\(certificate).key"),
      ] + (alpn ? ["-alpn", "h2"] : []) + options)
    _ = try connect(to: port)
  }
}

/// A certificate authority, and what it and others signed. Made once.
final class Certificates: Sendable {
  static var shared: Certificates {
    get throws { try made.get() }
  }
  private static let made = Result { try Certificates() }
  private let directory: String

  private init() throws {
    let temporary = TemporaryDirectory()
    directory = temporary.path
    // The process keeps it until it ends.
    _ = Unmanaged.passRetained(temporary)
    try authority("ca")
    try authority("other")
    try leaf("good", by: "ca", days: "10")
    try leaf("device", by: "ca", days: "10")
    try leaf("expired", by: "ca", days: "-1")
    try leaf("stranger", by: "other", days: "10")
    try authority("selfsigned")
    try openssl(
      "rsa", "-aes128", "-passout", "pass:secret", "-in", "device.key", "-out", "encrypted.key")
  }

  func path(_ name: String) -> String { "\(directory)/\(name)" }
  func file(_ name: String) -> ByteString { ByteString(path(name)) }

  private func authority(_ name: String) throws {
    try openssl(
      "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10", "-subj", "/CN=\(name)",
      "-addext", "subjectAltName=DNS:localhost", "-keyout", "\(name).key", "-out", "\(name).pem")
  }

  private func leaf(_ name: String, by issuer: String, days: String) throws {
    try openssl(
      "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=\(name)", "-keyout", "\(name).key",
      "-out", "\(name).csr")
    let names =
      "subjectAltName=DNS:localhost,DNS:*.wild.example,DNS:f*.part.example,IP:127.0.0.1\n"
    try Data(names.utf8).write(to: URL(fileURLWithPath: path("names")))
    try openssl(
      "x509", "-req", "-in", "\(name).csr", "-CA", "\(issuer).pem", "-CAkey", "\(issuer).key",
      "-CAcreateserial", "-days", days, "-extfile", "names", "-out", "\(name).pem")
  }

  private func openssl(_ arguments: String...) throws {
    try run("/usr/bin/openssl", arguments, in: directory)
  }
}
