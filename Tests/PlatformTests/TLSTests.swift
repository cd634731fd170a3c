import CLinux
import Primitives
import Testing

@testable import Platform

/// TLS against `openssl s_server -rev`, which sends each line back reversed.
@Suite(.oneAtATime) struct TLSTests {
  @Test("a good chain and name: handshake, bytes both ways", arguments: ["localhost", "127.0.0.1"])
  func good(name: String) throws {
    let server = try TLSServer(certificate: "good")
    let outcome = try exchange(with: server, name: name)
    #expect(outcome == .answered("olleh"))
  }

  @Test("a wildcard stands for one whole label only")
  func wildcard() throws {
    let server = try TLSServer(certificate: "good")
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
    let server = try TLSServer(certificate: "good")
    let text = try failure(exchange(with: server, name: name))
    #expect(text == mismatch(name) || text == addressMismatch(name))
  }

  @Test(
    "an expired, a self-signed and an unknown issuer's certificate are refused",
    arguments: [
      ("expired", "certificate has expired: /CN=expired, valid until 20"),
      ("selfsigned", "self-signed certificate: /CN=selfsigned"),
      ("stranger", "unable to get local issuer certificate: /CN=stranger"),
    ])
  func badChain(certificate: String, reason: String) throws {
    let server = try TLSServer(certificate: certificate)
    let text = try failure(exchange(with: server, name: "localhost"))
    #expect(text.hasPrefix("TLS handshake with localhost: certificate verify failed: \(reason)"))
  }

  @Test("certificates are judged by the given time when the clock is not set")
  func verificationTime() throws {
    let server = try TLSServer(certificate: "good")
    let text = try failure(exchange(with: server, name: "localhost", time: 86_400))
    let refusal =
      "TLS handshake with localhost: certificate verify failed: certificate is not yet valid: "
    #expect(text.hasPrefix(refusal + "/CN="))
    #expect(text.contains(", valid from 20"))
    let now = SystemClocks.wall().nanoseconds / 1_000_000_000
    #expect(try exchange(with: server, name: "localhost", time: now) == .answered("olleh"))
  }

  @Test("a server that does not select h2 is refused", arguments: [[], ["-alpn", "http/1.1"]])
  func noALPN(options: [String]) throws {
    let server = try TLSServer(certificate: "good", alpn: false, options)
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
    let server = try TLSServer(certificate: "good", options)
    let outcome = try exchange(with: server, name: "localhost")
    #expect((outcome == .answered("olleh")) == works, "\(outcome)")
  }

  @Test("minimum 1.3 refuses a server of 1.2")
  func minimum() throws {
    let server = try TLSServer(certificate: "good", ["-tls1_2"])
    let text = try failure(exchange(with: server, name: "localhost", minimum: .tls13))
    #expect(text == "TLS handshake with localhost: tlsv1 alert protocol version")
  }

  @Test("a server that demands a client certificate takes ours and refuses none")
  func clientCertificate() throws {
    let files = try Certificates.shared
    let demand = ["-Verify", "1", "-verify_return_error", "-CAfile", files.path("ca.pem")]
    let server = try TLSServer(certificate: "good", demand)
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
    let none = "No such file or directory"
    #expect(absent == "certificate authorities /absent/ca.pem: \(none)")
    #expect(
      message("absent.pem", "device.key") == "certificate \(files.path("absent.pem")): \(none)")
    #expect(message("device.pem", "absent.key") == "key \(files.path("absent.key")): \(none)")
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
    func message(_ key: String) -> String {
      do throws(TLSError) {
        _ = try TLSContext(
          authorities: files.file("ca.pem"), certificate: files.file("device.pem"),
          key: ByteString(key), minimum: .tls12)
        return "loaded"
      } catch { return error.description }
    }
    let encrypted = "file:\(files.path("encrypted.key"))"
    #expect(message(encrypted).hasPrefix("key \(encrypted): it needs a passphrase or a PIN"))
    #expect(message("file:/absent.key") == "key file:/absent.key: No such file or directory")
    #expect(message("file:\(files.path("good.key"))").contains("mismatch"))
    #expect(
      message("file:\(files.path("ca.pem"))")
        == "key file:\(files.path("ca.pem")): no private key is there")
    #expect(ByteString("pkcs11:token=x").isStoreURI && ByteString("handle:0x81000000").isStoreURI)
    #expect(!ByteString("/etc/a:b.key").isStoreURI && !ByteString("device.key").isStoreURI)
  }

  @Test("a token without its provider is named with it, and a PIN never is")
  func noProvider() throws {
    let files = try Certificates.shared
    var text = ""
    do throws(TLSError) {
      _ = try TLSContext(
        authorities: files.file("ca.pem"), certificate: files.file("device.pem"),
        key: "nosuchtoken:token=board?pin-value=271828&module-name=x", minimum: .tls12)
    } catch { text = error.description }
    #expect(
      text == "key nosuchtoken:token=board?pin-value=…&module-name=x: "
        + "no OpenSSL provider for nosuchtoken: URIs is active in openssl.cnf")
  }

  @Test("what is told of a certificate: serial number, names, dates")
  func details() throws {
    let files = try Certificates.shared
    let context = try TLSContext(
      authorities: files.file("ca.pem"), certificate: files.file("device.pem"),
      key: files.file("device.key"), minimum: .tls12)
    #expect(context.chain().count == 1 && context.authorities().count == 1)
    let own = context.chain()[0]
    let shown = try run(
      "/usr/bin/openssl", ["x509", "-in", files.path("device.pem"), "-noout", "-serial"])
    #expect(shown.lowercased().contains("serial=\(own.serial.description)"))
    #expect(own.names.count == 4)
    #expect(own.validUntilSeconds - own.validFromSeconds == 10 * 86_400)
    #expect(own.validUntil.description.hasSuffix("Z") && own.validUntil.count == 20)
  }

  @Test("large writes are taken in parts, in order, and large reads come back whole")
  func large() throws {
    let server = try TLSServer(certificate: "good")
    let transport = try TLSConnection(server, name: "localhost")
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
    let server = try TLSServer(certificate: "good")
    let transport = try TLSConnection(server, name: "localhost")
    try transport.handshake()
    server.program.stop()
    var message = ""
    do { _ = try transport.line() } catch let error as TLSError { message = error.description }
    #expect(message.hasPrefix("TLS read from localhost: "))
  }

  private func mismatch(_ name: String) -> String {
    "TLS handshake with \(name): certificate verify failed: hostname mismatch: \(bearers)"
  }
  private var bearers: String {
    "the certificate is for localhost, *.wild.example, f*.part.example, 127.0.0.1"
  }
  private func addressMismatch(_ name: String) -> String {
    "TLS handshake with \(name): certificate verify failed: IP address mismatch: \(bearers)"
  }
}
