import Configuration
import Platform
import Primitives

/// One configured serial port: open, or waiting for the next attempt.
final class PortLink {
  /// The pauses between attempts: short at first, because a replugged adapter is back within a
  /// moment, then long, because a missing one may stay away.
  static let pauseMin = Interval.milliseconds(250)
  static let pauseMax = Interval.seconds(5)

  /// The index of the port in the configuration and in the gateway.
  let index: Int
  let configuration: SerialConfiguration
  var port: SerialPort?
  var registration: Registration?
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

  /// Something changed among the devices: look now.
  func retryNow(now: Instant) {
    if port == nil { retryAt = now }
  }

  var settings: SerialLine {
    SerialLine(
      baud: configuration.baud, dataBits: configuration.dataBits,
      parity: configuration.parity.platform, stopBits: configuration.stopBits,
      flow: configuration.flow.platform)
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
