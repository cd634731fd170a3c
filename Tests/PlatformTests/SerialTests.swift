import CLinux
import Foundation
import Primitives
import Testing

@testable import Platform

@Suite(.oneAtATime) struct SerialTests {
  @Test("every byte passes unchanged in both directions, 0x03, 0x11, 0x13, CR and 0xFF included")
  func raw() throws {
    let terminal = try Terminal()
    let port = try SerialPort(terminal.path, SerialLine(baud: 115_200))
    #expect(port.status.warnings.isEmpty)
    let special: [UInt8] = [0x03, 0x11, 0x13, 0x0D, 0x0A, 0x1A, 0x04, 0x7F, 0x00, 0xFF, 0xFF, 0x00]
    let bytes = special + (0...255).map { UInt8($0) }
    terminal.write(bytes)
    // An FF is doubled, to tell it from the mark of an error (PARMRK).
    let marked = bytes.flatMap { (byte: UInt8) -> [UInt8] in byte == 0xFF ? [byte, byte] : [byte] }
    #expect(
      try read(marked.count, of: port.descriptor) { port.read(into: &$0) } == marked)
    #expect(port.write(bytes.span) == .bytes(bytes.count))
    #expect(try terminal.read(bytes.count) == bytes)
    // Nothing was echoed to the board.
    #expect(!terminal.hasBytes)
    var buffer = [UInt8](repeating: 0, count: 16)
    #expect(port.read(into: &buffer) == .blocked(.readable))
  }

  @Test("any baud rate is set and read back", arguments: [300, 4_800, 12_345, 921_600, 3_000_000])
  func baud(rate: UInt32) throws {
    let terminal = try Terminal()
    let port = try SerialPort(terminal.path, SerialLine(baud: rate))
    var state = spoke_line_state()
    #expect(spoke_serial_state(port.descriptor, &state) == 0)
    #expect(state.line.baud == rate && state.output_baud == rate)
    #expect(state.raw == 1 && state.hang_up_on_close == 0)
  }

  @Test("data bits, stop bits and flow control are set; a terminal without parity warns")
  func framing() throws {
    let terminal = try Terminal()
    let line = SerialLine(baud: 9_600, dataBits: 8, parity: .even, stopBits: 2, flow: .rtsCts)
    let port = try SerialPort(terminal.path, line)
    #expect(port.status.warnings == ["parity is none, not even"])
    var state = spoke_line_state()
    #expect(spoke_serial_state(port.descriptor, &state) == 0)
    #expect(state.line.stop_bits == 2 && state.line.flow == 1)
    let software = try Terminal()
    let other = try SerialPort(software.path, SerialLine(baud: 9_600, flow: .xonXoff))
    #expect(spoke_serial_state(other.descriptor, &state) == 0)
    #expect(state.line.flow == 2 && state.raw == 1)
  }

  @Test("what was received before the port was opened is thrown away")
  func flush() throws {
    let terminal = try Terminal()
    // Somebody else holds the other end open, as a board does, and has been talking.
    let held = FileDescriptor(owning: terminal.path.withCString { spoke_serial_open($0) })
    terminal.write(Array("stale\n".utf8))
    // The kernel brings it there in its own time.
    try wait(for: .readable, of: held.raw)
    let port = try SerialPort(terminal.path, SerialLine(baud: 9_600))
    var buffer = [UInt8](repeating: 0, count: 16)
    #expect(port.read(into: &buffer) == .blocked(.readable))
  }

  @Test("a hang-up ends reading and writing, and the loop reports it")
  func hangUp() throws {
    var terminal: Terminal? = try Terminal()
    let port = try SerialPort(terminal!.path, SerialLine(baud: 9_600))
    let loop = try EventLoop(capacity: 1)
    _ = try loop.register(port.descriptor, token: 7, interest: .readable)
    terminal = nil
    try loop.wait(until: patienceEnd())
    #expect(loop.nextReady()?.isHangUp == true)
    var buffer = [UInt8](repeating: 0, count: 16)
    #expect(port.read(into: &buffer) == .ended)
    #expect(port.write([1].span) == .ended)
  }

  @Test("a second opening of the same port is refused, until the first one is closed")
  func busy() throws {
    let terminal = try Terminal()
    var first: SerialPort? = try SerialPort(terminal.path, SerialLine(baud: 9_600))
    let failure = error { try SerialPort(terminal.path, SerialLine(baud: 9_600)) }
    #expect(failure?.kind == .busy)
    let reason = "EBUSY, another process or another [[serial]] uses it"
    #expect(failure?.description == "\(terminal.path.description): \(reason)")
    _ = first
    first = nil
    _ = try SerialPort(terminal.path, SerialLine(baud: 9_600))
  }

  @Test(
    "a driver without TIOCSRS485 is an error, or is taken as turning by itself; others only warn")
  func unknownCalls() throws {
    let terminal = try Terminal()
    var line = SerialLine(baud: 9_600)
    line.rs485 = SerialLine.RS485()
    let wanted = line
    let failure = error { try SerialPort(terminal.path, wanted) }
    #expect(failure?.kind == .mismatch)
    #expect(
      failure?.description == "\(terminal.path.description): the driver has no TIOCSRS485, "
        + "and rs485.fallback is not 'auto-direction'")
    line.rs485?.fallsBack = true
    line.lowLatency = true
    let port = try SerialPort(terminal.path, line)
    #expect(
      port.status.warnings == [
        "no TIOCSRS485, the adapter must turn the direction itself",
        "no ASYNC_LOW_LATENCY: Inappropriate ioctl for device",
      ])
    #expect(port.status.rs485.isEmpty && !port.status.isLowLatency)
    var code: Int32 = 0
    do { _ = try port.errorCounts() } catch { code = error.code }
    #expect(code == ENOTTY)
  }

  @Test("an open port says what it is, by the names of termios")
  func status() throws {
    let directory = TemporaryDirectory()
    let terminal = try Terminal()
    let link = directory.file("board")
    try FileManager.default.createSymbolicLink(
      atPath: link.description, withDestinationPath: terminal.path.description)
    let line = SerialLine(baud: 12_345, stopBits: 2, flow: .xonXoff)
    let port = try SerialPort(link, line)
    #expect(port.status.device == terminal.path)
    #expect(port.status.termios == "12345 CS8 CSTOPB IXON IXOFF INPCK PARMRK")
    #expect(port.status.marksErrors && port.status.hardware.isEmpty)
  }

  @Test("a USB adapter is known by its numbers, for ttyUSB and ttyACM alike", arguments: [1, 2])
  func identity(levels: Int) throws {
    let directory = TemporaryDirectory()
    let adapter = directory.file("usb1/1-2").description
    let interface = adapter + "/1-2:1.0" + (levels == 2 ? "/ttyUSB0" : "")
    let manager = FileManager.default
    try manager.createDirectory(atPath: interface, withIntermediateDirectories: true)
    for (name, text) in [("idVendor", "0403\n"), ("idProduct", "6001\n"), ("serial", "A7\u{1}\n")] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: adapter + "/" + name))
    }
    let node = directory.file("char/188:0").description
    try manager.createDirectory(atPath: node, withIntermediateDirectories: true)
    try manager.createSymbolicLink(atPath: node + "/device", withDestinationPath: interface)
    let root = directory.file("char") + "/"
    #expect(DeviceIdentity.usb(major: 188, minor: 0, root: root) == "0403:6001:A7")
    #expect(DeviceIdentity.usb(major: 188, minor: 1, root: root).isEmpty)
  }

  @Test("22: a write to a port that is gone says so, and does nothing else")
  func writeToDeadPort() throws {
    var terminal: Terminal? = try Terminal()
    let port = try SerialPort(terminal!.path, SerialLine(baud: 9_600))
    #expect(port.write([1].span) == .bytes(1))
    terminal = nil
    #expect(port.write([1].span) == .ended)
  }

  @Test("a port that is not there, and a file that is no port, say so")
  func notThere() throws {
    let absent = error { try SerialPort("/dev/serial/by-id/none", SerialLine(baud: 9_600)) }
    #expect(absent?.kind == .absent)
    #expect(absent?.description == "/dev/serial/by-id/none: open: No such file or directory")
    let directory = TemporaryDirectory()
    let file = directory.file("file")
    try Data().write(to: URL(fileURLWithPath: file.description))
    let wrong = error { try SerialPort(file, SerialLine(baud: 9_600)) }
    #expect(wrong?.kind == .failed)
    #expect(wrong?.description == "\(file.description): not a serial port")
  }

  @Test("a board that does not read makes the writer wait")
  func backPressure() throws {
    let terminal = try Terminal()
    let port = try SerialPort(terminal.path, SerialLine(baud: 9_600))
    let block = [UInt8](repeating: 0x55, count: 4_096)
    var written = 0
    var last = port.write(block.span)
    while case .bytes(let count) = last {
      written += count
      last = port.write(block.span)
    }
    // Once: the kernel moves bytes on by itself, and has room again.
    #expect(last == .blocked(.writable))
    #expect(try terminal.read(written).count == written)
  }

  @Test("the watcher tells when a device's name appears, in directories that are not there yet too")
  func watcher() throws {
    let directory = TemporaryDirectory()
    let watcher = try DeviceWatcher()
    let loop = try EventLoop(capacity: 1)
    _ = try loop.register(watcher.descriptor, token: 1, interest: .readable)
    let path = directory.file("by-id/board")
    watcher.watch(path)
    #expect(!watcher.drain())
    try FileManager.default.createDirectory(
      atPath: directory.file("by-id").description, withIntermediateDirectories: false)
    try expectChange(watcher, loop)
    watcher.watch(path)
    #expect(!watcher.drain())
    let terminal = try Terminal()
    try FileManager.default.createSymbolicLink(
      atPath: path.description, withDestinationPath: terminal.path.description)
    try expectChange(watcher, loop)
    _ = try SerialPort(path, SerialLine(baud: 9_600))
  }

  @Test("the watcher follows a symbolic link to the directory of its target")
  func watcherLink() throws {
    let directory = TemporaryDirectory()
    let devices = TemporaryDirectory()
    let link = directory.file("ttyBOARD")
    try FileManager.default.createSymbolicLink(
      atPath: link.description, withDestinationPath: devices.file("7").description)
    let watcher = try DeviceWatcher()
    let loop = try EventLoop(capacity: 1)
    _ = try loop.register(watcher.descriptor, token: 1, interest: .readable)
    watcher.watch(link)
    try Data().write(to: URL(fileURLWithPath: devices.file("7").description))
    try expectChange(watcher, loop)
  }

  @Test("a terminal that comes back in /dev/pts is seen")
  func watcherTerminals() throws {
    let watcher = try DeviceWatcher()
    let loop = try EventLoop(capacity: 1)
    _ = try loop.register(watcher.descriptor, token: 1, interest: .readable)
    watcher.watch("/dev/pts/absent")
    _ = watcher.drain()
    let terminal = try Terminal()
    try expectChange(watcher, loop)
    _ = terminal
  }

  private func expectChange(_ watcher: DeviceWatcher, _ loop: EventLoop) throws {
    try loop.wait(until: patienceEnd())
    #expect(loop.nextReady()?.isReadable == true)
    #expect(watcher.drain())
  }

  private func error(_ body: () throws -> SerialPort) -> SerialError? {
    do { _ = try body() } catch { return error as? SerialError }
    return nil
  }
}

/// The board's end of a pseudo-terminal.
private final class Terminal {
  private let master: Int32
  let path: ByteString

  init() throws {
    master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    try #require(master >= 0)
    var unlocked: Int32 = 0
    var number: Int32 = 0
    // TIOCSPTLCK and TIOCGPTN: unlockpt and ptsname are not in Swift's module of the C library.
    try #require(ioctl(master, 0x4004_5431, &unlocked) == 0)
    try #require(ioctl(master, 0x8004_5430, &number) == 0)
    path = ByteString("/dev/pts/\(number)")
  }

  deinit { close(master) }

  func write(_ bytes: [UInt8]) {
    #expect(Foundation.write(master, bytes, bytes.count) == bytes.count)
  }

  func read(_ count: Int) throws -> [UInt8] {
    try PlatformTests.read(count, of: master) { buffer in
      let got = Foundation.read(master, &buffer, buffer.count)
      return got > 0 ? .bytes(got) : got < 0 && errno == EAGAIN ? .blocked(.readable) : .ended
    }
  }

  var hasBytes: Bool {
    var waiting = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
    return poll(&waiting, 1, 0) == 1
  }
}
