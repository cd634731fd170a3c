import Configuration
import Gateway
import Platform
import Primitives

/// One configured serial port: open, or waiting for the next attempt.
final class PortLink {
  /// The pauses between attempts: short at first, because a replugged adapter is back within a
  /// moment, then long, because a missing one may stay away.
  static let pauseMin = Interval.milliseconds(250)
  static let pauseMax = Interval.seconds(5)

  /// The index of the port in the configuration and in the gateway.
  var index: Int
  var configuration: SerialConfiguration
  var port: SerialPort?
  var registration: Registration?
  /// When its driver is asked for the errors it has counted; nil: it does not count.
  var countsAt: Instant?
  /// The driver's buffer is full: it is watched for room.
  var waitsToWrite = false
  private var pause = PortLink.pauseMin
  private(set) var retryAt: Instant?

  init(index: Int, configuration: SerialConfiguration, now: Instant) {
    self.index = index
    self.configuration = configuration
    retryAt = now
  }

  func isDue(now: Instant) -> Bool {
    guard port == nil, let retryAt else { return false }
    return retryAt <= now
  }

  func opened(_ port: SerialPort, _ registration: Registration) {
    self.port = port
    self.registration = registration
    retryAt = nil
    pause = PortLink.pauseMin
  }

  /// The next attempt comes after a pause with jitter, so that several ports of one board do not
  /// move in step.
  func waitToRetry(now: Instant, using random: inout SplitMix64) {
    port = nil
    registration = nil
    let half = pause.nanoseconds / 2
    retryAt = now + Interval(nanoseconds: half + Int64(random.below(UInt64(half))))
    pause = min(Interval(nanoseconds: pause.nanoseconds * 2), PortLink.pauseMax)
  }

  /// How often a driver is asked for the errors it has counted.
  static let countsInterval = Interval.seconds(10)

  /// Something changed among the devices: look now, and soon again if it is not ready yet.
  func retryNow(now: Instant) {
    guard port == nil else { return }
    retryAt = now
    pause = PortLink.pauseMin
  }

  var settings: SerialLine {
    var line = SerialLine(
      baud: configuration.baud, dataBits: configuration.dataBits,
      parity: configuration.parity.platform, stopBits: configuration.stopBits,
      flow: configuration.flow.platform)
    line.rs485 = configuration.rs485.map { $0.platform }
    line.lowLatency = configuration.lowLatency
    return line
  }
}

extension RS485Configuration {
  var platform: SerialLine.RS485 {
    var bus = SerialLine.RS485()
    bus.rtsOnSend = rtsOnSend
    bus.rtsAfterSend = rtsAfterSend
    bus.delayBeforeSend = UInt32(delayBeforeSend.milliseconds)
    bus.delayAfterSend = UInt32(delayAfterSend.milliseconds)
    bus.rxDuringTx = rxDuringTx
    bus.terminateBus = terminateBus
    bus.fallsBack = fallback == .autoDirection
    return bus
  }
}

extension SerialOpening {
  init(_ status: SerialStatus) {
    self.init()
    for warning in status.warnings { detail += (detail.utf8.isEmpty ? "" : "; ") + warning }
    device = status.device
    hardware = status.hardware
    termios = status.termios
    rs485 = status.rs485
    isLowLatency = status.isLowLatency
    marksErrors = status.marksErrors
  }
}

extension SerialErrors {
  init(_ counts: SerialErrorCounts) {
    self.init()
    frame = counts.frame
    overrun = counts.overrun
    parity = counts.parity
    brk = counts.brk
    bufOverrun = counts.bufOverrun
  }
}

extension SerialConfiguration.Parity {
  var platform: SerialLine.Parity {
    switch self {
    case .none: .none
    case .even: .even
    case .odd: .odd
    case .mark: .mark
    case .space: .space
    }
  }
}

extension SerialConfiguration.FlowControl {
  var platform: SerialLine.FlowControl {
    switch self {
    case .none: .none
    case .rtsCts: .rtsCts
    case .xonXoff: .xonXoff
    }
  }
}
