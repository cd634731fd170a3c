import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

/// What changes the environment or the signals does so in a process of its own: both belong to all tests,
/// and reading a variable while another one is set may crash.
@Suite(.oneAtATime) struct ProcessTests {
  @Test("sd_notify: every message arrives as one datagram", arguments: [false, true])
  func notify(isAbstract: Bool) async {
    await #expect(processExitsWith: .success) { [isAbstract] in
      let directory = TemporaryDirectory()
      let path = isAbstract ? "@spoke-test-\(getpid())" : directory.file("notify").description
      let manager = try ServiceManager(path)
      setenv("NOTIFY_SOCKET", path, 1)
      setenv("WATCHDOG_USEC", "30000000", 1)
      setenv("WATCHDOG_PID", "\(getpid())", 1)
      let notifier = ServiceNotifier()
      #expect(notifier.isActive && notifier.watchdogInterval == .seconds(30))
      #expect(notifier.ready(status: "2 ports up\nMAINPID=1"))
      #expect(manager.next() == "READY=1\nSTATUS=2 ports up MAINPID=1")
      #expect(notifier.reloading(now: Instant(nanoseconds: 5_000_999)))
      #expect(manager.next() == "RELOADING=1\nMONOTONIC_USEC=5000")
      #expect(notifier.watchdog() && manager.next() == "WATCHDOG=1")
      #expect(notifier.status("spool 3 %") && manager.next() == "STATUS=spool 3 %")
      #expect(notifier.stopping(within: .seconds(5)))
      #expect(manager.next() == "STOPPING=1\nEXTEND_TIMEOUT_USEC=5000000")
    }
  }

  @Test("without a service manager nothing is sent, and nothing fails")
  func noManager() async {
    await #expect(processExitsWith: .success) {
      unsetenv("NOTIFY_SOCKET")
      setenv("WATCHDOG_USEC", "30000000", 1)
      let notifier = ServiceNotifier()
      #expect(!notifier.isActive && notifier.watchdogInterval == nil)
      #expect(!notifier.watchdog())
    }
  }

  @Test("a watchdog for another process is not ours")
  func watchdog() {
    #expect(
      ServiceNotifier.watchdog(microseconds: "100", process: "7", own: 7) == .microseconds(100))
    #expect(
      ServiceNotifier.watchdog(microseconds: "100", process: nil, own: 7) == .microseconds(100))
    #expect(ServiceNotifier.watchdog(microseconds: "100", process: "8", own: 7) == nil)
    #expect(ServiceNotifier.watchdog(microseconds: "0", process: nil, own: 7) == nil)
    #expect(ServiceNotifier.watchdog(microseconds: "-1", process: nil, own: 7) == nil)
    #expect(
      ServiceNotifier.watchdog(microseconds: "99999999999999999999", process: nil, own: 7) == nil)
  }

  @Test("signals are read from the descriptor, each of them")
  func signals() async {
    await #expect(processExitsWith: .success) {
      let signals = try SignalDescriptor()
      let loop = try EventLoop(capacity: 1)
      _ = try loop.register(signals.descriptor, token: 0, interest: .readable)
      #expect(signals.next() == nil)
      for signal in [SignalDescriptor.Signal.hangUp, .user1, .user2, .terminate, .interrupt] {
        // To this thread, whose mask the descriptor's maker has changed.
        #expect(pthread_kill(pthread_self(), signal.rawValue) == 0)
        try loop.wait(until: patienceEnd())
        #expect(loop.nextReady()?.isReadable == true)
        #expect(signals.next() == signal)
      }
      #expect(signals.next() == nil)
    }
  }

  @Test("the command line is our own, and words may be empty")
  func arguments() {
    #expect(
      CommandLineArguments.read().map(\.description) == Array(CommandLine.arguments.dropFirst()))
    #expect(CommandLineArguments.split(Array("a\0\0b c\0".utf8)) == ["a", "", "b c"])
    #expect(CommandLineArguments.split([]).isEmpty)
  }

  @Test("an environment variable, set and not")
  func environment() async {
    await #expect(processExitsWith: .success) {
      setenv("SPOKE_TEST", "value", 1)
      #expect(EnvironmentVariable.value("SPOKE_TEST") == "value")
      unsetenv("SPOKE_TEST")
      #expect(EnvironmentVariable.value("SPOKE_TEST") == nil)
    }
  }

  /// Here, since a process begins (`OneAtATime`).
  @Test("a caller's mistake stops the program: JSON with a value that has no key")
  func misuse() async {
    await #expect(processExitsWith: .failure) {
      var json = JSONWriter()
      json.beginObject()
      json.bool(true)
    }
  }

  @Test("seeds differ, and the resident memory is what ps says, more or less")
  func memory() throws {
    #expect(try RandomSeed.next() != RandomSeed.next())
    let resident = MemoryUsage.residentBytes()
    #expect(resident > 1 << 20 && resident < 1 << 34)
  }

  @Test("log lines: one a write, with the journal's number, control characters out, threshold kept")
  func log() throws {
    let pipe = try LogPipe()
    var log = StandardError(threshold: .info, descriptor: pipe.writer)
    let now = Instant(nanoseconds: 1)
    log.log(.error, now: now, "one\ntwo\u{1B}[31m")
    log.log(.debug, now: now, "not shown")
    log.log(.info, now: now, "three")
    #expect(pipe.read() == "<3>one two [31m\n<6>three\n")
  }

  @Test("a fault that repeats is cut off, comes back slowly, and says how many were left out")
  func logLimit() throws {
    let pipe = try LogPipe()
    var log = StandardError(threshold: .info, descriptor: pipe.writer)
    var now = Instant(nanoseconds: 1)
    for _ in 0..<100 { log.log(.warning, now: now, "again") }
    #expect(pipe.read().split(separator: "\n").count == 40)
    log.log(.error, now: now, "another severity has its own budget")
    #expect(pipe.read() == "<3>another severity has its own budget\n")
    now = now + .milliseconds(500)
    log.log(.warning, now: now, "again")
    log.log(.warning, now: now, "again")
    #expect(pipe.read() == "<4>again (60 like it left out)\n")
    now = now + .seconds(3_600)
    for _ in 0..<50 { log.log(.warning, now: now, "again") }
    #expect(pipe.read().split(separator: "\n").count == 40)
  }
}

private final class LogPipe {
  private var ends: [Int32] = [0, 0]
  var writer: Int32 { ends[1] }

  init() throws { try #require(pipe(&ends) == 0) }

  deinit { for end in ends { close(end) } }

  func read() -> String {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let count = Foundation.read(ends[0], &bytes, bytes.count)
    return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
  }
}

/// The other end of NOTIFY_SOCKET.
private final class ServiceManager {
  private let socket: Int32

  init(_ path: String) throws {
    socket = Foundation.socket(
      AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    withUnsafeMutableBytes(of: &address.sun_path) { target in
      for (index, byte) in bytes.enumerated() { target[index] = byte }
      if bytes[0] == UInt8(ascii: "@") { target[0] = 0 }
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, length) }
    }
    try #require(bound == 0)
  }

  deinit { close(socket) }

  func next() -> String {
    var bytes = [UInt8](repeating: 0, count: 4_096)
    let count = recv(socket, &bytes, bytes.count, Int32(MSG_DONTWAIT))
    return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
  }
}
