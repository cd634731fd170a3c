import Primitives
import Testing

@testable import Platform

@Suite("TLS sessions are resumed", .oneAtATime)
struct TLSResumptionTests {
  private func context() throws -> TLSContext {
    let files = try Certificates.shared
    return try TLSContext(
      authorities: files.file("ca.pem"), certificate: "", key: "", minimum: .tls12)
  }

  /// One exchange; whether it resumed.
  private func visit(
    _ context: TLSContext, _ server: TLSServer, name: String = "localhost", time: Int64? = nil
  ) throws -> Bool {
    let connection = try TLSConnection(context, port: server.port, name: name, time: time)
    try connection.handshake()
    // Tickets of TLS 1.3 come behind the handshake: reading the answer reads them.
    try connection.send(Array("hello\n".utf8))
    #expect(try connection.line() == "olleh")
    let isResumed = connection.session.isResumed
    connection.session.shutDown()
    return isResumed
  }

  @Test(
    "the second connection resumes: 1.3 tickets, 1.2 tickets, 1.2 session ids",
    arguments: [["-tls1_3"], ["-tls1_2"], ["-tls1_2", "-no_ticket"]])
  func resumes(options: [String]) throws {
    let server = try TLSServer(certificate: "good", options)
    let context = try context()
    #expect(try visit(context, server) == false)
    for _ in 0..<3 { #expect(try visit(context, server)) }
    #expect(context.sessions.memory > 0)
    #expect(context.sessions.memory <= sessionsPerTargetMax * sessionBytesMax)
  }

  @Test("RFC 8446 §C.4: a 1.3 ticket is offered once, a 1.2 session again")
  func singleUse() throws {
    for (version, isSingle) in [("-tls1_3", true), ("-tls1_2", false)] {
      let server = try TLSServer(certificate: "good", [version, "-num_tickets", "1"])
      let context = try context()
      _ = try visit(context, server)
      let now = SystemClocks.wall().nanoseconds / 1_000_000_000
      func has() -> Bool {
        guard let kept = context.sessions.take(name: "localhost", port: server.port, now: now)
        else { return false }
        context.sessions.release(kept)
        return true
      }
      #expect(has())
      #expect(has() != isSingle)
    }
  }

  @Test("a session serves one name on one port of one context, and no time but the clock's")
  func scope() throws {
    let server = try TLSServer(certificate: "good", ["-tls1_3"])
    let context = try context()
    _ = try visit(context, server)
    #expect(try visit(context, server, name: "127.0.0.1") == false)
    #expect(try visit(self.context(), server) == false)
    let now = SystemClocks.wall().nanoseconds / 1_000_000_000
    #expect(try visit(context, server, time: now) == false)
    #expect(context.sessions.take(name: "localhost", port: server.port &+ 1, now: now) == nil)
    #expect(try visit(context, server))
  }

  @Test("a session is not used beyond its lifetime or its certificate's")
  func lifetime() throws {
    let server = try TLSServer(certificate: "good", ["-tls1_3"])
    let context = try context()
    _ = try visit(context, server)
    let later = SystemClocks.wall().nanoseconds / 1_000_000_000 + 11 * 86_400
    #expect(context.sessions.take(name: "localhost", port: server.port, now: later) == nil)
  }

  @Test("a server that forgot its sessions is reached by a full handshake")
  func restart() throws {
    let context = try context()
    let first = try TLSServer(certificate: "good", ["-tls1_3"])
    _ = try visit(context, first)
    first.program.stop()
    let second = try TLSServer(certificate: "good", ["-tls1_3"], port: first.port)
    #expect(try visit(context, second) == false)
    #expect(try visit(context, second))
  }

  @Test("sessions of at most eight servers are kept, the latest ones")
  func bounds() throws {
    let server = try TLSServer(certificate: "good", ["-tls1_2"])
    let context = try context()
    _ = try visit(context, server)
    let now = SystemClocks.wall().nanoseconds / 1_000_000_000
    let kept = try #require(
      context.sessions.take(name: "localhost", port: server.port, now: now))
    for port in 1...20 { context.sessions.keep(kept, name: "other", port: UInt16(port)) }
    context.sessions.release(kept)
    #expect(context.sessions.take(name: "localhost", port: server.port, now: now) == nil)
    #expect(context.sessions.take(name: "other", port: 12, now: now) == nil)
    let newest = try #require(context.sessions.take(name: "other", port: 13, now: now))
    context.sessions.release(newest)
    #expect(context.sessions.memory <= sessionTargetsMax * sessionBytesMax)
  }
}
