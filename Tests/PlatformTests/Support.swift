import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

/// A directory that is gone when the test is over.
final class TemporaryDirectory {
  let path: String

  init() {
    path = NSTemporaryDirectory() + "spoke-" + UUID().uuidString
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

  /// With SIGKILL: worker threads of the tests block the others, and a child inherits that.
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

/// A free TCP port of this machine.
func freePort() throws -> UInt16 {
  let listener = try Listener(tcp: SocketAddress(127, 0, 0, 1, port: 0))
  return try #require(listener.localAddress()).port
}

func loopback(_ port: UInt16) -> SocketAddress { SocketAddress(127, 0, 0, 1, port: port) }

/// Turns the loop until `body` has an answer. Fails the test after `seconds`.
func drive<Answer>(
  _ loop: EventLoop, seconds: Int64 = 10, _ body: (Ready?) throws -> Answer?
) throws -> Answer {
  let end = SystemClocks.now() + .seconds(seconds)
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

/// Connects, trying again while nobody listens yet: a program needs a moment to start.
func connect(to port: UInt16) throws -> TCPSocket {
  let end = SystemClocks.now() + .seconds(10)
  while SystemClocks.now() < end {
    let loop = try EventLoop(capacity: 1)
    let socket = try TCPSocket(connectingTo: loopback(port))
    let registration = try loop.register(socket.descriptor, token: 0, interest: .writable)
    try loop.wait(until: end)
    loop.deregister(registration)
    if (try? socket.finishConnect()) != nil { return socket }
    try loop.wait(until: SystemClocks.now() + .milliseconds(20))
  }
  throw Timeout()
}
