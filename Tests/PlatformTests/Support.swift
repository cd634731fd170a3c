import CLinux
import Foundation
import Primitives
import Synchronization
import Testing

@testable import Platform

/// A directory that is gone when the test is over.
final class TemporaryDirectory {
  let path: String

  init(in parent: String = NSTemporaryDirectory()) {
    path = parent + "spoke-" + UUID().uuidString
    try! FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> ByteString { ByteString("\(path)/\(name)") }
  var name: ByteString { ByteString(path) }
}

/// A program that runs until the test is over.
final class Program {
  private let process = Process()
  let output = Pipe()

  init(_ path: String, _ arguments: [String], input: Any? = nil) throws {
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.standardInput = input ?? FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
  }

  deinit { stop() }

  /// With SIGKILL, which no program waits with.
  func stop() {
    if process.isRunning { Foundation.kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
  }

  var identifier: Int32 { process.processIdentifier }
}

/// Runs a program to its end; its output, or a failed test.
@discardableResult
func run(_ path: String, _ arguments: [String], in directory: String? = nil) throws -> String {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: path)
  process.arguments = arguments
  if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
  let output = Pipe()
  process.standardOutput = output
  process.standardError = output
  process.standardInput = FileHandle.nullDevice
  try process.run()
  let text = output.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  let printed = String(decoding: text, as: UTF8.self)
  try #require(process.terminationStatus == 0, "\(path) \(arguments): \(printed)")
  return printed
}

/// A TCP port that nobody listens on. The kernel gives it to nobody either, as it would the port of a
/// socket that was bound to 0 and closed: it is below those for outgoing connections. None comes twice.
func freePort() throws -> UInt16 {
  for _ in 0..<1_000 {
    let port = ports.withLock { next in
      next = next < 32_000 ? next + 1 : 20_001
      return next
    }
    if (try? Listener(tcp: loopback(port))) != nil { return port }
  }
  throw Timeout()
}

/// Two processes of tests start in different places.
private let ports = Mutex(20_000 + UInt16(getpid() % 1_200) * 10)

func loopback(_ port: UInt16) -> SocketAddress { SocketAddress(127, 0, 0, 1, port: port) }

/// When another process, or the kernel, has had time enough for anything, however busy the machine is.
func patienceEnd() -> Instant { SystemClocks.now() + .seconds(60) }

/// Turns the loop until `body` has an answer.
func drive<Answer>(_ loop: EventLoop, _ body: (Ready?) throws -> Answer?) throws -> Answer {
  let end = patienceEnd()
  if let answer = try body(nil) { return answer }
  while SystemClocks.now() < end {
    try loop.wait(until: end)
    while let ready = loop.nextReady() {
      if let answer = try body(ready) { return answer }
    }
  }
  throw Timeout()
}

struct Timeout: Error {}

func wait(for interest: Interest, of descriptor: Int32) throws {
  let loop = try EventLoop(capacity: 1)
  let registration = try loop.register(descriptor, token: 0, interest: interest)
  defer { loop.deregister(registration) }
  _ = try drive(loop) { $0 }
}

/// Bytes that take their time, at least `count`.
func read(
  _ count: Int, of descriptor: Int32, _ read: (inout [UInt8]) throws -> Transfer
) throws -> [UInt8] {
  var bytes: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65_536)
  while bytes.count < count {
    switch try read(&buffer) {
    case .bytes(let got): bytes += buffer[..<got]
    case .blocked(let interest): try wait(for: interest, of: descriptor)
    case .ended: throw Timeout()
    }
  }
  return bytes
}

/// The next client: its own end is connected before the listener's is there to be accepted.
func accept(_ listener: Listener) throws -> TCPSocket {
  try wait(for: .readable, of: listener.descriptor)
  return try #require(try listener.accept())
}

/// Connects, trying again while nobody listens yet: a program needs a moment to start.
func connect(to port: UInt16) throws -> TCPSocket {
  let end = patienceEnd()
  while SystemClocks.now() < end {
    let socket = try TCPSocket(connectingTo: loopback(port))
    try wait(for: .writable, of: socket.descriptor)
    if (try? socket.finishConnect()) != nil { return socket }
    SystemClocks.sleep(.milliseconds(20))
  }
  throw Timeout()
}
