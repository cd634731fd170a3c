import Foundation
import Primitives
import Testing

@testable import Platform

/// TLS as a control plane pushes it, against `openssl s_server -rev`.
@Suite("TLS from memory", .oneAtATime)
struct TLSPolicyTests {
  static func text(_ name: String) throws -> TLSText {
    let path = try Certificates.shared.path(name)
    return .memory(ByteString(Array(try Data(contentsOf: URL(fileURLWithPath: path)))))
  }

  static func context(
    roots: TLSText? = nil, identity: TLSOwnIdentity? = nil,
    change: (inout TLSDemands) -> Void = { _ in }
  ) throws -> TLSContext {
    var demands = TLSDemands()
    change(&demands)
    let authorities: TLSText
    if let roots { authorities = roots } else { authorities = try text("ca.pem") }
    return try TLSContext(TLSMaterial(roots: authorities, identity: identity), demands)
  }

  /// What a server answers, or why there is no connection.
  static func exchange(
    _ server: TLSServer, _ context: TLSContext, name: String = "",
    accepts: @escaping ([CertificateDetails.Name]) -> Bool = { _ in true }
  ) throws -> Outcome {
    do {
      let connection = try TLSConnection(context, port: server.port, name: name, accepts: accepts)
      try connection.handshake()
      try connection.send(Array("hello\n".utf8))
      return .answered(try connection.line())
    } catch let error as TLSError {
      return .failed(error.description)
    }
  }

  @Test("roots from memory and from a file; other roots refuse the server")
  func roots() throws {
    let server = try TLSServer(certificate: "good")
    #expect(try Self.exchange(server, Self.context()) == .answered("olleh"))
    let file = try TLSText.file(Certificates.shared.file("ca.pem"))
    #expect(try Self.exchange(server, Self.context(roots: file)) == .answered("olleh"))
    let other = try Self.context(roots: try Self.text("other.pem"))
    #expect(try failure(Self.exchange(server, other)).contains("certificate verify failed"))
  }

  @Test("item 112: the certificate's names are shown to whoever decides, byte for byte")
  func names() throws {
    let server = try TLSServer(certificate: "good")
    let context = try Self.context { $0.resumes = false }
    var seen: [String] = []
    let outcome = try Self.exchange(server, context, name: "any.example") { names in
      seen = names.map { "\($0)" }
      return true
    }
    #expect(outcome == .answered("olleh"))
    #expect(seen.count == 4)
    let refused = try Self.exchange(server, context) { _ in false }
    #expect(
      failure(refused)
        == "TLS handshake with the server: certificate verify failed: hostname mismatch: "
        + "the certificate is for localhost, *.wild.example, f*.part.example, 127.0.0.1")
  }

  @Test("item 112: the SNI is sent if there is one, and never an address")
  func serverName() throws {
    let listener = try Listener(tcp: loopback(0))
    let port = try #require(listener.localAddress()).port
    for (name, isSent) in [("up.example", true), ("", false), ("127.0.0.1", false)] {
      let context = try Self.context()
      let connection = try TLSConnection(context, port: port, name: name) { _ in true }
      #expect(try connection.session.handshake() == .blocked(.readable))
      let server = try accept(listener)
      // A record has its length in front (RFC 8446 §5.1).
      var hello = try read(5, of: server.descriptor) { try server.read(into: &$0) }
      let rest = 5 + Int(hello[3]) << 8 + Int(hello[4]) - hello.count
      hello += try read(rest, of: server.descriptor) { try server.read(into: &$0) }
      // Extension 0, server_name (RFC 6066 §3): its list, one entry, kind 0, the name.
      let length = UInt8(name.utf8.count)
      let field = [0, 0, 0, length + 5, 0, length + 3, 0, 0, length] + Array(name.utf8)
      let isThere = hello.indices.contains { hello[$0...].starts(with: field) }
      #expect(isThere == isSent, "\(name)")
    }
  }

  @Test("one of the pins must match, by certificate or by public key")
  func pins() throws {
    let server = try TLSServer(certificate: "good")
    let files = try Certificates.shared
    let certificate = try digest(
      "openssl x509 -in \(files.path("good.pem")) -outform der | openssl dgst -sha256 -binary")
    let key = try digest(
      "openssl x509 -in \(files.path("good.pem")) -pubkey -noout | openssl pkey -pubin -outform der"
        + " | openssl dgst -sha256 -binary")
    let wrong = ByteString([UInt8](repeating: 7, count: 32))
    let cases: [([ByteString], [ByteString], Bool)] = [
      ([certificate], [], true), ([], [key], true), ([wrong, certificate], [wrong], true),
      ([wrong], [key], true), ([wrong], [], false), ([], [wrong], false),
      ([key], [certificate], false),
    ]
    for (hashes, keys, isRight) in cases {
      let context = try Self.context {
        $0.certificateHashes = hashes
        $0.publicKeyHashes = keys
      }
      let outcome = try Self.exchange(server, context)
      if isRight {
        #expect(outcome == .answered("olleh"))
      } else {
        #expect(failure(outcome).hasSuffix("the certificate is none of those that are pinned"))
      }
    }
  }

  private func digest(_ command: String) throws -> ByteString {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", command]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    try #require(bytes.count == 32)
    return ByteString(Array(bytes))
  }

  @Test("versions have both ends, and an expired certificate can be forgiven")
  func demands() throws {
    let old = try TLSServer(certificate: "good", ["-tls1_2"])
    let new = try TLSServer(certificate: "good", ["-tls1_3"])
    let onlyOld = try Self.context { $0.maximum = .tls12 }
    let onlyNew = try Self.context { $0.minimum = .tls13 }
    #expect(try Self.exchange(old, onlyOld) == .answered("olleh"))
    #expect(try Self.exchange(new, onlyNew) == .answered("olleh"))
    #expect(try failure(Self.exchange(new, onlyOld)).hasPrefix("TLS handshake"))
    #expect(try failure(Self.exchange(old, onlyNew)).hasPrefix("TLS handshake"))
    let expired = try TLSServer(certificate: "expired")
    #expect(try failure(Self.exchange(expired, Self.context())).contains("has expired"))
    let forgiving = try Self.context { $0.allowsExpired = true }
    #expect(try Self.exchange(expired, forgiving) == .answered("olleh"))
    // Forgiven are the dates, not the name or the issuer.
    #expect(try failure(Self.exchange(expired, forgiving) { _ in false }).contains("mismatch"))
    let stranger = try TLSServer(certificate: "stranger")
    #expect(try failure(Self.exchange(stranger, forgiving)).contains("issuer"))
  }

  @Test("a client certificate from memory is shown; a key that is another's is refused (item 36)")
  func identity() throws {
    let server = try TLSServer(
      certificate: "good",
      ["-Verify", "2", "-CAfile", try Certificates.shared.path("ca.pem"), "-verify_return_error"])
    let own = try TLSOwnIdentity(chain: Self.text("device.pem"), key: Self.text("device.key"))
    #expect(try Self.exchange(server, Self.context(identity: own)) == .answered("olleh"))
    #expect(try failure(Self.exchange(server, Self.context())).contains("alert"))
    let other = try TLSOwnIdentity(chain: Self.text("device.pem"), key: Self.text("good.key"))
    #expect(reason(identity: other).contains("key values mismatch"))
    let encrypted = try TLSOwnIdentity(
      chain: Self.text("device.pem"), key: Self.text("encrypted.key"))
    #expect(reason(identity: encrypted) == "private key: it has a passphrase, and none was sent")
    var told = encrypted
    told.password = .memory("secret")
    #expect(try Self.exchange(server, Self.context(identity: told)) == .answered("olleh"))
    told.password = .memory("guessed")
    #expect(reason(identity: told).contains("its password is another"))
    let none = TLSOwnIdentity(chain: .memory("x"), key: .memory("y"))
    #expect(reason(identity: none) == "certificate: no certificate in PEM is there")
    let missing = TLSOwnIdentity(chain: .file("/none.pem"), key: .file("/none.key"))
    #expect(reason(identity: missing).hasPrefix("certificate /none.pem: "))
  }

  private func reason(identity: TLSOwnIdentity) -> String {
    do throws(TLSError) {
      _ = try TLSContext(TLSMaterial(roots: nil, identity: identity), TLSDemands())
      return "taken"
    } catch { return error.description }
  }

  @Test("roots without a certificate are refused")
  func noRoots() throws {
    #expect(throws: TLSError.self) {
      _ = try TLSContext(TLSMaterial(roots: .memory("nothing")), TLSDemands())
    }
  }

  @Test("a bundle of which one certificate is damaged is refused as a whole; words between are not")
  func damagedBundle() throws {
    guard case .memory(let good) = try Self.text("ca.pem") else { return }
    let words = ByteString(good.bytes + Array("\nthe other one:\n".utf8) + good.bytes)
    _ = try Self.context(roots: .memory(words))
    var damaged = good.bytes
    let line = try #require(damaged.firstIndex(of: 0x0A))
    damaged[line + 10] = UInt8(ascii: "!")
    let bundle = ByteString(good.bytes + damaged)
    #expect(throws: TLSError.self) { _ = try Self.context(roots: .memory(bundle)) }
    let identity = TLSOwnIdentity(chain: .memory(bundle), key: try Self.text("device.key"))
    #expect(reason(identity: identity).hasPrefix("certificate: "))
    #expect(!reason(identity: identity).contains("mismatch"))
    let cut = ByteString(good.bytes + good.bytes.dropLast(30))
    #expect(throws: TLSError.self) { _ = try Self.context(roots: .memory(cut)) }
  }

  @Test("a resumed session was judged by the same demands; without resumption each is judged anew")
  func resumption() throws {
    let server = try TLSServer(certificate: "good")
    for resumes in [true, false] {
      let context = try Self.context { $0.resumes = resumes }
      var judged = 0
      for round in 0..<3 {
        let connection = try TLSConnection(context, port: server.port, name: "up.example") { _ in
          judged += 1
          return true
        }
        try connection.handshake()
        try connection.send(Array("hello\n".utf8))
        #expect(try connection.line() == "olleh")
        #expect(connection.session.isResumed == (resumes && round > 0))
      }
      #expect(judged == (resumes ? 1 : 3))
    }
  }
}
