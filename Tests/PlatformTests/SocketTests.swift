import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

@Suite(.oneAtATime) struct SocketTests {
  @Test("TCP: bytes go both ways, and the end of one side is seen by the other")
  func echo() throws {
    let listener = try Listener(tcp: loopback(0))
    let client = try connect(to: #require(listener.localAddress()).port)
    let server = try accept(listener)
    #expect(try listener.accept() == nil)
    var buffer = [UInt8](repeating: 0, count: 64)
    #expect(try server.read(into: &buffer) == .blocked(.readable))
    let hello = Array("hello".utf8)
    #expect(try client.write(hello.span) == .bytes(5))
    #expect(try read(5, of: server.descriptor) { try server.read(into: &$0) } == hello)
    client.shutDownWriting()
    try wait(for: .readable, of: server.descriptor)
    #expect(try server.read(into: &buffer) == .ended)
    #expect(try server.write(hello.span) == .bytes(5))
    #expect(try read(5, of: client.descriptor) { try client.read(into: &$0) } == hello)
  }

  @Test("TCP: a peer that does not read makes the writer wait, not fail")
  func backPressure() throws {
    let listener = try Listener(tcp: loopback(0))
    let client = try connect(to: #require(listener.localAddress()).port)
    let server = try accept(listener)
    let block = [UInt8](repeating: 7, count: 65_536)
    var written = 0
    var last = try client.write(block.span)
    while case .bytes(let count) = last {
      written += count
      last = try client.write(block.span)
    }
    // Once: the kernel moves bytes on by itself, and has room again.
    #expect(last == .blocked(.writable))
    #expect(written > 0)
    let got = try read(written, of: server.descriptor) { try server.read(into: &$0) }
    #expect(got.count == written)
  }

  @Test("TCP: a refused connection is an error of finishConnect or of the start")
  func refused() throws {
    let port = try freePort()
    let loop = try EventLoop(capacity: 1)
    var failure: SystemError?
    do throws(SystemError) {
      let socket = try TCPSocket(connectingTo: loopback(port))
      _ = try loop.register(socket.descriptor, token: 0, interest: .writable)
      try loop.wait(until: patienceEnd())
      try socket.finishConnect()
    } catch { failure = error }
    #expect(failure?.code == ECONNREFUSED)
    #expect(failure?.description == "connect: Connection refused")
  }

  @Test("Unix: the socket has its mode from the first moment, and a dead one is replaced")
  func unixListener() throws {
    let directory = TemporaryDirectory()
    let path = directory.file("admin.sock")
    for _ in 0..<2 {
      // The first listener goes away without removing its file; the second one replaces it.
      let listener = try Listener(unix: path)
      let attributes = try FileManager.default.attributesOfItem(atPath: path.description)
      #expect(attributes[.posixPermissions] as? Int == 0o660)
      let client = try TCPSocket(connectingTo: path)
      let server = try accept(listener)
      let hello = Array("hello".utf8)
      #expect(try client.write(hello.span) == .bytes(5))
      #expect(try read(5, of: server.descriptor) { try server.read(into: &$0) } == hello)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["admin.sock"])
  }

  @Test("Unix: a living listener's socket is not taken, nor is a file")
  func unixInUse() throws {
    let directory = TemporaryDirectory()
    let path = directory.file("admin.sock")
    let listener = try Listener(unix: path)
    #expect(code { try Listener(unix: path) } == EADDRINUSE)
    _ = listener
    let file = directory.file("file")
    try Data("precious".utf8).write(to: URL(fileURLWithPath: file.description))
    #expect(code { try Listener(unix: file) } == EEXIST)
    #expect(try FileReader.contents(of: file, limit: 100) == Array("precious".utf8))
    let long = directory.file(String(repeating: "x", count: 200))
    #expect(code { try Listener(unix: long) } == ENAMETOOLONG)
  }

  @Test("Unix: a path is as long as an address holds, in a folder with nothing else")
  func unixLongest() throws {
    let directory = TemporaryDirectory()
    let room = 107 - directory.path.utf8.count - 1
    let path = directory.file(String(repeating: "x", count: room))
    let listener = try Listener(unix: path)
    let client = try TCPSocket(connectingTo: path)
    _ = try accept(listener)
    _ = client
    #expect(code { try Listener(unix: path + "x") } == ENAMETOOLONG)
  }

  @Test("the resolver answers names, numbers and failures, and refuses more than it holds")
  func resolver() throws {
    let resolver = try Resolver(capacity: 3)
    let loop = try EventLoop(capacity: 1)
    _ = try loop.register(resolver.descriptor, token: 0, interest: .readable)
    // None of them needs a name server, which may be far away.
    #expect(resolver.submit(id: 1, host: "localhost", port: 80))
    #expect(resolver.submit(id: 2, host: "::1", port: 443))
    #expect(resolver.submit(id: 3, host: "no name", port: 1))
    #expect(!resolver.submit(id: 4, host: "localhost", port: 80))
    var answers: [UInt64: Resolution.Outcome] = [:]
    _ = try drive(loop) { _ in
      while let resolution = resolver.next() { answers[resolution.id] = resolution.outcome }
      return answers.count == 3 ? true : nil
    }
    guard case .addresses(let local)? = answers[1], case .addresses(let numeric)? = answers[2],
      case .failed(let reason)? = answers[3]
    else {
      Issue.record("\(answers)")
      return
    }
    #expect(local.contains(loopback(80)) || local[0].description == "[::1]:80")
    #expect(numeric.map(\.description) == ["[::1]:443"])
    #expect(!reason.isEmpty)
    #expect(resolver.submit(id: 5, host: "127.0.0.1", port: 80))
  }

  @Test(
    "RFC 5952: addresses have one text form",
    arguments: [
      ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("::", "::"), ("::1", "::1"), ("1::", "1::"),
      ("2001:0db8::0001", "2001:db8::1"), ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"),
      ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("0:0:1::", "0:0:1::"),
      ("FE80::A", "fe80::a"), ("1:0:0:2::", "1:0:0:2::"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ])
  func text(written: String, canonical: String) throws {
    let address = try #require(SocketAddress(numeric: ByteString(written), port: 1))
    #expect(address.host == canonical)
    #expect(SocketAddress(numeric: ByteString(canonical), port: 1) == address)
  }

  private func code(_ body: () throws -> Listener) -> Int32? {
    do { _ = try body() } catch { return (error as? SystemError)?.code }
    return nil
  }
}
