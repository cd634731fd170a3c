import Configuration
import Gateway
import Platform
import Primitives

/// Serial ports: opened, read, closed at once on a hang-up, and opened again.
extension Driver {
  func openPorts() {
    ports = []
    for (index, configuration) in configuration.serial.enumerated() {
      ports.append(PortLink(index: index, configuration: configuration, now: clocks.now))
    }
  }

  /// The configuration was read again: a port that is as it was stays open, and so does the frame that
  /// it is in the middle of.
  func changePorts() {
    var before = ports
    ports = []
    for index in configuration.serial.indices {
      var link: PortLink?
      for other in before.indices {
        if before[other].configuration.isSamePort(as: configuration.serial[index]) {
          link = before.remove(at: other)
          break
        }
      }
      if let link {
        keep(link, as: index)
        ports.append(link)
      } else {
        ports.append(
          PortLink(index: index, configuration: configuration.serial[index], now: clocks.now))
      }
    }
    for link in before { release(link) }
  }

  /// Events of a port carry its index.
  private func keep(_ link: PortLink, as index: Int) {
    let isMoved = link.index != index
    link.index = index
    link.configuration = configuration.serial[index]
    guard isMoved, let port = link.port, let registration = link.registration else { return }
    loop.deregister(registration)
    do throws(SystemError) {
      link.registration = try loop.register(
        port.descriptor, token: Token.serial(UInt32(index)).packed,
        interest: link.waitsToWrite ? [.readable, .writable] : .readable)
    } catch {
      link.registration = nil
      release(link)
      fail(link, error.description)
    }
  }

  func closePorts() {
    for link in ports { release(link) }
    ports = []
  }

  /// Attempts that are due.
  func reopenPorts() {
    for link in ports where link.isDue(now: clocks.now) { open(link) }
  }

  func devicesChanged() {
    guard devices.drain() else { return }
    for link in ports { link.retryNow(now: clocks.now) }
  }

  private func open(_ link: PortLink) {
    devices.watch(link.configuration.device)
    do throws(SerialError) {
      let port = try SerialPort(link.configuration.device, link.settings)
      do throws(SystemError) {
        let registration = try loop.register(
          port.descriptor, token: Token.serial(UInt32(link.index)).packed, interest: .readable)
        link.opened(port, registration)
        gateway.serialOpened(link.index, SerialOpening(port.status), clocks: clocks)
        count(link, port)
      } catch {
        fail(link, error.description)
      }
    } catch {
      fail(link, error.description)
    }
  }

  private func fail(_ link: PortLink, _ reason: String) {
    link.waitToRetry(now: clocks.now, using: &random)
    gateway.serialClosed(link.index, reason: reason, clocks: clocks)
  }

  /// Asks the drivers of open ports for the errors they have counted, all of them at once.
  func countSerialErrors() {
    guard ports.contains(where: { $0.countsAt.map { $0 <= clocks.now } ?? false }) else { return }
    for link in ports where link.countsAt != nil {
      if let port = link.port { count(link, port) }
    }
  }

  private func count(_ link: PortLink, _ port: SerialPort) {
    do throws(SystemError) {
      let counts = try port.errorCounts()
      gateway.serialCounted(link.index, SerialErrors(counts), clocks: clocks)
      link.countsAt = clocks.now + PortLink.countsInterval
    } catch {
      // ENOTTY: not a driver that counts. EIO: a hang-up, which reading will tell.
      link.countsAt = nil
    }
  }

  /// Writes what waits for ports that take it.
  func flushPorts() {
    for link in ports where link.waitsToWrite || gateway.hasSerialOutput(link.index) {
      flush(link)
    }
  }

  private func flush(_ link: PortLink) {
    while let port = link.port, let registration = link.registration {
      let written = gateway.withSerialOutput(link.index) { port.write($0) }
      switch written {
      case .bytes(let count):
        gateway.consumeSerialOutput(link.index, count, now: clocks.now)
      case .blocked: return watch(link, registration, toWrite: true)
      case .ended: return hungUp(link)
      case nil: return watch(link, registration, toWrite: false)
      }
    }
  }

  private func watch(_ link: PortLink, _ registration: Registration, toWrite: Bool) {
    link.waitsToWrite = toWrite
    do throws(SystemError) {
      try loop.modify(registration, interest: toWrite ? [.readable, .writable] : .readable)
    } catch {
      log(.error, error.description)
    }
  }

  private func hungUp(_ link: PortLink) {
    release(link)
    fail(link, "\(link.configuration.device.description): hung up")
  }

  func serialReady(_ index: Int, _ ready: Ready) {
    guard index < ports.count else { return }
    let link = ports[index]
    guard let port = link.port else { return }
    for _ in 0..<DriverLimits.readsPerTurnMax {
      switch port.read(into: &readBuffer) {
      case .bytes(let count):
        gateway.receiveSerial(
          link.index, readBuffer.span.extracting(0..<count), clocks: clocks)
        if count < readBuffer.count { return }
      case .blocked: return
      case .ended: return hungUp(link)
      }
    }
  }

  /// Closes the descriptor: a hung-up one that is kept makes the kernel give the device a new name.
  private func release(_ link: PortLink) {
    if let registration = link.registration { loop.deregister(registration) }
    link.registration = nil
    link.port = nil
    link.countsAt = nil
    link.waitsToWrite = false
  }
}
