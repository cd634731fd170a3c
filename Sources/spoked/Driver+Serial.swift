import Configuration
import Gateway
import Platform
import Primitives

/// Serial ports: opened, read, closed at once on a hang-up, and opened again.
extension Driver {
  func openPorts() {
    ports = []
    for (index, configuration) in configuration.serial.enumerated() {
      devices.watch(configuration.device)
      ports.append(PortLink(index: index, configuration: configuration, now: clocks.now))
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
    do throws(SerialError) {
      let port = try SerialPort(link.configuration.device, link.settings)
      do throws(SystemError) {
        let registration = try loop.register(
          port.descriptor, token: Token.serial(UInt32(link.index)).packed, interest: .readable)
        link.opened(port, registration)
        var detail = ""
        for warning in port.warnings { detail += (detail.utf8.isEmpty ? "" : "; ") + warning }
        gateway.serialOpened(link.index, detail: detail, clocks: clocks)
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
      case .ended:
        release(link)
        return fail(link, "\(link.configuration.device.description): hung up")
      }
    }
  }

  /// Closes the descriptor: a hung-up one that is kept makes the kernel give the device a new name.
  private func release(_ link: PortLink) {
    if let registration = link.registration { loop.deregister(registration) }
    link.registration = nil
    link.port = nil
  }
}
