import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

/// TLS against `openssl s_server -rev`, which sends each line back reversed.
@Suite struct TLSTests {
  @Test("a good chain and name: handshake, bytes both ways", arguments: ["localhost", "127.0.0.1"])
  func good(name: String) throws {
    let server = try Server(certificate: "good")
    let outcome = try exchange(with: server, name: name)
    #expect(outcome == .answered("olleh"))
  }

  @Test("a wildcard stands for one whole label only")
  func wildcard() throws {
    let server = try Server(certificate: "good")
    #expect(try exchange(with: server, name: "a.wild.example") == .answered("olleh"))
    #expect(
      try failure(exchange(with: server, name: "a.b.wild.example")) == mismatch("a.b.wild.example"))
    // The certificate has f*.part.example too: partial wildcards are refused.
    #expect(
      try failure(exchange(with: server, name: "foo.part.example")) == mismatch("foo.part.example"))
  }

  @Test(
    "a certificate for another name is refused", arguments: ["example.com", "127.0.0.2", "::1"])
  func wrongName(name: String) throws {
    let server = try Server(certificate: "good")
    let text = try failure(exchange(with: server, name: name))
    #expect(text == mismatch(name) || text == addressMismatch(name))
  }

  @Test(
    "an expired, a self-signed and an unknown issuer's certificate are refused",
    arguments: [
      ("expired", "certificate has expired"), ("selfsigned", "self-signed certificate"),
      ("stranger", "unable to get local issuer certificate"),
    ])
  func badChain(certificate: String, reason: String) throws {
    let server = try Server(certificate: certificate)
    let text = try failure(exchange(with: server, name: "localhost"))
    #expect(text == "TLS handshake with localhost: certificate verify failed: \(reason)")
  }

  @Test("certificates are judged by the given time when the clock is not set")
  func verificationTime() throws {
    let server = try Server(certificate: "good")
    let text = try failure(exchange(with: server, name: "localhost", time: 86_400))
    #expect(
      text
        == "TLS handshake with localhost: certificate verify failed: certificate is not yet valid")
    let now = SystemClocks.wall().nanoseconds / 1_000_000_000
    #expect(try exchange(with: server, name: "localhost", time: now) == .answered("olleh"))
  }

  @Test("a server that does not select h2 is refused", arguments: [[], ["-alpn", "http/1.1"]])
  func noALPN(options: [String]) throws {
    let server = try Server(certificate: "good", alpn: false, options)
    let text = try failure(exchange(with: server, name: "localhost"))
    #expect(text.hasPrefix("TLS handshake with localhost: "))
    #expect(text.contains("ALPN") || text.contains("alert no application protocol"))
  }

  @Test(
    "TLS 1.1, CBC and non-ephemeral ciphers are refused; TLS 1.2 with an AEAD works",
    arguments: [
      (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
      (["-tls1_2", "-cipher", "AES128-GCM-SHA256"], false),
      (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"], false),
      (["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"], true), (["-tls1_3"], true),
    ])
  func versions(options: [String], works: Bool) throws {
    let server = try Server(certificate: "good", options)
    let outcome = try exchange(with: server, name: "localhost")
    #expect((outcome == .answered("olleh")) == works, "\(outcome)")
  }

  @Test("minimum 1.3 refuses a server of 1.2")
  func minimum() throws {
    let server = try Server(certificate: "good", ["-tls1_2"])
    let text = try failure(exchange(with: server, name: "localhost", minimum: .tls13))
    #expect(text == "TLS handshake with localhost: tlsv1 alert protocol version")
  }

  @Test("a server that demands a client certificate takes ours and refuses none")
  func clientCertificate() throws {
    let files = try Certificates.shared
    let demand = ["-Verify", "1", "-verify_return_error", "-CAfile", files.path("ca.pem")]
    let server = try Server(certificate: "good", demand)
    #expect(try exchange(with: server, name: "localhost", identity: "device") == .answered("olleh"))
    let text = try failure(exchange(with: server, name: "localhost"))
    #expect(text.contains("certificate required"))
  }

  @Test("a context that cannot load a file names the file and the reason")
  func contextErrors() throws {
    let files = try Certificates.shared
    let ca = files.file("ca.pem")
    func message(_ certificate: String, _ key: String, ca: ByteString = ca) -> String {
      do throws(TLSError) {
        _ = try TLSContext(
          authorities: ca, certificate: files.file(certificate), key: files.file(key),
          minimum: .tls12)
        return "loaded"
      } catch { return error.description }
    }
    #expect(message("device.pem", "device.key") == "loaded")
    let absent = message("device.pem", "device.key", ca: "/absent/ca.pem")
    #expect(absent.hasPrefix("certificate authorities /absent/ca.pem: "))
    #expect(
      message("absent.pem", "device.key").hasPrefix("certificate \(files.path("absent.pem")): "))
    #expect(message("device.pem", "absent.key").hasPrefix("key \(files.path("absent.key")): "))
    #expect(message("device.pem", "ca.pem").hasPrefix("key \(files.path("ca.pem")): "))
    #expect(message("device.pem", "good.key").contains("mismatch"))
    let encrypted = message("device.pem", "encrypted.key")
    #expect(
      encrypted == "key \(files.path("encrypted.key")): it has a passphrase, which is not supported"
    )
  }

  @Test("a key may be a URI of OSSL_STORE; a file name with a colon is still a file")
  func storeURI() throws {
    let files = try Certificates.shared
    _ = try TLSContext(
      authorities: files.file("ca.pem"), certificate: files.file("device.pem"),
      key: ByteString("file:\(files.path("device.key"))"), minimum: .tls12)
    #expect(throws: TLSError.self) {
      try TLSContext(
        authorities: files.file("ca.pem"), certificate: files.file("device.pem"),
        key: ByteString("file:\(files.path("encrypted.key"))"), minimum: .tls12)
    }
    #expect(ByteString("pkcs11:token=x").isStoreURI && ByteString("handle:0x81000000").isStoreURI)
    #expect(!ByteString("/etc/a:b.key").isStoreURI && !ByteString("device.key").isStoreURI)
  }

  @Test("large writes are taken in parts, in order, and large reads come back whole")
  func large() throws {
    let server = try Server(certificate: "good")
    let transport = try Transport(server, name: "localhost")
    try transport.handshake()
    // -rev takes lines of up to 16 KiB.
    var text = ""
    for number in 0..<300 {
      let line = "\(number) " + String(repeating: "x", count: 4_000)
      text += line
      try transport.send(Array((line + "\n").utf8))
      #expect(try transport.line() == String(line.reversed()))
    }
  }

  @Test("a connection that ends without close_notify is an error that says so")
  func cut() throws {
    let server = try Server(certificate: "good")
    let transport = try Transport(server, name: "localhost")
    try transport.handshake()
    server.program.stop()
    var message = ""
    do { _ = try transport.line() } catch let error as TLSError { message = error.description }
    #expect(message.hasPrefix("TLS read from localhost: "))
  }

  private func mismatch(_ name: String) -> String {
    "TLS handshake with \(name): certificate verify failed: hostname mismatch"
  }
  private func addressMismatch(_ name: String) -> String {
    "TLS handshake with \(name): certificate verify failed: IP address mismatch"
  }
}

private enum Outcome: Equatable {
  case answered(String)
  case failed(String)
}

private func failure(_ outcome: Outcome) -> String {
  if case .failed(let text) = outcome { return text }
  return "\(outcome)"
}

private func exchange(
  with server: Server, name: String, minimum: TLSContext.Version = .tls12, identity: String? = nil,
  time: Int64? = nil
) throws -> Outcome {
  do {
    let transport = try Transport(
      server, name: name, minimum: minimum, identity: identity, time: time)
    try transport.handshake()
    try transport.send(Array("hello\n".utf8))
    return .answered(try transport.line())
  } catch let error as TLSError {
    return .failed(error.description)
  }
}

/// One connection, driven by a loop of its own.
private final class Transport {
  let socket: TCPSocket
  let session: TLSSession
  private let loop: EventLoop
  private let registration: Registration
  private var received: [UInt8] = []

  init(
    _ server: Server, name: String, minimum: TLSContext.Version = .tls12,
    identity: String? = nil, time: Int64? = nil
  ) throws {
    let files = try Certificates.shared
    let context = try TLSContext(
      authorities: files.file("ca.pem"),
      certificate: identity.map { files.file("\($0).pem") } ?? "",
      key: identity.map { files.file("\($0).key") } ?? "", minimum: minimum)
    socket = try connect(to: server.port)
    session = try TLSSession(
      context, descriptor: socket.descriptor, serverName: ByteString(name), verificationTime: time)
    loop = try EventLoop(capacity: 1)
    registration = try loop.register(socket.descriptor, token: 0, interest: [])
  }

  private func wait(_ interest: Interest) throws {
    try loop.modify(registration, interest: interest)
    try loop.wait(until: SystemClocks.now() + .seconds(10))
    if loop.nextReady() == nil { throw Timeout() }
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

private final class Server {
  let port: UInt16
  let program: Program

  init(certificate: String, alpn: Bool = true, _ options: [String] = []) throws {
    let files = try Certificates.shared
    port = try freePort()
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
